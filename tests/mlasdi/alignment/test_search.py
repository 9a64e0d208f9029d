"""The search for exponents against truth."""

import numpy as np
import pytest

from mlasdi.alignment.misalignment import AlignmentObjective
from mlasdi.alignment.missing_values import prior_kernel
from mlasdi.alignment.search import SearchSettings, exponent_groups, fit_exponents, fit_group
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.solvers import StateLayout

X = np.array([[a, b] for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)])
T = np.linspace(0, 1, 41)
LINE = StateLayout(("u",), {"x": np.linspace(0, 1, 121)})
RATES, SHIFTS, AMPLITUDES = (0.4, -0.2), (0.1, 0.05), (-0.3, 0.6)


def objective(layout: StateLayout = LINE) -> AlignmentObjective:
    """A drifting pulse with known exponents in the first 121 nodes, and its double in another field if there is one."""
    rate, amplitude = np.exp(X @ RATES)[:, None, None], np.exp(X @ AMPLITUDES)[:, None, None]
    place = np.linspace(0, 1, 121) + (X @ SHIFTS)[:, None, None]
    u = amplitude * np.exp(-(((place - 0.4 - 0.2 * rate * T[:, None]) / 0.08) ** 2))
    u = np.concatenate([2 * u] * len(layout.fields), axis=-1)
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-8), layout.sizes)
    return AlignmentObjective.of(X, layout, T, basis.project(u), basis, ())


@pytest.fixture(scope="module")
def at() -> AlignmentObjective:
    return objective()


def names(at: AlignmentObjective, **allowed: bool) -> list[str]:
    return [group.name for group in exponent_groups(at, **({"time": True, "coordinates": True} | allowed))]


def test_groups_are_each_kind_alone_and_several_together(at):
    assert names(at) == [
        "time", "amplitudes", "place", "place and amplitudes", "time and amplitudes", "time and place", "all",
    ]  # fmt: skip
    assert names(at, few=True) == ["time", "amplitudes", "place", "time and place", "all"]
    assert names(at, few=True, time=False) == ["amplitudes", "place", "place and amplitudes"]
    assert names(at, coordinates=False) == ["time"]
    assert "time" not in " ".join(names(at, time=False))
    assert names(at, time=False, coordinates=False) == []


def test_of_a_mesh_no_coordinates_are_in_any_group():
    mesh = StateLayout(("u",), {"x": np.linspace(0, 1, 121), "y": np.zeros(121)}, scattered=True)
    assert names(objective(mesh)) == ["time", "amplitudes", "time and amplitudes"]


def test_a_group_frees_its_own_exponents_alone(at):
    groups = {group.name: group for group in exponent_groups(at, time=True, coordinates=True)}
    blank = at.no_scaling
    marked = blank.with_flat(groups["place"].free.astype(float))
    assert not marked.rates.any()
    assert not marked.amplitudes.any()
    assert marked.scales.all()
    assert marked.shifts.all()
    assert marked.centres.all()
    assert groups["all"].free.all()


def test_all_groups_together_find_the_true_exponents(at):
    (group,) = (group for group in exponent_groups(at, time=True, coordinates=True) if group.name == "all")
    *_, found = fit_group(at, group)
    np.testing.assert_allclose(found.rates, RATES, atol=0.01)
    np.testing.assert_allclose(found.amplitudes, [AMPLITUDES], atol=0.01)
    np.testing.assert_allclose(found.shifts, [SHIFTS], atol=0.01)


def test_exponents_that_are_not_free_stay(at):
    groups = {group.name: group for group in exponent_groups(at, time=True, coordinates=True)}
    start = at.no_scaling.with_flat(0.1 + np.zeros_like(at.no_scaling.flat))
    kernel = prior_kernel(2)
    found = fit_exponents(at, start, groups["amplitudes"].free, kernel, SearchSettings(n_steps=3))
    free = groups["amplitudes"].free
    np.testing.assert_array_equal(found.flat[~free], start.flat[~free])
    assert np.linalg.norm(at.fit_residuals(found, kernel)) < np.linalg.norm(at.fit_residuals(start, kernel))


def test_steps_stay_within_the_bounds(at):
    low, high = at.no_scaling.bounds()
    for group in exponent_groups(at, time=True, coordinates=True):
        flat = next(fit_group(at, group, SearchSettings(n_steps=2))).flat
        assert np.all(flat >= low)
        assert np.all(flat <= high)


def test_the_number_of_steps_is_a_setting(at):
    (group,) = (group for group in exponent_groups(at, time=True, coordinates=True) if group.name == "amplitudes")
    (none,) = fit_group(at, group, SearchSettings(n_steps=0))
    np.testing.assert_array_equal(none.flat, at.no_scaling.flat)
