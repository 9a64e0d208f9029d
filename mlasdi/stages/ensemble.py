"""Several small latent models as one: their latent states side by side, and the mean of what their decoders say.

Which functions of time a few affine latent states can follow depends on how many they are, and how well they do so
between the training points depends on it erratically. The errors of models of different latent dimensions are nearly
independent there, so that their mean is better than most of them, and never far from the best: no choice is needed
that leave-one-out errors, which are made at the edge of what is known, could not support.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.latent import LatentModel, SteppedDynamics, Trajectories
from mlasdi.stages.multi_stage_model import StagedModel
from mlasdi.stages.stages import FeatureStage, Json


@dataclass(frozen=True)
class AverageStage:
    """The mean of closed-form decoders, each of its own part of the latent state.

    Attributes:
        members: decoders of z alone.
        sizes: how many of the latent states each decodes, in their order.
    """

    kind: ClassVar[str] = "average"
    uses_anchors: ClassVar[bool] = True
    is_smooth: ClassVar[bool] = True
    drift_weight: ClassVar[float] = 1.0

    members: tuple[FeatureStage, ...]
    sizes: tuple[int, ...]

    def _parts(self, along: Trajectories) -> list[Trajectories]:
        return [Trajectories(along.x, along.t, z) for z in along.z.split(self.sizes, dim=-1)]

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        own = [member.evaluate(part) for member, part in zip(self.members, self._parts(along), strict=True)]
        return torch.stack(own).mean(dim=0)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "AverageStage":
        """Each member by itself: together they would fit more, and know less."""
        fitted = (member.refit(part, residual) for member, part in zip(self.members, self._parts(along), strict=True))
        return AverageStage(tuple(fitted), self.sizes)

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        states = [member.state() for member in self.members]
        tensors = {f"{k}.{name}": tensor for k, (_, own) in enumerate(states) for name, tensor in own.items()}
        return {"sizes": list(self.sizes), "members": [settings for settings, _ in states]}, tensors

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "AverageStage":
        def of_member(k: int) -> dict[str, Tensor]:
            return {n.removeprefix(f"{k}."): tensor for n, tensor in tensors.items() if n.startswith(f"{k}.")}

        members = (FeatureStage.from_state(own, of_member(k)) for k, own in enumerate(settings["members"]))
        return cls(tuple(members), tuple(settings["sizes"]))


def averaged(models: Sequence[StagedModel]) -> StagedModel:
    """One model that predicts the mean of several, each of latent dynamics and one closed-form decoder.

    All have the same training points and kernels; the latent dynamics become block-diagonal.

    Raises:
        ValueError: a model has another stage than a closed-form decoder.
    """
    if len(models) == 1:
        return models[0]
    decoders = [stage for model in models for stage in model.stages if isinstance(stage, FeatureStage)]
    if not len(decoders) == len(models) == sum(len(model.stages) for model in models):
        raise ValueError("only models of one closed-form decoder can be averaged")
    sizes = tuple(model.latent.n_latent for model in models)
    return StagedModel(_side_by_side([model.latent for model in models]), (AverageStage(tuple(decoders), sizes),))


def _side_by_side(latents: Sequence[LatentModel]) -> LatentModel:
    first = latents[0]
    z0 = np.concatenate([latent.z0 for latent in latents], axis=1)
    stepped = [latent.dynamics for latent in latents if latent.dynamics]
    if stepped:
        xi = np.concatenate([latent.xi for latent in latents], axis=1)
        return replace(first, xi=xi, z0=z0, dynamics=SteppedDynamics.beside(stepped))
    n, at = z0.shape[1], 0
    xi = np.zeros((len(first.x), n, 1 + n))
    for latent in latents:
        block = slice(at, at + latent.n_latent)
        xi[:, block, 0], xi[:, block, 1 + block.start : 1 + block.stop] = latent.xi[..., 0], latent.xi[..., 1:]
        at = block.stop
    return replace(first, xi=xi, z0=z0)
