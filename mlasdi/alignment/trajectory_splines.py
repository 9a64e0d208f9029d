"""Training trajectories as splines in time, resampled at rescaled times and continued beyond their ends.

In rescaled time the trajectories of points with slow dynamics end before those of others. Beyond its end a trajectory
is continued from the ones that go on: by kriging over the parameters, or by regression of its recent past on theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
NEAR = 9  # times on each side by which the value of a cubic spline is decided


@dataclass(frozen=True)
class TrajectorySplines:
    """Training trajectories as functions of time, from 0 to 1.

    Attributes:
        x: points of the unit cube `[point, d]`.
        splines: coordinates `[rank]` of each point over time.
        mean: coordinates of the mean state `[rank]`; adding them makes a multiple of a state linear in its coordinates.
        continuation: how a trajectory goes on in rescaled time after its end.
            `kriging`: as the kriging of the trajectories that go on, plus the constant by which that differs from the
            last state. `regression`: as the combination of these trajectories and their rates of change that fits the
            recent past, which suits recurrent motion.
    """

    x: Float[np.ndarray, "point d"]
    splines: Sequence[CubicSpline]
    mean: Float[np.ndarray, " rank"]
    continuation: Continuation = "regression"

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "point d"],
        t: Float[np.ndarray, " time"],
        c: Float[np.ndarray, "point time rank"],
        mean: Float[np.ndarray, " rank"],
        continuation: Continuation = "regression",
    ) -> "TrajectorySplines":
        """Cubic splines through the coordinates `c` at times `t`."""
        together = CubicSpline(t, c, axis=1)
        coefficients = np.ascontiguousarray(np.moveaxis(together.c, 2, 0))  # point, power, piece, rank
        return cls(x, [CubicSpline.construct_fast(one, together.x) for one in coefficients], mean, continuation)

    def without(self, left_out: Int[np.ndarray, " left_out"]) -> "TrajectorySplines":
        """All but the trajectories at some of the points."""
        keep = np.delete(np.arange(len(self.x)), left_out).tolist()
        return replace(self, x=self.x[keep], splines=[self.splines[j] for j in keep])

    def resample_to_rescaled_time(
        self, time_scaling: TimeScaling, tau: Float[np.ndarray, " time"]
    ) -> Float[np.ndarray, "point time rank"]:
        """The trajectories at common rescaled times, each continued beyond its end from those with a larger rate.

        Args:
            tau: rescaled times, from 0 up to 1, the end of the fastest point of the box.
        """
        rates = time_scaling.rate(self.x)
        resampled = np.stack([s(np.minimum(tau / rate, 1.0)) for s, rate in zip(self.splines, rates, strict=True)])
        slopes, slope_matrix = None, np.empty((0, 0))
        if self.continuation == "regression":
            slopes, slope_matrix = np.zeros_like(resampled), CubicSpline(tau, np.eye(len(tau)))(tau, 1)
        order = np.argsort(-rates, kind="stable")
        for place, i in enumerate(order.tolist()):
            past = tau <= rates[i] + ROUNDING
            if place and not past.all():
                combined = self._combination(i, order[:place], tau - rates[i], resampled, slopes)
                near = _times_near(tau, int(past.sum()))
                at_end = CubicSpline(tau[near], combined[near], axis=0)(rates[i])
                resampled[i, ~past] = combined[~past] + (self.splines[i](1.0) - at_end)
            if slopes is not None:
                slopes[i] = slope_matrix @ resampled[i]
        return resampled

    def _combination(
        self,
        i: int,
        others: Int[np.ndarray, " other"],
        since_end: Float[np.ndarray, " time"],
        resampled: Float[np.ndarray, "point time rank"],
        slopes: Float[np.ndarray, "point time rank"] | None,
    ) -> Float[np.ndarray, "time rank"]:
        """The combination of other trajectories by which trajectory `i` is continued, at all times.

        Args:
            since_end: rescaled times since the end of trajectory `i`; negative before it.
            resampled: trajectories at rescaled times; the others are complete.
            slopes: their rates of change, for the regression, which represent small delays.
        """
        if slopes is None:
            weights = Kriging(self.x[others], prior_kernel(self.x.shape[1])).weights(self.x[i : i + 1])[0]
            return np.tensordot(weights, resampled[others], axes=1)
        constant = np.broadcast_to(self.mean, (1, *resampled.shape[1:]))
        regressors = np.concatenate([resampled[others], slopes[others], constant])
        past = np.s_[..., since_end <= ROUNDING, :MAX_MODES]
        weights = _extrapolation_weights(resampled[i][past], regressors[past], since_end[since_end <= ROUNDING])
        return np.tensordot(weights, regressors, axes=1)

    def resampling_error(self, time_scaling: TimeScaling, t: Float[np.ndarray, " time"]) -> float:
        """Root mean square norm of what is lost by resampling at as many rescaled times as times `t`, and back."""
        sampled, rates = self.resample_to_rescaled_time(time_scaling, t), time_scaling.rate(self.x)
        back = [CubicSpline(t, one, axis=0)(rate * t) for one, rate in zip(sampled, rates, strict=True)]
        truth = [spline(t) for spline in self.splines]
        return float(np.sqrt(np.mean(np.sum((np.array(back) - np.array(truth)) ** 2, axis=-1))))


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
