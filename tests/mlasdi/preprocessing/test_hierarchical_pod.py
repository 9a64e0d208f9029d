"""POD from blocks: the same basis as from everything at once, within its tolerance, in little memory."""

import tracemalloc

import numpy as np
import pytest

from mlasdi.preprocessing import BasisSettings, PodBasis, streamed_pod
from mlasdi.solvers.storage import StackedRuns


def pulses(n_state: int = 400, n_runs: int = 6, n_time: int = 31) -> np.ndarray:
    """Pulses of different widths that move, on an offset."""
    x, t = np.linspace(0, 1, n_state), np.linspace(0, 1, n_time)
    widths = np.linspace(0.1, 0.2, n_runs)
    return 2 + np.exp(-(((x - 0.2 - 0.5 * t[:, None]) / widths[:, None, None]) ** 2))


def fitted(u: np.ndarray, n_fields: int = 1, memory_mb: int = 1, **settings: float) -> tuple[PodBasis, np.ndarray]:
    return streamed_pod(StackedRuns.of(list(u)), BasisSettings(**settings), n_fields, memory_mb)


def true_error(basis: PodBasis, u: np.ndarray) -> float:
    """Relative error of the projection, in the units of the basis."""
    return float(
        np.linalg.norm(basis.state_norm(basis.lift(basis.project(u)) - u)) / np.linalg.norm(basis.state_norm(u))
    )


@pytest.mark.parametrize("tolerance", [1e-3, 1e-7])
def test_one_group_gives_the_pod_itself(tolerance):
    u = pulses()
    u = np.concatenate([u, 1e4 * u**2], axis=-1)
    exact = PodBasis.fit(u, BasisSettings(tolerance=tolerance), (u.shape[-1] // 2,) * 2)
    basis, c = fitted(u, 2, tolerance=tolerance)
    assert basis.rank == exact.rank
    np.testing.assert_allclose(basis.mean, exact.mean, rtol=1e-12)
    np.testing.assert_allclose(basis.unit, exact.unit, rtol=1e-12)
    np.testing.assert_allclose(basis.scale, exact.scale, rtol=1e-12)
    assert basis.truncation_error == pytest.approx(true_error(basis, u), rel=1e-2)
    assert basis.truncation_error <= 1.1 * exact.truncation_error
    np.testing.assert_allclose(basis.project(u), c, atol=1e-6)


@pytest.mark.parametrize("max_rows", [50, 70, 100])
def test_a_hierarchy_of_groups_keeps_the_tolerance(monkeypatch, max_rows):
    monkeypatch.setattr("mlasdi.preprocessing.hierarchical_pod.MAX_ROWS", max_rows)
    u, tolerance = pulses(), 1e-4
    basis, c = fitted(u, tolerance=tolerance)
    tighter = PodBasis.fit(u, BasisSettings(tolerance=0.95 * tolerance))
    assert basis.truncation_error <= tolerance
    assert basis.rank <= tighter.rank
    assert basis.truncation_error == pytest.approx(true_error(basis, u), rel=1e-4)
    np.testing.assert_allclose(basis.project(u), c, atol=1e-6)


def test_small_tolerances_keep_double_precision():
    u = pulses()
    assert fitted(u, tolerance=1e-7)[0].modes.dtype == np.float32
    basis, _ = fitted(u, tolerance=5e-8)
    assert basis.modes.dtype == np.float64
    np.testing.assert_allclose(basis.modes.T @ basis.modes, np.eye(basis.rank), atol=1e-12)


def test_the_largest_rank_and_all_modes():
    u = pulses(n_state=60)
    assert fitted(u, max_rank=3)[0].rank == 3
    assert fitted(u, compress=False)[0].rank == PodBasis.fit(u, BasisSettings(compress=False)).rank


def test_states_that_do_not_change_have_one_mode():
    basis, c = fitted(np.full((2, 5, 30), 3.0))
    assert basis.rank == 1
    np.testing.assert_allclose(basis.lift(c), 3.0)


def test_memory_stays_below_that_of_the_snapshots(monkeypatch):
    monkeypatch.setattr("mlasdi.preprocessing.large_arrays.MAX_IN_MEMORY", 1000)
    u = pulses(n_state=40_000, n_runs=5, n_time=8)
    runs = StackedRuns.of(list(u))
    tracemalloc.start()
    try:
        streamed_pod(runs, BasisSettings(tolerance=1e-5), 1, memory_mb=16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert u.nbytes > 12e6
    assert peak < 8e6
