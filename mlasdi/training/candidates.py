"""The models that the settings of a stage leave open: for each kind of first stage, and of later stages.

A new kind of stage is a new settings class (see `settings`), and a function that is registered here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from itertools import product
from typing import Any

import numpy as np
import torch

from mlasdi.curves import CurveStage
from mlasdi.decoders import (
    AutoencoderSettings,
    DecoderSettings,
    NetworkSpace,
    VariableProjectionSettings,
    fit_autoencoder,
    fit_decoder,
    fit_latent_model,
    with_kappa,
)
from mlasdi.latent import LatentModel
from mlasdi.stages import Encoder, FeatureMap, FeatureStage, KrigingStage, LinearEncoder, StagedModel, averaged
from mlasdi.training.context import Losses, TrainingContext
from mlasdi.training.inferred_dynamics import fold_differences, inferred_dynamics, summary
from mlasdi.training.settings import (
    CurveSettings,
    InferredDynamicsSettings,
    KrigingSettings,
    NoLatentSettings,
    SineFeaturesSettings,
)
from mlasdi.validation import kriging_drift_weight

# Models with a leave-one-out error above this multiple of the smallest one are not averaged with the others. Chosen on
# the wake, vlasov and burgers2d.
MAX_ERROR_RATIO = 2.0


@dataclass(frozen=True)
class Candidate:
    """A model with one more stage.

    Attributes:
        name: of that stage.
        model: the whole model.
        losses: (step, loss) pairs of its training; none where it is fitted in closed form.
    """

    name: str
    model: StagedModel
    losses: Losses = field(default_factory=list)


# First stages: latent dynamics, their decoder, and an encoder for it.


@singledispatch
def first_stage(settings: Any, context: TrainingContext) -> tuple[Candidate | None, LatentModel, Encoder]:
    """The first stage that the settings ask for.

    Returns:
        The model with the first stage, or None where there is none; its latent model; and an encoder.
    """
    raise TypeError(f"{type(settings).__name__} are not settings of a first stage")


@first_stage.register
def _(settings: NoLatentSettings, context: TrainingContext) -> tuple[Candidate | None, LatentModel, Encoder]:
    data = context.data
    latent = _interpolated(LatentModel.trivial(data.x, data.kernel), context)
    return None, latent, _no_encoder(context)


@first_stage.register
def _(settings: InferredDynamicsSettings, context: TrainingContext) -> tuple[Candidate | None, LatentModel, Encoder]:
    stage = inferred_dynamics(context, settings)
    latent = context.trivial_latent
    if stage is None:
        return None, latent, _no_encoder(context)
    return Candidate(summary(stage), StagedModel(latent, (stage,))), latent, _no_encoder(context)


@first_stage.register
def _(settings: CurveSettings, context: TrainingContext) -> tuple[Candidate | None, LatentModel, Encoder]:
    data, latent = context.data, context.trivial_latent
    if context.curves is None:
        return None, latent, _no_encoder(context)
    kernel = data.kernels.uncertainty or data.kernel
    stage = CurveStage.fit(context.curves, context.basis, data.c.numpy(), kernel)
    stage = stage.with_errors(data.fold_points, fold_differences(stage, context))
    return Candidate(settings.kind, StagedModel(latent, (stage,))), latent, _no_encoder(context)


def _no_encoder(context: TrainingContext) -> Encoder:
    return LinearEncoder(torch.zeros(1 + context.data.c.shape[-1], 1).double())


@first_stage.register
def _(settings: AutoencoderSettings, context: TrainingContext) -> tuple[Candidate | None, LatentModel, Encoder]:
    (n_latent,) = context.settings.latent_dims
    losses: Losses = []
    record = context.recorder(settings.kind, settings.steps, losses)
    latent, encoder, decoder = fit_autoencoder(
        context.data, n_latent, settings, context.generator, record, _network_space(context)
    )
    model = StagedModel(_interpolated(latent, context), (decoder,))
    return Candidate(settings.kind, model, losses), model.latent, encoder


def _network_space(context: TrainingContext) -> NetworkSpace:
    return NetworkSpace(context.device, context.interval, context.basis, not context.settings.basis.compress)


@first_stage.register
def _(settings: VariableProjectionSettings, context: TrainingContext) -> tuple[Candidate | None, LatentModel, Encoder]:
    """The mean of models of several latent dimensions."""
    members = [_member(n, settings, context) for n in context.settings.latent_dims]
    kept = [members[k] for k in _ensemble_members([member.model for member in members], context)]
    model = averaged([member.model for member in kept])
    z = model.latent.trajectories(context.data.x, context.data.t).z
    candidate = Candidate(settings.kind, model, _mean_losses([member.losses for member in kept]))
    return candidate, model.latent, LinearEncoder.fit(context.data.c, z)


def _interpolated(latent: LatentModel, context: TrainingContext) -> LatentModel:
    """The latent model with the kernels that the settings ask for."""
    if context.settings.interpolation == "marginal-likelihood":
        return replace(latent, kernel=None, uncertainty_kernel=None)
    kernels = context.data.kernels
    return replace(latent, kernel=kernels.mean, uncertainty_kernel=kernels.uncertainty)


def _member(n_latent: int, settings: VariableProjectionSettings, context: TrainingContext) -> Candidate:
    """Latent dynamics of one dimension with their closed-form decoder, stopped early."""
    losses: Losses = []
    name = f"{settings.kind}, {n_latent} latents"
    record = context.recorder(name, settings.iterations, losses)
    latents, features = fit_latent_model(context.data, n_latent, settings, context.generator, record)
    decoder = FeatureStage.unfitted(features, settings.ridge)
    models = {
        step: StagedModel(_interpolated(latent, context), (decoder,)).refit(context.data)
        for step, latent in latents.items()
    }
    last = _best_step(models, context)
    return Candidate(name, models[last], [(step, loss) for step, loss in losses if step <= last])


def _best_step(models: Mapping[int, StagedModel], context: TrainingContext) -> int:
    """The optimiser step with the smallest leave-one-out error; the last one where that error is not used."""
    if not context.can_choose:
        return max(models)
    return min(models, key=lambda step: context.loo_error_given(context.settings.stages, models[step]))


def _ensemble_members(models: Sequence[StagedModel], context: TrainingContext) -> list[int]:
    """Models whose leave-one-out error is at most `MAX_ERROR_RATIO` times the smallest one.

    With two points there is no such error. Then it is those whose drift weight is not smaller than the largest one by
    more than that ratio.
    """
    if len(models) == 1:
        return [0]
    if context.data.n_points < 3:
        weights = np.array([kriging_drift_weight(model, context.data) for model in models])
        return np.flatnonzero(weights * MAX_ERROR_RATIO >= weights.max()).tolist()
    errors = np.array([context.loo_error(model) for model in models])
    return np.flatnonzero(errors <= MAX_ERROR_RATIO * errors.min()).tolist()


def _mean_losses(histories: Sequence[Losses]) -> Losses:
    """Mean over the models at each step; a model that has stopped keeps its last loss."""
    longest = max(histories, key=len)
    losses = [[loss for _, loss in history] for history in histories]
    filled = np.array([values + values[-1:] * (len(longest) - len(values)) for values in losses])
    return [(step, loss) for (step, _), loss in zip(longest, filled.mean(axis=0).tolist(), strict=True)]


# Later stages: each is fitted to what the model leaves of the training data.


@singledispatch
def later_stages(settings: Any, model: StagedModel, context: TrainingContext) -> list[Candidate]:
    """The model with one more stage, in each of the variants that the settings leave open."""
    raise TypeError(f"{type(settings).__name__} are not settings of a later stage")


@later_stages.register
def _(settings: KrigingSettings, model: StagedModel, context: TrainingContext) -> list[Candidate]:
    """With the drift weight by leave-one-out errors, where stages are chosen by these."""
    is_free = model.stages and context.settings.min_gain is not None
    drift_weight = kriging_drift_weight(model, context.data) if is_free else 1.0
    stage = KrigingStage.unfitted(context.data.kernel, drift_weight)
    return [Candidate(context.label(settings.kind), model.extended(stage, context.data))]


@later_stages.register
def _(settings: DecoderSettings, model: StagedModel, context: TrainingContext) -> list[Candidate]:
    """One decoder network, its frequency factor chosen beforehand."""
    along, residual = model.residual(context.data, with_anchors=False)
    space = _network_space(context)
    chosen = with_kappa(along, residual, settings, context.generator, space)
    variant = "" if settings.kappa is None else f" (kappa {chosen.network.kappa:.3g})"
    name = context.label(f"{settings.network.activation}-decoder{variant}")
    losses: Losses = []
    record = context.recorder(name, settings.steps, losses)
    decoder = fit_decoder(along, residual, chosen, context.generator, record, space)
    return [Candidate(name, StagedModel(model.latent, (*model.stages, decoder)), losses)]


@later_stages.register
def _(settings: SineFeaturesSettings, model: StagedModel, context: TrainingContext) -> list[Candidate]:
    """One candidate for each combination of frequency scale and ridge."""
    along, _ = model.residual(context.data, with_anchors=True)
    n_inputs = along.z.shape[-1] + along.x.shape[-1]
    found = []
    for kappa, ridge in product(settings.kappa, settings.ridge):
        features = FeatureMap.random(n_inputs, settings.n_sine, kappa, context.generator)
        stage = FeatureStage.unfitted(features, ridge, along)
        name = context.label(f"{settings.kind} (kappa {kappa:g}, ridge {ridge:g})")
        found.append(Candidate(name, model.extended(stage, context.data)))
    return found
