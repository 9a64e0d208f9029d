"""Kriging of curves as the only stage of a model."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline
from torch import Tensor

from mlasdi.curves.curve_kriging import CurveKriging
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.latent import Trajectories
from mlasdi.preprocessing import PodBasis, places_among
from mlasdi.stages import CommonDirections, FoldErrors, LatentSteps, RecentPredictions, Stage

Json = dict[str, Any]

MAX_VALUES = 1 << 22  # of states that are decoded at once: bounds the memory


@dataclass(frozen=True)
class CurveStage(Stage):
    """Kriged curves, as coordinates in a POD basis that also holds states between the training points.

    What they leave at the training points is kriged, too. Standard deviations have the shape of the
    errors of the folds (`FoldErrors`).

    Attributes:
        model: the kriged curves.
        mean, projector: the coordinates of a state u are `(u - mean) @ projector`; `[state]` and `[state, rank]`.
        residual: what is left at the training points `[point, time, rank]`.
        kernel: covariance over the parameters, of the residual and of standard deviations.
        fold_errors: of all training points, in their order; None before they are known.
        recent: the last predictions.
    """

    kind: ClassVar[str] = "curve-kriging"
    uses_latent: ClassVar[bool] = False

    model: CurveKriging
    mean: Float[np.ndarray, " state"]
    projector: Float[np.ndarray, "state rank"]
    residual: Float[np.ndarray, "point time rank"]
    kernel: Kernel
    fold_errors: FoldErrors | None = None
    recent: RecentPredictions = field(default_factory=RecentPredictions, init=False, compare=False, repr=False)

    @classmethod
    def fit(
        cls, model: CurveKriging, basis: PodBasis, c: Float[np.ndarray, "point time rank"], kernel: Kernel
    ) -> "CurveStage":
        """The stage for trajectories with coordinates `c` in the basis, at the points and times of the model."""
        projector = basis.modes / (basis.scale * np.broadcast_to(basis.norm_unit, basis.mean.shape)[:, None] ** 2)
        stage = cls(model, basis.mean, projector, np.zeros_like(c), kernel)
        return replace(stage, residual=c - stage._curves(model.x, model.t))

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        return torch.from_numpy(self.recent.values(along, self.model.t, self._predicted))

    def forget(self) -> None:
        self.recent.rows.clear()

    def _predicted(self, x: Float[np.ndarray, "n d"], t: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n m rank"]:
        t = np.clip(t, self.model.t[0], self.model.t[-1])
        kriged = np.tensordot(Kriging(self.model.x, self.kernel).weights(x), self.residual, axes=1)
        if not np.array_equal(t, self.model.t):
            kriged = CubicSpline(self.model.t, kriged, axis=1)(t)
        return self._curves(x, t) + kriged

    def _curves(self, x: Float[np.ndarray, "n d"], t: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n m rank"]:
        found = np.empty((len(x), len(t), self.projector.shape[1]))
        is_own = np.array_equal(t, self.model.t)
        rows = max(MAX_VALUES // max(len(t) * len(self.mean), 1), 1)
        for first in range(0, len(x), rows):
            use = slice(first, first + rows)
            states = self.model.predict(x[use], None if is_own else t).reshape(-1, len(t), len(self.mean))
            found[use] = (states - self.mean) @ self.projector
        return found

    def deviations(
        self, before: Float[Tensor, "..."], steps: LatentSteps
    ) -> Float[Tensor, "direction param time rank"]:
        return before + self.common_directions(steps).steps()

    def common_directions(self, steps: LatentSteps) -> CommonDirections:
        known = self.fold_errors or FoldErrors(self.residual, None, 1.0)
        return known.directions(self.model.x, self.model.t, self.kernel, steps)

    def with_errors(
        self, points: Int[np.ndarray, " fold"], errors: Float[np.ndarray, "fold time rank"]
    ) -> "CurveStage":
        """The stage with the errors of its folds.

        Args:
            points: training points that the folds leave out: all, in their order.
            errors: at each of them, of the prediction without it.
        """
        return replace(self, fold_errors=FoldErrors.of(self.model.x, self.kernel, points, errors))

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "CurveStage":
        """The same curves at some of the training points, which a fold knows: curves do not depend on each other."""
        rows = places_among(along.x.numpy(), self.model.x)
        known = None if self.fold_errors is None else self.fold_errors.subset(rows.tolist(), len(self.model.t))
        return replace(self, model=self.model.subset(rows), residual=self.residual[rows], fold_errors=known)

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        settings, arrays = self.model.state()
        own: Json = {"model": settings, "kernel": self.kernel.model_dump(mode="json")}
        arrays = {f"model.{name}": array for name, array in arrays.items()}
        arrays |= {"mean": self.mean, "projector": self.projector, "residual": self.residual}
        if self.fold_errors is not None:
            of_folds, of_arrays = self.fold_errors.state()
            own, arrays = own | of_folds, arrays | of_arrays
        return own, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "CurveStage":
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        of_model = {name.removeprefix("model."): one for name, one in arrays.items() if name.startswith("model.")}
        return cls(
            model=CurveKriging.from_state(settings["model"], of_model),
            mean=arrays["mean"],
            projector=arrays["projector"],
            residual=arrays["residual"],
            kernel=Kernel.model_validate(settings["kernel"]),
            fold_errors=FoldErrors.from_state(settings, arrays),
        )
