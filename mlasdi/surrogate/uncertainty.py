"""Standard deviations of predictions, calibrated by the errors of leave-one-out folds.

Errors do not grow over time as predicted standard deviations do: latent trajectories diverge, filaments form, and
beyond the end of a trajectory the values are extrapolated. So each part of the time interval has its own factor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit
from torch import Tensor

from mlasdi.alignment import COMMON_TIMES, TimeScaling
from mlasdi.interpolation import Kernel
from mlasdi.preprocessing import PodBasis, squares_of_sums
from mlasdi.stages import StagedModel
from mlasdi.surrogate.error_norms import relative

N_PARTS = 4  # equal parts of the time interval
NORMAL_90 = 1.6448536269514722  # half width of the central 90 % of a standard normal distribution
PART_TOLERANCE = 1e-9  # safety bound: a time between two parts belongs to both, also after rounding
FieldNorms: TypeAlias = Sequence[Float[np.ndarray, "_ column"]]
CHUNK = 32  # points whose standard deviation is computed at once: bounds the memory
# Folds are few, and they reuse coefficients fitted with the held-out point, so factors below 1 are not used. For
# aligned, smooth data factors down to 1/3 are. Chosen by the coverage of the bands and the error estimates on the
# benchmark problems, and on campaigns and Sobol designs of burgers1d: with factors below 1, 90 % bands of burgers2d in
# common variables held 60 % of the values; without them, those in rescaled variables held 96 to 99 %.
MIN_FACTOR, MIN_FACTOR_ALIGNED = 1.0, 1 / 3
# What the folds close to a point say narrows its band to this part at most. With five numbers in one smooth model the
# folds asked for 0.1, and the bands then missed the largest value of a field. On campaigns on bar, fisher, heat4 and
# kdv the share of values in the bands is the same with 0.3 to 0.7, and with no bound.
MIN_LOCAL_FACTOR = 0.5


@dataclass(frozen=True)
class TimeFactors:
    """A factor that depends on time, from 0 to 1.

    Attributes:
        values: in the middle of equal parts of the interval; linear between these, constant outside.
    """

    values: tuple[float, ...]

    def __call__(self, t: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        return np.interp(t, (np.arange(len(self.values)) + 0.5) / len(self.values), self.values)


UNCALIBRATED = TimeFactors((1.0,))


def time_parts(t: Float[np.ndarray, " time"]) -> Bool[np.ndarray, "part time"]:
    """Which times, from 0 to 1, lie in which part of the interval; a time between two parts lies in both."""
    edges = np.linspace(0, 1, N_PARTS + 1)[:, None]
    return (t >= edges[:-1] - PART_TOLERANCE) & (t <= edges[1:] + PART_TOLERANCE)


def band_factors(quantiles: Float[np.ndarray, "fold part"], least: float = MIN_FACTOR) -> TimeFactors:
    """Factors on pointwise standard deviations, such that normal 90 % bands contain 90 % of the values.

    Values of one fold are so correlated that each fold counts as one observation. With n folds of the quantiles q_i,

        factor = max(least, exp(mean log(q_i / 1.645))) t_0.95(n - 1) / 1.645 ,

    where the quantile of Student's t accounts for the small number of folds.

    Args:
        quantiles: the 90 % quantile of a fold's errors in units of the predicted standard deviations; NaN where a fold
            has no values.
        least: lower bound of the geometric mean.
    """

    def geometric_mean(known: Float[np.ndarray, " known"]) -> float:
        with np.errstate(divide="ignore"):
            return float(np.exp(np.log(known / NORMAL_90).mean()))

    means = _means_by_part(quantiles, geometric_mean)
    return TimeFactors(tuple(student_factor(len(quantiles)) * max(mean, least) for mean in means))


def min_factor(kernel: Kernel, *, aligned: bool) -> float:
    """The argument `least` of `band_factors`.

    Args:
        kernel: of the standard deviations.
        aligned: whether the values are interpolated in rescaled variables.
    """
    return MIN_FACTOR_ALIGNED if aligned and min(kernel.lengthscale) >= 1 else MIN_FACTOR


def error_factors(ratios: Float[np.ndarray, "fold part"]) -> TimeFactors:
    """Factors on the standard deviation of the field in the L2 norm: root mean squares of the ratios, at least 1.

    Args:
        ratios: the largest error of a fold over its largest standard deviation; NaN where it has no values.
    """
    means = _means_by_part(ratios, lambda known: float(np.sqrt(np.mean(known**2))))
    return TimeFactors(tuple(max(mean, MIN_FACTOR) for mean in means))


def _means_by_part(
    values: Float[np.ndarray, "fold part"], mean: Callable[[Float[np.ndarray, " known"]], float]
) -> list[float]:
    """Means over the folds in each part; where no fold has a value, the mean of the part before."""
    means, before = [], 1.0
    for part in values.T:
        known = part[~np.isnan(part)]
        before = mean(known) if len(known) else before
        means.append(before)
    return means


def student_factor(n_points: int) -> float:
    """Quantile of Student's t with `n_points - 1` degrees of freedom, over that of a normal distribution."""
    return float(stdtrit(n_points - 1, 0.95)) / NORMAL_90


