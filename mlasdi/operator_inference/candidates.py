"""One candidate of the scan: its regression problem, its folds, and its behaviour at points nothing was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.operator_inference.data import (
    DISCRETE,
    KERNEL,
    OF_SECOND_ORDER,
    POWER,
    Form,
    OperatorInferenceSettings,
    TrajectoryData,
)
from mlasdi.operator_inference.dynamics import Regression, fold_forecasts, regression_of
from mlasdi.operator_inference.forms import exponents
from mlasdi.operator_inference.model import OperatorInferenceModel
from mlasdi.operator_inference.regression import ExplicitRegression, model_coordinates
from mlasdi.operator_inference.work import Work, estimated_seconds, regression_seconds

RIDGES = tuple(10.0**power for power in range(-12, -2))
RESIDUAL_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
REMEMBERED = 12  # candidates whose fold trajectories are kept
POWERS = (-1.0, 0.0, 1.0, 2.0)  # of a parameter: those that equations have most often; no others were tried
MAX_DEGREE = 3  # in the parameters
TERMS_A_POINT = 1.5  # of a polynomial in the parameters, at most
POINTS_A_TERM = 2.0  # of a polynomial of degree 2 or more in powers of the parameters; chosen on heat4
CAP = 10.0  # a relative error beyond this counts as this
# Relative truncation errors of the ranks that are tried.
TRUNCATIONS = (3e-2, 1e-2, 1e-3, 1e-4)
MOST_MODES: dict[Form, int] = {
    "linear": 80,
    "two-delays": 120,
    "continuous-linear": 80,
    "second-order": 80,
    "quadratic": 20,
    "cubic": 8,
    "quintic": 3,
    "kernel-quadratic": 50,
    "kernel-cubic": 30,
}
# Variance of the parameter basis at a probe, relative to the largest one at a fold, beyond which the folds say nothing
# of the probe: all points of a design may lie where some polynomial vanishes.
LEVERAGE = 4.0
# At the probes, the norm relative to the largest one in training, and the distance from kriging relative to the largest
# leave-one-out error of kriging.
MOST_GROWTH, MOST_DISTANCE = 2.0, 3.0


@dataclass(frozen=True)
class Probes:
    """Points of the box that nothing was trained on."""

    x: Float[np.ndarray, "probe d"]
    raw: Float[np.ndarray, "probe d"]


def score(errors: Float[np.ndarray, " fold"]) -> float:
    """Typical leave-one-out error: the square of the mean root.

    The mean itself is decided by the folds at the corners of the box, which extrapolate; the median forgets failures.
    """
    return float(np.mean(np.sqrt(np.minimum(errors, CAP))) ** 2)


def ranks(data: TrajectoryData, form: Form) -> list[int]:
    """Ranks at a few truncation errors of the trajectories, each relative to its own size."""
    energy = np.sum((data.c / data.state_norms.max(axis=1)[:, None, None]) ** 2, axis=(0, 1))
    left_out = np.sqrt(np.append(np.cumsum(energy[::-1])[::-1], 0.0) / max(energy.sum(), np.finfo(float).tiny))
    most = min(MOST_MODES[form], data.c.shape[2])
    return sorted({min(max(int(np.argmax(left_out <= tolerance)), 1), most) for tolerance in TRUNCATIONS})


def degrees(data: TrajectoryData) -> list[int]:
    """Total degrees in the parameters with not many more terms than there are points."""
    d = data.x.shape[1]
    return [degree for degree in range(MAX_DEGREE + 1) if degree == 0 or comb(d + degree, d) <= most_terms(data)]


def most_terms(data: TrajectoryData) -> float:
    """Products of the parameters, at most."""
    return TERMS_A_POINT * data.n_points


def allows_powers(data: TrajectoryData, settings: OperatorInferenceSettings) -> bool:
    """Whether the points can tell powers of the parameters apart.

    Higher degrees fit the operators of any power to few points: heat4 with 22 points and 15 terms chose a logarithm
    with an error of 19 %, where first degree has 1.5 %.
    """
    n_terms = len(exponents(data.x.shape[1], settings.degree, settings.parameter_degrees))
    return settings.degree < 2 or data.n_points >= POINTS_A_TERM * n_terms


def is_identifiable(data: TrajectoryData, settings: OperatorInferenceSettings, probes: Probes) -> bool:
    """Whether the folds test the parameter basis in all directions that matter at the probes."""
    theta, theta_at = model_coordinates(settings, data.raw), model_coordinates(settings, probes.raw)

    def variance(known: np.ndarray, new: np.ndarray) -> np.ndarray:
        inverse = np.linalg.inv(np.eye(theta.shape[1]) + known.T @ known / 1e-6)
        return np.einsum("nt,ts,ns->n", new, inverse, new)

    folds = [variance(theta[data.kept(i)], theta[i : i + 1])[0] for i in range(data.n_points)]
    return bool(variance(theta, theta_at).max() <= LEVERAGE * max(folds))


@dataclass
class Evaluator:
    """Leave-one-out errors of candidates, remembered; regression problems are shared between degrees and ridges.

    Attributes:
        data: training trajectories.
        z0_known: whether initial states are known at new points.
        work: what has been done.
    """

    data: TrajectoryData
    z0_known: bool = False
    work: Work = field(default_factory=Work)
    errors: dict[OperatorInferenceSettings, Float[np.ndarray, " fold"]] = field(default_factory=dict)
    _predictions: dict[OperatorInferenceSettings, Float[np.ndarray, "fold time rank"]] = field(default_factory=dict)
    _regressions: dict[tuple[Form, int, tuple[float, ...]], Regression] = field(default_factory=dict)

    def regression(self, settings: OperatorInferenceSettings) -> Regression:
        key = (settings.form, settings.rank, settings.frequencies)
        if key not in self._regressions:
            for old in [old for old in self._regressions if old[0] in KERNEL]:  # they are large
                del self._regressions[old]
            self._regressions[key] = regression_of(self.data, settings)
        return self._regressions[key].with_theta(model_coordinates(settings, self.data.raw))

    def __call__(self, settings: OperatorInferenceSettings) -> float:
        """Score of what the folds predict: integrated leading coordinates, kriged later ones."""
        if settings not in self.errors:
            self.work.seconds += estimated_seconds(self.data, settings)
            z = self._fold_trajectories(settings)
            self.errors[settings] = self.data.errors(self._completed(z))
            self._predictions[settings] = z
            if len(self._predictions) > REMEMBERED:
                del self._predictions[max(self._predictions, key=lambda one: score(self.errors[one]))]
        return score(self.errors[settings])

    def simplest_powers(self, settings: OperatorInferenceSettings, most_seconds: float) -> OperatorInferenceSettings:
        """The settings with the powers of the parameters that leave least of the regression problems of the folds.

        Powers are changed one parameter at a time. The settings themselves, where that takes too long.
        """
        regression = self.regression(settings)
        if not isinstance(regression, ExplicitRegression):
            return settings
        points = self.data.fold_points.tolist()
        groups = [self.data.left_out[i] for i in points]
        seconds = regression_seconds(self.data, settings)

        def error(one: OperatorInferenceSettings) -> float:
            theta = model_coordinates(one, self.data.raw)
            return score(regression.with_theta(theta).equation_errors(one.ridge, points, groups))

        current = settings
        left = {settings: error(settings)}
        while True:
            others = [one for one in neighbours(current, self.data, ("powers",)) if one.degree == settings.degree]
            new = [one for one in others if one not in left]
            if not new or seconds * (len(left) + len(new)) > most_seconds:
                return current
            left |= {one: error(one) for one in new}
            self.work.seconds += seconds * len(new)
            best = min(new, key=lambda one: left[one])
            if left[best] >= left[current]:
                return current
            current = best

    def _fold_trajectories(self, settings: OperatorInferenceSettings) -> Float[np.ndarray, "fold time rank"]:
        z0 = self.data.c[self.data.fold_points, 0, : settings.rank] if self.z0_known else None
        return fold_forecasts(self.data, settings, self.regression(settings), z0).z

    def _completed(self, z: Float[np.ndarray, "fold time rank"]) -> Float[np.ndarray, "fold time full"]:
        """Leading coordinates, with the later ones kriged by the folds."""
        predicted = self.data.fold_kriging.copy()
        predicted[:, :, : z.shape[2]] = z
        return predicted

    def with_residual(
        self, settings: OperatorInferenceSettings
    ) -> tuple[OperatorInferenceModel, Float[np.ndarray, " fold"]]:
        """The model with the best weight of the kriged residual, and its leave-one-out errors.

        The residual at the points that a fold knows is that of the model of all points, which fits them as closely.
        """
        model = OperatorInferenceModel.fit(self.data, settings, 1.0, self.regression(settings))
        self(settings)
        remembered = self._predictions.get(settings)
        z = self._fold_trajectories(settings) if remembered is None else remembered
        kriged = np.tensordot(self.data.fold_weights, model.residual[:, :, : settings.rank], axes=1)
        weights = RESIDUAL_WEIGHTS if np.isfinite(kriged).all() else RESIDUAL_WEIGHTS[:1]
        found = [self.data.errors(self._completed(z + weight * kriged if weight else z)) for weight in weights]
        best = int(np.argmin([score(errors) for errors in found]))
        return model.weighted(RESIDUAL_WEIGHTS[best]), found[best]


def neighbours(
    settings: OperatorInferenceSettings, data: TrajectoryData, choices: Sequence[str]
) -> list[OperatorInferenceSettings]:
    """Candidates that differ in one hyperparameter by one step."""

    def steps(values: Sequence, value: float) -> list:
        place = list(values).index(value)
        return [values[k] for k in (place - 1, place + 1) if 0 <= k < len(values)]

    grid = RIDGES[::2] if settings.ridge in RIDGES[::2] else RIDGES
    changes: list[dict] = []
    for choice in choices:
        if choice == "ridge":
            changes += [{"ridge": value} for value in steps(grid, settings.ridge)]
        elif choice == "degree":
            for change in _other_degrees(settings, data):
                plain = {**change, "powers": (), "ratios": ()}
                changes += [change, plain] if settings.powers and change["degree"] else [plain]
        elif choice == "rank":
            changes += [{"rank": value} for value in steps(ranks(data, settings.form), settings.rank)]
        elif choice == "powers" and settings.degree:
            changes += _other_powers(settings, data)
        elif choice == "start" and settings.form in OF_SECOND_ORDER:
            changes.append({"start": "rest" if settings.start == "kriged" else "kriged"})
    return [settings.model_copy(update=change) for change in changes]


def _other_degrees(settings: OperatorInferenceSettings, data: TrajectoryData) -> list[dict]:
    """Changes by one of the total degree, which is then that of all parameters, or of the degree in one parameter.

    Few points determine few terms, and often one parameter needs a higher degree than the others. The wave speed of a
    bar enters its equation by its square, the damping linearly: with nine points on the diagonals of the box, where
    the square of one parameter cannot be told from that of the other, the error falls from 283 to .35 %.
    """
    d, allowed = data.x.shape[1], degrees(data)
    found = [(degree, ()) for degree in allowed if abs(degree - settings.degree) == 1]
    current = settings.parameter_degrees or (settings.degree,) * d
    for k in range(d if d > 1 else 0):
        for step in (-1, 1):
            other = (*current[:k], current[k] + step, *current[k + 1 :])
            degree = max(other)
            if min(other) >= 0 and 0 < degree <= MAX_DEGREE and len(exponents(d, degree, other)) <= most_terms(data):
                found.append((degree, () if len(set(other)) == 1 else other))
    return [{"degree": degree, "parameter_degrees": each} for degree, each in dict.fromkeys(found)]


def _other_powers(settings: OperatorInferenceSettings, data: TrajectoryData) -> list[dict]:
    """Changes of the power of one parameter, at the same degree and at the first."""
    powers = settings.powers or (1.0,) * len(data.ratios)
    changes: list[dict] = []
    for k, ratio in enumerate(data.ratios):
        for value in POWERS if ratio else ():
            if value != powers[k]:
                others = (*powers[:k], value, *powers[k + 1 :])
                has_any = set(others) != {1.0}
                found: dict = {"powers": others if has_any else (), "ratios": data.ratios if has_any else ()}
                changes.append(found)
                if settings.degree > 1:
                    changes.append(found | {"degree": 1, "parameter_degrees": ()})
    return changes


def forms_for(data: TrajectoryData) -> list[Form]:
    """All forms that the times admit, cheap ones first."""
    forms: list[Form] = ["continuous-linear", "linear", "two-delays", "second-order"]
    # Few coordinates, those of a pendulum for example, may have strong nonlinearities, and polynomials of any degree.
    forms += ["quintic"] if data.c.shape[2] <= MOST_MODES["quintic"] else []
    forms += ["cubic", "kernel-quadratic", "kernel-cubic"]
    return [form for form in forms if data.is_uniform or form not in DISCRETE]


@dataclass(eq=False)
class Finalist:
    """A candidate with its residual weight, and what speaks against it."""

    model: OperatorInferenceModel
    errors: Float[np.ndarray, " fold"]
    problem: str | None = None  # as far as it has been tested

    @property
    def score(self) -> float:
        return score(self.errors)

    @property
    def complexity(self) -> tuple[int, int, int, int, float]:
        own = self.model.settings
        power = POWER.get(own.form, 1)
        n_terms = len(exponents(self.model.data.x.shape[1], own.degree, own.parameter_degrees))
        return (power, n_terms, sum(one != 1 for one in own.powers), own.rank, -own.ridge)

    def describe(self) -> dict[str, Any]:
        own = self.model.settings.model_dump(mode="json")
        return {**own, "score": self.score, "residual_weight": self.model.residual_weight, "problem": self.problem}


def problem_at(probes: Probes, model: OperatorInferenceModel, data: TrajectoryData) -> str | None:
    """What is wrong with a model at points that nothing was trained on; None if nothing is."""
    forecast = model.latent(probes.x, probes.raw, data.t)
    z = forecast.z
    if not np.isfinite(z).all() or model.in_sample.failed.any():
        return "blows up"
    size = np.max(np.linalg.norm(data.c[:, :, : model.settings.rank], axis=-1))
    if np.max(np.linalg.norm(z, axis=-1)) > MOST_GROWTH * size:
        return "leaves the range of the training trajectories"
    predicted = model.predict(probes.x, probes.raw, forecast=forecast)
    weights = data.weights(probes.x)
    distance = np.linalg.norm(predicted - np.tensordot(weights, data.c, axes=1), axis=-1)
    typical = np.clip(weights, 0, None) @ data.denominators / np.clip(weights, 0, None).sum(axis=1, keepdims=True)
    if np.max(distance / typical) > MOST_DISTANCE * np.max(data.errors(data.fold_kriging)):
        return "is further from kriging than the error of kriging explains"
    return None
