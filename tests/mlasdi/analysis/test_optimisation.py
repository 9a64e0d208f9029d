"""Optima that are known, in the interior, at edges and at constraints."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlasdi.analysis import AnalysisWarning
from mlasdi.solvers import ParameterSpace
from mlasdi.solvers.constraints import LinearConstraint


def distance(p: Any) -> np.ndarray:
    """Of u in the middle from 0.3 at the start and 0.45 at the end: zero at a = 0.3, b = 0.5."""
    middle = p["u"][:, [0, -1], 10]
    return ((middle - [0.3, 0.45]) ** 2).sum(axis=-1)


def test_an_optimum_in_the_interior_is_found(model: Any) -> None:
    found = model.optimise(distance)
    assert found.mu == {"a": pytest.approx(0.3, abs=0.01), "b": pytest.approx(0.5, abs=0.02)}
    assert (found.is_feasible, found.edges, found.warnings, found.objective) == (True, {}, (), "distance")


def test_a_constraint_holds_at_all_times(model: Any) -> None:
    with pytest.warns(AnalysisWarning, match="u\\(x=0.5\\) is within its limits with a probability of 0"):
        found = model.optimise(distance, ["u(x=0.5) >= 0.4"])
    assert found.mu == {"a": pytest.approx(0.4, abs=2e-3), "b": pytest.approx(0.125, abs=0.02)}
    (limit,) = found.constraints
    assert (limit.name, limit.low, limit.high) == ("u(x=0.5)", 0.4, None)
    assert limit.value == pytest.approx(0.4, abs=1e-5)


@pytest.mark.slow
def test_a_maximum_at_the_edge_is_told_with_its_error(model: Any, coarse: Any) -> None:
    with pytest.warns(AnalysisWarning, match="edge of the trained box in a \\(high edge\\), b \\(high edge\\)"):
        found = model.optimise("max(u)", over_time="last", maximise=True)
    assert (found.edges, found.value) == ({"a": "high", "b": "high"}, pytest.approx(2, rel=1e-3))
    inside = {"a": (0.3, 0.6), "b": 0.5}
    poor = coarse.optimise("max(u)", t=[1.0], maximise=True, ranges=inside)
    assert poor.mu == {"a": pytest.approx(0.6), "b": 0.5}
    assert poor.std == pytest.approx(coarse.predict(poor.mu, [1.0]).field("u", "std")[0, 0, 10], rel=0.3)
    assert poor.low < poor.value < poor.high


@pytest.mark.slow
def test_the_region_of_training_is_not_left(model: Any) -> None:
    related = ParameterSpace(model.space.parameters, (LinearConstraint((("a", 1.0), ("b", 1.0)), high=1.0),))
    found = replace(model, space=related).optimise("max(u)", t=[1.0], maximise=True, ranges={"a": (0.1, 0.8)})
    assert found.mu["a"] + found.mu["b"] <= 1 + 1e-6
    assert found.value == pytest.approx(0.8 * 1.2, rel=0.02)  # a (1 + b) on a + b = 1 is largest at a = 0.8


def test_constraints_that_nothing_meets_are_told(model: Any) -> None:
    with pytest.warns(AnalysisWarning, match="no point of the box meets all constraints"):
        found = model.optimise("mean(u)", [("max(u)", 5.0, None)], t=[1.0])
    assert not found.is_feasible


def test_table_and_text(model: Any) -> None:
    found = model.optimise(distance, "max(u) <= 5")
    assert list(found.to_dataframe()) == ["a", "b", "value", "std", "low", "high", "max(u)", "max(u) probability"]
    assert found.constraints[0].probability == 1
    assert repr(found).startswith("Optimum(point: a = 0.")
    assert "max(u): 0.45" in repr(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "max(u)"}, "has 11 values, one for each time"),
        ({"objective": "max(u)", "over_time": "first"}, "over_time 'first': give mean, min, max, last"),
        ({"objective": distance, "constraints": "max(u) = 3"}, "write a quantity, <= or >="),
        ({"objective": distance, "constraints": ["max(u) <= 3-"]}, "write a quantity, <= or >="),
        ({"objective": distance, "constraints": [("max(u)", None, None)]}, "not both None"),
        ({"objective": distance, "constraints": ["max(w) <= 1"]}, "field 'w' is not known"),
        ({"objective": distance, "ranges": {"a": (2, 3)}}, "less than 1% of uniform"),
        ({"objective": distance, "ranges": {"a": 0.1, "b": 0.1}}, "all are fixed"),
        ({"objective": distance, "draws": 1}, "at least 2 are needed"),
    ],
)
def test_bad_input_is_refused(model: Any, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.optimise(**given)
