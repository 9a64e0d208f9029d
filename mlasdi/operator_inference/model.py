"""A fitted model of latent dynamics: operators of one form, integrated from kriged initial states."""

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from mlasdi.interpolation import Kernel
from mlasdi.latent import Modes
from mlasdi.operator_inference.data import KERNEL, LINEAR, OperatorInferenceSettings, TrajectoryData
from mlasdi.operator_inference.dynamics import Regression, initial, integrate, regression_of, shared_rates
from mlasdi.operator_inference.integration import Forecast, LinearRates
from mlasdi.operator_inference.regression import ExplicitRegression

Json = dict[str, Any]
_CHUNK = 1 << 24  # values of the operators of a batch of points, at most


@dataclass(frozen=True)
class OperatorInferenceModel:
    """Latent dynamics with operators that are polynomials of the parameters.

    The leading `rank` coordinates are integrated from a kriged (or given) initial state; later ones are kriged. On top
    comes `residual_weight` times the kriged difference between the training trajectories and their own integration.

    Attributes:
        settings: form and hyperparameters.
        data: training trajectories.
        operators: `W_a` `[term, feature, rank]`; of kernel forms, the coefficients of the snapshots
            `[point, time, rank]`.
        residual_weight: of the kriged residual of the leading coordinates, from 0 to 1.
        seconds: that fitting took.
    """

    settings: OperatorInferenceSettings
    data: TrajectoryData
    operators: Float[np.ndarray, "a b rank"]
    residual_weight: float = 1.0
    seconds: float = 0.0

    @classmethod
    def fit(
        cls,
        data: TrajectoryData,
        settings: OperatorInferenceSettings,
        residual_weight: float = 1.0,
        regression: Regression | None = None,
    ) -> "OperatorInferenceModel":
        began = time.process_time()
        operators = (regression or regression_of(data, settings)).solve(settings.ridge)
        return cls(settings, data, operators, residual_weight, time.process_time() - began)

    def refit(self, data: TrajectoryData) -> "OperatorInferenceModel":
        """A model with the same hyperparameters of other trajectories."""
        return OperatorInferenceModel.fit(data, self.settings, self.residual_weight)

    def folds(self) -> list["OperatorInferenceModel"]:
        """The models that the folds know, as the search for the dynamics computes them, without refits.

        The regression problem is that of all points less those that are left out. The residual at the other points is
        that of the model of all points, which fits them as closely.
        """
        points, ridge = self.data.fold_points.tolist(), self.settings.ridge
        kept, regression = [self.data.kept(i) for i in points], regression_of(self.data, self.settings)
        groups = [self.data.left_out[i] for i in points]
        if isinstance(regression, ExplicitRegression):
            operators = [regression.solve(ridge, group) for group in groups]
        else:
            solutions = regression.fold_solutions(ridge, groups)
            operators = [of_all[keep] for of_all, keep in zip(solutions, kept, strict=True)]
        folds = []
        for keep, own in zip(kept, operators, strict=True):
            fold = replace(self, data=self.data.subset(keep), operators=own)
            folds.append(fold.integrated(Forecast(self.in_sample.z[keep], self.in_sample.failed[keep])))
        return folds

    def integrated(self, in_sample: Forecast) -> "OperatorInferenceModel":
        """The same model, which is told its `in_sample`."""
        model = replace(self)
        model.__dict__["in_sample"] = in_sample
        return model

    def weighted(self, residual_weight: float) -> "OperatorInferenceModel":
        """The same dynamics with another weight of the kriged residual."""
        return replace(self, residual_weight=residual_weight).integrated(self.in_sample)

    def latent(
        self,
        x: Float[np.ndarray, "n d"],
        raw: Float[np.ndarray, "n d"],
        t: Float[np.ndarray, " m"],
        z0: Float[np.ndarray, "n rank"] | None = None,
    ) -> Forecast:
        """Integrated latent trajectories at times `t` of the training's grid or beyond, from kriged or given states."""
        weights = self.data.weights(x, self.data.initial_kernel)
        rows = max(_CHUNK // max(self.operators[0].size, 1), 1) if self.settings.form not in KERNEL else 4096
        parts = []
        for first in range(0, len(x), rows):
            use = slice(first, first + rows)
            rates = shared_rates(self.settings, self.data, self.operators, raw[use])
            start = initial(self.settings, self.data, weights[use], rates, None if z0 is None else z0[use])
            parts.append(integrate(self.settings, self.data, rates, start, t))
        return Forecast(np.concatenate([part.z for part in parts]), np.concatenate([part.failed for part in parts]))

    @cached_property
    def in_sample(self) -> Forecast:
        """The training trajectories, integrated from their own initial states."""
        return self.latent(self.data.x, self.data.raw, self.data.t, self.data.c[:, 0, : self.settings.rank])

    @cached_property
    def residual(self) -> Float[np.ndarray, "point time rank"]:
        """What kriging adds: the weighted in-sample residual of the leading coordinates, and all of the later ones."""
        residual = self.data.c.copy()
        r = self.settings.rank
        if not self.residual_weight:
            residual[:, :, :r] = 0.0
            return residual
        residual[:, :, :r] -= self.in_sample.z
        residual[:, :, :r] *= self.residual_weight
        return residual

    @cached_property
    def misfit(self) -> Float[np.ndarray, "time rank"]:
        """Root mean square over the training points of what the model with its kriged residual misses there."""
        r = self.settings.rank
        left = (1 - self.residual_weight) * (self.data.c[:, :, :r] - self.in_sample.z)
        found = np.zeros(self.data.c.shape[1:])
        found[:, :r] = np.sqrt(np.mean(np.nan_to_num(left) ** 2, axis=0))
        return found

    def predict(
        self,
        x: Float[np.ndarray, "n d"],
        raw: Float[np.ndarray, "n d"],
        t: Float[np.ndarray, " m"] | None = None,
        z0: Float[np.ndarray, "n rank"] | None = None,
        with_residual: bool = True,
        forecast: Forecast | None = None,
    ) -> Float[np.ndarray, "n m full"]:
        """POD coordinates; of the leading ones alone `with_residual=False`; NaN where the integration fails.

        Between the training times a cubic spline interpolates. Beyond their end the integration continues, and the
        kriged part keeps its last value.

        Args:
            z0: known initial states, in the leading coordinates.
            forecast: what `latent` returned for these points and times, if it was called before.
        """
        grid = self.grid(self.data.t if t is None else t)
        forecast = forecast or self.latent(x, raw, grid, z0)
        values = forecast.z
        if with_residual:
            kriged = np.tensordot(self.data.weights(x), self.residual, axes=1)
            kriged = kriged[:, np.minimum(np.arange(len(grid)), len(self.data.t) - 1)]
            kriged[:, :, : self.settings.rank] += values
            values = kriged
        if t is None or (len(t) == len(grid) and np.array_equal(t, grid)):
            return values
        good = ~forecast.failed
        out = np.full((len(x), len(t), values.shape[2]), np.nan)
        if good.any():
            out[good] = CubicSpline(grid, values[good], axis=1)(t)
        return out

    def grid(self, t: Float[np.ndarray, " m"]) -> Float[np.ndarray, " grid"]:
        """Times of integration: those of the training data, continued with their last step to the end of `t`."""
        own = self.data.t
        step = own[-1] - own[-2]
        beyond = t.max() - own[-1] if len(t) else 0.0
        n = int(np.ceil(beyond / step - 1e-9)) if beyond > 0 else 0
        return np.concatenate([own, own[-1] + step * np.arange(1, n + 1)])

    def describe(self) -> Json:
        """Form and hyperparameters as JSON."""
        own = self.settings.model_dump(mode="json")
        terms = int(np.prod(self.operators.shape[:2]))
        return {**own, "residual_weight": self.residual_weight, "n_terms": terms, "seconds": self.seconds}

    def modes(self, x: Float[np.ndarray, "n d"], raw: Float[np.ndarray, "n d"]) -> list[Modes]:
        """The modes at points, in units of the times of the training data; none of a form that is not linear."""
        if self.settings.form not in LINEAR:
            return []
        rates = shared_rates(self.settings, self.data, self.operators, raw)
        assert isinstance(rates, LinearRates)
        return rates.modes(self.latent(x, raw, self.data.t).z, self.data.t)

    def state(self) -> tuple[Json, dict[str, np.ndarray]]:
        """Settings as JSON, and arrays: all that `from_state` needs."""
        settings = {
            "settings": self.settings.model_dump(mode="json"),
            "kernel": self.data.kernel.model_dump(mode="json"),
            "start_kernel": self.data.initial_kernel.model_dump(mode="json"),
            "residual_weight": self.residual_weight,
            "mean_square": self.data.unit,
            "seconds": self.seconds,
        }
        arrays = {name: getattr(self.data, name) for name in ("x", "raw", "c", "t")}
        return settings, {**arrays, "norm": self.data.state_norms, "operators": self.operators}

    @classmethod
    def from_state(cls, settings: Json, arrays: dict[str, np.ndarray]) -> "OperatorInferenceModel":
        data = TrajectoryData(
            x=arrays["x"],
            raw=arrays["raw"],
            c=arrays["c"],
            t=arrays["t"],
            kernel=Kernel.model_validate(settings["kernel"]),
            norm=arrays["norm"],
            start_kernel=Kernel.model_validate(settings["start_kernel"]),
            mean_square=settings["mean_square"],
        )
        own = OperatorInferenceSettings.model_validate(settings["settings"])
        return cls(own, data, arrays["operators"], settings["residual_weight"], settings["seconds"])
