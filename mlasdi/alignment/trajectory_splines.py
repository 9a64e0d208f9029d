"""Training trajectories as splines in time, resampled at rescaled times and continued beyond their ends.

In rescaled time the trajectories of points with slow dynamics end before those of others. Beyond its end a trajectory
is continued from the ones that go on: by kriging over the parameters, or by regression of its recent past on theirs.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from mlasdi.alignment.missing_values import prior_kernel
from mlasdi.alignment.time_scaling import ROUNDING, TimeScaling
from mlasdi.interpolation import Kriging

Continuation: TypeAlias = Literal["kriging", "regression"]

# Of the regression: ridge on normalised regressors, and the time over which the weights of the past fall by a factor
# e^(1/2), as a fraction of the interval. Chosen on the first benchmark problems (see `grid_splines`).
RIDGE, MEMORY = 1e-4, 0.1
MAX_MODES = 40  # leading coordinates to which the weights of the regression are fitted
MOST_REMEMBERED = 1 << 24  # values of the matrices that are kept: bounds the memory
NEAR = 9  # times on each side by which the value of a cubic spline is decided


@dataclass(frozen=True)
class TrajectorySplines:
    """Training trajectories as cubic splines in time, from 0 to 1.

    Attributes:
        x: points of the unit cube `[point, d]`.
        t: times of the knots `[time]`.
        c: coordinates at these `[point, time, rank]`.
        mean: coordinates of the mean state `[rank]`; adding them makes a multiple of a state linear in its coordinates.
        continuation: how a trajectory goes on in rescaled time after its end.
            `kriging`: as the kriging of the trajectories that go on, plus the constant by which that differs from the
            last state. `regression`: as the combination of these trajectories and their rates of change that fits the
            recent past, which suits recurrent motion.
        at_times: shared with subsets: a fold samples its trajectories at the same times.
    """

    x: Float[np.ndarray, "point d"]
    t: Float[np.ndarray, " time"]
    c: Float[np.ndarray, "point time rank"]
    mean: Float[np.ndarray, " rank"]
    continuation: Continuation = "regression"
    at_times: "SplineValues" = field(default_factory=lambda: SplineValues(), compare=False, repr=False)

    def without(self, left_out: Int[np.ndarray, " left_out"]) -> "TrajectorySplines":
        """All but the trajectories at some of the points."""
        keep = np.delete(np.arange(len(self.x)), left_out)
        return replace(self, x=self.x[keep], c=self.c[keep])

    def resample_to_rescaled_time(
        self, time_scaling: TimeScaling, tau: Float[np.ndarray, " time"]
    ) -> Float[np.ndarray, "point time rank"]:
        """The trajectories at common rescaled times, each continued beyond its end from those with a larger rate.

        Args:
            tau: rescaled times, from 0 up to 1, the end of the fastest point of the box.
        """
        rates = time_scaling.rate(self.x)
        own = zip(rates.tolist(), self.c, strict=True)
        resampled = np.stack([self.at_times(self.t, np.minimum(tau / rate, 1.0)) @ one for rate, one in own])
        slopes, slope_matrix = None, np.empty((0, 0))
        if self.continuation == "regression":
            slopes, slope_matrix = np.zeros_like(resampled), CubicSpline(tau, np.eye(len(tau)))(tau, 1)
        order = np.argsort(-rates, kind="stable")
        kriging = Kriging(self.x[order], prior_kernel(self.x.shape[1])).sequential_weights
        for place, i in enumerate(order.tolist()):
            past = tau <= rates[i] + ROUNDING
            if place and not past.all():
                if slopes is None:
                    combined = np.tensordot(kriging[place, :place], resampled[order[:place]], axes=1)
                else:
                    combined = self._regression(i, order[:place], tau - rates[i], resampled, slopes)
                near = _times_near(tau, int(past.sum()))
                at_end = self.at_times(tau[near], rates[i : i + 1])[0] @ combined[near]
                resampled[i, ~past] = combined[~past] + (self.c[i, -1] - at_end)
            if slopes is not None:
                slopes[i] = slope_matrix @ resampled[i]
        return resampled

    def _regression(
        self,
        i: int,
        others: Int[np.ndarray, " other"],
        since_end: Float[np.ndarray, " time"],
        resampled: Float[np.ndarray, "point time rank"],
        slopes: Float[np.ndarray, "point time rank"],
    ) -> Float[np.ndarray, "time rank"]:
        """The combination of other trajectories by which trajectory `i` is continued, at all times.

        Args:
            since_end: rescaled times since the end of trajectory `i`; negative before it.
            resampled: trajectories at rescaled times; the others are complete.
            slopes: their rates of change, which represent small delays.
        """
        constant = np.broadcast_to(self.mean, (1, *resampled.shape[1:]))
        regressors = np.concatenate([resampled[others], slopes[others], constant])
        past = np.s_[..., since_end <= ROUNDING, :MAX_MODES]
        weights = _extrapolation_weights(resampled[i][past], regressors[past], since_end[since_end <= ROUNDING])
        return np.tensordot(weights, regressors, axes=1)

    def resampling_error(self, time_scaling: TimeScaling, t: Float[np.ndarray, " time"]) -> float:
        """Root mean square norm of what is lost by resampling at as many rescaled times as times `t`, and back."""
        sampled, rates = self.resample_to_rescaled_time(time_scaling, t), time_scaling.rate(self.x)
        lost = [
            self.at_times(t, rate * t) @ one - self.at_times(self.t, t) @ truth
            for rate, one, truth in zip(rates.tolist(), sampled, self.c, strict=True)
        ]
        return float(np.sqrt(np.mean(np.sum(np.square(lost), axis=-1))))


@dataclass(frozen=True)
class SplineValues:
    """Values of cubic splines at given times as matrices on their values at the knots, remembered."""

    known: dict[bytes, Float[np.ndarray, "m n"]] = field(default_factory=dict)

    def __call__(self, knots: Float[np.ndarray, " n"], t: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m n"]:
        """The matrix from values at the knots to those of their splines at times `t`."""
        key = knots.tobytes() + t.tobytes()
        matrix = self.known.get(key)
        if matrix is None:
            matrix = np.asarray(CubicSpline(knots, np.eye(len(knots)))(t))
            if sum(one.size for one in self.known.values()) + matrix.size > MOST_REMEMBERED:
                self.known.clear()
            self.known[key] = matrix
        return matrix


def _times_near(tau: Float[np.ndarray, " time"], place: int) -> slice:
    """Times by which the value of a spline near time number `place` is decided: the influence of others is 1e-5."""
    first = min(max(place - NEAR, 0), max(len(tau) - 2 * NEAR, 0))
    return slice(first, first + 2 * NEAR)


def _extrapolation_weights(
    past: Float[np.ndarray, "past rank"],
    regressors: Float[np.ndarray, "regressor past rank"],
    ago: Float[np.ndarray, " past"],
) -> Float[np.ndarray, " regressor"]:
    """Weights of the combination that reproduces the past; recent times count more."""
    recency = np.exp(0.5 * ago / MEMORY)[:, None]
    flat = (recency * regressors).reshape(len(regressors), -1)
    size = np.maximum(np.linalg.norm(flat, axis=1), np.finfo(float).tiny)
    flat = flat / size[:, None]
    return np.linalg.solve(flat @ flat.T + RIDGE * np.eye(len(flat)), flat @ (recency * past).ravel()) / size
