"""Constraints: what they allow, how they are written, and every refusal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.solvers import parse_constraint
from mlasdi.solvers.constraints import LinearConstraint, Predicate

MODULE = """
def below(a, w):
    return a < w

def of_one(w, margin=0.5):
    return w > margin

def of_any(**parameters):
    return parameters["a"] > 0

def fails(a):
    raise RuntimeError("no such alloy")

def counts(a):
    return 3

def of_other(a, height):
    return True

limit = 3
"""


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A module of the user's own."""
    (tmp_path / "shape_limits.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "shape_limits"


def columns(**values):
    return {name: np.array(column, dtype=float) for name, column in values.items()}


# Linear


@given(
    weights=st.tuples(st.floats(-5, 5), st.floats(-5, 5)).filter(lambda w: any(w)),
    low=st.floats(-5, 0),
    high=st.floats(0, 5),
    points=st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=5),
)
def test_a_linear_constraint_is_the_sum_between_its_limits(weights, low, high, points):
    a, w = np.array(points).T
    total = weights[0] * a + weights[1] * w
    near_limit = np.minimum(abs(total - low), abs(total - high)) < 1e-6
    for given_limits, expected in (
        ((low, high), (low <= total) & (total <= high)),
        ((low, None), low <= total),
        ((None, high), total <= high),
    ):
        constraint = LinearConstraint((("a", weights[0]), ("w", weights[1])), *given_limits)
        holds = constraint.holds({"a": a, "w": w, "unused": a})
        assert ((holds == expected) | near_limit).all()


def test_a_point_on_the_limit_is_within_it():
    a = np.linspace(0.1, 0.9, 9)
    assert LinearConstraint((("a", 1.0), ("w", 1.0)), high=1.0).holds({"a": a, "w": 1 - a}).all()


def test_linear_constraints_as_a_configuration_has_them():
    constraint = parse_constraint({"a": 1, "w": -2, "max": 3})
    assert constraint == LinearConstraint((("a", 1.0), ("w", -2.0)), None, 3.0)
    assert str(constraint) == "1 a - 2 w <= 3"
    assert parse_constraint(constraint.to_json()) == constraint
    both = parse_constraint({"a": 0.5, "min": -1, "max": 1})
    assert (str(both), parse_constraint(both.to_json())) == ("-1 <= 0.5 a <= 1", both)


# Predicates


def test_a_predicate_gets_the_parameters_it_names(shapes):
    points = columns(a=[0, 2], w=[1, 1])
    np.testing.assert_array_equal(Predicate(f"{shapes}:below").holds(points), [True, False])
    np.testing.assert_array_equal(Predicate(f"{shapes}:of_one").holds(columns(a=[0, 0], w=[0.4, 0.6])), [False, True])
    np.testing.assert_array_equal(Predicate(f"{shapes}:of_any").holds(points), [False, True])


def test_predicates_as_a_configuration_has_them(shapes):
    predicate = parse_constraint(f"{shapes}:below")
    predicate.check_names(["a", "w", "other"])
    assert parse_constraint(predicate.to_json()) == predicate


def test_a_predicate_is_loaded_when_it_is_asked():
    predicate = Predicate("gone:away")
    assert str(predicate) == "gone:away"
    with pytest.raises(ValueError, match="constraint 'gone:away' cannot be loaded: No module named 'gone'"):
        predicate.holds(columns(a=[1]))


# Refusals


@pytest.mark.parametrize(
    ("given_constraint", "message"),
    [
        ({"a": 1, "w": 1}, r"constraint '1 a \+ 1 w': give min, max or both"),
        ({"max": 3}, "give at least one parameter a weight other than 0"),
        ({"a": 0, "max": 3}, "give at least one parameter a weight other than 0"),
        ({"a": 1, "min": 3, "max": 2}, "min 3 must not be more than max 2"),
        ({"a": float("nan"), "max": 2}, "weights and limits must be finite"),
        ({"a": 1, "max": float("inf")}, "weights and limits must be finite"),
        ({"a": "1", "max": 2}, "a: give a number, got '1'"),
        ({"a": True, "max": 2}, "a: give a number, got True"),
        (3, r"constraint 3: give \{name: weight, ..., max: limit\} or package.module:function"),
        (["a"], "or package.module:function"),
    ],
)
def test_what_is_no_constraint_is_refused(given_constraint, message):
    with pytest.raises(ValueError, match=message):
        parse_constraint(given_constraint)


def test_parameters_that_there_are_not_are_refused(shapes):
    with pytest.raises(ValueError, match=r"constraint '1 b <= 1': 'b' is no parameter; allowed: a, w"):
        parse_constraint({"b": 1, "max": 1}).check_names(["a", "w"])
    with pytest.raises(ValueError, match="with parameters called min or max, write"):
        parse_constraint({"a": 1, "max": 1}).check_names(["a", "max"])
    with pytest.raises(ValueError, match=r"of_other': its argument 'height' is no parameter; allowed: a, w"):
        Predicate(f"{shapes}:of_other").check_names(["a", "w"])


def test_predicates_that_give_no_answer_are_refused(shapes):
    with pytest.raises(ValueError, match=r"fails' fails at \{'a': 1.0\}: RuntimeError: no such alloy"):
        Predicate(f"{shapes}:fails").holds(columns(a=[1], w=[2]))
    with pytest.raises(ValueError, match=r"counts' must return True or False; at \{'a': 1.0\} it returns 3"):
        Predicate(f"{shapes}:counts").holds(columns(a=[1]))
    with pytest.raises(ValueError, match=r"limit' must be a function of parameters, got int"):
        Predicate(f"{shapes}:limit").check_names(["a"])
