"""The frequency of an unknown periodic forcing, from what an autonomous linear system leaves of the trajectories."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from mlasdi.operator_inference.data import Form, OperatorInferenceSettings, TrajectoryData
from mlasdi.operator_inference.forms import Rows, forcing
from mlasdi.operator_inference.regression import ExplicitRegression

# The forcing must explain all but this fraction of the squared residual to be a candidate. Chosen on the problem bar,
# where .001 to .03 is left; on fisher, kdv, sod, heat4 and wave2d no frequency leaves less than .39.
UNEXPLAINED = 0.1
MOST_FREQUENCIES = 3
PEAKS = 3  # of the periodogram, that are refined
WORTH_REFINING = 0.5  # fraction of the squared residual that the unrefined peak leaves, at most
POINTS_PER_PEAK = 8  # of the search, in widths of a spectral peak


def forcing_frequencies(data: TrajectoryData, rank: int, degree: int) -> tuple[float, ...]:
    """Angular frequencies of the forcing, one after the other, as long as each explains what is left."""
    found: tuple[float, ...] = ()
    while len(found) < MOST_FREQUENCIES:
        another = _another_frequency(data, rank, degree, found)
        if another is None:
            break
        found = (*found, another)
    return found


def _another_frequency(data: TrajectoryData, rank: int, degree: int, known: tuple[float, ...]) -> float | None:
    """The frequency, beside those known, that leaves least of a linear form's regression, or None."""
    forms: tuple[Form, ...] = ("linear", "continuous-linear") if data.is_uniform else ("continuous-linear",)
    found = [
        _of_form(data, OperatorInferenceSettings(form=form, rank=rank, degree=degree, ridge=1e-10, frequencies=known))
        for form in forms
    ]
    unexplained, frequency = min(found)
    return frequency if unexplained < UNEXPLAINED else None


def _of_form(data: TrajectoryData, alone: OperatorInferenceSettings) -> tuple[float, float]:
    """Fraction of the squared residual that the best frequency leaves, and that frequency.

    A forcing that all trajectories share at equal times cannot be a function of the state. The residual of the
    autonomous regression, averaged over the trajectories, starts the search by its periodogram; the joint regression
    of operators and forcing refines it.
    """
    residual = _residual(data, alone)
    t = data.t[: residual.shape[1]]
    span = float(data.t[-1] - data.t[0])
    grid = np.arange(1.0, len(t) / 2, 1 / POINTS_PER_PEAK) * 2 * np.pi / span
    power = [_explained(forcing(t, (w,)), residual.mean(axis=0)) for w in grid]
    total = float(np.sum(residual**2))
    reach = np.pi / span  # half the width of a peak: what the operators absorb also moves the peaks
    # The highest peaks: what the operators absorb may hide the true one behind others.
    inner = [k for k in range(1, len(grid) - 1) if power[k] >= max(power[k - 1], power[k + 1])]

    def left(w: float) -> float:
        return float(np.sum(_residual(data, alone.model_copy(update={"frequencies": (*alone.frequencies, w)})) ** 2))

    found = [
        minimize_scalar(
            left, bounds=(grid[k] - reach, grid[k] + reach), method="bounded", options={"xatol": 1e-8 * reach}
        )
        for k in sorted(inner, key=lambda k: -power[k])[:PEAKS]
        if left(grid[k]) < WORTH_REFINING * total
    ]
    return min(((float(one.fun) / total, float(one.x)) for one in found if total > 0), default=(1.0, 0.0))


def _residual(data: TrajectoryData, settings: OperatorInferenceSettings) -> Float[np.ndarray, "point row rank"]:
    """What the regression leaves of the targets."""
    rows, regression = Rows.of(data, settings), ExplicitRegression.of(data, settings)
    operators = np.tensordot(regression.theta, regression.solve(settings.ridge), axes=1)
    return np.asarray(rows.targets - rows.features @ operators)


def _explained(basis: Float[np.ndarray, "row k"], values: Float[np.ndarray, "row rank"]) -> float:
    """Sum of squares of the projection of values on basis functions."""
    return float(np.sum((np.linalg.qr(basis)[0].T @ values) ** 2))
