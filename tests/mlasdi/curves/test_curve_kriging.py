"""Registration along a 1-D grid: moving steps, round trips, folds, and data in which little is to be registered."""

import json
from functools import partial

import numpy as np
import pytest

from mlasdi.curves import CurveKriging
from mlasdi.curves.candidates import FEW
from mlasdi.curves.curves import CurveSpace, linear_in_index, piecewise_linear, states
from mlasdi.curves.matching import registered
from mlasdi.interpolation import Kernel, Kernels, Kriging
from mlasdi.surrogate import relative

GRID = np.linspace(0.0, 2.0, 61)
T = np.linspace(0.0, 1.0, 6)
X = np.linspace(0.0, 1.0, 6)[:, None]
KERNELS = Kernels.single(Kernel(family="matern52", lengthscale=(1.0,)))


def step(x, t=T, grid=GRID):
    """A front of which place and height depend on the parameter [point, time, 1, node]."""
    place = 0.4 + 0.8 * x[:, :1] + 0.3 * t
    return ((1 + x[:, :1, None]) / (1 + np.exp((grid - place[:, :, None]) / 0.02)))[:, :, None]


def largest_error(found, truth):
    return np.linalg.norm(found - truth, axis=(-2, -1)).max() / np.linalg.norm(truth, axis=(-2, -1)).max()


@pytest.fixture(scope="module")
def model():
    return CurveKriging.fit(X, T, step(X), GRID, KERNELS, relative)


def test_a_moving_step_errs_far_less_than_in_kriging(model):
    new = np.array([[0.31], [0.5], [0.72]])
    kriged = np.tensordot(Kriging(X, KERNELS.mean).weights(new), step(X), axes=1)
    assert largest_error(model.predict(new), step(new)) < 0.2 * largest_error(kriged, step(new))
    assert sum(member.weight for member in model.members) == pytest.approx(1)
    assert all(member.is_curve for member in model.members)


def test_curves_are_given_up_where_another_model_is_far_better(model):
    fit = partial(CurveKriging.fit, X, T, step(X), GRID, KERNELS, relative)
    assert fit(to_beat=1e-6) is None
    np.testing.assert_array_equal(fit(to_beat=0.5).predict(X), model.predict(X))


def test_a_quick_fit_registers_fewer_curves(model):
    quick = CurveKriging.fit(X, T, step(X), GRID, KERNELS, relative, is_quick=True)
    assert {member.name for member in quick.members} <= {way.name for way in FEW}
    assert not {member.name for member in model.members} <= {way.name for way in FEW}
    new = np.array([[0.31], [0.72]])
    kriged = np.tensordot(Kriging(X, KERNELS.mean).weights(new), step(X), axes=1)
    assert largest_error(quick.predict(new), step(new)) < 0.5 * largest_error(kriged, step(new))


def test_on_uneven_grids_the_nodes_are_found_as_on_even_ones():
    """By search, and by arithmetic."""
    rng = np.random.default_rng(0)
    knots, values = np.sort(rng.random((4, 30)), axis=1), rng.random((4, 2, 30))
    even = np.linspace(-0.1, 1.1, 50)
    found = piecewise_linear(knots, values, even)
    with_another = np.sort(np.append(even, 0.123))
    kept = with_another != 0.123
    np.testing.assert_allclose(piecewise_linear(knots, values, with_another)[:, :, kept], found, atol=1e-12)
    np.testing.assert_array_equal(piecewise_linear(knots, values, even, first=1), found[:, 1:])


def test_training_runs_are_reproduced(model):
    assert largest_error(model.predict(X), step(X)) < 0.05


def test_two_fields_with_jumps_at_the_same_place_stay_together():
    first = step(X)
    u = np.concatenate([first, 3 - 2 * first], axis=2)
    found = CurveKriging.fit(X, T, u, GRID, KERNELS, relative).predict(np.array([[0.5]]))
    np.testing.assert_allclose(found[:, :, 1], 3 - 2 * found[:, :, 0], atol=0.05)


