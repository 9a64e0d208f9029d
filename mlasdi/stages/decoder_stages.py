"""Decoders: stages that map latent states to POD coordinates, in closed form or by a network."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mlasdi.latent import Trajectories
from mlasdi.stages.networks import FeatureMap, network_from_state, ridge_solve
from mlasdi.stages.settings import NetworkSettings
from mlasdi.stages.stage import Json, Stage

MIN_INPUT_SCALE = 1e-12  # safety bound: an input that does not vary is not divided by zero


@dataclass(frozen=True)
class FeatureStage(Stage):
    """A closed-form decoder: fixed features of z, or of (z, mu), with output weights by ridge regression.

    Attributes:
        features: the random feature map; a refit keeps it.
        shift, scale: standardisation of the inputs, `(input - shift) / scale` `[input]`.
        weights: output weights `[feature, rank]`.
        ridge: penalty on the weights, for features and targets of unit mean square (see `ridge_solve`).
        sees_mu: whether the parameters are inputs besides the latent state.
    """

    kind: ClassVar[str] = "sine-features"
    uses_anchors: ClassVar[bool] = True
    is_smooth: ClassVar[bool] = True

    features: FeatureMap
    shift: Float[Tensor, " input"]
    scale: Float[Tensor, " input"]
    weights: Float[Tensor, "feature rank"]
    ridge: float
    sees_mu: bool

    @classmethod
    def unfitted(cls, features: FeatureMap, ridge: float, along: Trajectories | None = None) -> "FeatureStage":
        """A stage without weights, of z as it is; or of (z, mu), standardised on the trajectories `along`."""
        if along is None:
            n = features.frequencies.shape[0]
            return cls(features, torch.zeros(n).double(), torch.ones(n).double(), torch.empty(0, 0), ridge, False)
        inputs = _inputs(along, sees_mu=True).flatten(0, 1)
        scale = inputs.std(dim=0).clamp_min(MIN_INPUT_SCALE)
        return cls(features, inputs.mean(dim=0), scale, torch.empty(0, 0), ridge, True)

    def _standardised(self, along: Trajectories) -> Float[Tensor, "param time input"]:
        return (_inputs(along, self.sees_mu) - self.shift) / self.scale

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        return self.features.weighted_sums(self._standardised(along), self.weights)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "FeatureStage":
        features = self.features(self._standardised(along))
        targets = residual.reshape(-1, residual.shape[-1])
        # Targets are scaled to unit mean square, so that one ridge suits stages of any magnitude.
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
class NetworkStage(Stage):
    """A decoder network z -> residual / eps, trained by gradient (arXiv 2506.09207, equation 12); float32 inside.

    Attributes:
        network: the trained decoder.
        settings: its architecture.
        scale: eps, the standard deviation of the residual on which it was trained.
    """

    kind: ClassVar[str] = "network"

    network: nn.Sequential
    settings: NetworkSettings
    scale: float

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        with torch.no_grad():
            return self.scale * self.network(along.z.float()).double()

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "NetworkStage":
        """Itself. It was trained on all points, so leave-one-out errors with networks are optimistic."""
        return self

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        weights = dict(self.network.state_dict())
        return {"settings": self.settings.model_dump(mode="json"), "scale": self.scale}, weights

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "NetworkStage":
        architecture = NetworkSettings.model_validate(settings["settings"])
        network = network_from_state(tensors, architecture)
        return cls(network, architecture, settings["scale"])


def _inputs(along: Trajectories, sees_mu: bool) -> Float[Tensor, "param time input"]:
    if not sees_mu:
        return along.z
    mu = along.x[:, None, :].expand(-1, len(along.t), -1)
    return torch.cat([along.z, mu], dim=-1)
