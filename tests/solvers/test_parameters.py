"""The parameter space: maps to the unit cube and back, designs, and every refusal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.parameters import Parameter, ParameterSpace

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


# Refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("a", 0.9, 0.7), r"parameter 'a': low 0.9 must be less than high 0.7"),
        (("a", 0.7, 0.7), r"parameter 'a': low 0.7 must be less than high 0.7"),
        (("a", np.nan, 0.7), r"parameter 'a': bounds \[nan, 0.7\] must be finite"),
        (("a", 0.7, np.inf), r"parameter 'a': bounds \[0.7, inf\] must be finite"),
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
