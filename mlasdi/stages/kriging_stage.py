"""The kriging stage: what the stages before it miss, interpolated over the parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from mlasdi.interpolation import Kernel, Kriging
from mlasdi.latent import Trajectories
from mlasdi.stages.stage import CommonDirections, Json, LatentSteps, Stage

TIME_TOLERANCE = 1e-9  # safety bound, in training intervals: ends that are off by rounding are inside


@dataclass(frozen=True)
class KrigingStage(Stage):
    """Kriging with external drift: the drift is the prediction of the stages before, times `drift_weight`.

    The residual `c - drift_weight * (prediction of the stages before)` at the training points is kriged over the
    parameters. With weight 0 this is plain kriging of the field. Up to the nugget and the truncation of the basis, the
    training trajectories are reproduced at their times; between these a cubic spline interpolates. Outside the training
    interval the residual counts as zero, with a deviation as large as the residuals ever are, and the weight as 1.
    Reference: N. Cressie, Statistics for Spatial Data, Wiley 1993, section 3.4.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        kernel: covariance over the parameters.
        t: times of the residual, in units of the training interval.
        residual: `[point, time, rank]`.
        drift_weight: factor on the prediction of the stages before, from 0 to 1.
    """

    kind: ClassVar[str] = "kriging"
    uses_latent: ClassVar[bool] = False
    reproduces_training_data: ClassVar[bool] = True

    x: Float[np.ndarray, "point d"]
    kernel: Kernel
    t: Float[Tensor, " time"]
    residual: Float[Tensor, "point time rank"]
    drift_weight: float = 1.0

    @classmethod
    def unfitted(cls, kernel: Kernel, drift_weight: float = 1.0) -> "KrigingStage":
        """A stage without data, to be fitted by `refit`."""
        none = torch.empty(0, dtype=torch.float64)
        return cls(np.empty((0, 0)), kernel, none, none.reshape(0, 0, 0), drift_weight)

    @cached_property
    def kriging(self) -> Kriging:
        return Kriging(self.x, self.kernel)

    @cached_property
    def _polynomials(self) -> Float[Tensor, "power point piece rank"]:
        """Coefficients of the cubic splines of the residuals, the highest power first."""
        coefficients = CubicSpline(self.t.numpy(), self.residual.numpy(), axis=1).c  # power, piece, point, rank
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(coefficients, 2, 1)))

    def weighted_residuals(
        self, weights: Float[np.ndarray, "sum point"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "sum n rank"]:
        """Weighted sums of the residuals of the training points, at times `t`."""
        w = torch.from_numpy(weights)
        if torch.equal(t, self.t[: len(t)]):
            return torch.tensordot(w, self.residual[:, : len(t)], dims=1)
        piece = (torch.searchsorted(self.t, t, right=True) - 1).clamp(0, len(self.t) - 2)
        since = (t - self.t[piece])[:, None]
        if len(w) < len(self.x):  # sums of their polynomials are cheaper than all their values
            powers = [torch.tensordot(w, coefficients, dims=1) for coefficients in self._polynomials]
            values = _polynomial([power.index_select(1, piece) for power in powers], since)
        else:
            values = _polynomial([power.index_select(1, piece) for power in self._polynomials], since)
            values = torch.tensordot(w, values, dims=1)
        inside = self._inside(t)
        return values if bool(inside.all()) else values * inside[:, None]

    def _inside(self, t: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
        return (t >= self.t[0] - TIME_TOLERANCE) & (t <= self.t[-1] + TIME_TOLERANCE)

    def drift_weight_at(self, t: Float[Tensor, " n"]) -> Float[Tensor, "#n 1"] | float:
        """Factor on the prediction of the stages before, at times `t`: 1 outside the training interval."""
        inside = self._inside(t)
        if self.drift_weight == 1 or bool(inside.all()):
            return self.drift_weight
        return torch.where(inside, self.drift_weight, 1.0).to(t.dtype)[:, None]

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        return self.weighted_residuals(self.kriging.weights(along.x.numpy()), along.t)

    def deviations(
        self, before: Float[Tensor, "..."], steps: LatentSteps
    ) -> Float[Tensor, "direction param time rank"]:
        """Steps of one standard deviation of the prediction with this stage.

        Where the coefficients share a kernel, the residual varies along their directions, one a training point: its
        steps add to those before with their signs, as in one joint Gaussian process. Directions of latent dynamics
        beyond those of the training points are kept as they are. Without a shared kernel, or where the stages before
        have directions of fewer points, the directions of the residual are independent of those before.
        """
        of_residual = self._directions(steps).steps()
        inside = self._inside(steps.t)
        if not bool(inside.all()):
            of_residual = torch.where(inside[:, None], of_residual, self._unknown()[:, None, None])
        of_drift = self.drift_weight_at(steps.t) * before
        n = len(of_residual)
        if not steps.gp.kernel or 1 < len(of_drift) < n:
            return torch.cat([of_drift, of_residual])
        return torch.cat([of_drift[:n] + of_residual, of_drift[n:]])

    def _directions(self, steps: LatentSteps) -> CommonDirections:
        """Steps of the residual inside the training interval."""
        shared = steps.gp.kernel
        std = steps.gp.process_std(steps.x) if shared else np.sqrt(self.kriging.variance(steps.x))
        return CommonDirections(std, self.whitened(steps.t, shared or self.kernel).numpy())

    def common_directions(self, steps: LatentSteps) -> CommonDirections | None:
        return self._directions(steps) if bool(self._inside(steps.t).all()) else None

    def weighted_sums(
        self, x: Float[np.ndarray, "n d"], t: Float[Tensor, " m"]
    ) -> tuple[Float[np.ndarray, "n point"], Float[np.ndarray, "point m rank"]]:
        return self.kriging.weights(x), self.weighted_residuals(np.eye(len(self.x)), t).numpy()

    def _unknown(self) -> Float[Tensor, "direction rank"]:
        """Directions of a residual of which nothing is known: those at the training points, at evenly spread times.

        Their variance is that of the largest residual over time, on average over the points.
        """
        n = len(self.x)
        at = torch.from_numpy(np.linspace(0, len(self.t) - 1, n).round().astype(int))
        directions = self.residual[torch.arange(n), at]
        largest = self.residual.norm(dim=-1).amax(dim=1)
        return directions * (largest.norm() / directions.norm().clamp_min(torch.finfo(largest.dtype).tiny) / n**0.5)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "KrigingStage":
        return KrigingStage(along.x.numpy(), self.kernel, along.t, residual, self.drift_weight)

    def whitened(self, t: Float[Tensor, " n"], kernel: Kernel) -> Float[Tensor, "direction n rank"]:
        """Directions in which the residual varies over the parameters under `kernel`, at times `t`."""
        kriging = self.kriging if kernel == self.kernel else Kriging(self.x, kernel)
        return self.weighted_residuals(kriging.whiten(np.eye(len(self.x))), t) / np.sqrt(max(len(self.x) - 1, 1))

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        tensors = {"x": torch.from_numpy(self.x), "t": self.t, "residual": self.residual}
        return {"kernel": self.kernel.model_dump(mode="json"), "drift_weight": self.drift_weight}, tensors

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "KrigingStage":
        kernel = Kernel.model_validate(settings["kernel"])
        x, t, residual = tensors["x"], tensors["t"], tensors["residual"]
        if residual.shape[:2] != (len(x), len(t)):
            raise ValueError(f"a residual of shape {tuple(residual.shape)} for {len(x)} points and {len(t)} times")
        return cls(x.numpy(), kernel, t, residual, settings["drift_weight"])


def _polynomial(coefficients: Sequence[Tensor], x: Tensor) -> Tensor:
    """Value at `x` of the polynomial with these coefficients, the highest power first, by Horner's rule."""
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = torch.addcmul(coefficient, value, x)
    return value
