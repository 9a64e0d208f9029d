"""The multi-stage model in POD coordinates: latent trajectories, and the sum of the stages along them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.alignment import COMMON_TIMES, TimeScaling
from mlasdi.interpolation import Kriging, at_times
from mlasdi.latent import LatentModel, Trajectories
from mlasdi.operator_inference import OperatorInferenceSettings
from mlasdi.stages.dynamics_stage import DynamicsStage
from mlasdi.stages.encoders import Encoder
from mlasdi.stages.stage import CommonDirections, LatentSteps, Stage
from mlasdi.stages.training_set import TrainingSet

# 0: extrapolated values count as data; 1: they count as unknown. Chosen by the coverage of the bands on the benchmark
# problems and on campaigns and Sobol designs of burgers1d.
EXTRAPOLATION_WEIGHT = 0.25


@dataclass(frozen=True)
class StagedModel:
    """Latent dynamics and the stages that decode them; the prediction accumulates over the stages (see `stage`).

    Attributes:
        latent: latent dynamics over the unit cube.
        stages: in the order in which they were fitted.
    """

    latent: LatentModel
    stages: tuple[Stage, ...]

    @property
    def inferred_dynamics(self) -> tuple[OperatorInferenceSettings, ...]:
        """Settings of the latent dynamics by operator inference, if the model has any."""
        return tuple(stage.model.settings for stage in self.stages if isinstance(stage, DynamicsStage))

    def mean(
        self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"], n_stages: int | None = None
    ) -> Float[Tensor, "param time rank"]:
        """POD coordinates with the mean latent coefficients, of the first `n_stages` stages (all by default)."""
        smooth, others = _split(self.stages[:n_stages])
        if not smooth:
            return decode(others, self._along(others, x, t))
        total = self._at_times(lambda times: decode(smooth, self.latent.trajectories(x, times)), t)
        return decode(others, self._along(others, x, t), total) if others else total

    def deviations(
        self,
        x: Float[np.ndarray, "param d"],
        t: Float[Tensor, " time"],
        time_scaling: TimeScaling = COMMON_TIMES,
        *,
        for_estimate: bool = False,
    ) -> Float[Tensor, "direction param time rank"]:
        """Steps of one standard deviation of the prediction; the covariance is the sum of their outer products.

        Each direction of the coefficient GPs is propagated through the latent ODE and all decoders (see also
        `KrigingStage.deviations`).

        Args:
            time_scaling: of the times `t`, up to which some training trajectories are extrapolated.
            for_estimate: see `LatentSteps`.
        """
        gp = self.latent.gp
        smooth, others = _split(self.stages)
        steps = torch.zeros(1).double()
        if smooth:
            steps = self._at_times(lambda times: _deviations(smooth, LatentSteps(self.latent, x, times)), t)
        steps = _deviations(others, LatentSteps(self.latent, x, t, for_estimate), steps)
        if time_scaling.is_common or gp.kernel is None:
            return steps
        inflation = _std_inflation(Kriging(gp.x, gp.kernel), x, t.numpy(), time_scaling)
        return steps * torch.from_numpy(inflation)[:, :, None]

    def common_directions(
        self,
        x: Float[np.ndarray, "param d"],
        t: Float[Tensor, " time"],
        time_scaling: TimeScaling = COMMON_TIMES,
        *,
        for_estimate: bool = False,
    ) -> CommonDirections | None:
        """`deviations` of a model whose directions are the same at all points; None for other models."""
        if len(self.stages) != 1:
            return None
        gp = self.latent.gp
        found = self.stages[0].common_directions(LatentSteps(self.latent, x, t, for_estimate))
        if found is None or time_scaling.is_common or gp.kernel is None:
            return found
        if found.everywhere is not None:  # inflated, these differ from point to point
            return None
        inflation = _std_inflation(Kriging(gp.x, gp.kernel), x, t.numpy(), time_scaling)
        return CommonDirections(found.std[:, None] * inflation, found.directions)

    def _at_times(self, evaluate: Callable[[Tensor], Tensor], t: Float[Tensor, " time"]) -> Tensor:
        """Values of smooth stages; of all times at once where the trajectories are integrated in steps."""
        return evaluate(t) if self.latent.dynamics else at_times(evaluate, t)

    def _along(
        self, stages: Sequence[Stage], x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]
    ) -> Trajectories:
        """Trajectories for these stages, without latent states where no stage uses any."""
        if any(stage.uses_latent for stage in stages):
            return self.latent.trajectories(x, t)
        return Trajectories(torch.from_numpy(x), t, torch.empty(len(x), len(t), 0, dtype=t.dtype))

    def refit(self, data: TrainingSet) -> "StagedModel":
        """Fit each closed-form stage to what the stages before it leave of `data`."""
        along, targets = self.latent.trajectories(data.all_x, data.t), data.targets
        fitted: list[Stage] = []
        predicted = torch.zeros_like(targets)
        for stage in self.stages:
            if fitted:
                predicted = fitted[-1].drift_weight * predicted + fitted[-1].evaluate(along)
            rows = slice(None) if stage.uses_anchors else slice(data.n_points)
            fitted.append(stage.refit(along[rows], targets[rows] - stage.drift_weight * predicted[rows]))
        return StagedModel(self.latent, tuple(fitted))

    @property
    def uses_initial_states(self) -> bool:
        """Whether predictions begin at initial states where these are known."""
        return self.latent.initial_states is not None or any(stage.uses_initial_states for stage in self.stages)

    def starting_from(
        self, x: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n rank"], encoder: Encoder, between: bool = False
    ) -> "StagedModel":
        """The model with known initial states, in POD coordinates `c`, at points `x` of the unit cube.

        Args:
            encoder: of the model. Only one that was trained with the decoder gives initial latent states.
            between: whether initial states elsewhere are interpolated between these.

        Raises:
            ValueError: the model was trained to interpolate initial states.
        """
        latent = self.latent
        if encoder.is_trained:
            latent = latent.starting_from(x, encoder.encode(torch.from_numpy(c)).numpy(), between)
        return StagedModel(latent, tuple(stage.starting_from(x, c, between) for stage in self.stages))

    def without(self, i: int, data: TrainingSet) -> "StagedModel":
        """The model of the fold of training point `i`: latent coefficients and networks are kept, the rest refitted."""
        return StagedModel(self.latent.without(data.held_out[i]), self.stages).refit(data.without(i))

    def extended(self, stage: Stage, data: TrainingSet) -> "StagedModel":
        """The model with one more stage, which is fitted to what the stages before it leave."""
        along, residual = self.residual(data, stage.uses_anchors, stage.drift_weight)
        return StagedModel(self.latent, (*self.stages, stage.refit(along, residual)))

    def residual(
        self, data: TrainingSet, with_anchors: bool, drift_weight: float = 1.0
    ) -> tuple[Trajectories, Float[Tensor, "param time rank"]]:
        """The *integrated* latent trajectories of the training data, and what the stages along them leave of it.

        Args:
            drift_weight: factor on the prediction before it is subtracted from the data.
        """
        rows = slice(None) if with_anchors else slice(data.n_points)
        along = self.latent.trajectories(data.all_x[rows], data.t)
        targets = data.targets[rows]
        return along, targets - drift_weight * decode(self.stages, along) if self.stages else targets


def decode(
    stages: Sequence[Stage], along: Trajectories, before: Float[Tensor, "param time rank"] | None = None
) -> Float[Tensor, "param time rank"]:
    """Prediction of one or more stages along latent trajectories.

    Args:
        before: prediction of the stages before these; by default there are none.
    """
    total = stages[0].evaluate(along) if before is None else before
    for stage in stages if before is not None else stages[1:]:
        total = stage.drift_weight_at(along.t) * total + stage.evaluate(along)
    return total


def _deviations(stages: Sequence[Stage], steps: LatentSteps, before: Tensor | None = None) -> Tensor:
    """Steps of one standard deviation after these stages; `[direction, param, time, rank]`."""
    total = torch.zeros(1).double() if before is None else before
    for stage in stages:
        total = stage.deviations(total, steps)
    return total


def _std_inflation(
    kriging: Kriging, x: Float[np.ndarray, "param d"], t: Float[np.ndarray, " time"], time_scaling: TimeScaling
) -> Float[np.ndarray, "param time"]:
    """Factor on the standard deviations at rescaled times that some training trajectories do not reach.

    With s(t) the kriging standard deviation from the training points whose trajectories reach the time t, and s(0) that
    from all of them, it is `(s(t) / s(0)) ** EXTRAPOLATION_WEIGHT`. Between the ends of two trajectories, s(t)^2 is
    linear.
    """
    rates = time_scaling.rate(kriging.x)
    order = np.argsort(-rates, kind="stable")
    variance = Kriging(kriging.x[order], kriging.kernel).nested_variance(x)[::-1] + kriging.kernel.nugget
    position = np.interp(t, rates[order][::-1], np.arange(len(rates)))
    before = np.minimum(position.astype(int), len(rates) - 2)
    share = (position - before)[:, None]
    at_time = (1 - share) * variance[before] + share * variance[before + 1]
    return (at_time / variance[0]).T ** (EXTRAPOLATION_WEIGHT / 2)


def _split(stages: Sequence[Stage]) -> tuple[Sequence[Stage], Sequence[Stage]]:
    """The stages before the first that is not smooth in time, and the others."""
    n = next((k for k, stage in enumerate(stages) if not stage.is_smooth), len(stages))
    return stages[:n], stages[n:]
