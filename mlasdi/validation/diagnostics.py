"""Findings about a fitted surrogate: what is wrong or doubtful, and the setting that helps.

The checks use what the surrogate carries: its training record, latent dynamics and stages. They cover the failure signs
of arXiv 2506.09207: diverging trajectories, a stalled first stage, a second stage that fits noise, and residuals that
are independent of the latent state. The limits below decide about findings alone; no model depends on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc

from mlasdi.solvers import described_point
from mlasdi.solvers.storage import TOLD_TIME_ERROR, TOLD_UNUSED
from mlasdi.surrogate import Surrogate
from mlasdi.validation.cross_validation import MIN_FOLDS
from mlasdi.validation.error_sources import ErrorSplit

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
REFUTED = 3.0  # found error over expected error, beyond which an estimate is refuted
TOO_SMALL = 1.5  # validated error over estimate, beyond which the estimate is too small
COVERAGES = (0.75, 0.98)  # of 90 % bands at validation points, outside of which the bands are wrong
NOT_DESCRIBED = 0.5  # median leave-one-out error beyond which the model describes nothing
TINY = float(np.finfo(float).tiny)
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


def diagnose(
    surrogate: Surrogate,
    target_error: float | None = None,
    split: ErrorSplit | None = None,
    validated_error: float | None = None,
    coverage: float | None = None,
) -> tuple[Finding, ...]:
    """All findings about a surrogate; none where nothing is wrong.

    Args:
        target_error: the relative error that is asked for, as a fraction.
        split: mean error split on a validation set, where there is one.
        validated_error: largest relative error on that set.
        coverage: share of its values that lie in the 90 % bands.
    """
    findings = [
        *_few_points(surrogate),
        *_untrained(surrogate),
        *_projection_floor(surrogate, target_error, split),
        *_refuted_estimate(surrogate),
        *_small_estimate(surrogate, validated_error),
        *_wrong_bands(coverage),
        *_not_described(surrogate),
        *_thinned_times(surrogate, target_error),
        *_unequal_times(surrogate),
    ]
    if surrogate.model.latent.has_dynamics:
        findings += [
            *_unstable_dynamics(surrogate),
            *_stalled_first_stage(surrogate),
            *_uncorrelated_residual(surrogate, target_error),
            *_unused_latent_stages(surrogate),
        ]
    return (*findings, *_overfitting_stages(surrogate), *_noisy_solutions(surrogate))


def _few_points(surrogate: Surrogate) -> Iterator[Finding]:
    n = len(surrogate.model.latent.x)
    remedy = f"sampling.initial or budget.solver_runs: at least {MIN_FOLDS} points"
    if surrogate.error_estimate is None and n >= 3:
        message = f"all {n} training points are corners of the box: nothing tells the error inside of it"
        yield Finding("few-points", message, "budget.solver_runs: more points")
    elif surrogate.error_estimate is None:
        message = f"{n} training points: the error estimate is unknown, and the standard deviation is not calibrated"
        yield Finding("few-points", message, remedy)
    elif n < MIN_FOLDS:
        message = f"{n} training points: leave-one-out errors cannot yet rank models"
        yield Finding("few-points", message, remedy)


def _untrained(surrogate: Surrogate) -> Iterator[Finding]:
    record = surrogate.record
    for name, one in record.candidates.items():
        if "failure" in one:
            message = f"{name} cannot be trained ({one['failure']}); the model is {record.chosen}"
            yield Finding("not-trained", message, "model.first_stage.kind: none, if this is as it should be")


def _projection_floor(surrogate: Surrogate, target_error: float | None, split: ErrorSplit | None) -> Iterator[Finding]:
    if target_error is None:
        return
    truncation = surrogate.record.truncation_error
    if truncation > target_error:
        message = f"the POD basis leaves out {truncation:.2g} of the training data, the target is {target_error:.2g}"
        rank = surrogate.basis.rank
        remedy = f"model.basis.tolerance: smaller, and model.basis.max_rank: above the present rank, {rank}"
        yield Finding("projection-floor", message, remedy)
    elif split is not None and split.projection > target_error:
        message = (
            f"the POD basis of the training data leaves out {split.projection:.2g} of the validation solutions, the "
            f"target is {target_error:.2g}: no stage can reach it"
        )
        yield Finding("projection-floor", message, "budget.solver_runs: more points, which extend the basis")


def _refuted_estimate(surrogate: Surrogate) -> Iterator[Finding]:
    """The newest solves have found errors that the model before them did not expect."""
    newest = surrogate.record.prequential.newest
    ratios = [found / max(expected, TINY) for found, expected in zip(newest.errors, newest.expected, strict=True)]
    if ratios and max(ratios) > REFUTED:
        worst = ratios.index(max(ratios))
        point = surrogate.space.as_dict(surrogate.space.from_unit(np.array([newest.x[worst]]))[0])
        message = (
            f"at {described_point(point)} the model before expected an "
            f"error of {newest.expected[worst]:.2g}, and the solve found {newest.errors[worst]:.2g}"
        )
        yield Finding("refuted-estimate", message, "budget.solver_runs: more points; do not rely on the estimate yet")


def _small_estimate(surrogate: Surrogate, validated_error: float | None) -> Iterator[Finding]:
    estimate = surrogate.error_estimate
    if estimate is not None and validated_error is not None and not validated_error <= TOO_SMALL * estimate:
        message = f"the validated error is {validated_error:.2g}, the estimate without validation {estimate:.2g}"
        yield Finding("small-estimate", message, "budget.solver_runs: more points; rely on the validated error")


def _wrong_bands(coverage: float | None) -> Iterator[Finding]:
    if coverage is None or COVERAGES[0] <= coverage <= COVERAGES[1]:
        return
    small = coverage < COVERAGES[0]
    message = f"the 90 % bands hold {100 * coverage:.3g} % of the values at the validation points: they are too "
    remedy = f"read standard deviations as {'lower' if small else 'upper'} bounds; budget.solver_runs: more points"
    yield Finding("narrow-bands" if small else "wide-bands", message + ("narrow" if small else "wide"), remedy)


def _not_described(surrogate: Surrogate) -> Iterator[Finding]:
    """Leave-one-out errors of the size of the solution, which more points will hardly lower."""
    errors = surrogate.record.leave_one_out[-1] if surrogate.record.leave_one_out else ()
    typical = float(np.median(errors)) if errors else 0.0
    if len(errors) >= MIN_FOLDS and typical > NOT_DESCRIBED:
        message = (
            f"at half of the training points a model without the point errs by {typical:.2g} of the solution or more: "
            "it does not describe this solver over this box"
        )
        remedy = "problem.parameters: a smaller box, or several; more times, if the solver's are few"
        yield Finding("not-described", message, remedy)


def _thinned_times(surrogate: Surrogate, target_error: float | None) -> Iterator[Finding]:
    """Errors between the times used in training, which neither the estimate nor thinned validation solves contain."""
    error, n = surrogate.info.get("thinning_error", 0.0), len(surrogate.t)
    if error > (target_error or max(surrogate.error_estimate or 0.0, TOLD_TIME_ERROR)):
        message = (
            f"between the {n} times of the training, interpolation in time errs by {error:.2g} of the solution, which "
            "the estimate does not contain"
        )
        yield Finding("few-times", message, f"model.n_time: auto, or more than {n}")


def _unequal_times(surrogate: Surrogate) -> Iterator[Finding]:
    unused, error = (surrogate.info.get(key, 0.0) for key in ("unused_time", "time_interpolation_error"))
    if error > TOLD_TIME_ERROR:
        message = f"runs have different times, and interpolation to common ones errs by {error:.2g} of the solution"
        yield Finding("unequal-times", message, "problem.options: more times, or the same at all points")
    if unused > TOLD_UNUSED:
        message = (
            f"runs have different lengths: the model ends at {surrogate.t[-1]:.4g}, and {100 * unused:.2g} % of the "
            "longest run is not used"
        )
        yield Finding("unequal-runs", message, "model.run_length: normalised; problem.options: the same final time")


def _unstable_dynamics(surrogate: Surrogate) -> Iterator[Finding]:
    """Growth rates at the training points and at other points of the box, and the largest latent states there."""
    latent = surrogate.model.latent
    at_points = float(latent.growth_rates(torch.from_numpy(latent.xi)).max())
    stabiliser = STABILISERS[surrogate.record.stage_names[0]]
    if at_points > MAX_GROWTH:
        message = f"latent states grow by e^{at_points:.2g} over the training interval at a training point"
        yield Finding("unstable-dynamics", message, f"{stabiliser}: larger, or model.latent_dim: smaller")
        return
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


def _stalled_first_stage(surrogate: Surrogate) -> Iterator[Finding]:
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
            f"the loss of {record.stage_names[0]} is flat at {losses[-1]:.2g}, with a training error of {first:.2g}"
        )
        yield Finding("stalled-first-stage", message, "model.latent_dim: larger, or a further decoder in model.stages")


def _uncorrelated_residual(surrogate: Surrogate, target_error: float | None) -> Iterator[Finding]:
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
            f"{error:.2g}), under {MIN_CORRELATION}: a further decoder cannot predict the residual"
        )
        remedy = "model.latent_dim: larger; with noisy solutions, model.basis.tolerance: the size of the noise"
        yield Finding("uncorrelated-residual", message, remedy)


def _unused_latent_stages(surrogate: Surrogate) -> Iterator[Finding]:
    for name, stage in zip(surrogate.record.stage_names[1:], surrogate.model.stages[1:], strict=True):
        if stage.drift_weight < MIN_DRIFT_WEIGHT:
            message = (
                f"{name} uses the stages before it with weight {stage.drift_weight:.2g} of 1: they do not help between "
                "the training points"
            )
            remedy = (
                "model.latent_dim, model.anchors: larger; or model.kind: snapshot-gp, as accurate and faster to train"
            )
            yield Finding("unused-latent-stages", message, remedy)


def _noisy_solutions(surrogate: Surrogate) -> Iterator[Finding]:
    if surrogate.record.noise_level:
        message = (
            f"the snapshots carry white noise of {surrogate.record.noise_level:.2g} of the values' standard deviation, "
            "most of which was removed before the training"
        )
        remedy = "budget.solver_runs: more points, or a solver that writes more times, average out more of it"
        yield Finding("noisy-solutions", message, remedy)


def _overfitting_stages(surrogate: Surrogate) -> Iterator[Finding]:
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
