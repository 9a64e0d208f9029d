"""The multi-stage model in POD coordinates: latent trajectories, and the sum of the stages along them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.alignment import COMMON_TIMES, TimeScaling
from mlasdi.interpolation import CoefficientGP, Kriging
from mlasdi.latent import LatentModel, Trajectories
from mlasdi.stages.chebyshev import at_times
from mlasdi.stages.stages import KrigingStage, Stage
from mlasdi.stages.training_set import TrainingSet

# How little a trajectory's continuation beyond its own end is worth, between a solution (0) and nothing (1).
EXTRAPOLATION_WEIGHT = 0.25


@dataclass(frozen=True)
class StagedModel:
    """Latent dynamics and the stages that decode them; the prediction accumulates over the stages (see `stages`)."""

    latent: LatentModel
    stages: tuple[Stage, ...]

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
        gp: CoefficientGP | None = None,
        time_scaling: TimeScaling = COMMON_TIMES,
    ) -> Float[Tensor, "direction param time rank"]:
        """Steps of one standard deviation of the prediction; the covariance is the sum of their outer products.

        Each direction of the coefficient GPs goes through the latent ODE and all decoders. With a shared kernel, the
        kriged residual varies over the parameters along the same ones, one a training point: they add up with
        their signs, as in one joint Gaussian process. Otherwise the residual's directions stand on their own.

        Args:
            gp: the GPs whose uncertainty counts; those conditioned on pending points, for example.
            clock: of the times, which some of the trajectories do not reach.
        """
        gp = gp or self.latent.gp
        smooth, others = _split(self.stages)
        steps = (
            self._at_times(lambda times: self._latent_steps(smooth, x, times, gp), t)
            if smooth
            else torch.zeros(1).double()
        )
        for stage in others:
            if isinstance(stage, KrigingStage):
                fraction = gp.process_std(x) if gp.kernel else np.sqrt(Kriging(stage.x, stage.kernel).variance(x))
                own = torch.from_numpy(fraction)[:, None, None] * stage.whitened(t, gp.kernel or stage.kernel)[:, None]
                before = stage.drift_weight_at(t) * steps
                steps = before + own if gp.kernel else torch.cat([before, own])
            else:
                steps = steps + self._latent_steps([stage], x, t, gp)
        if time_scaling.is_common or gp.kernel is None:
            return steps
        return (
            steps
            * torch.from_numpy(_std_inflation(Kriging(gp.known, gp.kernel), x, t.numpy(), time_scaling))[:, :, None]
        )

    def _at_times(self, evaluate: Callable[[Tensor], Tensor], t: Float[Tensor, " time"]) -> Tensor:
        """Values of smooth stages; of all times at once where the trajectories are integrated in steps."""
        return evaluate(t) if self.latent.dynamics else at_times(evaluate, t)

    def _latent_steps(
        self, stages: Sequence[Stage], x: Float[np.ndarray, "param d"], t: Float[Tensor, " n"], gp: CoefficientGP
    ) -> Float[Tensor, "direction param n rank"]:
        """What steps of one standard deviation of the coefficients change in some stages of trust 1."""
        deviated, directions = self.latent.deviated(x, t, gp)
        centre, moved = decode(stages, self.latent.trajectories(x, t)), decode(stages, deviated)
        return moved.reshape(len(directions), *centre.shape) - centre

    def _along(
        self, stages: Sequence[Stage], x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]
    ) -> Trajectories:
        """Trajectories for these stages, without latent states where none of them looks at any."""
        if all(isinstance(stage, KrigingStage) for stage in stages):
            return Trajectories(torch.from_numpy(x), t, torch.empty(len(x), len(t), 0, dtype=t.dtype))
        return self.latent.trajectories(x, t)

    def refit(self, data: TrainingSet) -> "StagedModel":
        """Fit each closed-form stage to what the stages before it leave of `data`."""
        along, targets = self.latent.trajectories(data.all_x, data.t), data.targets
        fitted: list[Stage] = []
        predicted = torch.zeros_like(targets)
        for stage in self.stages:
            use = slice(None) if stage.uses_anchors else slice(data.n_points)
            fitted.append(stage.refit(along[use], targets[use] - stage.drift_weight * predicted[use]))
            predicted = stage.drift_weight * predicted + fitted[-1].evaluate(along)
        return StagedModel(self.latent, tuple(fitted))

    def without(self, i: int, data: TrainingSet) -> "StagedModel":
        """The model as the fold of training point `i` knows it, the latent calibration and the networks kept."""
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
            trust: factor on the prediction before it is taken off the data.
        """
        use = slice(None) if with_anchors else slice(data.n_points)
        along = self.latent.trajectories(data.all_x[use], data.t)
        targets = data.targets[use]
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
        drift_weight = stage.drift_weight_at(along.t) if isinstance(stage, KrigingStage) else stage.drift_weight
        total = drift_weight * total + stage.evaluate(along)
    return total


def _std_inflation(
    kriging: Kriging, x: Float[np.ndarray, "param d"], t: Float[np.ndarray, " time"], time_scaling: TimeScaling
) -> Float[np.ndarray, "param time"]:
    """How much longer steps are for trajectories that do not reach these own times, and are continued.

    A continuation is worth less than a solution, and more than nothing: the standard deviation is a weighted geometric
    mean of those from all points, and from the points that reach a time. Between the ends of two trajectories, the
    variance of the latter is linear.
    """
    rates = time_scaling.rate(kriging.x)
    order = np.argsort(-rates, kind="stable")
    variance = Kriging(kriging.x[order], kriging.kernel).nested_variance(x)[::-1] + kriging.kernel.nugget
    place = np.interp(t, rates[order][::-1], np.arange(len(rates)))
    before = np.minimum(place.astype(int), len(rates) - 2)
    share = (place - before)[:, None]
    reaching = (1 - share) * variance[before] + share * variance[before + 1]
    return (reaching / variance[0]).T ** (EXTRAPOLATION_WEIGHT / 2)


def _split(stages: Sequence[Stage]) -> tuple[Sequence[Stage], Sequence[Stage]]:
    """The stages up to the first that is not smooth in time, and the others."""
    n = next((k for k, stage in enumerate(stages) if not stage.is_smooth), len(stages))
    return stages[:n], stages[n:]