def _parts(x: Float[np.ndarray, "param d"]) -> list[Float[np.ndarray, "some d"]]:
    """The points in parts of `CHUNK`."""
    return np.array_split(x, range(CHUNK, len(x), CHUNK))


def _length(steps: Float[np.ndarray, "direction *batch rank"]) -> Float[np.ndarray, "*batch"]:
    """Root sum of squares over directions and coordinates."""
    return np.sqrt(np.einsum("d...r,d...r->...", steps, steps))


@dataclass(frozen=True)
class FieldStd:
    """Standard deviation of the field in the L2 norm, relative to that of the solution.

    Attributes:
        model: the multi-stage model.
        basis: of its POD coordinates.
        time_scaling: of the model.
        factors: calibration over each point's time interval.
    """

    model: StagedModel
    basis: PodBasis
    time_scaling: TimeScaling = COMMON_TIMES
    factors: TimeFactors = UNCALIBRATED

    def uncalibrated(
        self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]
    ) -> Float[np.ndarray, "param time"]:
        """Values at points of the unit cube and rescaled times, without the factors."""
        return self.by_field(x, t, ())[0]

    def by_field(
        self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"], norms: FieldNorms
    ) -> Float[np.ndarray, "field param time"]:
        """`uncalibrated`, then the same for single fields, each relative to its own norm.

        Args:
            norms: of these fields, by `PodBasis.field_norms`.
        """
        offsets, matrices = [norm[:, 0] for norm in norms], [norm[:, 1:].T for norm in norms]
        lengths = self._lengths(x, t, matrices)
        only = self.model.stages[0].weighted_sums(x, t) if len(self.model.stages) == 1 else None
        if only is not None and len(only[1]) <= self.basis.rank:
            weights, values = only
            pairs = zip(offsets, matrices, strict=True)
            squares = [squares_of_sums(weights, offset + values @ matrix) for offset, matrix in pairs]
            return relative(lengths, np.stack([self.basis.norm_of_sums(weights, values), *map(np.sqrt, squares)]))
        sizes = []
        for part in _parts(x):
            mean = self.model.mean(part, t).numpy()
            of_fields = [
                np.linalg.norm(offset + mean @ matrix, axis=-1)
                for offset, matrix in zip(offsets, matrices, strict=True)
            ]
            sizes.append(np.stack([self.basis.norm(mean), *of_fields]))
        return relative(lengths, np.concatenate(sizes, axis=1))

    def _lengths(
        self,
        x: Float[np.ndarray, "param d"],
        t: Float[Tensor, " time"],
        matrices: Sequence[Float[np.ndarray, "rank _"]],
    ) -> Float[np.ndarray, "norm param time"]:
        """Norms of the steps of one standard deviation: of the state, and of coordinates times each matrix."""

        def norms(steps: Float[np.ndarray, "direction ... rank"]) -> Float[np.ndarray, "norm ..."]:
            return np.stack([self.basis.scale * _length(steps), *(_length(steps @ matrix) for matrix in matrices)])

        common = self.model.common_directions(x, t, self.time_scaling, for_estimate=True)
        if common is not None:
            std = common.std if common.std.ndim == 2 else common.std[:, None]
            lengths = std * norms(common.directions)[:, None]
            return lengths if common.everywhere is None else np.hypot(lengths, norms(common.everywhere)[:, None])
        deviations = partial(self.model.deviations, time_scaling=self.time_scaling, for_estimate=True)
        return np.concatenate([norms(deviations(part, t).numpy()) for part in _parts(x)], axis=1)

    def maximum(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]) -> Float[np.ndarray, " param"]:
        """The largest calibrated value over time, at points of the unit cube.

        Args:
            t: rescaled times. Those beyond a point's own interval do not count.
        """
        return self.maxima(x, t, ())[0]

    def maxima(
        self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"], norms: FieldNorms
    ) -> Float[np.ndarray, "field param"]:
        """`maximum`, then the same for single fields; see `by_field`."""
        rates = self.time_scaling.rate(x)[:, None]
        values = self.by_field(x, t, norms)
        calibrated = self.factors(t.numpy() / rates) * values
        if self.time_scaling.is_common:
            return np.asarray(calibrated.max(axis=-1))
        # The end of a point's interval lies between two times. Interpolated there, the maximum is continuous in `x`,
        # over which it is maximised.
        ends = [[np.interp(end, t, row) for end, row in zip(rates[:, 0], one, strict=True)] for one in values]
        inside = np.where(self.time_scaling.covers(x, t.numpy()), calibrated, 0.0)
        at_ends = self.factors(np.ones(len(x))) * np.array(ends)
        return np.concatenate([inside, at_ends[..., None]], axis=-1).max(axis=-1)
