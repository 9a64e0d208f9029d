"""Trajectories of the full-order model at the training points, on common times."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from mlasdi.preprocessing.noise import Denoised, denoised
from mlasdi.solvers import ParameterSpace, StateLayout, differ_by_white_noise, evenly_spread, field_parts, not_averaged

# Of the automatic number of times: bounds, the error of interpolation in time that is aimed at, and the values of a
# state on which it is measured. The tolerance lies below the error that models have on the development problems.
MIN_TIMES, MAX_TIMES = 101, 501
TIME_TOLERANCE = 1e-4
SAMPLED_VALUES = 1000


@dataclass(frozen=True)
class TrainingData:
    """Trajectories of the full-order model at the training points, on common times.

    Attributes:
        mu: parameters `[param, n_params]` in physical units.
        t: times `[time]`.
        u: states `[param, time, state]`.
    """

    space: ParameterSpace
    layout: StateLayout
    mu: Float[np.ndarray, "param n_params"]
    t: Float[np.ndarray, " time"]
    u: Float[np.ndarray, "param time state"]

    def lasting(self) -> "TrainingData":
        """A steady solution, at one time, as one that lasts: at two times, between which models interpolate."""
        if len(self.t) > 1:
            return self
        return replace(self, t=self.t[0] + np.array([0.0, 1.0]), u=np.repeat(self.u, 2, axis=1))

    def thinned(self, n_time: int | Literal["auto"]) -> "TrainingData":
        """About `n_time` times, evenly spread, first and last included.

        Args:
            n_time: "auto" takes the fewest that keep the error of interpolation in time below `TIME_TOLERANCE`.
        """
        wanted = self.n_times_needed() if n_time == "auto" else n_time
        if wanted >= len(self.t):
            return self  # a copy could be as large as all else
        keep = self._spread_times(wanted)
        return replace(self, t=self.t[keep], u=self.u[:, keep])

    def n_times_needed(self) -> int:
        """Times with which a cubic spline gives back the others, to `TIME_TOLERANCE`; at most `MAX_TIMES`."""
        wanted = MIN_TIMES
        while wanted < min(len(self.t), MAX_TIMES) and self.time_error(wanted) > TIME_TOLERANCE:
            wanted = 2 * wanted - 1
        return wanted

    def time_error(self, n_time: int) -> float:
        """Largest error of a cubic spline through `n_time` times at the others, relative to the norm of the state.

        It is measured on a sample of the values of a state, and where a trajectory is small at that time, relative to a
        tenth of its largest norm.
        """
        if n_time >= len(self.t):
            return 0.0
        keep, largest = self._spread_times(n_time), 0.0
        # Fields on one grid count together; those on grids of their own, which may be single numbers, count each.
        together = sum(self.layout.sizes[: len(self.layout.own)])
        sizes = (together, *self.layout.sizes[len(self.layout.own) :])
        for run in self.u:
            for part in field_parts(run, sizes):
                values = part[:, evenly_spread(part.shape[1], SAMPLED_VALUES)]
                distance = np.linalg.norm(CubicSpline(self.t[keep], values[keep])(self.t) - values, axis=1)
                norms = np.linalg.norm(values, axis=1)
                scale = max(0.1 * norms.max(), np.finfo(float).tiny)
                largest = max(largest, float((distance / np.maximum(norms, scale)).max()))
        return largest

    def denoised(self, std: Float[np.ndarray, " field"], n_time: int) -> tuple["TrainingData", Denoised]:
        """At most `n_time` times of the states without most of their noise; all times tell what it is.

        Args:
            std: standard deviation of the noise in each field.
        """
        keep = self._spread_times(n_time)
        found = denoised(self.u, self.t, std, keep, self.layout.sizes)
        return replace(self, t=self.t[keep], u=found.u), found

    def check_repeated_runs(self) -> None:
        """Check that runs at equal parameters differ by white noise alone, so that they may be averaged.

        The states must be those of the solver: noise that is left after filtering is not white.

        Raises:
            ValueError: runs differ by more; the message names the rows of `mu`.
        """
        first, group, _ = self._groups()
        for k, row in enumerate(first):
            rows = np.flatnonzero(group == k)
            if len(rows) > 1 and not differ_by_white_noise(self.u[rows], self.layout.sizes):
                where = str(self.space.as_dict(self.mu[row]))
                raise ValueError(not_averaged([f"row {i}" for i in rows], where))

    def averaged(self) -> tuple["TrainingData", Int[np.ndarray, " param"]]:
        """Each point once, with the mean of the runs there; and how many these are."""
        first, group, counts = self._groups()
        if len(first) == len(self.mu):
            return self, counts
        order = np.argsort(first)
        u = np.stack([self.u[group == k].mean(axis=0) for k in order])
        return replace(self, mu=self.mu[first[order]], u=u), counts[order]

    def _groups(self) -> tuple[Int[np.ndarray, " group"], Int[np.ndarray, " param"], Int[np.ndarray, " group"]]:
        """Of each set of equal points the first row and their number; and to which set each row belongs."""
        x = self.space.to_unit(self.mu).round(12)
        _, first, group, counts = np.unique(x, axis=0, return_index=True, return_inverse=True, return_counts=True)
        return first, group.ravel(), counts

    def _spread_times(self, n_time: int) -> Int[np.ndarray, " n"]:
        """About `n_time` indices, equidistant where a divisor of the number of steps is near; first and last are in."""
        steps = len(self.t) - 1
        counts = np.array([steps // k for k in range(1, steps + 1) if steps % k == 0]) + 1
        near = counts[(counts >= 0.75 * n_time) & (counts <= 1.5 * n_time)]
        n = near[np.argmin(np.abs(near - n_time))] if len(near) else min(n_time, len(self.t))
        return evenly_spread(len(self.t), int(n))
