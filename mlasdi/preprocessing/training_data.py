"""Trajectories of the full-order model at the training points, on common times."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from mlasdi.preprocessing.hierarchical_pod import streamed_pod
from mlasdi.preprocessing.noise import Denoised, denoised, noise_std
from mlasdi.preprocessing.pod import PodBasis
from mlasdi.preprocessing.settings import MEMORY_MB, BasisSettings, NoiseSetting
from mlasdi.solvers import ParameterSpace, StateLayout, differ_by_white_noise, evenly_spread, field_parts, not_averaged
from mlasdi.solvers.storage import StackedRuns

# Of the automatic number of times: bounds, the error of interpolation in time that is aimed at, and the values of a
# state on which it is measured. The tolerance lies below the error that models have on the development problems.
MIN_TIMES, MAX_TIMES = 101, 501
# States of at most so many values keep all times, up to `MAX_TIMES`: their cost is small, and models of ordinary
# differential equations are often better than interpolation in time.
SMALL_STATE = 8
TIME_TOLERANCE = 1e-4
SAMPLED_VALUES = 1000

# Nodes of an axis and points of a field on which rescaled variables are chosen, where the states are not in memory.
COARSE_NODES, COARSE_POINTS = 4096, 1 << 14

COPIES = 6  # of the states, and of what is derived from them, that a training in memory holds at once
# Values of each field from which noise is estimated, and of all states that are read for it, where these are not in
# memory.
NOISE_VALUES, SAMPLE = 2000, 1 << 23


@dataclass(frozen=True)
class StateSample:
    """Some values of all states.

    Attributes:
        columns: which values, increasing.
        values: `[param, time, column]`.
    """

    columns: Int[np.ndarray, " column"]
    values: Float[np.ndarray, "param time column"]

    def at(self, columns: Int[np.ndarray, " some"]) -> Float[np.ndarray, "param time some"]:
        return self.values[:, :, np.searchsorted(self.columns, columns)]


@dataclass(frozen=True)
class TrainingData:
    """Trajectories of the full-order model at the training points, on common times.

    Attributes:
        mu: parameters `[param, n_params]` in physical units.
        t: times `[time]`.
        u: states `[param, time, state]`; those that memory does not hold are read when they are used.
        sample: some values of states that are not in memory, read once for all who look at some.
        memory_mb: memory for what is as large as the states, in MB: `limited_to` stays below it.
        durations: of runs whose times are scaled so that all end together, from the first time to the last, before that
            `[param]`; None for runs at their own times.
    """

    space: ParameterSpace
    layout: StateLayout
    mu: Float[np.ndarray, "param n_params"]
    t: Float[np.ndarray, " time"]
    u: Float[np.ndarray, "param time state"] | StackedRuns
    memory_mb: int = MEMORY_MB
    sample: StateSample | None = None
    durations: Float[np.ndarray, " param"] | None = None

    def limited_to(self, memory_mb: int) -> "TrainingData":
        """The same, with the states in memory if several copies of them take at most `memory_mb`, else in blocks.

        States with fields on grids of their own are always in memory: blocks need fields of one size.
        """
        if self.layout.others or COPIES * self.u.nbytes <= memory_mb * 2**20:
            return replace(self, u=self.u.loaded() if isinstance(self.u, StackedRuns) else self.u, memory_mb=memory_mb)
        if self.sample is not None and memory_mb == self.memory_mb:
            return self
        runs = self.u if isinstance(self.u, StackedRuns) else StackedRuns.of(list(self.u))
        data = replace(self, u=runs, memory_mb=memory_mb)
        columns = np.unique(np.concatenate([*data._spread_values(), data._noise_values(), data._coarse_grid()[1]]))
        return replace(data, sample=StateSample(columns, runs.block(columns)))

    def pod(self, settings: BasisSettings) -> tuple[PodBasis, Float[np.ndarray, "param time rank"]]:
        """Basis of the states, and their coordinates in it."""
        if isinstance(self.u, StackedRuns):
            return streamed_pod(self.u, settings, len(self.layout.fields), self.memory_mb)
        basis = PodBasis.fit(self.u, settings, self.layout.sizes)
        return basis, basis.project(self.u)

    @property
    def is_streamed(self) -> bool:
        """Whether the states are read in blocks."""
        return isinstance(self.u, StackedRuns)

    def on_coarse_grid(self) -> tuple["TrainingData", Int[np.ndarray, " kept"]]:
        """The trajectories at some points, in memory; and which entries of a state these are."""
        layout, kept = self._coarse_grid()
        return replace(self, layout=layout, u=self._values(kept), sample=None), kept

    def _coarse_grid(self) -> tuple[StateLayout, Int[np.ndarray, " kept"]]:
        most = self.memory_mb * 2**20 // (COPIES * 8 * len(self.mu) * len(self.t) * len(self.layout.fields))
        return self.layout.coarsened(COARSE_NODES, max(min(COARSE_POINTS, most), 1))

    def trajectory(self, i: int, times: slice | Int[np.ndarray, " kept"] = slice(None)) -> Float[np.ndarray, "_ state"]:
        """States at one point."""
        return self.u.trajectory(i, times) if isinstance(self.u, StackedRuns) else self.u[i, times]

    def _values(self, columns: Int[np.ndarray, " column"]) -> Float[np.ndarray, "param time column"]:
        """Some values of all states."""
        if not isinstance(self.u, StackedRuns):
            return self.u[:, :, columns]
        known = self.sample is not None and bool(np.isin(columns, self.sample.columns).all())
        return self.sample.at(columns) if self.sample is not None and known else self.u.block(columns)

    def _at(self, keep: Int[np.ndarray, " kept"]) -> "TrainingData":
        """The trajectories at some of the times."""
        if not isinstance(self.u, StackedRuns):
            return replace(self, t=self.t[keep], u=self.u[:, keep])
        sample = self.sample and replace(self.sample, values=self.sample.values[:, keep])
        return replace(self, t=self.t[keep], u=self.u.at_times(keep), sample=sample)

    def lasting(self) -> "TrainingData":
        """A steady solution, at one time, as one that lasts: at two times, between which models interpolate."""
        if len(self.t) > 1:
            return self
        return replace(self._at(np.zeros(2, dtype=int)), t=self.t[0] + np.array([0.0, 1.0]))

    def thinned(self, n_time: int | Literal["auto"]) -> "TrainingData":
        """About `n_time` times, evenly spread, first and last included.

        Args:
            n_time: "auto" takes the fewest that keep the error of interpolation in time below `TIME_TOLERANCE`.
        """
        wanted = self.n_times_needed() if n_time == "auto" else n_time
        if wanted >= len(self.t):
            return self  # a copy could be as large as all else
        keep = self._spread_times(wanted)
        return self._at(keep)

    def n_times_needed(self) -> int:
        """Times with which a cubic spline gives back the others, to `TIME_TOLERANCE`; at most `MAX_TIMES`.

        Of small states all, up to as many.
        """
        wanted = MAX_TIMES if self.layout.n_state <= SMALL_STATE else MIN_TIMES
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
        keep, largest, parts = self._spread_times(n_time), 0.0, [len(columns) for columns in self._spread_values()]
        for run in self._sampled:
            for values in field_parts(run, parts):
                distance = np.linalg.norm(CubicSpline(self.t[keep], values[keep])(self.t) - values, axis=1)
                norms = np.linalg.norm(values, axis=1)
                scale = max(0.1 * norms.max(), np.finfo(float).tiny)
                largest = max(largest, float((distance / np.maximum(norms, scale)).max()))
        return largest

    @cached_property
    def _sampled(self) -> Float[np.ndarray, "param time column"]:
        """Evenly spread values of all states."""
        return self._values(np.concatenate(self._spread_values()))

    def _spread_values(self) -> list[Int[np.ndarray, " column"]]:
        """Values of a state on which the error of interpolation in time is measured, in groups that count each.

        Fields on one grid count together; those on grids of their own, which may be single numbers, count each.
        """
        sizes, n_own = self.layout.sizes, len(self.layout.own)
        groups, most = (sum(sizes[:n_own]), *sizes[n_own:]), min(SAMPLED_VALUES, self._most_sampled)
        return [start + evenly_spread(n, most) for start, n in zip(np.cumsum((0, *groups)), groups, strict=False)]

    def _noise_values(self) -> Int[np.ndarray, " column"]:
        """Values of a state from which its noise is estimated where it is not in memory: as many of each field."""
        n_fields = len(self.layout.fields)
        n_values = self.u.shape[2] // n_fields
        even = evenly_spread(n_values, min(NOISE_VALUES, self._most_sampled))
        return np.add.outer(n_values * np.arange(n_fields), even).ravel()

    @property
    def _most_sampled(self) -> int:
        """Values of a state of which all times and runs may be in memory."""
        return max(SAMPLE // (self.u.shape[0] * self.u.shape[1]), 1) if self.is_streamed else self.u.shape[2]

    def noise_std(self, setting: NoiseSetting) -> Float[np.ndarray, " field"]:
        """As `noise_std`; of states that are not in memory, from a sample of their values."""
        u = self._values(self._noise_values()) if isinstance(self.u, StackedRuns) else self.u
        return noise_std(u, self._sizes_in(u), setting)

    def _sizes_in(self, u: Float[np.ndarray, "run time value"]) -> tuple[int, ...]:
        """Number of values of each field in states, or in a sample that has as many of each."""
        n, n_fields = u.shape[-1], len(self.layout.fields)
        return self.layout.sizes if n == self.layout.n_state else (n // n_fields,) * n_fields

    def denoised(self, std: Float[np.ndarray, " field"], n_time: int) -> tuple["TrainingData", Denoised]:
        """At most `n_time` times of the states without most of their noise; all times tell what it is.

        Args:
            std: standard deviation of the noise in each field.
        """
        keep = self._spread_times(n_time)
        u = self.u.loaded() if isinstance(self.u, StackedRuns) else self.u
        found = denoised(u, self.t, std, keep, self.layout.sizes)
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
            if len(rows) > 1 and not differ_by_white_noise(runs := self._repeated(rows), self._sizes_in(runs)):
                where = str(self.space.as_dict(self.mu[row]))
                raise ValueError(not_averaged([f"row {i}" for i in rows], where))

    def averaged(self) -> tuple["TrainingData", Int[np.ndarray, " param"]]:
        """Each point once, with the mean of the runs there; and how many these are."""
        first, group, counts = self._groups()
        if len(first) == len(self.mu):
            return self, counts
        order = np.argsort(first)
        durations = self.durations
        if durations is not None:
            durations = np.bincount(group, durations)[order] / counts[order]
        once = {"mu": self.mu[first[order]], "durations": durations}
        if isinstance(self.u, StackedRuns):
            means = self.u.grouped([np.flatnonzero(group == k).tolist() for k in order])
            return replace(self, **once, u=means, sample=None), counts[order]
        u = np.stack([self.u[group == k].mean(axis=0) for k in order])
        return replace(self, **once, u=u), counts[order]

    def _repeated(self, rows: Int[np.ndarray, " run"]) -> Float[np.ndarray, "run time state"]:
        """Runs, or some of their neighbouring values where memory does not hold them: as many of each field."""
        if not isinstance(self.u, StackedRuns):
            return self.u[rows]
        n_fields, (_, n_time, n_state) = len(self.layout.fields), self.u.shape
        n = max(min(n_state // n_fields, SAMPLE // (n_time * len(rows) * n_fields)), 1)
        starts = (n_state // n_fields) * np.arange(n_fields) + (n_state // n_fields - n) // 2
        columns = np.add.outer(starts, np.arange(n)).ravel()
        return np.stack([self.u.trajectory(i, columns=columns) for i in rows.tolist()])

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
