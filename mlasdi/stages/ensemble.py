"""Several small latent models as one: latent states one after the other, and the mean of their decoders.

The accuracy between the training points depends erratically on the latent dimension. The errors of models of different
dimensions are nearly independent, so their mean is better than most of them, and never far from the best. With the mean
there is no need to choose a dimension by leave-one-out errors, which are too uncertain for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.latent import LatentModel, SteppedDynamics, Trajectories
from mlasdi.stages.decoder_stages import FeatureStage
from mlasdi.stages.multi_stage_model import StagedModel
from mlasdi.stages.stage import Json, Stage


@dataclass(frozen=True)
class AverageStage(Stage):
    """The mean of closed-form decoders, each of its own block of the latent state.

    Attributes:
        members: decoders of z alone.
        sizes: number of latent states of each, in their order.
    """

    kind: ClassVar[str] = "average"
    uses_anchors: ClassVar[bool] = True
    is_smooth: ClassVar[bool] = True

    members: tuple[FeatureStage, ...]
    sizes: tuple[int, ...]

    def _blocks(self, along: Trajectories) -> list[Trajectories]:
        return [Trajectories(along.x, along.t, z) for z in along.z.split(self.sizes, dim=-1)]

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        blocks = zip(self.members, self._blocks(along), strict=True)
        return torch.stack([member.evaluate(block) for member, block in blocks]).mean(dim=0)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "AverageStage":
        """Each member by itself: fitted jointly they would fit the training data better, and overfit them."""
        blocks = zip(self.members, self._blocks(along), strict=True)
        return AverageStage(tuple(member.refit(block, residual) for member, block in blocks), self.sizes)

    def decoders(self, n_latent: int) -> Sequence[tuple[Stage, int]]:
        return list(zip(self.members, self.sizes, strict=True))

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        states = [member.state() for member in self.members]
        tensors = {f"{k}.{name}": tensor for k, (_, saved) in enumerate(states) for name, tensor in saved.items()}
        return {"sizes": list(self.sizes), "members": [settings for settings, _ in states]}, tensors

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "AverageStage":
        def of_member(k: int) -> dict[str, Tensor]:
            return {n.removeprefix(f"{k}."): tensor for n, tensor in tensors.items() if n.startswith(f"{k}.")}

        members = (FeatureStage.from_state(saved, of_member(k)) for k, saved in enumerate(settings["members"]))
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
    return StagedModel(_block_diagonal([model.latent for model in models]), (AverageStage(tuple(decoders), sizes),))


def _block_diagonal(latents: Sequence[LatentModel]) -> LatentModel:
    """One latent model with the states of all, one after the other."""
    first = latents[0]
    z0 = np.concatenate([latent.z0 for latent in latents], axis=1)
    stepped = [latent.dynamics for latent in latents if latent.dynamics]
    if stepped:
        xi = np.concatenate([latent.xi for latent in latents], axis=1)
        return replace(first, xi=xi, z0=z0, dynamics=SteppedDynamics.joined(stepped))
    n, start = z0.shape[1], 0
    xi = np.zeros((len(first.x), n, 1 + n))
    for latent in latents:
        block = slice(start, start + latent.n_latent)
        xi[:, block, 0], xi[:, block, 1 + block.start : 1 + block.stop] = latent.xi[..., 0], latent.xi[..., 1:]
        start = block.stop
    return replace(first, xi=xi, z0=z0)
