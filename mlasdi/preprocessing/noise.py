"""White noise in the training snapshots: estimated from them, and most of it removed.

White noise is independent between all values of all snapshots, with one standard deviation for each field. The squared
singular values of a matrix of such noise follow the Marchenko-Pastur law, and singular values of the signal below a
threshold are better dropped than kept (M. Gavish and D. L. Donoho, arXiv 1305.5870). Where the small singular values do
not follow the law, as those of clean solutions do not, the snapshots count as free of noise and are not changed.
Correlated noise is not recognised; its level can be given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mlasdi.preprocessing.settings import NoiseSetting
from mlasdi.solvers import evenly_spread, field_parts

QUANTILES = np.linspace(0.2, 0.7, 6)  # of the spectrum, at which it is compared with the law
# Largest relative difference between the spectrum of noise and the law. Spectra of clean solutions differ by factors.
MAX_DIFFERENCE = 0.15
MIN_LEVEL = 1e-6  # safety bound: smaller levels, relative to the variation of a field, are rounding in single precision
# Snapshots and values of a state from which the noise is estimated: bounds the cost; the law holds for any submatrix.
MAX_SNAPSHOTS, MAX_STATES = 400, 2000
MIN_SIZE = 20  # safety bound: with fewer snapshots or values there are too few singular values to compare
N_PASSES = 3  # of finding modes and polynomials in turn; the third changes very little
# Polynomials are used if at most this part of them is needed; otherwise they do not resolve the solutions in time.
MAX_POLYNOMIAL_SHARE = 0.8
MARGIN = 2  # functions of time that are kept, over those above the noise: a signal that is dropped cannot be recovered


@dataclass(frozen=True)
class Denoised:
    """Snapshots without most of their noise.

    Attributes:
        u: the snapshots `[param, time, state]`.
        left: standard deviation of the remaining noise in each value, mean over the snapshots `[state]`.
        level: of the noise before, as in `noise_std`; the largest of all fields.
        modes_error: relative L2 error of all snapshots together by noise in the modes. It is the same at training
            points and elsewhere, so that no comparison with the data shows it.
    """

    u: Float[np.ndarray, "param time state"]
    left: Float[np.ndarray, " state"]
    level: float
    modes_error: float


def noise_std(
    u: Float[np.ndarray, "param time state"], sizes: Sequence[int], setting: NoiseSetting
) -> Float[np.ndarray, " field"]:
    """Standard deviation of the noise in each field; zeros where there is none.

    Args:
        u: the snapshots.
        sizes: number of values of each field in a state.
        setting: `estimate`, `none`, or the level: the standard deviation of the noise relative to that of the values of
            the field without noise.
    """
    if setting == "none":
        return np.zeros(len(sizes))
    fields = field_parts(u.reshape(-1, u.shape[-1]), sizes)
    if setting == "estimate":
        return np.array([_estimated(field) for field in fields])
    return np.array([field.std() for field in fields]) * setting / np.sqrt(1 + setting**2)


def relative_level(
    u: Float[np.ndarray, "param time state"], std: Float[np.ndarray, " field"], sizes: Sequence[int]
) -> float:
    """The largest level among the fields, as in `noise_std`."""
    spread = np.array([field.std() for field in field_parts(u, sizes)])
    return float(np.max(std / np.sqrt(np.maximum(spread**2 - std**2, np.finfo(float).tiny))))


def _estimated(snapshots: Float[np.ndarray, "sample value"]) -> float:
    """Standard deviation of the noise by the median of the spectrum (arXiv 1305.5870, section III.E).

    Zero if the rest of the spectrum does not follow the Marchenko-Pastur law.
    """
    rows, columns = (
        evenly_spread(n, most) for n, most in zip(snapshots.shape, (MAX_SNAPSHOTS, MAX_STATES), strict=True)
    )
    part = snapshots[np.ix_(rows, columns)]
    part = part - part.mean(axis=0)
    n, long = min(part.shape), max(part.shape)
    if n < MIN_SIZE:
        return 0.0
    spectrum = np.linalg.eigvalsh(part @ part.T if len(part) == n else part.T @ part)
    law = long * marchenko_pastur(n / long, QUANTILES)
    variance, n_signal, tried = 0.0, 0, set[int]()
    while n_signal not in tried:  # the law holds without the singular values of the signal
        tried.add(n_signal)
        quantiles = np.quantile(spectrum[: n - n_signal], QUANTILES)
        variance = max(float(np.median(quantiles / law)), 0.0)
        n_signal = min(int(np.sum(spectrum > long * variance * hard_threshold(n / long) ** 2)), n // 2)
    smallest = (MIN_LEVEL * part.std()) ** 2
    if variance <= smallest or np.abs(quantiles / (variance * law) - 1).max() > MAX_DIFFERENCE:
        return 0.0
    return float(np.sqrt(variance))


def marchenko_pastur(shape: float, quantiles: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    """Quantiles of the eigenvalues of `X X^T / m` for an `n x m` matrix of unit white noise, `shape` = n / m <= 1."""
    low, high = (1 - np.sqrt(shape)) ** 2, (1 + np.sqrt(shape)) ** 2
    # The density is unbounded at the ends for square matrices; as a function of this angle it is smooth.
    angle = np.pi * (np.arange(4096) + 0.5) / 4096
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    mass = np.cumsum(np.sin(angle) ** 2 / x)
    return np.interp(quantiles, mass / mass[-1], x)


def hard_threshold(shape: float) -> float:
    """Optimal hard threshold for singular values of an `n x m` matrix with unit white noise, over `sqrt(m)`.

    Equation 11 of arXiv 1305.5870; `shape` = n / m <= 1.
    """
    return float(np.sqrt(2 * (shape + 1) + 8 * shape / (shape + 1 + np.sqrt(shape**2 + 14 * shape + 1))))


def denoised(
    u: Float[np.ndarray, "param time state"],
    t: Float[np.ndarray, " time"],
    std: Float[np.ndarray, " field"],
    keep: Int[np.ndarray, " kept"],
    sizes: Sequence[int],
) -> Denoised:
    """Project the snapshots onto modes in space and functions of time that are above the noise.

    The modes are singular vectors above the optimal hard threshold. The functions of time, polynomials where the
    solutions are smooth enough, average the noise over the snapshots of a trajectory, so `u` should have all times. The
    projection onto them lowers the noise in which modes are found, so both are found in turn.

    Args:
        u: the snapshots.
        t: their times.
        std: standard deviation of the noise in each field.
        keep: indices of the times of the result.
        sizes: number of values of each field in a state.
    """
    n_param, n_time, n_state = u.shape
    spread = np.array([field.std() for field in field_parts(u, sizes)])
    # Values in units of the noise of their field, which is bounded below.
    unit = np.repeat(np.maximum(std, MIN_LEVEL * np.where(spread > 0, spread, 1.0)), sizes)
    mean = u.mean(axis=(0, 1))
    white = (u - mean) / unit
    polynomials = _polynomials(t)
    compressed = white
    for _ in range(N_PASSES):
        vectors, rank = _modes(compressed.reshape(-1, n_state))
        modes = vectors[:, :rank]
        series = np.moveaxis(white @ modes, 1, 0).reshape(n_time, -1)
        functions, n_needed = _in_time(series, polynomials)
        compressed = np.tensordot(white, functions[:, :n_needed], axes=(1, 0)).swapaxes(1, 2)
    # Dropped signal is lost, while the models average over additional noise: keep more functions than are needed.
    functions = functions[:, : MARGIN * n_needed]
    smooth = functions[keep] @ (functions.T @ series)
    coordinates = np.moveaxis(smooth.reshape(len(keep), n_param, -1), 0, 1)
    left = unit * np.sqrt(np.sum(modes**2, axis=1) * functions.shape[1] / n_time)
    u_kept = mean + unit * (coordinates @ modes.T)
    # Each mode keeps the share 1 / n of the noise in n snapshots.
    in_modes = modes.shape[1] / (n_param * n_time) * np.sum(unit**2)
    modes_error = float(np.sqrt(in_modes / np.mean(np.sum(u_kept**2, axis=-1))))
    return Denoised(u_kept, left, relative_level(u, std, sizes), modes_error)


def _modes(a: Float[np.ndarray, "sample value"]) -> tuple[Float[np.ndarray, "value some"], int]:
    """Leading right singular vectors, and how many are above unit white noise: at least one."""
    short, long = sorted(a.shape)
    tall = a.shape[0] > a.shape[1]
    values, vectors = np.linalg.eigh(a.T @ a if tall else a @ a.T)
    rank = max(int(np.sum(values > long * hard_threshold(short / long) ** 2)), 1)
    leading = vectors[:, ::-1][:, : MARGIN * rank]
    return (leading if tall else np.linalg.qr(a.T @ leading)[0]), rank


def _polynomials(t: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time degree"]:
    """Polynomials that are orthonormal on the times, by degree."""
    n = min(int(3 * np.sqrt(len(t))), len(t))  # equidistant times hardly determine polynomials of a higher degree
    scaled = 2 * (t - t[0]) / (t[-1] - t[0]) - 1
    return np.linalg.qr(np.polynomial.chebyshev.chebvander(scaled, n - 1))[0]


def _in_time(
    series: Float[np.ndarray, "time series"], polynomials: Float[np.ndarray, "time degree"]
) -> tuple[Float[np.ndarray, "time some"], int]:
    """Orthonormal functions of time, and how many of the first are above unit white noise.

    Polynomials, their number by Mallows' C_p (Technometrics 15, 1973); singular vectors where these do not resolve the
    series.
    """
    energy = np.sum((polynomials.T @ series) ** 2, axis=1)
    risk = 2 * series.shape[1] * np.arange(1, len(energy) + 1) - np.cumsum(energy)
    n_needed = int(np.argmin(risk)) + 1
    return (polynomials, n_needed) if n_needed <= MAX_POLYNOMIAL_SHARE * len(energy) else _modes(series.T)
