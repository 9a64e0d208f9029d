"""Trajectories of the full-order model at the training points, on common times."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from mlasdi.preprocessing.noise import Denoised, denoised
from mlasdi.solvers import ParameterSpace, StateLayout


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

    def thinned(self, n_time: int) -> "TrainingData":
        """At most `n_time` times, evenly spread, first and last included."""
        if n_time >= len(self.t):
            return self  # a copy could be as large as all else
        keep = self._spread_times(n_time)
        return replace(self, t=self.t[keep], u=self.u[:, keep])

    def denoised(self, std: Float[np.ndarray, " field"], n_time: int) -> tuple["TrainingData", Denoised]:
        """At most `n_time` times of the states without most of their noise; all times tell what it is.

        Args:
            std: standard deviation of the noise in each field.
        """
        keep = self._spread_times(n_time)
        found = denoised(self.u, self.t, std, keep)
        return replace(self, t=self.t[keep], u=found.u), found

    def averaged(self) -> tuple["TrainingData", Int[np.ndarray, " param"]]:
        """Each point once, with the mean of the runs there; and how many these are."""
        x = self.space.to_unit(self.mu).round(12)
        _, first, group, counts = np.unique(x, axis=0, return_index=True, return_inverse=True, return_counts=True)
        if len(first) == len(x):
            return self, counts
        order = np.argsort(first)
        u = np.stack([self.u[group.ravel() == k].mean(axis=0) for k in order])
        return replace(self, mu=self.mu[first[order]], u=u), counts[order]

    def _spread_times(self, n_time: int) -> Int[np.ndarray, " n"]:
        return np.unique(np.linspace(0, len(self.t) - 1, min(n_time, len(self.t))).round().astype(int))
