"""Interpolates trajectories to common times, and estimates the error of that interpolation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline, make_interp_spline

from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage.stored_runs import StackedRuns, StoredRun, block_ranges, part_of

# The times that all trajectories share must be at least this fraction of the longest trajectory: with less, most of the
# computed data would be dropped.
MIN_OVERLAP = 0.5
# Order of accuracy of cubic interpolation: the upper limit of the order that is measured.
ORDER = 4

# Relative error of the interpolation in time above which it is told: surrogates can be more accurate.
TOLD_TIME_ERROR = 1e-3
# Steps whose lengths differ by less than this part are equal.
EQUAL_STEPS = 1e-3
# Part of the longest run above which it is told that the part is not used: less is the last step of a solver.
TOLD_UNUSED = 0.01


@dataclass(frozen=True)
class CommonTimes:
    """Trajectories at common times.

    Attributes:
        t: the times `[time]`.
        runs: the trajectories, not yet read.
        error: estimated relative L2 error of the interpolation, the largest over runs and times; 0 if the times were
            equal and nothing was interpolated.
        unused: part of the longest run that lies outside the common interval.
    """

    t: Float[np.ndarray, " time"]
    runs: StackedRuns
    error: float
    unused: float = 0.0

    @property
    def u(self) -> Float[np.ndarray, "run time state"]:
        """States of all trajectories in memory."""
        return self.runs.loaded()


def to_common_times(runs: Sequence[Snapshots | StoredRun]) -> CommonTimes:
    """Trajectories at their own times if these are equal, else interpolated to times that are common to all.

    The interpolation is a cubic spline in time. Its interval is the overlap of all runs; the number of times is the
    largest number that a run has there, and they are equidistant if those of all runs are.

    Raises:
        ValueError: the runs overlap in less than `MIN_OVERLAP` of the longest one.
    """
    first, states = runs[0].t, [run.u for run in runs]
    if all(np.array_equal(run.t, first) for run in runs):
        return CommonTimes(first, StackedRuns.of(states), 0.0)
    t = _common_times([run.t for run in runs])
    common = StackedRuns.of(states, [_spline(run.t, np.eye(len(run.t)))(t) for run in runs])
    longest = max(run.t[-1] - run.t[0] for run in runs)
    unused = max(float(1 - (t[-1] - t[0]) / longest), 0.0)
    return CommonTimes(t, common, max(interpolation_error(run) for run in runs), unused)


def within(run: Snapshots | StoredRun, start: float, end: float) -> Snapshots | StoredRun:
    """The snapshots of a run at times in [start, end], up to rounding."""
    slack = 1e-9 * (end - start)
    keep = (run.t >= start - slack) & (run.t <= end + slack)
    if keep.all():
        return run
    rows = np.flatnonzero(keep)
    t = np.clip(run.t[rows], start, end)
    if isinstance(run, StoredRun):
        return replace(run, t=t, u=run.u.selected(rows))
    return replace(run, t=t, u=run.u[rows])


def stretched(run: Snapshots | StoredRun, end: float) -> Snapshots | StoredRun:
    """The run with its times scaled, from the first one on, such that it ends at `end`."""
    t = run.t[0] + (run.t - run.t[0]) * ((end - run.t[0]) / (run.t[-1] - run.t[0]))
    t[-1] = end
    return replace(run, t=t)


def interpolation_error(run: Snapshots | StoredRun) -> float:
    """Estimated relative L2 error of cubic interpolation between the times of a run (Richardson extrapolation).

    With e_2 the error of every other snapshot interpolated from the others, and e_4 the same for twice the time step,
    the observed order is p = log2(e_4 / e_2), and the estimate e_2 / 2^p. A run of fewer than nine times gets e_2.
    """
    halved = _error_of_every(run, 2)
    if run.t.size < 9 or halved == 0:
        return halved
    order = float(np.clip(np.log2(max(_error_of_every(run, 4), halved) / halved), 0, ORDER))
    return halved / 2**order


def _error_of_every(run: Snapshots | StoredRun, stride: int) -> float:
    """Largest relative error half-way between every `stride`-th snapshot, interpolated from these."""
    keep = np.arange(0, run.t.size, stride)
    left_out = keep[:-1] + stride // 2
    if not left_out.size:
        return 0.0
    squares, distances = np.zeros(run.t.size), np.zeros(left_out.size)
    for columns in block_ranges(run.u.shape[1], run.t.size):
        u = part_of(run.u, slice(None), columns)
        squares += np.sum(u**2, axis=1)
        distances += np.sum((_spline(run.t[keep], u[keep])(run.t[left_out]) - u[left_out]) ** 2, axis=1)
    return float(np.sqrt(distances.max() / squares.max())) if squares.any() else 0.0


def _spline(t: Float[np.ndarray, " time"], u: Float[np.ndarray, "time state"]) -> BSpline:
    """Interpolation in time: cubic, or linear for fewer than four times."""
    return make_interp_spline(t, u, k=3 if t.size >= 4 else 1)


def _common_times(times: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " time"]:
    """Times that lie as densely as those of the runs do on average: equidistant ones if those of all runs are.

    Solvers with adaptive steps have most of their times where the solution changes fast.
    """
    start, end = max(t[0] for t in times), min(t[-1] for t in times)
    longest = max(t[-1] - t[0] for t in times)
    if end - start < MIN_OVERLAP * longest:
        shared = f"only [{start:g}, {end:g}]" if end > start else "no time at all"
        raise ValueError(
            f"the runs span times from {min(t[0] for t in times):g} to {max(t[-1] for t in times):g} and share "
            f"{shared}: at least {MIN_OVERLAP:.0%} of the longest run must be common to all"
        )
    shared_times = [np.unique(np.concatenate([[start], t[(t > start) & (t < end)], [end]])) for t in times]
    n = max(int(((t >= start) & (t <= end)).sum()) for t in times)
    if all(_is_equidistant(t) for t in times):
        return np.linspace(start, end, n)
    every = np.unique(np.concatenate(shared_times))
    shares = [np.interp(every, t, np.linspace(0, 1, len(t))) for t in shared_times]  # of the times of a run, up to each
    inside = np.interp(np.linspace(0, 1, n)[1:-1], np.mean(shares, axis=0), every)
    return np.concatenate([[start], inside, [end]])


def _is_equidistant(t: Float[np.ndarray, " time"]) -> bool:
    """Whether the steps are equal, up to the last one, which may be cut off where a run ends."""
    steps = np.diff(t)[:-1]
    return len(steps) < 2 or bool(np.ptp(steps) <= EQUAL_STEPS * steps.mean())
