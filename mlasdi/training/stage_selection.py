"""How a staged model grows: which stages are fitted, in which variant, and which of them stay."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch

from mlasdi.latent import LatentModel
from mlasdi.preprocessing import PodBasis
from mlasdi.stages import (
    Encoder,
    FeatureMap,
    FeatureStage,
    KrigingStage,
    LinearEncoder,
    StagedModel,
    TrainingSet,
    averaged,
)
from mlasdi.training.autoencoder import AutoencoderSettings, DecoderSettings, fit_autoencoder, fit_decoder
from mlasdi.training.settings import KrigingSettings, ModelSettings, NoLatentSettings, StageSettings
from mlasdi.training.sine_frequency import with_kappa
from mlasdi.training.variable_projection import VariableProjectionSettings, fit_latent_model
from mlasdi.validation import (
    MIN_FOLDS,
    fold_errors,
    kriged_fold_errors,
    kriging_drift_weight,
    mean_errors,
    training_errors,
)

MAX_ERROR_RATIO = (
    2.0  # a model whose leave-one-out error is this many times the smallest one is not averaged with the others
)


@dataclass(frozen=True)
class Progress:
    """Where the training stands."""

    stage: str
    step: int
    n_steps: int
    loss: float


@dataclass
class StageSelection:
    """Grows a staged model: the first stage, then one stage after the other, with a record of what was tried.

    Attributes:
        device: on which networks are trained, as torch names it.
        names: the stages kept, in order.
        losses: stage name -> (step, loss) pairs.
        dropped: stages that did not lower the leave-one-out error enough -> that error, kriging to come included.
        dropped_ratios: such stages -> training and leave-one-out error relative to those without the stage.
    """

    settings: ModelSettings
    data: TrainingSet
    basis: PodBasis
    generator: torch.Generator
    report: Callable[[Progress], None]
    device: str = "cpu"
    names: list[str] = field(default_factory=list)
    losses: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    dropped: dict[str, float | None] = field(default_factory=dict)
    dropped_ratios: dict[str, tuple[float, float]] = field(default_factory=dict)

    def reporter(self, name: str, n_steps: int) -> Callable[[int, float], None]:
        """Record and pass on the loss of one stage."""

        def record(step: int, loss: float) -> None:
            self.losses[name].append((step, loss))
            self.report(Progress(name, step, n_steps, loss))

        return record

    def first_stage(self) -> tuple[StagedModel, Encoder]:
        """Latent dynamics with their decoder, and an encoder that belongs to them."""
        settings = self.settings.first_stage
        if isinstance(settings, NoLatentSettings):
            latent = self._interpolated(LatentModel.trivial(self.data.x, self.data.kernel))
            return StagedModel(latent, ()), LinearEncoder(torch.zeros(1 + self.data.c.shape[-1], 1).double())
        self.names.append(settings.kind)
        if isinstance(settings, AutoencoderSettings):
            report = self.reporter(settings.kind, settings.steps)
            (n_latent,) = self.settings.latent_dims
            latent, encoder, decoder = fit_autoencoder(
                self.data, n_latent, settings, self.generator, report, self.device
            )
            return StagedModel(self._interpolated(latent), (decoder,)), encoder
        members = [self._member(n, settings) for n in self.settings.latent_dims]
        kept = self._ensemble_members([model for model, _ in members])
        self.losses[settings.kind] = _mean_loss([members[k][1] for k in kept])
        model = averaged([members[k][0] for k in kept])
        z = model.latent.trajectories(self.data.x, self.data.t).z
        return model, LinearEncoder.fit(self.data.c, z)

    def _member(
        self, n_latent: int, settings: VariableProjectionSettings
    ) -> tuple[StagedModel, list[tuple[int, float]]]:
        """Latent dynamics of one dimension with their closed-form decoder, stopped early, and the loss until then."""
        losses: list[tuple[int, float]] = []

        def record(step: int, loss: float) -> None:
            losses.append((step, loss))
            self.report(Progress(f"{settings.kind}, {n_latent} latents", step, settings.iterations, loss))

        latents, features = fit_latent_model(self.data, n_latent, settings, self.generator, record)
        closed_form = FeatureStage.unfitted(features, settings.ridge)
        models = {
            step: StagedModel(self._interpolated(latent), (closed_form,)).refit(self.data)
            for step, latent in latents.items()
        }
        last = self._best_step(models)
        return models[last], [(step, loss) for step, loss in losses if step <= last]

    def _ensemble_members(self, models: Sequence[StagedModel]) -> list[int]:
        """Which models are not much worse than the best one, by leave-one-out, or with two points by their trust."""
        if len(models) == 1:
            return [0]
        if self.data.n_points < 3:
            worth = np.array([kriging_drift_weight(model, self.data) for model in models])
            return np.flatnonzero(worth * MAX_ERROR_RATIO >= worth.max()).tolist()
        errors = np.array([self.judge(model) for model in models])
        return np.flatnonzero(errors <= MAX_ERROR_RATIO * errors.min()).tolist()

    def _best_step(self, models: Mapping[int, StagedModel]) -> int:
        """The number of steps after which to stop: the best by leave-one-out, the last where that tells nothing."""
        if self.settings.min_gain is None or self.data.n_points < MIN_FOLDS:
            return max(models)
        return min(models, key=lambda step: self._loo_error_given(self.settings.stages, models[step]))

    def _interpolated(self, latent: LatentModel) -> LatentModel:
        """The latent model with the kernels that the settings ask for."""
        if self.settings.interpolation == "marginal-likelihood":
            return replace(latent, kernel=None, uncertainty_kernel=None)
        return replace(latent, kernel=self.data.kernel, uncertainty_kernel=self.data.uncertainty_kernel)

    def add_stages(self, model: StagedModel) -> StagedModel:
        """Add the configured stages in order, each in its best variant, those that pay.

        A kriging stage reproduces the training data, and its trust guards it: it stays unless the error rises by
        `min_gain`. Others have to lower it by as much, and with fewer than `MIN_FOLDS` points none can show that it
        does.
        """
        judged = self.settings.min_gain is not None
        for k, settings in enumerate(self.settings.stages):
            if self._residual_is_noise(model):
                self.dropped[self._named(settings.kind)] = None
                continue
            to_come = self.settings.stages[k + 1 :]
            error = self._loo_error_given(to_come, model) if judged and model.stages else np.inf
            candidates = self.candidates(model, settings)
            scores = [self._loo_error_given(to_come, candidate) for _, candidate in candidates] if judged else [0.0]
            best = int(np.argmin(scores))
            name, candidate = candidates[best]
            if judged and not self._stays(settings, scores[best], error):
                self.dropped[name] = scores[best] if np.isfinite(scores[best]) else None
                self._compare_dropped(name, model, candidate)
                continue
            model = candidate
            self.names.append(name)
            if name not in self.losses:
                _, residual = model.residual(self.data, with_anchors=False)
                self.reporter(name, 1)(1, float(residual.square().sum(dim=-1).mean()))
        return model

    def _residual_is_noise(self, model: StagedModel) -> bool:
        """Whether what the stages leave of the training data is no more than their noise."""
        if not (self.data.noise and model.stages):
            return False
        _, residual = model.residual(self.data, with_anchors=False)
        return float(residual.square().sum(dim=-1).mean()) <= self.settings.noise_floor * self.data.noise

    def _stays(self, settings: StageSettings, score: float, error: float) -> bool:
        few, gain = self.data.n_points < MIN_FOLDS, self.settings.min_gain or 0.0
        if isinstance(settings, KrigingSettings):
            return few or score <= (1 + gain) * error
        return not few and score <= (1 - gain) * error

    def _compare_dropped(self, name: str, before: StagedModel, after: StagedModel) -> None:
        """Record what a dropped stage does to the training error and to the leave-one-out error, where both are known.

        Both are those without kriging, which would hide either.

        Args:
            before, after: the model without and with the stage.
        """
        if not before.stages:
            return
        training = [self._training_error(model) for model in (before, after)]
        left_out = [self.judge(model) for model in (before, after)]
        if np.isfinite(left_out).all() and training[0] > 0 and left_out[0] > 0:
            self.dropped_ratios[name] = (training[1] / training[0], left_out[1] / left_out[0])

    def _training_error(self, model: StagedModel) -> float:
        return float(np.sqrt(np.mean(training_errors(model, self.data, self.basis)[-1] ** 2)))

    def _loo_error_given(self, to_come: Sequence[StageSettings], model: StagedModel) -> float:
        """Leave-one-out error with the kriging stage, where one is to come: what the model leaves will be kriged."""
        return self.judge(model, kriging=any(isinstance(stage, KrigingSettings) for stage in to_come))

    def judge(self, model: StagedModel, *, kriging: bool = False) -> float:
        """Leave-one-out error, the mean over the folds; infinite below three points.

        Args:
            kriging: whether with a kriging stage on top.
        """
        if self.data.n_points < 3:
            return np.inf
        errors = (kriged_fold_errors if kriging else fold_errors)(model, self.data, self.basis)
        return float(mean_errors(errors[None], self.data)[0])

    def candidates(self, model: StagedModel, settings: StageSettings) -> list[tuple[str, StagedModel]]:
        """The model with one more stage, by name, in each of the variants that the settings leave open."""
        if isinstance(settings, KrigingSettings):
            drift_weight = (
                kriging_drift_weight(model, self.data) if model.stages and self.settings.min_gain is not None else 1.0
            )
            blank = KrigingStage(
                self.data.x, self.data.kernel, self.data.t, torch.zeros_like(self.data.c), drift_weight
            )
            return [(self._named(settings.kind), model.extended(blank, self.data))]
        if isinstance(settings, DecoderSettings):
            along, residual = model.residual(self.data, with_anchors=False)
            chosen = with_kappa(along, residual, settings, self.generator, self.device)
            variant = "" if settings.kappa is None else f" (kappa {chosen.network.kappa:.3g})"
            name = self._named(f"{settings.network.activation}-decoder{variant}")
            report = self.reporter(name, settings.steps)
            decoder = fit_decoder(along, residual, chosen, self.generator, report, self.device)
            return [(name, StagedModel(model.latent, (*model.stages, decoder)))]
        along, _ = model.residual(self.data, with_anchors=True)
        found = []
        for kappa, ridge in product(settings.kappa, settings.ridge):
            n_in = along.z.shape[-1] + along.x.shape[-1]
            features = FeatureMap.random(n_in, settings.n_sine, kappa, self.generator)
            stage = FeatureStage.unfitted(features, ridge, along)
            name = self._named(f"{settings.kind} (kappa {kappa:g}, ridge {ridge:g})")
            found.append((name, model.extended(stage, self.data)))
        return found

    def _named(self, name: str) -> str:
        """The name, numbered where a stage of that name is there already."""
        return name if name not in self.names else f"{name} #{len(self.names) + 1}"


def _mean_loss(histories: Sequence[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Mean over the models at each step; a model that has stopped keeps its last loss."""
    longest = max(histories, key=len)
    losses = [[loss for _, loss in history] for history in histories]
    filled = np.array([own + own[-1:] * (len(longest) - len(own)) for own in losses])
    return [(step, loss) for (step, _), loss in zip(longest, filled.mean(axis=0).tolist(), strict=True)]
