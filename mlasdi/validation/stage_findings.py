"""Findings about latent dynamics and stages: unstable or stalled ones, and those that fit noise or do not help."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mlasdi.formatting import percent
from mlasdi.surrogate import Surrogate
from mlasdi.validation.cross_validation import MIN_FOLDS

# The limit of arXiv 2506.09207, there of Pearson's correlation. After autoencoders the distance correlation is used,
# which predicts best whether a further decoder helps (a study on burgers1d and other problems, studies/correlation).
# After closed-form decoders, which that study leaves out, it is the correlation ratio, never below Pearson's.
MIN_CORRELATION = 0.3
MAX_GROWTH = 5.0  # exponent over the training interval: an error of the initial latent state grows by e^5, about 150
MAX_REACH = 3.0  # latent states between the training points, over the largest on the training trajectories
STALLED_ERROR = 0.05  # with a smaller training error, a first stage has not stalled
STALLED_PROGRESS = 0.95  # a loss is flat if its minimum in the last third exceeds this part of the minimum before
FITS_BETTER = 0.5  # a stage fits much better if it lowers the training error below this part
MIN_DRIFT_WEIGHT = 0.1  # with a smaller one, kriging hardly uses the stages before it
N_CHECKED = 256  # points of the box at which the latent dynamics are checked
# The setting that keeps the coefficients of each kind of first stage small or smooth over the parameters.
STABILISERS = {
    "variable-projection": "model.first_stage.roughness",
    "autoencoder": "model.first_stage.coefficient_weight",
}


@dataclass(frozen=True)
class Finding:
    """A doubtful property of a surrogate.

    Attributes:
        kind: a fixed keyword.
        message: what was found, with numbers.
        remedy: what to change, with the key of the configuration.
    """

    kind: str
    message: str
    remedy: str


def unstable_dynamics(surrogate: Surrogate) -> Iterator[Finding]:
    """Growth rates at the training points and at other points of the box, and the largest latent states there."""
    latent = surrogate.model.latent
    at_points = float(latent.growth_rates(torch.from_numpy(latent.xi)).max())
    stabiliser = STABILISERS[surrogate.record.stage_names[0]]
    if at_points > MAX_GROWTH:
        message = f"latent states grow by e^{at_points:.2g} over the training interval at a training point"
        yield Finding("unstable-dynamics", message, f"{stabiliser}: larger, or model.latent_dim: smaller")
        return
    from scipy.stats import qmc  # slow to import

    x = qmc.Sobol(latent.x.shape[1], rng=np.random.default_rng(0)).random(N_CHECKED)
    between = float(latent.growth_rates(latent.split(latent.mean_coefficients(x))[0]).max())
    tau = surrogate.unit_times(surrogate.t)
    known, unknown = (latent.outcome(points, tau) for points in (latent.x, x))
    n_blown_up = int((~unknown.finished).sum())
    centre = known.z.flatten(0, 1).mean(dim=0)
    extent = (known.z - centre).norm(dim=-1).max().clamp_min(torch.finfo(centre.dtype).tiny)
    reach = float((unknown.z - centre).norm(dim=-1).max() / extent)
    if between > MAX_GROWTH or not reach < MAX_REACH or n_blown_up:
        message = (
            f"between the training points latent states grow by up to e^{between:.2g} over the training interval and "
            f"reach {reach:.2g} times as far as on the training trajectories"
        )
        if n_blown_up:
            message += f"; at {n_blown_up} of {len(x)} points they blow up"
        smoother = "model.interpolation: field" if latent.kernel is None else f"{stabiliser}: larger"
        yield Finding("diverging-between-points", message, f"{smoother}, or budget.solver_runs: more points")


def stalled_first_stage(surrogate: Surrogate) -> Iterator[Finding]:
    """A flat loss with a large training error, which no later decoder lowers; kriging lowers it always."""
    record, stages = surrogate.record, surrogate.model.stages
    losses = [loss for _, loss in record.loss_history.get(record.stage_names[0], ())]
    if len(losses) < 3 or not record.training_errors:
        return
    first, *later = record.training_errors
    late = 2 * len(losses) // 3
    is_flat = min(losses[late:]) > STALLED_PROGRESS * min(losses[:late])
    decoders = [e for e, stage in zip(later, stages[1:], strict=True) if not stage.reproduces_training_data]
    if first > STALLED_ERROR and is_flat and not any(error < FITS_BETTER * first for error in decoders):
        message = (
            f"the loss of {record.stage_names[0]} is flat at {losses[-1]:.2g}, with a training error of "
            f"{percent(first)}"
        )
        yield Finding("stalled-first-stage", message, "model.latent_dim: larger, or a further decoder in model.stages")


def uncorrelated_residual(surrogate: Surrogate, target_error: float | None) -> Iterator[Finding]:
    """A residual that is independent of the latent state, unless it is smaller than the error that is asked for."""
    record = surrogate.record
    by_distance = record.stage_names[0] == "autoencoder" and bool(record.distance_correlations)
    correlations = record.distance_correlations if by_distance else record.latent_correlations
    if not correlations or correlations[0] is None:
        return
    correlation, error = correlations[0], record.training_errors[0]
    if correlation < MIN_CORRELATION and error > max(record.truncation_error, target_error or 0.0, record.noise_level):
        name = "distance correlation" if by_distance else "correlation"
        message = (
            f"{name} {correlation:.2g} of the latent states with the residual of the first stage (training error "
            f"{percent(error)}), under {MIN_CORRELATION}: a further decoder cannot predict the residual"
        )
        remedy = "model.latent_dim: larger; with noisy solutions, model.basis.tolerance: the size of the noise"
        yield Finding("uncorrelated-residual", message, remedy)


def unused_latent_stages(surrogate: Surrogate) -> Iterator[Finding]:
    for name, stage in zip(surrogate.record.stage_names[1:], surrogate.model.stages[1:], strict=True):
        if stage.drift_weight < MIN_DRIFT_WEIGHT:
            message = (
                f"{name} uses the stages before it with weight {stage.drift_weight:.2g} of 1: they do not help between "
                "the training points"
            )
            remedy = (
                "model.latent_dim, model.anchors: larger; or model.first_stage.kind: chosen, which takes kriging alone "
                "where that is better"
            )
            yield Finding("unused-latent-stages", message, remedy)


def noisy_solutions(surrogate: Surrogate) -> Iterator[Finding]:
    if surrogate.record.noise_level:
        message = (
            f"the snapshots carry white noise of {percent(surrogate.record.noise_level)} of the values' standard "
            "deviation, most of which was removed before the training"
        )
        remedy = "budget.solver_runs: more points, or a solver that writes more times, average out more of it"
        yield Finding("noisy-solutions", message, remedy)


def overfitting_stages(surrogate: Surrogate) -> Iterator[Finding]:
    """Stages that lower the training error much, but not the leave-one-out error, whether kept or dropped.

    Kriging reproduces the training data by construction. Networks are not trained again in the folds, so that their
    leave-one-out error seldom shows it.
    """
    record, stages = surrogate.record, surrogate.model.stages
    if len(surrogate.model.latent.x) < MIN_FOLDS:
        return
    fits = [
        (name, "dropped", *ratios) for name, ratios in record.dropped_ratios.items() if not name.startswith("kriging")
    ]
    if record.training_errors and record.stage_errors:
        for k, stage in enumerate(stages[1:], start=1):
            before = record.training_errors[k - 1], record.stage_errors[k - 1]
            if not stage.reproduces_training_data and min(before) > 0:
                ratios = record.training_errors[k] / before[0], record.stage_errors[k] / before[1]
                fits.append((record.stage_names[k], "kept", *ratios))
    for name, outcome, training, left_out in fits:
        if training < FITS_BETTER and left_out >= 1:
            message = (
                f"{name} lowers the training error to {training:.2g} of what it was, but the leave-one-out error goes "
                f"to {left_out:.3g}: it fits noise, and was {outcome}"
            )
            drop = "model.min_gain: 0.1 drops it" if outcome == "kept" else "nothing, or remove it from model.stages"
            remedy = f"{drop}; in its entry of model.stages a larger ridge and a smaller kappa fit less"
            yield Finding("stage-fits-noise", message, remedy)
