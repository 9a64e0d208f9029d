"""Encoders: POD coordinates to latent states. Only the error split needs them, no prediction does."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mlasdi.stages.networks import network_from_state, ridge_solve
from mlasdi.stages.settings import NetworkSettings

RIDGE = 1e-10  # safety bound: POD coordinates may be linearly dependent


@runtime_checkable
class Encoder(Protocol):
    """Maps POD coordinates to latent states.

    Attributes:
        kind: its name in saved surrogates.
        is_trained: whether it was trained together with its decoder; otherwise it was fitted afterwards.
    """

    kind: ClassVar[str]
    is_trained: ClassVar[bool]

    def encode(self, c: Float[Tensor, "*batch rank"]) -> Float[Tensor, "*batch latent"]: ...

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]: ...

    @classmethod
    def from_state(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> "Encoder": ...


@dataclass(frozen=True)
class LinearEncoder:
    """Affine encoder, fitted by ridge regression to given latent trajectories.

    Attributes:
        weights: `[1 + rank, latent]`, the constant first.
    """

    kind: ClassVar[str] = "linear"
    is_trained: ClassVar[bool] = False

    weights: Float[Tensor, "terms latent"]

    @classmethod
    def fit(cls, c: Float[Tensor, "*batch rank"], z: Float[Tensor, "*batch latent"]) -> "LinearEncoder":
        return cls(ridge_solve(_with_constant(c).flatten(0, -2), z.flatten(0, -2), RIDGE))

    def encode(self, c: Float[Tensor, "*batch rank"]) -> Float[Tensor, "*batch latent"]:
        return _with_constant(c) @ self.weights

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {}, {"weights": self.weights}

    @classmethod
    def from_state(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> "LinearEncoder":
        return cls(tensors["weights"])


@dataclass(frozen=True)
class NetworkEncoder:
    """The encoder half of a trained autoencoder; float32 inside."""

    kind: ClassVar[str] = "network"
    is_trained: ClassVar[bool] = True

    network: nn.Sequential
    settings: NetworkSettings

    def encode(self, c: Float[Tensor, "*batch rank"]) -> Float[Tensor, "*batch latent"]:
        with torch.no_grad():
            return self.network(c.float()).double()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"settings": self.settings.model_dump(mode="json")}, dict(self.network.state_dict())

    @classmethod
    def from_state(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> "NetworkEncoder":
        architecture = NetworkSettings.model_validate(settings["settings"])
        return cls(network_from_state(tensors, architecture), architecture)


def _with_constant(c: Float[Tensor, "*batch rank"]) -> Float[Tensor, "*batch terms"]:
    return torch.cat([torch.ones_like(c[..., :1]), c], dim=-1)
