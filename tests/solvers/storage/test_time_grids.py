"""Common times: what is exact stays exact, the order of interpolation, and the error estimate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import to_common_times, within
from mlasdi.solvers.storage.time_grids import interpolation_error


def wave(t: np.ndarray, frequency: float = 6.0) -> Snapshots:
    x = np.linspace(0, 1, 7)
    return Snapshots(t, np.sin(frequency * t[:, None] - x))


def true_error(run: Snapshots, frequency: float = 6.0) -> float:
    """Of the interpolation from a run, measured on a fine grid; relative to the largest state."""
    t = np.linspace(run.t[0], run.t[-1], 2001)
    fine = wave(t, frequency)
    found = to_common_times([run, fine])
    truth = wave(found.t, frequency)
    return float(np.linalg.norm(found.u[0] - truth.u, axis=1).max() / np.linalg.norm(truth.u, axis=1).max())


def test_equal_times_are_left_as_they_are():
    runs = [wave(np.array([0.0, 0.1, 0.5, 2.0]), f) for f in (1.0, 2.0)]
    found = to_common_times(runs)
    assert found.error == 0.0
    np.testing.assert_array_equal(found.t, runs[0].t)
    np.testing.assert_array_equal(found.u, [run.u for run in runs])


def test_a_cubic_is_interpolated_exactly():
    """For any times; the estimated error is then rounding."""
    times = [np.linspace(0, 1, 23), np.sort(np.random.default_rng(0).uniform(-0.1, 1.1, 60))]
    runs = [Snapshots(t, np.outer(1 - t + 3 * t**3, [1.0, -2.0])) for t in times]
    found = to_common_times(runs)
    np.testing.assert_allclose(found.u[0], found.u[1], atol=1e-12)
    np.testing.assert_allclose(found.u[0], np.outer(1 - found.t + 3 * found.t**3, [1.0, -2.0]), atol=1e-12)
    assert found.error < 1e-12


def test_the_interval_is_the_overlap_with_the_times_of_the_finest_run():
    runs = [wave(np.linspace(0, 1, 11)), wave(np.linspace(0.25, 1.25, 41)), wave(np.linspace(-0.1, 0.9, 11))]
    found = to_common_times(runs)
    np.testing.assert_allclose(found.t, np.linspace(0.25, 0.9, 27))
    assert found.u.shape == (3, 27, 7)
    assert found.unused == pytest.approx(0.35)
    assert to_common_times(runs[:1] * 2).unused == 0


def test_common_times_lie_where_adaptive_steps_do():
    """A fast change at the end, which equidistant times miss; and equidistant ones for runs with equal steps."""
    times = [1 - np.geomspace(1, 1e-6, n) for n in (80, 100)]
    times = [np.append(t, 1.0) for t in times]
    runs = [Snapshots(t, np.exp(-(1 - t[:, None]) / 1e-3)) for t in times]
    found = to_common_times(runs)
    assert (len(found.t), found.t[0], found.t[-1]) == (101, 0, 1)
    assert (np.diff(found.t) > 0).all()
    assert (found.t > 0.99).sum() > 50
    np.testing.assert_allclose(found.u[0], np.exp(-(1 - found.t[:, None]) / 1e-3), atol=0.01)
    cut_off = [wave(np.append(np.arange(0, 1, step), 1.0)) for step in (0.03, 0.07)]
    np.testing.assert_array_equal(to_common_times(cut_off).t, np.linspace(0, 1, 35))


def test_interpolation_is_of_fourth_order():
    errors = [true_error(wave(np.linspace(0, 1, n))) for n in (21, 41, 81)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.4)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.4)


@pytest.mark.slow
@given(n=st.integers(17, 120), frequency=st.floats(1.0, 12.0))
def test_the_estimated_error_is_near_the_true_one(n, frequency):
    run = wave(np.linspace(0, 1, n), frequency)
    true = true_error(run, frequency)
    assert 0.2 * true < interpolation_error(run) < 20 * true


def test_the_error_of_a_jump_is_not_extrapolated_away():
    """With a moving shock, halving the step gains nothing, so the estimate is the error of leaving snapshots out."""
    x = np.linspace(0, 1, 50)
    run = Snapshots(np.linspace(0, 1, 41), (x < np.linspace(0, 1, 41)[:, None]).astype(float))
    assert interpolation_error(run) > 0.02


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_few_times_suffice(n):
    found = to_common_times([wave(np.linspace(0, 1, n), 0.5), wave(np.linspace(0, 1, n + 1), 0.5)])
    assert found.u.shape == (2, n + 1, 7)
    assert np.isfinite(found.error)


def test_a_state_that_vanishes_has_no_error():
    runs = [Snapshots(np.linspace(0, 1, n), np.zeros((n, 3))) for n in (20, 21)]
    assert to_common_times(runs).error == 0.0


@pytest.mark.parametrize(
    ("second", "told"), [((0.7, 1.7), r"share only \[0\.7, 1\]"), ((2.0, 3.0), "share no time at all")]
)
def test_runs_that_hardly_overlap_are_refused(second, told):
    with pytest.raises(ValueError, match=told):
        to_common_times([wave(np.linspace(0, 1, 11)), wave(np.linspace(*second, 11))])


def test_within_cuts_what_sticks_out():
    run = wave(np.linspace(0, 1, 11))
    assert within(run, 0.0, 1.0 - 1e-13) is run
    cut = within(run, 0.1 + 1e-13, 0.85)
    np.testing.assert_allclose(cut.t, np.linspace(0.1, 0.8, 8))
    assert cut.t[0] >= 0.1 + 1e-13  # inside for an exact comparison
    np.testing.assert_array_equal(cut.u, run.u[1:9])
