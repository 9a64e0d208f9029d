"""End times of runs over the parameters, by kriging of the logarithms of their durations.

Durations are positive, and often products of powers: a battery at twice the current is empty in about half the time,
and ignition delays follow an Arrhenius law. So a linear trend in the logarithms of the parameters is fitted first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from mlasdi.interpolation.kernel_selection import select_kernels
from mlasdi.interpolation.kriging import FAMILIES, PRIOR_SCALE, Kernel, Kriging

END_TIME = "end_time"  # its name among the outputs of a model
MIN_FOLDS = 3  # fewer points say nothing about the deviation
NORMAL_95 = 1.6448536269514722
# Without the trend if its errors at left-out points are less than this part of those with it: at corners of a box, of
# which one predicts the other along a parameter without effect, they hide what happens along the others.
PREFERS_TREND = 0.5
ROUNDING = 1e-9  # safety bound: of logarithms
PRIOR_STD = 0.1  # a guess: of the logarithm of a duration, where there are too few points to say


def log_parameters(x: Float[np.ndarray, "param d"], spans: Sequence[float]) -> Float[np.ndarray, "param d"]:
    """Logarithms of the parameters, scaled to run from 0 to 1 over the box.

    An exponential function of them is a product of powers of the parameters.

    Args:
        x: points of the unit cube.
        spans: for each parameter, the upper end of its range over the lower one; 1 for a parameter whose logarithm the
            unit cube holds already, or that has no logarithm. An empty sequence means 1 for all.
    """
    logs = np.array(x)
    for i, span in enumerate(spans):
        if span != 1:
            # Outside of the box a parameter may be zero or negative.
            logs[:, i] = np.log(np.maximum(1 + logs[:, i] * (span - 1), np.finfo(float).tiny)) / np.log(span)
    return logs


@dataclass(frozen=True)
class EndTimes:
    """Durations of runs over the unit cube, from the first time to the last.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        logarithms: of the durations there `[point]`.
        kernel: of the kriging of what the trend leaves.
        rougher: the kernel of standard deviations, see `Kernels.uncertainty`.
        spans: see `log_parameters`.
        has_trend: whether a linear trend in the logarithms of the parameters is fitted.
        fixed: the duration at all points where it is known, without any deviation; None where it is predicted.
        factor: on standard deviations; None for that by left-out points.
    """

    x: Float[np.ndarray, "point d"]
    logarithms: Float[np.ndarray, " point"]
    kernel: Kernel
    rougher: Kernel
    spans: tuple[float, ...] = ()
    has_trend: bool = False
    fixed: float | None = None
    factor: float | None = None

    @classmethod
    def fit(
        cls, x: Float[np.ndarray, "point d"], durations: Float[np.ndarray, " point"], spans: tuple[float, ...]
    ) -> "EndTimes":
        """From the durations of runs at different points; with a trend unless that predicts left-out points worse."""
        smooth, rough = (Kernel(family=family, lengthscale=(PRIOR_SCALE,) * x.shape[1]) for family in FAMILIES)
        plain = cls(x, np.log(durations), smooth, rough, spans)._with_kernels()
        if len(x) < x.shape[1] + 2:
            return plain
        with_trend = replace(plain, has_trend=True)._with_kernels()
        errors = [np.linalg.norm(np.log(one.left_out[0]) - one.logarithms) for one in (plain, with_trend)]
        return plain if errors[0] < PREFERS_TREND * errors[1] else with_trend

    def _with_kernels(self) -> "EndTimes":
        """With kernels for what the trend leaves."""
        rest = self._rest - self._rest.mean()
        if np.abs(rest).max() < ROUNDING:
            return self
        kernels = select_kernels(self.x, rest[:, None])
        # One number a point says little about its length scales: deviations are not those of longer ones than usual.
        scales = np.minimum(kernels.uncertainty.lengthscale, PRIOR_SCALE).tolist()
        rougher = self.rougher.model_copy(update={"lengthscale": tuple(scales)})
        return replace(self, kernel=kernels.mean, rougher=rougher)

    def with_pending(self, x: Float[np.ndarray, "q d"]) -> "EndTimes":
        """With points whose runs are under way, where the predicted durations count as known."""
        if not len(x):
            return self
        logarithms = np.append(self.logarithms, np.log(self.durations(x)))
        return replace(self, x=np.concatenate([self.x, x]), logarithms=logarithms, factor=self._factor)

    def durations(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Predicted durations at points of the unit cube."""
        if self.fixed is not None:
            return np.full(len(x), self.fixed)
        return np.asarray(np.exp(self._columns(x) @ self._trend + self._kriging.weights(x) @ self._rest))

    def std(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Standard deviation of the logarithm, which is that of the duration relative to it.

        It is calibrated by the errors at points that are left out.
        """
        if self.fixed is not None:
            return np.zeros(len(x))
        if len(self.x) < MIN_FOLDS:
            return np.full(len(x), PRIOR_STD)
        return np.asarray(self._factor * self._process_std * np.sqrt(Kriging(self.x, self.rougher).variance(x)))

    @cached_property
    def _process_std(self) -> float:
        """Standard deviation of what the trend leaves, over all points."""
        n_free, white = max(len(self.x) - len(self._trend), 1), Kriging(self.x, self.rougher).whiten(self._rest)
        return max(float(np.sqrt(np.sum(white**2) / n_free)), ROUNDING)

    @cached_property
    def left_out(self) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
        """Duration at each point as predicted from the others, and the uncalibrated deviation of its logarithm."""
        found = np.empty((2, len(self.x)))
        for i, point in enumerate(self.x):
            fold = replace(self, x=np.delete(self.x, i, axis=0), logarithms=np.delete(self.logarithms, i))
            variance = Kriging(fold.x, self.rougher).variance(point[None])[0]
            found[:, i] = fold.durations(point[None])[0], self._process_std * np.sqrt(variance)
        return found[0], found[1]

    @cached_property
    def _factor(self) -> float:
        """At least 1; wider for few points, as Student's t is."""
        if self.factor is not None:
            return self.factor
        n = len(self.x)
        if n <= MIN_FOLDS:
            return 1.0
        predicted, stds = self.left_out
        ratios = (np.log(predicted) - self.logarithms) / np.maximum(stds, np.finfo(float).tiny)
        student = float(stdtrit(n - 1, 0.95)) / NORMAL_95
        return student * max(float(np.sqrt(np.mean(ratios**2))), 1.0)

    @cached_property
    def _kriging(self) -> Kriging:
        return Kriging(self.x, self.kernel)

    @cached_property
    def _trend(self) -> Float[np.ndarray, " column"]:
        columns = self._columns(self.x)
        return np.asarray(np.linalg.lstsq(columns, self.logarithms, rcond=None)[0])

    @cached_property
    def _rest(self) -> Float[np.ndarray, " point"]:
        """What the trend leaves of the logarithms."""
        return self.logarithms - self._columns(self.x) @ self._trend

    def _columns(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n column"]:
        """A constant and, with a trend, the logarithms of the parameters."""
        constant = np.ones((len(x), 1))
        return np.column_stack([constant, log_parameters(x, self.spans)]) if self.has_trend else constant
