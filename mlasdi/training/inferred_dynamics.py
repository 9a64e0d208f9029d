"""Latent dynamics by operator inference as the first stage of a model."""

import numpy as np
from jaxtyping import Float

from mlasdi.dynamics_selection import Probes, SelectionSettings, select
from mlasdi.latent import InitialStates
from mlasdi.operator_inference import OperatorInferenceModel, TrajectoryData
from mlasdi.stages import DynamicsStage, Stage, StagedModel, unscaled
from mlasdi.training.alignment_choice import feasible_points
from mlasdi.training.context import TrainingContext
from mlasdi.training.settings import InferredDynamicsSettings

LEAST_RATIO = 1.2  # of the bounds of a parameter whose powers are tried: others are nearly linear in it
N_PROBES = 64  # Sobol points, beside corners and centres of faces, at which trajectories must stay near the others


def inferred_dynamics(context: TrainingContext, settings: InferredDynamicsSettings) -> DynamicsStage | None:
    """The dynamics with the smallest leave-one-out error, with the errors of its folds; None if kriging has less."""
    data, basis, space = context.data, context.basis, context.space
    log_ratios = tuple(float(np.log(p.high / p.low)) if p.scale == "log" else 0.0 for p in space.parameters)
    c = data.c.numpy()
    trajectories = TrajectoryData(
        x=data.x,
        raw=unscaled(data.x, log_ratios),
        c=c,
        t=data.t.numpy(),
        kernel=data.kernel,
        norm=basis.norm(c) / basis.scale,
        groups=data.held_out,
        folds=data.fold_points,
        ratios=tuple(p.high / p.low if p.low > 0 and p.high > LEAST_RATIO * p.low else 0.0 for p in space.parameters),
        frequency_parameters=tuple((k, p.high / p.low) for k, p in enumerate(space.parameters) if p.high > p.low > 0),
    )
    probes = feasible_points(space, N_PROBES, 0)
    is_given = settings.initial_state == "given"
    search = SelectionSettings(
        effort=context.settings.effort,
        frequencies=tuple(w * context.interval for w in settings.frequencies) or None,
        known_start=is_given,
        to_beat=context.error_to_beat,
        carried_over=context.carried_over,
    )
    found = select(trajectories, Probes(probes, unscaled(probes, log_ratios)), search)
    if found.model is None:
        return None
    starts = InitialStates(data.x, c[:, 0]) if is_given else None
    return _with_fold_errors(found.model, log_ratios, starts, context)


def _with_fold_errors(
    model: OperatorInferenceModel,
    log_ratios: tuple[float, ...],
    starts: InitialStates | None,
    context: TrainingContext,
) -> DynamicsStage:
    data, basis = context.data, context.basis
    rest = basis.norm(-basis.mean_coordinates[None])[0] / basis.scale
    stage = DynamicsStage(
        model, log_ratios, basis.mean_coordinates, float(rest**2), data.kernels.uncertainty or data.kernel, starts
    )
    if not data.extrapolation.uses_other_points:
        stage = stage.with_folds()
    return stage.with_errors(data.fold_points, fold_differences(stage, context))


def fold_differences(stage: Stage, context: TrainingContext) -> Float[np.ndarray, "fold time rank"]:
    """What each fold of a model of one stage predicts at the point that it leaves out, less the trajectory there."""
    data = context.data
    alone = StagedModel(context.trivial_latent, (stage,))
    errors = np.zeros((len(data.fold_points), *data.c.shape[1:]))
    for error, i in zip(errors, data.fold_points.tolist(), strict=True):
        scored = data.is_scored[i]
        predicted = alone.without(i, data).mean(data.x[i : i + 1], data.t[scored])[0]
        error[scored] = (predicted - data.c[i, scored]).numpy()
        if not scored.all():  # beyond its own end, as large as there
            error[~scored] = error[np.flatnonzero(scored)[-1]]
    return errors


def summary(stage: DynamicsStage) -> str:
    """The name of the stage, with its form and size."""
    settings = stage.model.settings
    degrees = " and ".join(map(str, settings.parameter_degrees)) or str(settings.degree)
    return f"{stage.kind} ({settings.form}, rank {settings.rank}, degree {degrees})"