def test_curves_of_states_are_these_states_again():
    """Up to the distance of the nodes of a curve."""
    u = step(X)
    space = CurveSpace.of(u, GRID, 2.0)
    curves = space.curves(u[1])
    assert curves.shape == (len(T), 2, 257)
    np.testing.assert_allclose(np.linalg.norm(np.diff(curves, axis=2), axis=1).sum(axis=1), 2.7, atol=0.5)
    physical = curves * space.unit[:, None] + space.origin[:, None]
    np.testing.assert_allclose(states(physical, GRID), u[1], atol=0.02)


def test_a_curve_has_as_many_nodes_as_a_fine_grid():
    grid = np.linspace(0.0, 1.0, 300)
    space = CurveSpace.of(np.zeros((2, 1, 1, 300)), grid, 2.0)
    assert space.curves(np.zeros((1, 1, 300))).shape == (1, 2, 300)


def test_a_jump_is_matched_to_the_jump_of_the_reference():
    """With more nodes than are matched."""
    grid = np.linspace(0.0, 2.0, 401)
    u = step(np.array([[0.0], [1.0]]), grid=grid) / [[[[1.0]]], [[[2.0]]]]  # of the same height
    space = CurveSpace.of(u, grid, 2.0)
    reference, run = (space.curves(one) for one in u)
    found = registered(reference, run, 2.0, is_signed=True)
    half = [np.argmax(curves[:, 1] < 0.5 * curves[:, 1, :1], axis=-1) for curves in (reference, run, found)]
    assert np.abs(half[1] - half[0]).min() > 40
    assert np.abs(half[2] - half[0]).max() < 0.1 * np.abs(half[1] - half[0]).min()
    np.testing.assert_allclose(found[:, :, [0, -1]], run[:, :, [0, -1]], atol=1e-12)
    np.testing.assert_allclose(registered(run, run, 2.0, is_signed=True), run, atol=1e-12)


@pytest.mark.parametrize("is_signed", [True, False])
def test_only_without_signs_a_jump_up_is_matched_to_a_jump_down(is_signed):
    up = 1 / (1 + np.exp((0.5 - GRID) / 0.02))
    down = 1 / (1 + np.exp((GRID - 1.2) / 0.02))
    u = np.stack([up, down])[:, None, None]
    space = CurveSpace.of(u, GRID, 2.0)
    reference, run = (space.curves(one) for one in u)
    found = registered(reference, run, 0.0, is_signed=is_signed)[0]
    middle = int(np.argmax(reference[0, 1] > 0.5))
    assert (abs(found[0, middle] * space.unit[0] - 1.2) < 0.05) is not is_signed


def test_rows_are_interpolated_as_numpy_does():
    rng = np.random.default_rng(0)
    knots = np.sort(rng.uniform(0, 2, (5, 12)), axis=1)
    values, at = rng.normal(size=(5, 2, 12)), np.sort(np.append(rng.uniform(-1, 3, 20), knots[0]))
    expected = [[np.interp(at, row, one) for one in of_row] for row, of_row in zip(knots, values, strict=True)]
    np.testing.assert_allclose(piecewise_linear(knots, values, at), expected, atol=1e-12)


def test_values_at_fractional_indices():
    np.testing.assert_allclose(linear_in_index(np.array([1.0, 3.0, 4.0]), np.array([0.0, 0.5, 2.0])), [1, 2, 4])
    np.testing.assert_allclose(linear_in_index(np.array([1.0]), np.array([0.0])), [1])


def test_fold_errors_are_those_of_a_model_of_the_other_points():
    left_out = tuple(np.array([i, (i + 1) % 6]) if i == 2 else np.array([i]) for i in range(6))
    kernels = Kernels(KERNELS.mean, KERNELS.mean, left_out)
    u, folds = step(X), np.array([1, 2])
    model = CurveKriging.fit(X, T, u, GRID, kernels, relative, folds)
    assert model.fold_errors.shape == (2,)
    for i, error in zip(folds, model.fold_errors, strict=True):
        fold = model.subset(np.delete(np.arange(6), left_out[i]))
        distance = np.linalg.norm(fold.predict(X[i : i + 1])[0] - u[i], axis=(1, 2))
        assert error == pytest.approx((distance / np.linalg.norm(u[i], axis=(1, 2))).max())
    assert not len(model.subset([0, 3]).fold_errors)


