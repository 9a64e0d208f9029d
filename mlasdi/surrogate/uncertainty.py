"""Factors on standard deviations, from how large the errors of folds are in units of them.

Errors do not grow over time as standard deviations do: latent trajectories go apart, filaments form, and where a
trajectory goes on as the others that come further have done it is a guess. So each part of the interval of time has a
factor of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit
from torch import Tensor

from mlasdi.alignment import COMMON_TIMES, TimeScaling
from mlasdi.interpolation import CoefficientGP, Kernel
from mlasdi.preprocessing import PodBasis
from mlasdi.stages import StagedModel
from mlasdi.surrogate.error_norms import relative

N_PARTS = 4  # of the interval of time
NORMAL_90 = 1.6448536269514722  # half width of the central 90 % of a standard normal distribution
# Folds keep latent coefficients of a calibration that knew their point, and are few: when they come out well, that is
# no reason to believe in less than the deviation. Where little of the dependence on the parameters is left and that is
# smooth, in similarity variables, it is for single values.
MIN_FACTOR, MIN_FACTOR_ALIGNED = 1.0, 1 / 3


@dataclass(frozen=True)
class TimeFactors:
    """Factors over the interval of time, from 0 to 1.

    Attributes:
        values: in the middle of as many equal parts of it; linear in between, constant outside.
    """

    values: tuple[float, ...]

    def __call__(self, t: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        return np.interp(t, (np.arange(len(self.values)) + 0.5) / len(self.values), self.values)


UNCALIBRATED = TimeFactors((1.0,))


def parts_of(t: Float[np.ndarray, " time"]) -> Bool[np.ndarray, "part time"]:
    """Which times, from 0 to 1, lie in which part of the interval; those between two parts lie in both."""
    edges = np.linspace(0, 1, N_PARTS + 1)[:, None]
    return (t >= edges[:-1] - 1e-9) & (t <= edges[1:] + 1e-9)


def band_factors(quantiles: Float[np.ndarray, "fold part"], least: float = MIN_FACTOR) -> TimeFactors:
    """Factors on the standard deviation of a value, with which the normal band of 90 % holds as many of the values.

    The values of a fold are so correlated that each fold is one observation. They count with their geometric mean, and
    the band is that of Student's t with as many of them as there are.

    Args:
        quantiles: the 90 % quantile of a fold's errors in units of the predicted standard deviations; NaN where a fold
            has no values.
        least: the geometric mean counts for no less.
    """

    def typical(known: Float[np.ndarray, " known"]) -> float:
        with np.errstate(divide="ignore"):
            return float(np.exp(np.log(known / NORMAL_90).mean()))

    found = _by_part(quantiles, typical)
    return TimeFactors(tuple(student(len(quantiles)) * max(factor, least) for factor in found))


def min_factor(kernel: Kernel, *, aligned: bool) -> float:
    """`least` of `band_factors`.

    Args:
        kernel: of the standard deviations.
        aligned: whether the values are interpolated in similarity variables.
    """
    return MIN_FACTOR_ALIGNED if aligned and min(kernel.lengthscale) >= 1 else MIN_FACTOR


def error_factors(ratios: Float[np.ndarray, "fold part"]) -> TimeFactors:
    """Factors on the standard deviation of the field in the L2 norm: root mean squares over the folds.

    Args:
        ratios: the largest error of a fold over its largest standard deviation; NaN where it has no values.
    """
    found = _by_part(ratios, lambda known: float(np.sqrt(np.mean(known**2))))
    return TimeFactors(tuple(max(factor, MIN_FACTOR) for factor in found))


def _by_part(
    ratios: Float[np.ndarray, "fold part"], mean: Callable[[Float[np.ndarray, " known"]], float]
) -> list[float]:
    """Means over the folds in each part; where no fold has values, that of the part before."""
    found, before = [], 1.0
    for part in ratios.T:
        known = part[~np.isnan(part)]
        before = mean(known) if len(known) else before
        found.append(before)
    return found


def student(n_points: int) -> float:
    """Factor on the standard deviation where nothing but the variance of `n_points` is known."""
    return float(stdtrit(n_points - 1, 0.95)) / NORMAL_90


CHUNK = 32  # points whose standard deviation is computed at once


def relative_std(
    model: StagedModel,
    basis: PodBasis,
    x: Float[np.ndarray, "param d"],
    t: Float[Tensor, " time"],
    gp: CoefficientGP | None = None,
    time_scaling: TimeScaling = COMMON_TIMES,
    factors: TimeFactors = UNCALIBRATED,
) -> Float[np.ndarray, " param"]:
    """Standard deviation of the field in the L2 norm, relative to the solution's, times a factor, maximum over time.

    Args:
        t: times, with a `clock` own ones, which count until a point's end.
        gp: the GPs whose uncertainty counts; those conditioned on pending points, for example.
        factors: over each point's own interval.
    """
    found = []
    for part in np.array_split(x, range(CHUNK, len(x), CHUNK)):  # every direction is a prediction of its own
        rates = time_scaling.rate(part)[:, None]
        shares = relative_spread(model, basis, part, t, gp, time_scaling)
        calibrated = factors(t.numpy() / rates) * shares
        if not time_scaling.is_common:
            # At its end, between two times, by interpolation: what is maximised over `x` must not jump.
            ends = [np.interp(end, t, row) for end, row in zip(rates[:, 0], shares, strict=True)]
            inside = np.where(time_scaling.covers(part, t.numpy()), calibrated, 0.0)
            calibrated = np.column_stack([inside, factors(np.ones(len(part))) * ends])
        found.append(calibrated.max(axis=-1))
    return np.concatenate(found)


def relative_spread(
    model: StagedModel,
    basis: PodBasis,
    x: Float[np.ndarray, "param d"],
    t: Float[Tensor, " time"],
    gp: CoefficientGP | None,
    time_scaling: TimeScaling,
) -> Float[np.ndarray, "param time"]:
    """Standard deviation of the field in the L2 norm, relative to the solution's."""
    spread = basis.scale * model.deviations(x, t, gp, time_scaling).square().sum(dim=(0, -1)).sqrt().numpy()
    return relative(spread, basis.norm(model.mean(x, t).numpy()))
