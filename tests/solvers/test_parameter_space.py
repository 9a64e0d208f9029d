"""The parameter space: maps to the unit cube and back, designs, and every refusal."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.solvers import Parameter, ParameterSpace, parse_constraint
from mlasdi.solvers.constraints import Predicate

BURGERS = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
WAKE = ParameterSpace((Parameter("nu", 3.2e-4, 5.4e-4, unit="m^2/s", scale="log"),))


@st.composite
def ranges(draw: st.DrawFn) -> tuple[float, float, str]:
    """Bounds and scale of one parameter; the tests make parameters of them, outside the strategy."""
    if draw(st.booleans()):
        low = 10 ** draw(st.floats(-12, 12))
        return low, low * draw(st.floats(1.001, 1e6)), "log"
    low = draw(st.floats(-1e6, 1e6))
    return low, low + draw(st.floats(1e-3, 1e6)), "linear"


boxes = st.lists(ranges(), min_size=1, max_size=4)


@st.composite
def boxes_with_points(draw: st.DrawFn) -> tuple[list[tuple[float, float, str]], np.ndarray]:
    box = draw(boxes)
    n = draw(st.integers(1, 5))
    values = draw(st.lists(st.floats(0, 1), min_size=n * len(box), max_size=n * len(box)))
    return box, np.reshape(values, (n, len(box)))


def space_of(box: list[tuple[float, float, str]]) -> ParameterSpace:
    return ParameterSpace(tuple(Parameter(f"p{i}", low, high, scale=scale) for i, (low, high, scale) in enumerate(box)))


# Maps


@given(boxes_with_points())
def test_unit_to_physical_and_back(box_and_points):
    box, x = box_and_points
    space = space_of(box)
    mu = space.from_unit(x)
    # Rounding of the physical value and of its logarithm, relative to the width of the box.
    is_log = np.array([p.scale == "log" for p in space.parameters])
    low, high = np.where(is_log, np.log(np.maximum(space.bounds, 1e-300)), space.bounds)
    rounding = 8 * np.finfo(float).eps * (1 + (1 + np.maximum(abs(low), abs(high))) / (high - low))
    assert np.all(np.abs(space.to_unit(mu) - x) <= rounding)


@given(boxes_with_points())
def test_points_of_the_cube_stay_in_the_box(box_and_points):
    box, x = box_and_points
    space = space_of(box)
    mu = space.from_unit(x)
    low, high = space.bounds
    assert np.all((low <= mu) & (mu <= high))
    assert space.contains(mu).all()


@given(boxes)
def test_ends_of_the_cube_are_the_bounds_exactly(box):
    space = space_of(box)
    np.testing.assert_array_equal(space.from_unit(np.zeros(space.n_params)), space.bounds[0])
    np.testing.assert_array_equal(space.from_unit(np.ones(space.n_params)), space.bounds[1])
    np.testing.assert_array_equal(space.to_unit(space.bounds), [[0] * space.n_params, [1] * space.n_params])


def test_the_middle_of_the_cube_is_the_mean_of_the_scale():
    assert BURGERS.from_unit([0.5, 0.5]) == pytest.approx([0.8, 1.0])
    assert WAKE.from_unit([0.5]) == pytest.approx([np.sqrt(3.2e-4 * 5.4e-4)])  # geometric


def test_batches_of_any_shape_are_mapped():
    x = np.random.default_rng(0).random((3, 5, 2))
    np.testing.assert_array_equal(BURGERS.from_unit(x)[1, 2], BURGERS.from_unit(x[1, 2]))
    np.testing.assert_allclose(BURGERS.to_unit(BURGERS.from_unit(x)), x, atol=1e-14)


def test_points_outside_stay_outside():
    assert BURGERS.to_unit([0.6, 1.2]) == pytest.approx([-0.5, 1.5])
    assert BURGERS.from_unit([-0.5, 1.5]) == pytest.approx([0.6, 1.2])
    np.testing.assert_array_equal(BURGERS.contains([[0.8, 1.0], [0.69, 1.0], [0.8, 1.11]]), [True, False, False])


@pytest.mark.parametrize("nu", [0.0, -1e-4])
def test_what_is_not_positive_lies_below_a_log_scaled_box(nu):
    assert WAKE.to_unit([nu])[0] == -np.inf
    assert not WAKE.contains([nu])


def test_contains_allows_for_rounding_only():
    assert BURGERS.contains([0.7 - 1e-12, 1.1 + 1e-12])
    assert not BURGERS.contains([0.7 - 1e-8, 1.0])
    assert BURGERS.contains([0.7 - 1e-8, 1.0], tolerance=1e-6)


# Names and arrays


def test_names_bounds_and_labels():
    assert (BURGERS.names, BURGERS.n_params) == (("a", "w"), 2)
    np.testing.assert_array_equal(BURGERS.bounds, [[0.7, 0.9], [0.9, 1.1]])
    assert [p.label for p in BURGERS.parameters + WAKE.parameters] == ["a", "w", "nu [m^2/s]"]


@given(boxes_with_points())
def test_a_point_as_mapping_and_as_row_are_the_same(box_and_points):
    box, x = box_and_points
    space = space_of(box)
    mu = space.from_unit(x)
    named = space.as_dict(mu[0])
    assert all(type(value) is float for value in named.values())
    np.testing.assert_array_equal(space.as_array(dict(reversed(named.items()))), mu[:1])
    np.testing.assert_array_equal(space.as_array(mu[0]), mu[:1])
    np.testing.assert_array_equal(space.as_array(mu.tolist()), mu)


# Designs


def test_corners_are_all_vertices():
    np.testing.assert_array_equal(BURGERS.corners(), [[0.7, 0.9], [0.7, 1.1], [0.9, 0.9], [0.9, 1.1]])
    np.testing.assert_array_equal(WAKE.corners(), [[3.2e-4], [5.4e-4]])


@given(boxes)
def test_corners_are_distinct_and_on_the_bounds(box):
    space = space_of(box)
    corners = space.corners()
    assert len(np.unique(corners, axis=0)) == len(corners) == 2**space.n_params
    assert np.all((corners == space.bounds[0]) | (corners == space.bounds[1]))


def test_on_a_grid_the_last_parameter_varies_fastest():
    grid = BURGERS.grid([2, 3])
    np.testing.assert_allclose(grid, [[0.7, 0.9], [0.7, 1.0], [0.7, 1.1], [0.9, 0.9], [0.9, 1.0], [0.9, 1.1]])
    assert BURGERS.grid(21).shape == (441, 2)
    np.testing.assert_array_equal(BURGERS.grid(21)[[0, -1]], BURGERS.bounds)


def test_a_grid_is_equidistant_in_the_scale_of_each_parameter():
    nu = WAKE.grid(5)[:, 0]
    np.testing.assert_allclose(nu[1:] / nu[:-1], (5.4 / 3.2) ** 0.25)
    assert WAKE.grid(1)[0, 0] == pytest.approx(np.sqrt(3.2e-4 * 5.4e-4))


def test_sobol_points_follow_from_the_seed():
    np.testing.assert_array_equal(BURGERS.sobol(10, seed=3), BURGERS.sobol(10, seed=3))
    assert not np.array_equal(BURGERS.sobol(10, seed=3), BURGERS.sobol(10, seed=4))


@given(n=st.integers(0, 40), more=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_fewer_sobol_points_are_the_first_of_more(n, more, seed):
    points = BURGERS.sobol(n + more, seed)
    assert points.shape == (n + more, 2)
    np.testing.assert_array_equal(BURGERS.sobol(n, seed), points[:n])


@given(power=st.integers(1, 6), seed=st.integers(0, 1000))
def test_sobol_points_fill_the_box_evenly(power, seed):
    """2^m points put exactly one into each of 2^m equal slices, along every parameter."""
    x = BURGERS.to_unit(BURGERS.sobol(2**power, seed))
    for axis in range(2):
        np.testing.assert_array_equal(np.sort((x[:, axis] * 2**power).astype(int)), np.arange(2**power))


# Whole numbers

COUNTS = ParameterSpace((Parameter("n", 1, 4, integer=True), Parameter("m", 1, 1000, scale="log", integer=True)))


def test_integer_parameters_are_whole_in_every_design():
    mapped = COUNTS.from_unit([[0.3, 0.7], [0.5, 0]])
    for points in (COUNTS.sobol(50, seed=1), COUNTS.grid(7), COUNTS.corners(), mapped):
        np.testing.assert_array_equal(points, np.round(points))
        assert COUNTS.feasible(points).all()
    assert COUNTS.as_dict([2.0, 30.0]) == {"n": 2, "m": 30}
    assert all(type(value) is int for value in COUNTS.as_dict([2.0, 30.0]).values())
    np.testing.assert_array_equal(COUNTS.feasible([[2.0, 3.0], [2.5, 3.0], [5.0, 3.0]]), [True, False, False])


def test_a_grid_of_whole_numbers_has_each_once():
    assert sorted(ParameterSpace(COUNTS.parameters[:1]).grid(21)[:, 0]) == [1, 2, 3, 4]


def test_whole_numbers_at_the_bounds_come_as_often_as_others():
    """Rounding alone would give them half."""
    space = ParameterSpace((Parameter("n", 1, 4, integer=True), Parameter("x", 0.0, 1.0)))
    _, counts = np.unique(space.sobol(1024, seed=0)[:, 0], return_counts=True)
    assert counts.tolist() == pytest.approx([256] * 4, abs=4)


def test_a_sequence_of_whole_numbers_ends_with_them():
    space = ParameterSpace((Parameter("n", 1, 4, integer=True), Parameter("m", 0, 2, integer=True)))
    points = space.sobol(50, seed=0)
    assert sorted(map(tuple, points)) == [(n, m) for n in range(1, 5) for m in range(3)]
    np.testing.assert_array_equal(space.sobol(5, seed=0), points[:5])


# Constraints

TRIANGLE = ParameterSpace(BURGERS.parameters, (parse_constraint({"a": 1, "w": 1, "max": 1.8}),))


IN_RING = """
from math import hypot

