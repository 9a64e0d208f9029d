"""Rescaled coordinates: round trips, amplitudes, boundary nodes that stay, and places outside of the grid."""

import numpy as np
import pytest

from mlasdi.alignment import AxisMap, CoordinateScaling
from mlasdi.alignment.grid_splines import axis_nodes, midpoint_round_trip, n_boundary_nodes
from mlasdi.alignment.missing_values import fill_missing
from mlasdi.solvers import StateLayout

X, Y = np.linspace(-1, 1, 61), np.linspace(0, 2, 41)
LAYOUT = StateLayout(("u", "v"), {"x": X, "y": Y})
WIDER = AxisMap((0.2, -0.1), (0.02, 0.0), 0.4)
SCALING = CoordinateScaling(LAYOUT, (WIDER, None), ((0.5, 0.0), (0.0, -0.4)))
N_BOUNDARY = n_boundary_nodes(len(X))
POINTS = np.array([[0.0, 0.0], [1.0, 0.3], [0.4, 1.0]])


def smooth(times: np.ndarray) -> np.ndarray:
    u = np.exp(-(X[:, None] ** 2) - 0.3 * Y) * np.cos(times[:, None, None] + X[:, None])
    return np.stack([u, 1 - u**2], axis=1).reshape(len(times), -1)


@pytest.mark.parametrize("x", POINTS, ids=str)
def test_rescaled_states_reconstruct_the_states(x):
    u = smooth(np.linspace(0, 1, 3))
    rescaled, known = SCALING.rescaled_states(x, u)
    back = (SCALING.reconstruction_matrix(x) @ SCALING.coefficients(rescaled.T)).T
    np.testing.assert_allclose(back, u, atol=1e-4)
    inner = np.s_[:, :, N_BOUNDARY + 5 : -N_BOUNDARY - 5]
    np.testing.assert_allclose(*(one.reshape(3, 2, len(X), len(Y))[inner] for one in (back, u)), atol=5e-5)
    assert known.shape == (LAYOUT.n_state,)


def test_trajectories_are_reproduced_up_to_their_ends():
    """Also where what is filled in beyond them comes from trajectories that are not at all alike."""
    line = StateLayout(("u",), {"x": X})
    coordinate_scaling, corners = (
        CoordinateScaling(line, (AxisMap((0.0, -0.2), (1e-4, -1e-4)),)),
        np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]]),
    )
    u = np.exp(-(X**2) * (1 + corners[:, :1]) - corners[:, 1:] * X)
    pairs = [coordinate_scaling.rescaled_states(x, one[None]) for x, one in zip(corners, u, strict=True)]
    rescaled, known = np.stack([states for states, _ in pairs]), np.stack([where for _, where in pairs])
    assert not known.all()
    filled = fill_missing(corners, rescaled, known)
    back = [
        coordinate_scaling.reconstruction_matrix(x) @ coordinate_scaling.coefficients(one.T)
        for x, one in zip(corners, filled, strict=True)
    ]
    np.testing.assert_allclose(np.stack(back)[..., 0], u, atol=3e-3)


def test_rescaled_coordinates_of_the_box_fill_the_axis():
    ends = SCALING.coordinate_maps(np.random.default_rng(0).random((500, 2)))[:, 0].tolist()
    low, high = min(b for b, _ in ends), max(b + s for b, s in ends)
    assert -1e-12 < low < 0.05
    assert 0.95 < high < 1 + 1e-12
    assert SCALING.coordinate_maps(POINTS[:1])[0, 1].tolist() == [0.0, 1.0]


def test_amplitudes_are_products_of_powers_with_a_geometric_mean_of_one():
    spanned = CoordinateScaling(LAYOUT, (None, None), ((np.log(3.0), 0.0), (0.0, 0.0)), (3.0, 1.0))
    amplitudes = spanned.amplitudes(np.array([[0.0, 0.5], [0.5, 0.5], [1.0, 0.5]]))
    np.testing.assert_allclose(amplitudes[:, 0] / amplitudes[0, 0], [1, 2, 3], rtol=1e-12)
    np.testing.assert_allclose(amplitudes[0, 0] * amplitudes[2, 0], 1, rtol=1e-12)
    np.testing.assert_array_equal(amplitudes[:, 1], 1)


def test_amplitudes_alone_move_nothing():
    only, u = CoordinateScaling(LAYOUT, (None, None), ((0.5, 0.0), (0.0, 0.0))), smooth(np.zeros(1))
    rescaled, known = only.rescaled_states(np.array([1.0, 0.0]), u)
    np.testing.assert_allclose(rescaled[:, : LAYOUT.n_points], u[:, : LAYOUT.n_points] / np.exp(0.25))
    assert known.all()
    assert not only.moves


def test_boundary_nodes_hold_the_difference_from_the_interior():
    u = np.full((1, 2, len(X), len(Y)), 3.0)
    u[:, :, :N_BOUNDARY] = 7.0
    rescaled, known = SCALING.rescaled_states(POINTS[1], u.reshape(1, -1))
    amplitudes = SCALING.amplitudes(POINTS[1:2])[0][:, None, None]
    fields, where = rescaled.reshape(u.shape) * amplitudes, known.reshape(u.shape[1:])
    np.testing.assert_allclose(fields[0, :, :N_BOUNDARY], 4.0)
    np.testing.assert_allclose(fields[0, :, N_BOUNDARY:-N_BOUNDARY], 3.0)
    np.testing.assert_allclose(fields[0, :, -N_BOUNDARY:], 0.0, atol=1e-12)
    assert where[:, :N_BOUNDARY].all()
    assert where[:, -N_BOUNDARY:].all()
    back = (SCALING.reconstruction_matrix(POINTS[1]) @ SCALING.coefficients(rescaled.T)).T
    np.testing.assert_allclose(back.reshape(u.shape), u, atol=1e-12)


def test_boundary_nodes_are_a_share_of_the_axis():
    assert [n_boundary_nodes(n) for n in (24, 61, 400, 1001, 100_000)] == [2, 2, 3, 7, 750]


def test_places_outside_of_a_trajectory_are_not_known():
    _, known = SCALING.rescaled_states(POINTS[2], smooth(np.zeros(1)))
    rows = known.reshape(2, len(X), len(Y))[0]
    assert (rows == rows[:, :1]).all()
    inner = np.flatnonzero(rows[N_BOUNDARY:-N_BOUNDARY, 0])
    assert 0.6 * len(X) < len(inner) < 0.9 * len(X)
    assert np.all(np.diff(inner) == 1)


def test_descending_axes_can_be_scaled_and_short_or_unordered_ones_cannot():
    np.testing.assert_allclose(axis_nodes(X[::-1]), np.linspace(0, 1, 61))
    assert axis_nodes(X[:5]) is None
    assert axis_nodes(np.concatenate([X[30:], X[:30]])) is None
    assert axis_nodes(np.ones(40)) is None


def test_the_round_trip_to_midpoints_shows_what_a_grid_resolves():
    nodes = np.linspace(0, 1, 61)
    wave, step = np.sin(7 * nodes), (nodes > 0.5).astype(float)
    assert np.abs(midpoint_round_trip(nodes, wave) - wave).max() < 1e-4
    assert np.abs(midpoint_round_trip(nodes, step) - step).max() > 0.05
