"""The frequencies of an unknown periodic forcing, from what autonomous dynamics leave of the trajectories.

They are the same at all points, or proportional to a parameter: a driving frequency, or the speed of a load.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline
from scipy.optimize import minimize_scalar

from mlasdi.operator_inference.data import Form, OperatorInferenceSettings, TrajectoryData
from mlasdi.operator_inference.forms import Rows, exponents, forcing
from mlasdi.operator_inference.regression import ExplicitRegression

# The forcing must explain all but this fraction of the squared residual to be a candidate. Chosen on the problem bar,
# where .001 to .03 is left; on fisher, kdv, sod, heat4 and wave2d no frequency leaves less than .39.
UNEXPLAINED = 0.1
MOST_FREQUENCIES = 3
PEAKS = 3  # of the periodogram, that are refined
WORTH_REFINING = 0.5  # fraction of the squared residual that the unrefined peak leaves, at most
POINTS_PER_PEAK = 8  # of the search, in widths of a spectral peak
# Both bound the cost, which is that of a few dozen regressions for each parameter; others were not compared.
MOST_POINTS, MOST_UNKNOWNS = 32, 400
# Most coordinates of a state with which a polynomial form is tried, too: what linear dynamics leave of a nonlinear
# oscillator hides its forcing. Others were not compared.
MOST_COORDINATES: dict[Form, int] = {"cubic": 6, "quintic": 3}


@dataclass(frozen=True)
class Forcing:
    """A periodic forcing; none without frequencies.

    Attributes:
        frequencies: angular.
        parameter: to which the frequencies are proportional (`OperatorInferenceSettings.frequency_parameter`).
        unexplained: fraction of the squared residual of autonomous dynamics that it leaves.
    """

    frequencies: tuple[float, ...] = ()
    parameter: tuple[int, float] | None = None
    unexplained: float = 1.0

    @property
    def settings(self) -> dict[str, Any]:
        """What of `OperatorInferenceSettings` it determines."""
        return {"frequencies": self.frequencies, "frequency_parameter": self.parameter}


def find_forcing(data: TrajectoryData, rank: int, degree: int) -> Forcing:
    """The forcing, at equal frequencies or at frequencies proportional to a parameter, that leaves least.

    Args:
        rank, degree: of the dynamics, at most; lower where their regression would be large.
    """
    if data.n_points > MOST_POINTS:
        data = data.subset(np.linspace(0, data.n_points - 1, MOST_POINTS).astype(int))
    d = data.x.shape[1]
    while degree and len(exponents(d, degree)) * (rank + 1) > MOST_UNKNOWNS:
        degree -= 1
    found = [_of_parameter(data, rank, degree, parameter) for parameter in (None, *data.frequency_parameters)]
    return min(found, key=lambda one: one.unexplained)


def _of_parameter(data: TrajectoryData, rank: int, degree: int, parameter: tuple[int, float] | None) -> Forcing:
    """Frequencies, one after the other, as long as each explains what is left."""
    found = Forcing((), parameter)
    while len(found.frequencies) < MOST_FREQUENCIES:
        unexplained, frequency = _another_frequency(data, rank, degree, found)
        if unexplained >= UNEXPLAINED:
            break
        found = Forcing((*found.frequencies, frequency), parameter, found.unexplained * unexplained)
    return found if found.frequencies else Forcing()


def _another_frequency(data: TrajectoryData, rank: int, degree: int, known: Forcing) -> tuple[float, float]:
    """Fraction of the squared residual that the best frequency beside those known leaves, and that frequency."""
    forms: list[Form] = ["linear", "continuous-linear"] if data.is_uniform else ["continuous-linear"]
    forms += [form for form, most in MOST_COORDINATES.items() if data.c.shape[2] <= most]
    alone = [
        OperatorInferenceSettings(form=form, rank=rank, degree=degree, ridge=1e-10, **known.settings) for form in forms
    ]
    # Each form at the peaks of all of them: what the operators of one absorb may hide the frequency behind others.
    peaks = sorted({w for one in alone for w in _peaks(data, one)})
    return min(_of_form(data, one, peaks) for one in alone)


def _peaks(data: TrajectoryData, alone: OperatorInferenceSettings) -> list[float]:
    """Frequencies at the highest peaks of the periodogram of what autonomous dynamics leave.

    A forcing depends on the time alone, so its part of the residuals is the same in all trajectories, and in their
    mean. Where the frequencies are proportional to a parameter, the time of each point is scaled by its factor.
    """
    residual = _residual(data, alone)
    t = data.t[: residual.shape[1]]
    grid = np.arange(1.0, len(t) / 2, 1 / POINTS_PER_PEAK) * 2 * np.pi / (data.t[-1] - data.t[0])
    shared = _shared(residual, t, alone.frequency_factors(data.raw))
    power = [_explained(forcing(t, (w,), np.ones(1))[0], shared) for w in grid]
    inner = [k for k in range(1, len(grid) - 1) if power[k] >= max(power[k - 1], power[k + 1])]
    return [float(grid[k]) for k in sorted(inner, key=lambda k: -power[k])[:PEAKS]]


def _of_form(data: TrajectoryData, alone: OperatorInferenceSettings, peaks: list[float]) -> tuple[float, float]:
    """Fraction that the best frequency leaves with one form, and that frequency, by the regression with the forcing."""
    total = float(np.sum(_residual(data, alone) ** 2))
    reach = float(np.pi / (data.t[-1] - data.t[0]))  # half the width of a peak: the operators also move the peaks

    def left(w: float) -> float:
        return float(np.sum(_residual(data, alone.model_copy(update={"frequencies": (*alone.frequencies, w)})) ** 2))

    found = [
        minimize_scalar(left, bounds=(w - reach, w + reach), method="bounded", options={"xatol": 1e-8 * reach})
        for w in peaks
        if left(w) < WORTH_REFINING * total
    ]
    return min(((float(one.fun) / total, float(one.x)) for one in found if total > 0), default=(1.0, 0.0))


def _residual(data: TrajectoryData, settings: OperatorInferenceSettings) -> Float[np.ndarray, "point row rank"]:
    """What the regression leaves of the targets."""
    rows, regression = Rows.of(data, settings), ExplicitRegression.of(data, settings)
    operators = np.tensordot(regression.theta, regression.solve(settings.ridge), axes=1)
    return np.asarray(rows.targets - rows.features @ operators)


def _shared(
    residual: Float[np.ndarray, "point time rank"], t: Float[np.ndarray, " time"], factors: Float[np.ndarray, " point"]
) -> Float[np.ndarray, "time rank"]:
    """Mean over the points at equal times, where each point counts its time by its factor."""
    if np.ptp(factors) == 0:
        return residual.mean(axis=0)
    # Of points with a factor above 1, the first part counts.
    each = [make_interp_spline(t, one)(t[0] + (t - t[0]) / f) for one, f in zip(residual, factors, strict=True)]
    return np.asarray(np.mean(each, axis=0))


def _explained(basis: Float[np.ndarray, "row k"], values: Float[np.ndarray, "row rank"]) -> float:
    """Sum of squares of the projection of values on basis functions."""
    return float(np.sum((np.linalg.qr(basis)[0].T @ values) ** 2))