def in_ring(a, w):
    return 0.5 < hypot((a - 0.8) / 0.1, (w - 1) / 0.1) < 1
"""


@pytest.fixture
def ring(tmp_path, monkeypatch):
    """A region that is not convex, and has no corner of the box."""
    (tmp_path / "ring_shape.py").write_text(IN_RING)
    monkeypatch.syspath_prepend(tmp_path)
    return ParameterSpace(BURGERS.parameters, (Predicate("ring_shape:in_ring"),))


def radius(points):
    """Distance from the middle of the box, in half widths of it."""
    return np.hypot(*((points - [0.8, 1.0]) / 0.1).T)


def test_designs_keep_to_linear_constraints():
    for points in (TRIANGLE.sobol(200, seed=2), TRIANGLE.corners(), TRIANGLE.grid(21), TRIANGLE.centre()[None]):
        assert (points.sum(axis=1) <= 1.8 + 1e-9).all()
    assert len(TRIANGLE.sobol(200, seed=2)) == 200
    assert len(TRIANGLE.grid(21)) == 21 * 22 / 2
    assert len(TRIANGLE.full_grid(21)) == 21**2
    assert TRIANGLE.feasible_share() == pytest.approx(0.5, abs=0.01)
    assert BURGERS.feasible_share() == 1


def test_designs_keep_to_predicates(ring):
    for points in (ring.sobol(100, seed=2), ring.corners(), ring.grid(21), ring.centre()[None]):
        assert ((radius(points) > 0.5) & (radius(points) < 1)).all()
    assert ring.feasible_share() == pytest.approx(np.pi * 0.75 / 4, abs=0.01)


def test_feasible_points_are_those_of_the_sequence_of_the_whole_box():
    whole = BURGERS.sobol(64, seed=5)
    kept = whole[whole.sum(axis=1) <= 1.8]
    np.testing.assert_allclose(TRIANGLE.sobol(len(kept), seed=5), kept, rtol=1e-12)
    np.testing.assert_array_equal(TRIANGLE.sobol(7, seed=5), TRIANGLE.sobol(20, seed=5)[:7])


def test_corners_that_break_a_constraint_are_pulled_to_its_limit(ring):
    corners = TRIANGLE.corners()
    np.testing.assert_array_equal(corners[:3], [[0.7, 0.9], [0.7, 1.1], [0.9, 0.9]])
    assert corners[3].sum() == pytest.approx(1.8, abs=1e-5)
    assert radius(ring.corners()) == pytest.approx(np.ones(4), abs=1e-4)


def test_corners_that_end_at_the_same_place_are_one():
    narrow = ParameterSpace(BURGERS.parameters, (parse_constraint({"a": 1, "w": 1, "max": 1.62}),))
    corners = BURGERS.to_unit(narrow.corners())
    apart = np.abs(corners[:, None] - corners).max(axis=-1) + np.eye(len(corners))
    assert 2 <= len(corners) < 4
    assert apart.min() >= 0.05


def test_points_are_pulled_in_no_further_than_they_must(ring):
    inner = np.tile(BURGERS.to_unit([0.8, 1.075]), (3, 1))
    outer = np.array([[0.5, 0.8], [0.5, 1.0], [0.5, 0.5]])  # feasible; on the outer rim; in the hole
    np.testing.assert_allclose(ring.last_feasible(inner, outer), [[0.5, 0.8], [0.5, 1.0], [0.5, 0.75]], atol=1e-5)


def test_constrained_whole_numbers():
    space = ParameterSpace(COUNTS.parameters, (parse_constraint({"n": 250, "m": 1, "max": 1000}),))
    points = space.sobol(100, seed=0)
    assert (points @ [250, 1] <= 1000).all()
    assert space.feasible(points).all()
    assert {1.0, 2.0, 3.0} <= set(points[:, 0])


@given(boxes_with_points())
def test_a_space_survives_json(box_and_points):
    box, _ = box_and_points
    space = space_of(box)
    limited = ParameterSpace(space.parameters, (parse_constraint({"p0": 2, "max": 3}), Predicate("shapes:fits")))
    for one in (space, limited, COUNTS):
        assert ParameterSpace.from_json(**json.loads(json.dumps(one.to_json()))) == one


def test_a_box_without_feasible_points_is_refused():
    space = ParameterSpace(BURGERS.parameters, (parse_constraint({"a": 1, "w": 1, "max": 1.5}),))
    for design in (lambda: space.sobol(1, seed=0), space.corners, space.centre):
        with pytest.raises(ValueError, match=r"none of 65,536 points of the box meets the constraints: 1 a \+ 1 w <="):
            design()


# Refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("a", 0.9, 0.7), r"parameter 'a': low 0.9 must be less than high 0.7"),
        (("a", 0.7, 0.7), r"parameter 'a': low 0.7 must be less than high 0.7"),
        (("a", np.nan, 0.7), r"parameter 'a': bounds \[nan, 0.7\] must be finite"),
        (("a", 0.7, np.inf), r"parameter 'a': bounds \[0.7, inf\] must be finite"),
        (("n", 1.5, 4, "", "linear", True), r"parameter 'n': integer needs whole bounds, got \[1.5, 4\]"),
        (("nu", 0.0, 1.0, "", "log"), r"parameter 'nu': a log scale needs low > 0, got 0.0"),
        (("nu", -1.0, 1.0, "", "log"), r"parameter 'nu': a log scale needs low > 0, got -1.0"),
    ],
)
def test_a_parameter_without_a_sensible_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Parameter(*settings)


def test_an_unknown_scale_is_refused():
    # A type checker stops the call itself; without one, the class does.
    with pytest.raises(Exception, match=r"logarithmic") as caught:
        Parameter("nu", 1.0, 2.0, scale="logarithmic")  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError | TypeError)


def test_a_space_needs_parameters_with_different_names():
    with pytest.raises(ValueError, match="needs at least one parameter"):
        ParameterSpace(())
    with pytest.raises(ValueError, match=r"parameter names must differ, got \['a', 'a'\]"):
        ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("a", 0.0, 2.0)))


@pytest.mark.parametrize(
    ("mu", "message"),
    [
        ({"a": 0.8}, r"parameters \['a'\] given; the model has \['a', 'w'\]"),
        ({"a": 0.8, "v": 1.0}, r"parameters \['a', 'v'\] given; the model has \['a', 'w'\]"),
        ({"a": 0.8, "w": 1.0, "v": 1.0}, r"parameters \['a', 'v', 'w'\] given"),
        ([0.8, 1.0, 1.0], r"parameters of shape \(1, 3\) given; expected \[n_mu, 2\] \('a', 'w'\)"),
        (np.zeros((2, 2, 2)), r"parameters of shape \(2, 2, 2\) given; expected \[n_mu, 2\]"),
        ([[0.8, 1.0], [0.8, np.nan]], r"parameters must be finite, got \[0.8, nan\]"),
        (np.zeros(2, dtype=[("w", float), ("a", float)]), r"a structured array with \['w', 'a'\] given"),
        ({"a": np.inf, "w": 1.0}, r"parameters must be finite, got \[inf, 1.0\]"),
    ],
)
def test_parameters_that_do_not_fit_the_space_are_refused(mu, message):
    with pytest.raises(ValueError, match=message):
        BURGERS.as_array(mu)


@pytest.mark.parametrize("n_per_axis", [0, [3], [3, 0], [2, 2, 2]])
def test_a_grid_without_points_or_with_the_wrong_axes_is_refused(n_per_axis):
    with pytest.raises(ValueError, match=r"give one count of at least 1, or one for each of \('a', 'w'\)"):
        BURGERS.grid(n_per_axis)


def test_points_by_name_become_rows_in_the_order_of_the_parameters():
    space = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("n", 1, 9, integer=True)))
    np.testing.assert_array_equal(space.as_array({"n": 3, "a": 0.5}), [[0.5, 3.0]])
    np.testing.assert_array_equal(space.as_array([{"a": 0.5, "n": 3}, {"n": 4, "a": 0.25}]), [[0.5, 3.0], [0.25, 4.0]])


@pytest.mark.parametrize(
    "points", [[{"a": 0.5}], [{"a": 0.5, "n": 3}, {"a": 0.5, "b": 3}], [{"a": 0.5, "n": 3}, [1, 2]]]
)
def test_points_with_other_names_are_refused(points):
    space = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("n", 1, 9, integer=True)))
    with pytest.raises(ValueError, match=r"given; the model has \['a', 'n'\]"):
        space.as_array(points)
