"""Noise in the training snapshots: its level estimated from them, and most of it taken off.

The model of the noise is white: independent between all values of all snapshots, and of one standard deviation in each
field. Everything here goes by what random matrix theory says of such noise: the singular values of a matrix of noise
alone follow the Marchenko-Pastur law, and what is left of a signal below a threshold is not worth having (M. Gavish and
D. L. Donoho, arXiv 1305.5870). A spectrum that does not follow the law, as those of clean solutions do not, counts as
free of noise and is left exactly as it is. Correlated noise is not recognised; its level can be given.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

NoiseSetting = Literal["estimate", "none"] | Annotated[float, Field(gt=0, le=10)]

# The law is compared with the smaller part of the spectrum at these quantiles.
_QUANTILES = np.linspace(0.2, 0.7, 6)
# Eigenvalues at the quantiles may be this far, relatively, from those of noise; with clean data they are by factors.
_LIKE_NOISE = 0.15
# Relative levels below are those of rounding in single precision, which no model comes near.
_SMALLEST = 1e-6
# Values of a field that are looked at: the law holds for any part of the data.
_SNAPSHOTS, _STATES, _FEWEST = 400, 2000, 20
_PASSES = 3  # of finding modes and polynomials in turn; the third changes next to nothing
_RESOLVED = 0.8  # part of the polynomials up to which they are few enough for the solutions
_MARGIN = 2  # times as many functions of time as stand out of the noise


@dataclass(frozen=True)
class Denoised:
    """Snapshots without most of their noise.

    Attributes:
        u: the snapshots `[param, time, state]`.
        left: standard deviation of the noise that is left in each value, mean over the snapshots `[state]`.
        level: of the noise that was there, as in `noise_std`; the largest of all fields.
        modes_error: relative L2 error of the snapshots, all together, that comes of noise in the modes. It is the same
            at training points and elsewhere: no comparison with the data shows it.
    """

    u: Float[np.ndarray, "param time state"]
    left: Float[np.ndarray, " state"]
    level: float
    modes_error: float


def noise_std(
    u: Float[np.ndarray, "param time state"], n_fields: int, setting: NoiseSetting
) -> Float[np.ndarray, " field"]:
    """Standard deviation of the noise in each field; zeros where there is none.

    Args:
        setting: `estimate` it, `none`, or its level: the standard deviation of the noise relative to that of the
            values of the field without noise.
    """
    if setting == "none":
        return np.zeros(n_fields)
    fields = np.split(u.reshape(-1, u.shape[-1]), n_fields, axis=-1)
    if setting == "estimate":
        return np.array([_estimated(field) for field in fields])
    return np.array([field.std() for field in fields]) * setting / np.sqrt(1 + setting**2)


def relative_level(u: Float[np.ndarray, "param time state"], std: Float[np.ndarray, " field"]) -> float:
    """The largest level among the fields, as in `noise_std`."""
    spread = np.array([field.std() for field in np.split(u, len(std), axis=-1)])
    return float(np.max(std / np.sqrt(np.maximum(spread**2 - std**2, np.finfo(float).tiny))))


def _estimated(snapshots: Float[np.ndarray, "sample value"]) -> float:
    """Level from the median of the spectrum (arXiv 1305.5870, section III.E), zero if the rest of it does not agree."""
    rows, columns = (
        np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
        for n, most in zip(snapshots.shape, (_SNAPSHOTS, _STATES), strict=True)
    )
    part = snapshots[np.ix_(rows, columns)]
    part = part - part.mean(axis=0)
    n, long = min(part.shape), max(part.shape)
    if n < _FEWEST:
        return 0.0
    spectrum = np.linalg.eigvalsh(part @ part.T if len(part) == n else part.T @ part)
    law = long * marchenko_pastur(n / long, _QUANTILES)
    variance, n_signal, seen = 0.0, 0, set[int]()
    while n_signal not in seen:  # the signal is not part of the spectrum that follows the law
        seen.add(n_signal)
        found = np.quantile(spectrum[: n - n_signal], _QUANTILES)
        variance = max(float(np.median(found / law)), 0.0)
        n_signal = min(int(np.sum(spectrum > long * variance * hard_threshold(n / long) ** 2)), n // 2)
    smallest = (_SMALLEST * part.std()) ** 2
    if variance <= smallest or np.abs(found / (variance * law) - 1).max() > _LIKE_NOISE:
        return 0.0
    return float(np.sqrt(variance))


def marchenko_pastur(shape: float, quantiles: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    """Quantiles of the eigenvalues of `X X^T / m` for an `n x m` matrix of unit white noise, `shape` = n / m <= 1."""
    low, high = (1 - np.sqrt(shape)) ** 2, (1 + np.sqrt(shape)) ** 2
    # In this angle the density, which is not bounded at the ends for square matrices, is smooth.
    angle = np.pi * (np.arange(4096) + 0.5) / 4096
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    mass = np.cumsum(np.sin(angle) ** 2 / x)
    return np.interp(quantiles, mass / mass[-1], x)


def hard_threshold(shape: float) -> float:
    """Below this times `sqrt(m)` a singular value of an `n x m` matrix with unit white noise is better dropped.

    Equation 11 of arXiv 1305.5870; `shape` = n / m <= 1.
    """
    return float(np.sqrt(2 * (shape + 1) + 8 * shape / (shape + 1 + np.sqrt(shape**2 + 14 * shape + 1))))


def denoised(
    u: Float[np.ndarray, "param time state"],
    t: Float[np.ndarray, " time"],
    std: Float[np.ndarray, " field"],
    keep: Int[np.ndarray, " kept"],
) -> Denoised:
    """Project the snapshots onto the modes in space that stand out of the noise, and onto few functions of time.

    The modes are singular vectors above the optimal hard threshold. The functions of time, polynomials where the
    solutions are smooth enough, average over the snapshots, so all times should be given; and with them the modes stand
    out of much less noise, so that the two are found in turn.

    Args:
        keep: times of the result, as indices.
    """
    n_param, n_time, n_state = u.shape
    spread = np.array([field.std() for field in np.split(u, len(std), axis=-1)])
    # A field with much less noise than others weighs more, but not without bound.
    unit = np.repeat(np.maximum(std, _SMALLEST * np.where(spread > 0, spread, 1.0)), n_state // len(std))
    mean = u.mean(axis=(0, 1))
    white = (u - mean) / unit
    polynomials = _polynomials(t)
    compressed = white
    for _ in range(_PASSES):
        vectors, rank = _modes(compressed.reshape(-1, n_state))
        modes = vectors[:, :rank]
        series = np.moveaxis(white @ modes, 1, 0).reshape(n_time, -1)
        functions, n_needed = _in_time(series, polynomials)
        compressed = np.tensordot(white, functions[:, :n_needed], axes=(1, 0)).swapaxes(1, 2)
    # What is dropped here all that follows would take for the solution; what is kept too much averages out there.
    functions = functions[:, : _MARGIN * n_needed]
    smooth = functions[keep] @ (functions.T @ series)
    coordinates = np.moveaxis(smooth.reshape(len(keep), n_param, -1), 0, 1)
    left = unit * np.sqrt(np.sum(modes**2, axis=1) * functions.shape[1] / n_time)
    u_kept = mean + unit * (coordinates @ modes.T)
    # Of the noise in all values a mode of n of them takes n parts.
    in_modes = modes.shape[1] / (n_param * n_time) * np.sum(unit**2)
    modes_error = float(np.sqrt(in_modes / np.mean(np.sum(u_kept**2, axis=-1))))
    return Denoised(u_kept, left, relative_level(u, std), modes_error)


def _modes(a: Float[np.ndarray, "sample value"]) -> tuple[Float[np.ndarray, "value some"], int]:
    """Leading right singular vectors, and how many stand out of unit white noise: at least one."""
    short, long = sorted(a.shape)
    tall = a.shape[0] > a.shape[1]
    values, vectors = np.linalg.eigh(a.T @ a if tall else a @ a.T)
    rank = max(int(np.sum(values > long * hard_threshold(short / long) ** 2)), 1)
    leading = vectors[:, ::-1][:, : _MARGIN * rank]
    return (leading if tall else np.linalg.qr(a.T @ leading)[0]), rank


def _polynomials(t: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time degree"]:
    """Polynomials that are orthonormal on the times, by degree."""
    n = min(int(3 * np.sqrt(len(t))), len(t))  # beyond, equidistant times hardly determine them
    scaled = 2 * (t - t[0]) / (t[-1] - t[0]) - 1
    return np.linalg.qr(np.polynomial.chebyshev.chebvander(scaled, n - 1))[0]


def _in_time(
    series: Float[np.ndarray, "time series"], polynomials: Float[np.ndarray, "time degree"]
) -> tuple[Float[np.ndarray, "time some"], int]:
    """Orthonormal functions of time, and how many of the first are worth having beside unit white noise.

    Polynomials by Mallows' C_p (Technometrics 15, 1973); where they do not resolve the series, singular vectors.
    """
    energy = np.sum((polynomials.T @ series) ** 2, axis=1)
    risk = 2 * series.shape[1] * np.arange(1, len(energy) + 1) - np.cumsum(energy)
    n_needed = int(np.argmin(risk)) + 1
    return (polynomials, n_needed) if n_needed <= _RESOLVED * len(energy) else _modes(series.T)
