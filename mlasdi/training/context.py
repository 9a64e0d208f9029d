"""What all stages of a training share: data, settings, random numbers, progress, and leave-one-out errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from mlasdi.alignment import Aligned
from mlasdi.curves import CurveKriging
from mlasdi.latent import LatentModel
from mlasdi.operator_inference import OperatorInferenceSettings
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import ParameterSpace, StateLayout
from mlasdi.stages import StagedModel, TrainingSet
from mlasdi.surrogate import FieldNorms
from mlasdi.training.settings import ModelSettings, StageSettings
from mlasdi.validation import MIN_FOLDS, fold_errors, kriged_fold_errors, mean_errors, training_errors

Losses = list[tuple[int, float]]


@dataclass(frozen=True)
class Progress:
    """Where the training stands.

    Attributes:
        stage: name of the stage that is trained.
        step: step of its optimiser, out of `n_steps`.
        loss: its loss in this step.
    """

    stage: str
    step: int
    n_steps: int
    loss: float


@dataclass(frozen=True)
class TrainingContext:
    """What stages are fitted with and scored by, whatever their kind.

    Attributes:
        settings: the model that is asked for.
        data: training trajectories in POD coordinates.
        aligned: the variables of these trajectories, and their POD basis.
        generator: of all random numbers.
        report: called with the progress of iterative fits.
        space: the parameter box.
        layout: fields and grids of the states; None where errors of single fields are not wanted.
        seed: of the points of the box over which errors are estimated.
        device: on which networks are trained, as torch names it.
        interval: length of the training interval, in the unit of time.
        data_error: relative error of what is fitted: of noise in the basis, and between the times that were kept.
        error_to_beat: leave-one-out error of the best other model so far.
        carried_over: latent dynamics that were chosen with fewer trajectories.
        curves: kriging of curves, where the basis is that of these.
        names: names of the stages that the model has so far.
    """

    settings: ModelSettings
    data: TrainingSet
    aligned: Aligned
    generator: torch.Generator
    report: Callable[[Progress], None]
    space: ParameterSpace
    layout: StateLayout | None = None
    seed: int = 0
    device: str = "cpu"
    interval: float = 1.0
    data_error: float = 0.0
    error_to_beat: float = np.inf
    carried_over: tuple[OperatorInferenceSettings, ...] = ()
    curves: CurveKriging | None = None
    names: list[str] = field(default_factory=list)

    @property
    def basis(self) -> PodBasis:
        """The POD basis, in which errors are measured."""
        return self.aligned.basis

    @cached_property
    def field_norms(self) -> FieldNorms:
        """By which errors of single fields are measured; empty where there is one field."""
        if self.layout is None or len(self.layout.fields) < 2:
            return ()
        return self.basis.field_norms(self.layout.sizes)

    @property
    def trivial_latent(self) -> LatentModel:
        """The latent model of stages that depend on parameters and time alone."""
        kernels = self.data.kernels
        latent = LatentModel.trivial(self.data.x, self.data.kernel)
        return replace(latent, kernel=kernels.mean, uncertainty_kernel=kernels.uncertainty)

    def label(self, name: str) -> str:
        """The name, with a number if the model already has a stage of that name."""
        return name if name not in self.names else f"{name} #{len(self.names) + 1}"

    def recorder(self, name: str, n_steps: int, losses: Losses) -> Callable[[int, float], None]:
        """A function of step and loss that appends them to `losses` and reports them."""

        def record(step: int, loss: float) -> None:
            losses.append((step, loss))
            self.report(Progress(name, step, n_steps, loss))

        return record

    @property
    def can_choose(self) -> bool:
        """Whether variants of a stage are chosen by leave-one-out errors."""
        return self.settings.min_gain is not None and self.data.n_points >= MIN_FOLDS

    def loo_error(self, model: StagedModel, *, with_kriging: bool = False) -> float:
        """Leave-one-out error, the weighted mean over the folds; infinite with fewer than three points.

        Args:
            with_kriging: add a kriging stage to the model first.
        """
        if self.data.n_points < 3:
            return np.inf
        errors = (kriged_fold_errors if with_kriging else fold_errors)(model, self.data, self.basis)
        return float(mean_errors(errors[None], self.data)[0])

    def loo_error_given(self, remaining_stages: Sequence[StageSettings], model: StagedModel) -> float:
        """Leave-one-out error, including the kriging stage if the remaining stages have one."""
        return self.loo_error(model, with_kriging=any(stage.reproduces_training_data for stage in remaining_stages))

    def training_error(self, model: StagedModel) -> float:
        """Root mean square over the training points of the largest relative error over time."""
        return float(np.sqrt(np.mean(training_errors(model, self.data, self.basis)[-1] ** 2)))

    def mean_square_residual(self, model: StagedModel) -> float:
        """Mean square norm of what the model leaves of the training coordinates."""
        _, residual = model.residual(self.data, with_anchors=False)
        return float(residual.square().sum(dim=-1).mean())
