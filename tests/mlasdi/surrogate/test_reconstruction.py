"""From POD coordinates to states: compared with the affine map written out, with rescaled variables and without."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from mlasdi.alignment import AxisMap, CoordinateScaling
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.solvers import StateLayout
from mlasdi.surrogate import Probes
from mlasdi.surrogate.reconstruction import Reconstruction

Y = np.linspace(0.0, 1.0, 81)
LINE = StateLayout(("u",), {"y": Y})
FLOW = StateLayout(("u", "p"), {"y": Y})
POINTS = np.array([[0.0], [0.4], [1.0]])


def snapshots(n_fields: int) -> np.ndarray:
    """Smooth states `[sample, state]`; the second field is a hundred times as large as the first."""
    rng = np.random.default_rng(0)
    modes = np.cos(np.outer(np.arange(1, 4), np.pi * Y))
    fields = [size * (1 + rng.standard_normal((20, 3)) @ modes) for size in (1.0, 100.0)[:n_fields]]
    return np.concatenate(fields, axis=1)


def reconstruction(layout: StateLayout, scaling: CoordinateScaling | None) -> Reconstruction:
    basis = PodBasis.fit(snapshots(len(layout.fields)), BasisSettings(), layout.sizes)
    return Reconstruction(layout, basis, scaling)


def coordinates(found: Reconstruction) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((len(POINTS), 5, found.basis.rank))


def test_without_scaling_states_are_those_of_the_basis():
    found = reconstruction(LINE, None)
    c = coordinates(found)
    ((rows, basis),) = found.bases(POINTS, None)
    np.testing.assert_allclose(basis.lift(c[rows]), found.basis.mean + found.basis.scale * c @ found.basis.modes.T)
    np.testing.assert_allclose(found.at(POINTS[1]).lift(c[1]), basis.lift(c)[1])


def test_amplitudes_multiply_the_fields():
    """The amplitudes of u and p are exp(0.6 (x - 0.5)) and exp(-1.2 (x - 0.5))."""
    scaling = CoordinateScaling(FLOW, (None,), ((0.6,), (-1.2,)))
    found = reconstruction(FLOW, scaling)
    c = coordinates(found)
    for i, point in enumerate(POINTS):
        amplitudes = np.repeat(np.exp(np.array([0.6, -1.2]) * (point[0] - 0.5)), len(Y))
        np.testing.assert_allclose(found.at(point).lift(c[i]), amplitudes * found.basis.lift(c[i]), rtol=1e-9)


def test_coordinates_are_scaled_about_the_centre():
    """The state at y is the rescaled state at b + s y, away from the boundary nodes, which are treated separately."""
    scaling = CoordinateScaling(LINE, (AxisMap((0.3,), (0.1,)),))
    found = reconstruction(LINE, scaling)
    c = coordinates(found)
    inside = slice(10, -10)
    for i, point in enumerate(POINTS):
        offset, scale = (float(value[0]) for value in AxisMap((0.3,), (0.1,)).offset_and_scale(point[None]))
        expected = CubicSpline(Y, found.basis.lift(c[i]), axis=1)(offset + scale * Y)
        np.testing.assert_allclose(found.at(point).lift(c[i])[:, inside], expected[:, inside], atol=1e-3)


@pytest.mark.parametrize("scaling", [None, CoordinateScaling(FLOW, (AxisMap((0.3,), (0.1,)),), ((0.6,), (-1.2,)))])
def test_probes_are_read_from_the_states(scaling):
    found = reconstruction(FLOW, scaling)
    c = coordinates(found)
    probes = Probes.at_points(FLOW, {"y": [0.0, 0.513, 0.9]})
    for rows, basis in found.bases(POINTS, probes):
        for i in np.arange(len(POINTS))[rows]:
            expected = probes.of(found.at(POINTS[i]).lift(c[i]))
            np.testing.assert_allclose(basis.lift(c[i]), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", [None, CoordinateScaling(FLOW, (None,), ((0.6,), (-1.2,)))])
def test_norms_weigh_each_field_by_its_variation(scaling):
    found = reconstruction(FLOW, scaling)
    u = snapshots(2)
    variation = np.sqrt(np.square(u - u.mean(axis=0)).reshape(20, 2, -1).mean(axis=(0, 2)))
    expected = np.linalg.norm((u / np.repeat(variation, len(Y))), axis=1)
    np.testing.assert_allclose(found.state_norm(u), expected, rtol=1e-9)
