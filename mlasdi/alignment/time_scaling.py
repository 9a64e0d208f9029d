"""A clock for each parameter point: times in which the solutions run alike.

Fronts that move faster, or vortices shed faster, at some parameters than at others are out of step at equal times, and
then nothing that interpolates over the parameters sees more than a blur. So each point gets a rate, and its *own time*
is that rate times the time. The rates are products of powers of the parameters, which takes one number for each of
these (see `mlasdi.alignment.search` for how they are found).

At the end of the interval the points with slow clocks have come less far than others. There, a trajectory is continued
as the combination of those that come further that has reproduced it until then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from torch import Tensor

# Of the regression that continues a trajectory: ridge on normalised regressors, and how far back it mainly looks, as a
# fraction of the interval.
RIDGE, MEMORY = 1e-4, 0.1
_EDGE = 1e-9  # of the interval; ends that are off by rounding are inside


def log_parameters(x: Float[np.ndarray, "param d"], spans: Sequence[float]) -> Float[np.ndarray, "param d"]:
    """Logarithms of the parameters, scaled so that they go from 0 to 1, too, as points `x` of the unit cube do.

    An exponential function of them is a product of powers of the parameters.

    Args:
        spans: of each parameter, the ratio of the ends of its range; one where the unit cube holds its logarithm
            already, or it has none. No spans at all are all one.
    """
    logs = np.array(x)
    for i, span in enumerate(spans):
        if span != 1:
            # Outside of the box a parameter may have no logarithm.
            logs[:, i] = np.log(np.maximum(1 + logs[:, i] * (span - 1), np.finfo(float).tiny)) / np.log(span)
    return logs


@dataclass(frozen=True)
class TimeScaling:
    """Rates over the unit cube, `exp(log_rates . log_parameters(x))` over the largest such value.

    Attributes:
        log_rates: one a parameter; none, or zeros, for times that are common to all points.
        spans: see `log_parameters`.
    """

    log_rates: tuple[float, ...]
    spans: tuple[float, ...] = ()

    @property
    def is_common(self) -> bool:
        return not any(self.log_rates)

    def rate(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
        """Rates at points of the unit cube; one at the corner where it is largest."""
        if self.is_common:
            return np.ones(len(x))
        logarithms = np.array(self.log_rates)
        return np.exp(log_parameters(x, self.spans) @ logarithms - logarithms.clip(0).sum())

    def at_rescaled_times(
        self,
        evaluate: Callable[[Float[np.ndarray, "param d"], Float[Tensor, " time"]], Tensor],
        x: Float[np.ndarray, "param d"],
        t: Float[Tensor, " time"],
        axis: int = 0,
    ) -> Tensor:
        """Values of a function of points and own times, at points `x` and times `t`.

        Args:
            axis: that of the points in the values.
        """
        if self.is_common:
            return evaluate(x, t)
        return torch.cat([evaluate(x[i : i + 1], rate * t) for i, rate in enumerate(self.rate(x))], dim=axis)

    def covers(
        self, x: Float[np.ndarray, "param d"], own: Float[np.ndarray, " time"]
    ) -> Bool[np.ndarray, "param time"]:
        """Which own times lie inside the interval of time at each point."""
        return own <= self.rate(x)[:, None] + _EDGE


COMMON_TIMES = TimeScaling(())


@dataclass(frozen=True)
class TrajectorySplines:
    """Training trajectories as functions of time, from 0 to 1.

    Attributes:
        x: points of the unit cube `[point, d]`.
        splines: coordinates `[rank]` of each point over time.
        mean: coordinates of the mean state, with which a multiple of a state is linear in its coordinates `[rank]`.
    """

    x: Float[np.ndarray, "point d"]
    splines: Sequence[CubicSpline]
    mean: Float[np.ndarray, " rank"]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "point d"],
        t: Float[np.ndarray, " time"],
        c: Float[np.ndarray, "point time rank"],
        mean: Float[np.ndarray, " rank"],
    ) -> "TrajectorySplines":
        return cls(x, [CubicSpline(t, one, axis=0) for one in c], mean)

    def without(self, left_out: Int[np.ndarray, " left_out"]) -> "TrajectorySplines":
        """All but the trajectories at some of the points."""
        keep = np.delete(np.arange(len(self.x)), left_out).tolist()
        return replace(self, x=self.x[keep], splines=[self.splines[j] for j in keep])

    def resample_to_rescaled_time(
        self, time_scaling: TimeScaling, own: Float[np.ndarray, " time"]
    ) -> Float[np.ndarray, "point time rank"]:
        """The trajectories at equal own times, those that end before continued from the ones that do not.

        Args:
            own: up to the end of the fastest clock.
        """
        rates = time_scaling.rate(self.x)
        found = np.stack([s(np.minimum(own / rate, 1.0)) for s, rate in zip(self.splines, rates, strict=True)])
        order = np.argsort(-rates, kind="stable")
        for place, i in enumerate(order):
            past = own <= rates[i] + _EDGE
            future = ~past
            if future.any():
                others = CubicSpline(own, found[order[:place]].swapaxes(0, 1), axis=0)
                weights = self._extrapolation_weights(
                    found[i, past], self._regressors(others, own[past]), own[past] - rates[i]
                )
                ahead = np.tensordot(weights, self._regressors(others, own[future]), axes=1)
                at_end = np.tensordot(weights, self._regressors(others, rates[i : i + 1]), axes=1)
                found[i, future] = ahead + (self.splines[i](1.0) - at_end)
        return found

    def _regressors(self, others: CubicSpline, own: Float[np.ndarray, " n"]) -> Float[np.ndarray, "regressor n rank"]:
        """Other trajectories and their rates of change, with which some are behind or ahead, and the mean state."""
        constant = np.broadcast_to(self.mean, (1, len(own), len(self.mean)))
        return np.concatenate([others(own).swapaxes(0, 1), others(own, 1).swapaxes(0, 1), constant])

    @staticmethod
    def _extrapolation_weights(
        past: Float[np.ndarray, "past rank"],
        regressors: Float[np.ndarray, "regressor past rank"],
        ago: Float[np.ndarray, " past"],
    ) -> Float[np.ndarray, " regressor"]:
        """Weights of the combination that reproduces the past, above all the recent one."""
        recency = np.exp(0.5 * ago / MEMORY)[:, None]
        flat = (recency * regressors).reshape(len(regressors), -1)
        size = np.maximum(np.linalg.norm(flat, axis=1), np.finfo(float).tiny)
        flat = flat / size[:, None]
        return np.linalg.solve(flat @ flat.T + RIDGE * np.eye(len(flat)), flat @ (recency * past).ravel()) / size

    def resampling_error(self, time_scaling: TimeScaling, t: Float[np.ndarray, " time"]) -> float:
        """Root mean square of what is lost on the way to as many own times as times `t`, and back."""
        sampled, rates = self.resample_to_rescaled_time(time_scaling, t), time_scaling.rate(self.x)
        back = [CubicSpline(t, one, axis=0)(rate * t) for one, rate in zip(sampled, rates, strict=True)]
        truth = [spline(t) for spline in self.splines]
        return float(np.sqrt(np.mean(np.sum((np.array(back) - np.array(truth)) ** 2, axis=-1))))
