"""Stages: each adds to the prediction of the stages before it, in POD coordinates, along given latent trajectories.

With k stages the prediction is `w_k * (prediction with k - 1 stages) + stage_k`. The drift weight `w_k` is 1, but for a
kriging stage that has found the stages before it to be of little help between the training points.

A stage is the immutable result of a fit. `refit` fits the same kind, with the same settings and random features, to
other points: closed-form stages do so in milliseconds, which makes leave-one-parameter-out errors cheap; a network
stays as it is, since training it again is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from mlasdi.interpolation import Kernel, Kriging
from mlasdi.latent import Trajectories
from mlasdi.stages.networks import FeatureMap, NetworkSettings, network_from_state, ridge_solve

Json = dict[str, Any]

_EDGE = 1e-9  # of the training interval; ends that are off by rounding are inside


@runtime_checkable
class Stage(Protocol):
    """What the surrogate needs of a stage."""

    kind: ClassVar[str]
    uses_anchors: ClassVar[bool]
    is_smooth: ClassVar[bool]
    """Whether it is analytic in time, to more digits than single precision has; its drift weight is 1 then."""

    @property
    def drift_weight(self) -> float:
        """Factor on the prediction of the stages before."""
        ...

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        """Contribution to the POD coordinates."""
        ...

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "Stage":
        """The same kind of stage for other data; a stage that cannot be fitted in closed form returns itself."""
        ...

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        """Settings as JSON, and tensors: all that `from_state` needs."""
        ...

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "Stage": ...


@dataclass(frozen=True)
class FeatureStage:
    """Fixed features of (z, and mu when `sees_mu`), with a ridge-solved linear output: the closed-form decoder.

    Attributes:
        features: the random feature map, kept when refitted.
        shift, scale: standardisation of the inputs `[input]`.
        weights: output weights `[feature, rank]`.
        ridge: relative to the mean square of the targets' unit.
        sees_mu: whether the parameters are inputs beside the latent state.
    """

    kind: ClassVar[str] = "sine-features"
    uses_anchors: ClassVar[bool] = True
    is_smooth: ClassVar[bool] = True
    drift_weight: ClassVar[float] = 1.0

    features: FeatureMap
    shift: Float[Tensor, " input"]
    scale: Float[Tensor, " input"]
    weights: Float[Tensor, "feature rank"]
    ridge: float
    sees_mu: bool

    @classmethod
    def unfitted(cls, features: FeatureMap, ridge: float, along: Trajectories | None = None) -> "FeatureStage":
        """A stage without weights: of z as it is, or of (z, mu) standardised on the trajectories `along`."""
        if along is None:
            n = features.frequencies.shape[0]
            return cls(features, torch.zeros(n).double(), torch.ones(n).double(), torch.empty(0, 0), ridge, False)
        inputs = _inputs(along, sees_mu=True).flatten(0, 1)
        scale = inputs.std(dim=0).clamp_min(1e-12)
        return cls(features, inputs.mean(dim=0), scale, torch.empty(0, 0), ridge, True)

    def _standardised(self, along: Trajectories) -> Float[Tensor, "param time input"]:
        return (_inputs(along, self.sees_mu) - self.shift) / self.scale

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        return self.features.combined(self._standardised(along), self.weights)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "FeatureStage":
        features = self.features(self._standardised(along))
        targets = residual.reshape(-1, residual.shape[-1])
        # The residual's own size is the unit of the weights, so one ridge suits stages of any magnitude.
        unit = targets.square().mean().sqrt().clamp_min(torch.finfo(targets.dtype).tiny)
        weights = unit * ridge_solve(features.reshape(len(targets), -1), targets / unit, self.ridge)
        return FeatureStage(self.features, self.shift, self.scale, weights, self.ridge, self.sees_mu)

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        tensors = {
            "frequencies": self.features.frequencies,
            "phases": self.features.phases,
            "shift": self.shift,
            "scale": self.scale,
            "weights": self.weights,
        }
        return {"ridge": self.ridge, "sees_mu": self.sees_mu}, tensors

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "FeatureStage":
        features = FeatureMap(tensors["frequencies"], tensors["phases"])
        return cls(features, tensors["shift"], tensors["scale"], tensors["weights"], **settings)


@dataclass(frozen=True)
class NetworkStage:
    """A decoder network z -> residual / eps, trained by gradient (arXiv 2506.09207, equation 12); float32 inside.

    Attributes:
        network: the trained decoder.
        settings: its architecture.
        scale: eps, the standard deviation of the residual it was trained on.
    """

    kind: ClassVar[str] = "network"
    uses_anchors: ClassVar[bool] = False
    is_smooth: ClassVar[bool] = False
    drift_weight: ClassVar[float] = 1.0

    network: nn.Sequential
    settings: NetworkSettings
    scale: float

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        with torch.no_grad():
            return self.scale * self.network(along.z.float()).double()

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "NetworkStage":
        """Itself: a leave-one-out error with networks therefore knows the left-out point, and is optimistic."""
        return self

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        weights = dict(self.network.state_dict())
        return {"settings": self.settings.model_dump(mode="json"), "scale": self.scale}, weights

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "NetworkStage":
        architecture = NetworkSettings.model_validate(settings["settings"])
        network = network_from_state(tensors, architecture)
        return cls(network, architecture, settings["scale"])


@dataclass(frozen=True)
class KrigingStage:
    """Kriging of the residual: what `drift_weight` times the stages before leaves of the training trajectories.

    This is kriging with an external drift: the prediction is the kriged field plus `drift_weight` times what the stages
    before predict beyond the kriging of their own values at the training points. With weight 0 it is plain kriging of
    the field. Up to the nugget and the truncation of the basis, the training trajectories are reproduced at their
    times; between these a cubic spline interpolates. Outside the training interval the residual counts as zero, and the stages
    before as a whole.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        kernel: covariance over the parameters.
        t: times of the residual, in units of the training interval.
        residual: `[point, time, rank]`.
        drift_weight: factor on the prediction of the stages before, from 0 to 1.
    """

    kind: ClassVar[str] = "kriging"
    uses_anchors: ClassVar[bool] = False
    is_smooth: ClassVar[bool] = False

    x: Float[np.ndarray, "point d"]
    kernel: Kernel
    t: Float[Tensor, " time"]
    residual: Float[Tensor, "point time rank"]
    drift_weight: float = 1.0

    @cached_property
    def kriging(self) -> Kriging:
        return Kriging(self.x, self.kernel)

    @cached_property
    def _polynomials(self) -> Float[Tensor, "power point piece rank"]:
        """Coefficients of the cubic splines of the residuals, the highest power first."""
        coefficients = CubicSpline(self.t.numpy(), self.residual.numpy(), axis=1).c  # power, piece, point, rank
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(coefficients, 2, 1)))

    def combined(self, weights: Float[np.ndarray, "sum point"], t: Float[Tensor, " n"]) -> Float[Tensor, "sum n rank"]:
        """Weighted sums of the residuals of the training points, at times `t`."""
        w = torch.from_numpy(weights)
        if torch.equal(t, self.t[: len(t)]):
            return torch.tensordot(w, self.residual[:, : len(t)], dims=1)
        piece = (torch.searchsorted(self.t, t, right=True) - 1).clamp(0, len(self.t) - 2)
        since = (t - self.t[piece])[:, None]
        if len(w) < len(self.x):  # sums of their polynomials are cheaper than all their values
            powers = [torch.tensordot(w, one, dims=1) for one in self._polynomials]
            values = _polynomial([one.index_select(1, piece) for one in powers], since)
        else:
            values = _polynomial([one.index_select(1, piece) for one in self._polynomials], since)
            values = torch.tensordot(w, values, dims=1)
        inside = self._inside(t)
        return values if bool(inside.all()) else values * inside[:, None]

    def _inside(self, t: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
        return (t >= self.t[0] - _EDGE) & (t <= self.t[-1] + _EDGE)

    def drift_weight_at(self, t: Float[Tensor, " n"]) -> Float[Tensor, "#n 1"] | float:
        """Factor on the stages before at times `t`."""
        inside = self._inside(t)
        if self.drift_weight == 1 or bool(inside.all()):
            return self.drift_weight
        return torch.where(inside, self.drift_weight, 1.0).to(t.dtype)[:, None]

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        return self.combined(self.kriging.weights(along.x.numpy()), along.t)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "KrigingStage":
        return KrigingStage(along.x.numpy(), self.kernel, along.t, residual, self.drift_weight)

    def whitened(self, t: Float[Tensor, " n"], kernel: Kernel) -> Float[Tensor, "direction n rank"]:
        """Directions in which the residual varies over the parameters under `kernel`, at times `t`."""
        kriging = self.kriging if kernel == self.kernel else Kriging(self.x, kernel)
        return self.combined(kriging.whiten(np.eye(len(self.x))), t) / np.sqrt(max(len(self.x) - 1, 1))

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        tensors = {"x": torch.from_numpy(self.x), "t": self.t, "residual": self.residual}
        return {"kernel": self.kernel.model_dump(mode="json"), "drift_weight": self.drift_weight}, tensors

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "KrigingStage":
        kernel = Kernel.model_validate(settings["kernel"])
        return cls(tensors["x"].numpy(), kernel, tensors["t"], tensors["residual"], settings["drift_weight"])


def _polynomial(coefficients: Sequence[Tensor], x: Tensor) -> Tensor:
    """Value at `x` of the polynomial with these coefficients, the highest power first, by Horner's rule."""
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = torch.addcmul(coefficient, value, x)
    return value


def _inputs(along: Trajectories, sees_mu: bool) -> Float[Tensor, "param time input"]:
    if not sees_mu:
        return along.z
    mu = along.x[:, None, :].expand(-1, len(along.t), -1)
    return torch.cat([along.z, mu], dim=-1)
