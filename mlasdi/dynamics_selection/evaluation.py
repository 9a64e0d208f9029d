"""One candidate: its leave-one-out errors, and those of its regression problem."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.dynamics_selection.hyperparameters import neighbours
from mlasdi.dynamics_selection.work import Work, estimated_seconds, regression_seconds
from mlasdi.operator_inference import (
    KERNEL,
    POWER,
    ExplicitRegression,
    Form,
    OperatorInferenceModel,
    OperatorInferenceSettings,
    Regression,
    TrajectoryData,
    exponents,
    fold_forecasts,
    model_coordinates,
    regression_of,
)

RESIDUAL_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
REMEMBERED = 12  # candidates whose fold trajectories are kept
CAP = 10.0  # a relative error beyond this counts as this


def score(errors: Float[np.ndarray, " fold"]) -> float:
    """Typical leave-one-out error: the square of the mean root.

    The mean itself is decided by the folds at the corners of the box, which extrapolate; the median forgets failures.
    """
    return float(np.mean(np.sqrt(np.minimum(errors, CAP))) ** 2)


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
        """The settings in those powers of the parameters whose operators fit the equations of left-out points best.

        Powers are changed one parameter at a time, as long as the error falls and the time suffices.

        Args:
            settings: of a linear form.
            most_seconds: estimated seconds of all regressions, at most.
        """
        seconds = regression_seconds(self.data, settings)
        if seconds > most_seconds:
            return settings
        regression = self.regression(settings)
        assert isinstance(regression, ExplicitRegression)  # as that of every linear form
        points = self.data.fold_points.tolist()
        groups = [self.data.left_out[i] for i in points]

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
