"""What is wrong, or doubtful, with a fitted surrogate, and the setting that helps.

All checks go by what the surrogate carries: its training record, its latent dynamics and its stages. The failure signs
of arXiv 2506.09207 are among them: diverging trajectories, a stalled first stage, a second stage that fits noise, and
residuals that have nothing to do with the latent state.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc

from mlasdi.stages import KrigingStage
from mlasdi.surrogate import Surrogate
from mlasdi.validation.cross_validation import MIN_FOLDS
from mlasdi.validation.error_sources import ErrorSplit

# The limit of arXiv 2506.09207, there of Pearson's correlation. After autoencoders, of all correlations that were
# compared it is that of distances that tells best whether a further decoder pays (docs/studies/correlation.md). After
# closed-form decoders, which were not, it is the correlation ratio: it is never below Pearson's.
MIN_CORRELATION = 0.3
MAX_GROWTH = 5.0  # over the training interval: an error of the initial latent state grows by e^5, about 150
MAX_REACH = 3.0  # latent states between the training points, in units of the largest on the training trajectories
STALLED_ERROR = 0.05  # a first stage whose training error is below needs no remark
STALLED_PROGRESS = 0.95  # loss after the last third of the training over the best before, above which it is flat
FITS_BETTER = 0.5  # training error with a stage over that without it, below which it fits much better
MIN_DRIFT_WEIGHT = 0.1
# What keeps the coefficients of each kind of first stage small or alike.
STABILISERS = {
    "variable-projection": "model.first_stage.roughness",
    "autoencoder": "model.first_stage.coefficient_weight",
}


@dataclass(frozen=True)
class Finding:
    """Something doubtful.

    Attributes:
        kind: a fixed word for it.
        message: what was found, with the figures.
        remedy: what to change, with the key of the configuration.
    """

    kind: str
    message: str
    remedy: str


def diagnose(
    surrogate: Surrogate, target_error: float | None = None, split: ErrorSplit | None = None
) -> tuple[Finding, ...]:
    """All findings about a surrogate; none is good news.

    Args:
        target_error: the relative error that is good enough, as a fraction.
        split: mean error split on a validation set, where there is one.
    """
    findings = [*_few_points(surrogate), *_projection_floor(surrogate, target_error, split)]
    if surrogate.model.latent.has_dynamics:
        findings += [
            *_unstable_dynamics(surrogate),
            *_stalled_first_stage(surrogate),
            *_uncorrelated_residual(surrogate, target_error),
            *_unused_latent_stages(surrogate),
        ]
    return (*findings, *_noise(surrogate), *_noisy_solutions(surrogate))


def _few_points(surrogate: Surrogate) -> Iterator[Finding]:
    n = len(surrogate.model.latent.x)
    remedy = f"sampling.initial or budget.solver_runs: at least {MIN_FOLDS} points"
    if surrogate.error_estimate is None:
        message = f"{n} training points: the error estimate is unknown, and the standard deviation is not calibrated"
        yield Finding("few-points", message, remedy)
    elif n < MIN_FOLDS:
        message = f"{n} training points: leave-one-out errors do not yet tell good models from bad ones"
        yield Finding("few-points", message, remedy)


def _projection_floor(surrogate: Surrogate, target_error: float | None, split: ErrorSplit | None) -> Iterator[Finding]:
    if target_error is None:
        return
    truncation = surrogate.record.truncation_error
    if truncation > target_error:
        message = f"the POD basis leaves out {truncation:.2g} of the training data, the target is {target_error:.2g}"
        rank = surrogate.basis.rank
        remedy = f"model.basis.tolerance: smaller, and model.basis.max_rank: above the rank of now, {rank}"
        yield Finding("projection-floor", message, remedy)
    elif split is not None and split.projection > target_error:
        message = (
            f"the POD basis of the training data leaves out {split.projection:.2g} of the validation solutions, the "
            f"target is {target_error:.2g}: no stage can reach it"
        )
        yield Finding("projection-floor", message, "budget.solver_runs: more points, which extend the basis")


def _unstable_dynamics(surrogate: Surrogate) -> Iterator[Finding]:
    """Eigenvalues at the training points and at 256 points of the box, and how far the states go at the latter."""
    latent = surrogate.model.latent
    at_points = float(latent.growth_rates(torch.from_numpy(latent.xi)).max())
    stabiliser = STABILISERS[surrogate.record.stage_names[0]]
    if at_points > MAX_GROWTH:
        message = f"latent states grow by e^{at_points:.2g} over the training interval at a training point"
        yield Finding("unstable-dynamics", message, f"{stabiliser}: larger, or model.latent_dim: smaller")
        return
    x = qmc.Sobol(latent.x.shape[1], rng=np.random.default_rng(0)).random(256)
    between = float(latent.growth_rates(latent.split(latent.mean_coefficients(x))[0]).max())
    tau = surrogate._tau(surrogate.t)
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


def _stalled_first_stage(surrogate: Surrogate) -> Iterator[Finding]:
    """Unless a later stage other than kriging, which reproduces all training data, has made up for it."""
    record, stages = surrogate.record, surrogate.model.stages
    losses = [loss for _, loss in record.loss_history.get(record.stage_names[0], ())]
    if len(losses) < 3 or not record.training_errors:
        return
    first, *later = record.training_errors
    late = 2 * len(losses) // 3
    is_flat = min(losses[late:]) > STALLED_PROGRESS * min(losses[:late])
    decoders = [error for error, stage in zip(later, stages[1:], strict=True) if not isinstance(stage, KrigingStage)]
    if first > STALLED_ERROR and is_flat and not any(error < FITS_BETTER * first for error in decoders):
        message = (
            f"the loss of {record.stage_names[0]} is flat at {losses[-1]:.2g}, with a training error of {first:.2g}"
        )
        yield Finding("stalled-first-stage", message, "model.latent_dim: larger, or a further decoder in model.stages")


def _uncorrelated_residual(surrogate: Surrogate, target_error: float | None) -> Iterator[Finding]:
    """A residual that is no larger than what nobody asks for may be noise."""
    record = surrogate.record
    by_distance = record.stage_names[0] == "autoencoder" and bool(record.distance_correlations)
    recorded = record.distance_correlations if by_distance else record.latent_correlations
    if not recorded or recorded[0] is None:
        return
    found, left = recorded[0], record.training_errors[0]
    if found < MIN_CORRELATION and left > max(record.truncation_error, target_error or 0.0, record.noise_level):
        name = "distance correlation" if by_distance else "correlation"
        message = (
            f"{name} {found:.2g} of the latent states with the residual of the first stage (training error "
            f"{left:.2g}), under {MIN_CORRELATION}: further decoders have nothing to go by"
        )
        remedy = "model.latent_dim: larger; with noisy solutions, model.basis.tolerance: the size of the noise"
        yield Finding("uncorrelated-residual", message, remedy)


def _unused_latent_stages(surrogate: Surrogate) -> Iterator[Finding]:
    for name, stage in zip(surrogate.record.stage_names[1:], surrogate.model.stages[1:], strict=True):
        if isinstance(stage, KrigingStage) and stage.drift_weight < MIN_DRIFT_WEIGHT:
            message = (
                f"{name} uses the stages before it with weight {stage.drift_weight:.2g} of 1: they do not help between "
                "the training points"
            )
            remedy = "model.latent_dim, model.anchors: larger; or model.kind: snapshot-gp, as good and faster to train"
            yield Finding("unused-latent-stages", message, remedy)


def _noisy_solutions(surrogate: Surrogate) -> Iterator[Finding]:
    if surrogate.record.noise_level:
        message = (
            f"the snapshots carry white noise of {surrogate.record.noise_level:.2g} of the values' standard deviation, "
            "most of which was taken off before the training"
        )
        remedy = "budget.solver_runs: more points, or a solver that writes more times, average more of it out"
        yield Finding("noisy-solutions", message, remedy)


def _noise(surrogate: Surrogate) -> Iterator[Finding]:
    """Stages that fit the training data much better and left-out points no better, whether kept or dropped.

    Kriging reproduces the training data by construction, and a network is not trained again without the left-out point,
    so it rarely shows.
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
            if not isinstance(stage, KrigingStage) and min(before) > 0:
                ratios = record.training_errors[k] / before[0], record.stage_errors[k] / before[1]
                fits.append((record.stage_names[k], "kept", *ratios))
    for name, outcome, training, left_out in fits:
        if training < FITS_BETTER and left_out >= 1:
            message = (
                f"{name} lowers the training error to {training:.2g} of what it was, but the leave-one-out error goes "
                f"to {left_out:.3g}: it fits noise, and was {outcome}"
            )
            drop = "model.min_gain: 0.1 drops it" if outcome == "kept" else "nothing, or take it off model.stages"
            remedy = f"{drop}; in its entry of model.stages a larger ridge and a smaller kappa fit less"
            yield Finding("stage-fits-noise", message, remedy)
