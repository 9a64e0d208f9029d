"""Which stages a model gets: fit the candidates of each configured stage, and keep the best one if it helps."""

from dataclasses import dataclass, field

import numpy as np

from mlasdi.stages import Encoder, StagedModel
from mlasdi.training.candidates import Candidate, first_stage, later_stages
from mlasdi.training.context import Losses, TrainingContext
from mlasdi.training.settings import StageSettings
from mlasdi.validation import MIN_FOLDS


@dataclass
class StageSelection:
    """Grows a model stage by stage, and records what was tried.

    Attributes:
        context: data, settings and scores. `context.names` are the stages kept, in order.
        losses: stage name -> (step, loss) pairs.
        dropped: stages that did not lower the leave-one-out error enough -> that error, including a kriging stage if
            one is configured after it; None where it is not known.
        dropped_ratios: such stages -> training and leave-one-out error, relative to those without the stage.
    """

    context: TrainingContext
    losses: dict[str, Losses] = field(default_factory=dict)
    dropped: dict[str, float | None] = field(default_factory=dict)
    dropped_ratios: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return self.context.names

    def first_stage(self) -> tuple[StagedModel, Encoder]:
        """Latent dynamics with their decoder, and an encoder for it."""
        candidate, latent, encoder = first_stage(self.context.settings.first_stage, self.context)
        if candidate is None:
            return StagedModel(latent, ()), encoder
        self._keep(candidate)
        return candidate.model, encoder

    def add_stages(self, model: StagedModel) -> StagedModel:
        """Add the configured stages in order, each in its best variant, if they lower the leave-one-out error.

        A stage is kept if it lowers the error by the fraction `min_gain`. A kriging stage is kept unless it raises the
        error by that fraction: its drift weight already depends on leave-one-out errors. With fewer than `MIN_FOLDS`
        points that error says too little, and kriging alone is added. Without `min_gain` all stages are added.
        """
        settings = self.context.settings
        is_scored = settings.min_gain is not None
        for k, stage in enumerate(settings.stages):
            if self._residual_is_noise(model):
                self.dropped[self.context.label(stage.kind)] = None
                continue
            remaining = settings.stages[k + 1 :]
            error = self.context.loo_error_given(remaining, model) if is_scored and model.stages else np.inf
            found = later_stages(stage, model, self.context)
            scores = [self.context.loo_error_given(remaining, one.model) for one in found] if is_scored else [0.0]
            best = int(np.argmin(scores))
            if is_scored and not self._is_kept(stage, scores[best], error):
                self._drop(found[best], scores[best], model)
                continue
            model = found[best].model
            self._keep(found[best])
        return model

    def _residual_is_noise(self, model: StagedModel) -> bool:
        """Whether the training residual is about as small as the noise in the training data."""
        noise = self.context.data.noise
        if not (noise and model.stages):
            return False
        return self.context.mean_square_residual(model) <= self.context.settings.noise_floor * noise

    def _is_kept(self, stage: StageSettings, score: float, error: float) -> bool:
        """Whether a stage is kept, by the leave-one-out errors with it and without it."""
        is_unknown, gain = self.context.data.n_points < MIN_FOLDS, self.context.settings.min_gain or 0.0
        if stage.reproduces_training_data:
            return is_unknown or score <= (1 + gain) * error
        return not is_unknown and score <= (1 - gain) * error

    def _keep(self, candidate: Candidate) -> None:
        """Record a stage; one in closed form with its mean square training residual as its loss."""
        losses = candidate.losses
        if not losses:
            record = self.context.recorder(candidate.name, 1, losses)
            record(1, self.context.mean_square_residual(candidate.model))
        self.names.append(candidate.name)
        self.losses[candidate.name] = losses

    def _drop(self, candidate: Candidate, score: float, before: StagedModel) -> None:
        """Record a dropped stage, and what it does to the errors of the model `before`, where both are known.

        These errors are those without a later kriging stage, which would hide either.
        """
        self.dropped[candidate.name] = score if np.isfinite(score) else None
        if not before.stages:
            return
        models = (before, candidate.model)
        training = [self.context.training_error(model) for model in models]
        left_out = [self.context.loo_error(model) for model in models]
        if np.isfinite(left_out).all() and training[0] > 0 and left_out[0] > 0:
            self.dropped_ratios[candidate.name] = (training[1] / training[0], left_out[1] / left_out[0])