def test_between_times_a_step_moves_on_and_outside_it_stays(model):
    new = np.array([[0.4]])
    found = model.predict(new, np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    at_times = model.predict(new)
    np.testing.assert_allclose(found[:, [0, 1, 3, 4]], at_times[:, [0, 0, -1, -1]], atol=1e-12)
    truth = step(new, np.array([0.5]))
    of_states = 0.5 * (step(new, T[2:3]) + step(new, T[3:4]))
    assert largest_error(found[:, 2:3], truth) < 0.5 * largest_error(of_states, truth)


def test_the_state_is_all_that_a_model_needs(model):
    settings, arrays = model.state()
    again = CurveKriging.from_state(json.loads(json.dumps(settings)), arrays)
    new = np.array([[0.1], [0.9]])
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    assert json.dumps(again.state()[0]) == json.dumps(settings)
    arrays["values_0"] = arrays["values_0"][:, :2]
    with pytest.raises(ValueError, match="member 0 has values"):
        CurveKriging.from_state(settings, arrays)


def test_a_fit_is_the_same_each_time(model):
    again = CurveKriging.fit(X, T, step(X), GRID, KERNELS, relative)
    np.testing.assert_array_equal(again.predict(np.array([[0.4]])), model.predict(np.array([[0.4]])))


UNEVEN = GRID**2 / 2
TWO_POINTS = np.array([[0.1], [0.8]])


def at_rest(u):
    """States that start from zero, and a field that stays there."""
    return np.concatenate([u * T[:, None, None], 0 * u], axis=2)


@pytest.mark.parametrize(
    ("x", "t", "u", "grid"),
    [
        pytest.param(X, T, np.full((6, 6, 1, 61), 3.0), GRID, id="constant"),
        pytest.param(X, T, np.zeros((6, 6, 2, 61)), GRID, id="zero"),
        pytest.param(X, T, at_rest(step(X, grid=UNEVEN)), UNEVEN, id="uneven-grid-field-that-vanishes-start-from-rest"),
        pytest.param(X, T, step(X) * X[:, :, None, None], GRID, id="run-that-is-zero"),
        pytest.param(TWO_POINTS, T[:2], step(TWO_POINTS, T[:2]), GRID, id="two-points-and-times"),
        pytest.param(X, T[:1], step(X, T[:1])[..., :2], GRID[:2], id="one-time-and-two-nodes"),
    ],
)
def test_data_with_little_in_them_are_reproduced(x, t, u, grid):
    model = CurveKriging.fit(x, t, u, grid, KERNELS, relative)
    assert np.isfinite(model.fold_errors).all()
    assert np.isfinite(model.predict(np.array([[0.37]]), np.array([-1.0, 0.31, 3.0]))).all()
    assert np.abs(model.predict(x) - u).max() <= 0.1 * np.abs(u).max()


def test_units_and_origins_do_not_matter_to_curves():
    one, other = CurveSpace.of(step(X), GRID, 2.0), CurveSpace.of(1e3 * step(X) - 5e3, 1e-3 * GRID + 7, 2.0)
    np.testing.assert_allclose(other.curves(1e3 * step(X[2:3])[0] - 5e3), one.curves(step(X[2:3])[0]), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": GRID[::-1]}, "grid must be a list of increasing"),
        ({"grid": np.append(GRID[:-1], np.nan)}, "grid must be a list of increasing"),
        ({"grid": GRID[:1], "u": step(X)[..., :1]}, "grid has 1 nodes"),
        ({"t": np.zeros(6)}, "t must be a list of increasing"),
        ({"u": step(X)[:, :3]}, r"u has shape \(6, 3, 1, 61\); expected \[6 points, 6 times, field, 61 nodes\]"),
        ({"u": step(X)[:, :, 0]}, r"u has shape \(6, 6, 61\)"),
        ({"u": np.where(np.arange(61) == 4, np.inf, step(X))}, "u is not finite at point 0, time 0"),
        ({"x": X[:1], "u": step(X[:1])}, "x has 1 points"),
    ],
)
def test_bad_inputs_are_named(change, message):
    good = {"x": X, "t": T, "u": step(X), "grid": GRID, "kernels": KERNELS, "relative": relative}
    with pytest.raises(ValueError, match=message):
        CurveKriging.fit(**(good | change))
