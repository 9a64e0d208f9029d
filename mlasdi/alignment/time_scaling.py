"""Rescaled time: times in which the solutions at all parameter points evolve at the same rate.

Fronts that move faster, or vortices that are shed faster, at some parameters than at others are at different phases at
equal times; interpolation over the parameters then blurs them. So each parameter point gets a rate, and its *rescaled
time* is that rate times the time. The rates are products of powers of the parameters, with one exponent a parameter
(see `mlasdi.alignment.search` for how the exponents are found).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mlasdi.interpolation import log_parameters as log_parameters

ROUNDING = 1e-9  # of the interval: times that are beyond an end by less than this are inside


@dataclass(frozen=True)
class TimeScaling:
    """Rates over the unit cube: `exp(log_rates . log_parameters(x))`, divided by the largest value in the box.

    Attributes:
        log_rates: one exponent a parameter; none, or zeros, for times that are common to all points.
        spans: see `log_parameters`.
    """

    log_rates: tuple[float, ...]
    spans: tuple[float, ...] = ()

    @property
    def is_common(self) -> bool:
        """Whether the rate is 1 everywhere."""
        return not any(self.log_rates)

    def rate(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
        """Rates at points of the unit cube, in (0, 1]: rescaled time over time."""
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
        """Values at points `x` and times `t` of a function of points and rescaled times.

        Args:
            evaluate: the function.
            x: points of the unit cube.
            t: times, from 0 to 1.
            axis: that of the points in the values.
        """
        if self.is_common:
            return evaluate(x, t)
        return torch.cat([evaluate(x[i : i + 1], rate * t) for i, rate in enumerate(self.rate(x))], dim=axis)

    def covers(
        self, x: Float[np.ndarray, "param d"], tau: Float[np.ndarray, " time"]
    ) -> Bool[np.ndarray, "param time"]:
        """Which rescaled times lie inside the interval of time of each point."""
        return tau <= self.rate(x)[:, None] + ROUNDING


COMMON_TIMES = TimeScaling(())
