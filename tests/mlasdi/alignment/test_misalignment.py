"""The alignment objective against truth: values of known functions, and errors that vanish at the right exponents."""

from dataclasses import replace

import numpy as np
import pytest

from mlasdi.alignment.misalignment import MAX_NODES, AlignmentObjective
from mlasdi.alignment.missing_values import prior_kernel
from mlasdi.interpolation import Kriging
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.solvers import StateLayout

X = np.array([[0.0], [0.35], [0.7], [1.0]])
T = np.linspace(0, 1, 41)
LINE = StateLayout(("u",), {"x": np.linspace(0, 1, 121)})
RATE, SCALE, AMPLITUDE = 0.4, -0.3, 0.5


def pulses(x: np.ndarray, layout: StateLayout = LINE) -> np.ndarray:
    """A pulse that drifts and decays: an amplitude times a function of rescaled time and place."""
    rate, scale, amplitude = (np.exp(x[:, :1, None] * log) for log in (RATE, SCALE, AMPLITUDE))
    tau, place = rate * T[:, None], 0.5 + scale * (layout.coordinates["x"] - 0.5)
    return amplitude * np.exp(-(((place - 0.4 - 0.1 * tau) / 0.08) ** 2) - 0.5 * tau)


def objective(u: np.ndarray, layout: StateLayout = LINE, x: np.ndarray = X) -> AlignmentObjective:
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-8), layout.sizes)
    return AlignmentObjective.of(x, layout, T, basis.project(u), basis, ())


def same_for_all(at: AlignmentObjective, times: np.ndarray, places: list[np.ndarray]) -> tuple:
    return np.tile(times, (len(at.x), 1)), [np.tile(place, (len(at.x), 1)) for place in places]


def test_values_are_those_of_the_trajectories_at_any_time_and_place():
    at = objective(pulses(X))
    times, places = np.array([0.111, 0.52]), [0.5 * (at.places[0] + 0.5)]
    values, known = (one[2] for one in at.values(*same_for_all(at, times, places)))
    rate, scale, amplitude = (np.exp(0.7 * log) for log in (RATE, SCALE, AMPLITUDE))
    stretched = 0.5 + scale * (places[0] - 0.5)
    truth = amplitude * np.exp(
        -(((stretched - 0.4 - 0.1 * rate * times[:, None]) / 0.08) ** 2) - 0.5 * rate * times[:, None]
    )
    inner = slice(5, -5)  # boundary nodes keep their places
    np.testing.assert_allclose(values[:, 0, inner], truth[:, inner], atol=2e-4)
    assert known.all()


def test_times_and_places_outside_of_a_trajectory_are_not_known():
    at = objective(pulses(X))
    known = at.values(*same_for_all(at, np.array([0.5, 1.2]), [at.places[0] * 1.5]))[1][0]
    assert known[0].any()
    assert not known[0].all()
    assert not known[1].any()


def test_errors_vanish_at_the_true_exponents_alone():
    at, kernel = objective(pulses(X)), prior_kernel(1)
    blank = at.no_scaling
    true = replace(blank, rates=np.array([RATE]), amplitudes=np.array([[AMPLITUDE]]), scales=np.array([[SCALE]]))
    without = np.linalg.norm(at.fit_residuals(blank, kernel))
    assert np.linalg.norm(at.fit_residuals(true, kernel)) < 0.01 * without
    for name in ("rates", "amplitudes", "scales"):
        off = replace(true, **{name: np.zeros_like(getattr(true, name))})
        assert np.linalg.norm(at.fit_residuals(off, kernel)) > 0.1 * without


def test_without_scaling_errors_are_those_of_kriging_the_states():
    u = pulses(X)
    at, kernel = objective(u), prior_kernel(1)
    rows, times = at.rows[0], np.linspace(0, 1, 12)
    sampled = np.stack([np.stack([np.interp(times, T, one) for one in run[:, rows].T], axis=-1) for run in u])
    errors = Kriging(X, kernel).leave_one_out(sampled)
    residuals = at.fit_residuals(at.no_scaling, kernel)
    scale = objective(u).c.std() / at.c.std()
    np.testing.assert_allclose(np.linalg.norm(residuals) * scale, np.sqrt(np.mean(errors**2) * 4 * 1) / 2, rtol=0.02)


def test_the_last_places_are_kept_and_never_confused():
    at = objective(pulses(X))
    first, _ = at.values(*same_for_all(at, T, at.places))
    other, _ = at.values(*same_for_all(at, T, [0.8 * at.places[0]]))
    again, _ = at.values(*same_for_all(at, T, at.places))
    assert np.abs(other - first).max() > 0.1
    np.testing.assert_array_equal(first, again)


def test_an_axis_along_which_fronts_are_not_resolved_cannot_be_scaled():
    x = LINE.coordinates["x"]
    fronts = 0.5 - 0.5 * np.tanh((x - 0.3 - 0.3 * T[:, None] * (1 + X[:, :1, None])) / 0.002)
    assert objective(fronts).nodes == [None]
    assert objective(pulses(X)).nodes[0] is not None


@pytest.mark.parametrize("scattered", [True, False])
def test_points_of_a_mesh_and_short_axes_cannot_be_scaled(scattered):
    n = 121 if scattered else 11
    coordinates = {"x": np.linspace(0, 1, n), "y": np.zeros(n)} if scattered else {"x": np.linspace(0, 1, n)}
    layout = StateLayout(("u",), coordinates, scattered=scattered)
    assert objective(pulses(X, StateLayout(("u",), {"x": np.linspace(0, 1, n)})), layout).nodes == [None]


def test_a_fine_axis_is_thinned():
    fine = StateLayout(("u",), {"x": np.linspace(0, 1, 2 * MAX_NODES + 1)})
    at = objective(pulses(X, fine), fine)
    assert len(at.nodes[0]) == MAX_NODES
    coarse = objective(pulses(X))
    errors = [np.linalg.norm(one.fit_residuals(one.no_scaling, prior_kernel(1))) / one.c.std() for one in (at, coarse)]
    assert errors[0] > 0
