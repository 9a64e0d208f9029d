"""Findings about a fitted surrogate: what is wrong or doubtful, and the setting that helps.

The checks use what the surrogate carries: its training record, latent dynamics and stages. They cover the failure signs
of arXiv 2506.09207: diverging trajectories, a stalled first stage, a second stage that fits noise, and residuals that
are independent of the latent state. The limits below decide about findings alone; no model depends on them.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from mlasdi.formatting import percent
from mlasdi.solvers import described_point, evenly_spread
from mlasdi.solvers.storage import TOLD_TIME_ERROR, TOLD_UNUSED
from mlasdi.surrogate import ExtrapolationWarning, Surrogate
from mlasdi.validation.cross_validation import MIN_FOLDS
from mlasdi.validation.error_sources import ErrorSplit
from mlasdi.validation.stage_findings import (
    Finding,
    noisy_solutions,
    overfitting_stages,
    stalled_first_stage,
    uncorrelated_residual,
    unstable_dynamics,
    unused_latent_stages,
)

REFUTED = 3.0  # found error over expected error, beyond which an estimate is refuted
TOO_SMALL = 1.5  # validated error over estimate, beyond which the estimate is too small
COVERAGES = (0.75, 0.98)  # of 90 % bands at validation points, outside of which the bands are wrong
NOT_DESCRIBED = 0.5  # median leave-one-out error beyond which the model describes nothing
# Relative difference between trajectories below which a parameter has no effect. Compression and training leave errors
# of rounding of 1e-8 (the nugget of the kernels) and less, on which standard deviations would be built.
MIN_EFFECT = 1e-6
N_EFFECT_POINTS, N_EFFECT_TIMES = 16, 16  # at which effects of parameters are looked for
TINY = float(np.finfo(float).tiny)


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
        *_without_effect(surrogate),
        *_thinned_times(surrogate, target_error),
        *_unequal_times(surrogate),
    ]
    if surrogate.model.latent.has_dynamics:
        findings += [
            *unstable_dynamics(surrogate),
            *stalled_first_stage(surrogate),
            *uncorrelated_residual(surrogate, target_error),
            *unused_latent_stages(surrogate),
        ]
    return (*findings, *overfitting_stages(surrogate), *noisy_solutions(surrogate))


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
        left_out, target = percent(truncation), percent(target_error)
        message = f"the POD basis leaves out {left_out} of the training data, the target is {target}"
        rank = surrogate.basis.rank
        remedy = f"model.basis.tolerance: smaller, and model.basis.max_rank: above the present rank, {rank}"
        yield Finding("projection-floor", message, remedy)
    elif split is not None and split.projection > target_error:
        message = (
            f"the POD basis of the training data leaves out {percent(split.projection)} of the validation solutions, "
            f"the target is {percent(target_error)}: no stage can reach it"
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
            f"at {described_point(point)} the model before expected an error of {percent(newest.expected[worst])}, "
            f"and the solve found {percent(newest.errors[worst])}"
        )
        yield Finding("refuted-estimate", message, "budget.solver_runs: more points; do not rely on the estimate yet")


def _small_estimate(surrogate: Surrogate, validated_error: float | None) -> Iterator[Finding]:
    estimate = surrogate.error_estimate
    if estimate is not None and validated_error is not None and not validated_error <= TOO_SMALL * estimate:
        message = (
            f"the validated error is {percent(validated_error)}, the estimate without validation {percent(estimate)}"
        )
        yield Finding("small-estimate", message, "budget.solver_runs: more points; rely on the validated error")


def _wrong_bands(coverage: float | None) -> Iterator[Finding]:
    if coverage is None or COVERAGES[0] <= coverage <= COVERAGES[1]:
        return
    small = coverage < COVERAGES[0]
    message = f"the 90 % bands hold {percent(coverage)} of the values at the validation points: they are too "
    remedy = f"read standard deviations as {'lower' if small else 'upper'} bounds; budget.solver_runs: more points"
    yield Finding("narrow-bands" if small else "wide-bands", message + ("narrow" if small else "wide"), remedy)


def _not_described(surrogate: Surrogate) -> Iterator[Finding]:
    """Leave-one-out errors of the size of the solution, which more points will hardly lower."""
    errors = surrogate.record.leave_one_out[-1] if surrogate.record.leave_one_out else ()
    typical = float(np.median(errors)) if errors else 0.0
    if len(errors) >= MIN_FOLDS and typical > NOT_DESCRIBED:
        message = (
            f"at half of the training points a model without the point errs by {percent(typical)} of the solution or "
            "more: it does not describe this solver over this box"
        )
        remedy = "problem.parameters: a smaller box, or several; more times, if the solver's are few"
        yield Finding("not-described", message, remedy)


def _without_effect(surrogate: Surrogate) -> Iterator[Finding]:
    """Parameters that may vary over their whole range, from any training point, and change no trajectory."""
    x, t = (
        values[evenly_spread(len(values), n)]
        for values, n in ((surrogate.model.latent.x, N_EFFECT_POINTS), (surrogate.t, N_EFFECT_TIMES))
    )
    moved = np.repeat(x[None, None], x.shape[1], axis=0).repeat(2, axis=1)  # [parameter, end of its range, point, :]
    for k in range(x.shape[1]):
        moved[k, :, :, k] = [[0.0], [1.0]]
    with warnings.catch_warnings():  # points that break a constraint are outside
        warnings.simplefilter("ignore", ExtrapolationWarning)
        c = surrogate.coordinates(surrogate.space.from_unit(moved.reshape(-1, x.shape[1])), t)
    size = float(surrogate.basis.norm(c).max())
    c = c.reshape(*moved.shape[:3], *c.shape[1:])
    change = surrogate.basis.scale * np.linalg.norm(c[:, 1] - c[:, 0], axis=-1).max(axis=(1, 2))
    without = [name for name, one in zip(surrogate.space.names, change, strict=True) if one <= MIN_EFFECT * size]
    if without:
        every = len(without) == len(change)
        message = (
            f"the solution does not depend on {' and '.join(without)}: it changes by less than {percent(MIN_EFFECT)}"
        )
        remedy = "problem.parameters: others, which the solver uses" if every else "problem.parameters: leave it out"
        yield Finding("no-effect", message, remedy)


def _thinned_times(surrogate: Surrogate, target_error: float | None) -> Iterator[Finding]:
    """Errors between the times used in training that are above the target, or that are half of the estimated error."""
    error, n = surrogate.info.get("thinning_error", 0.0), len(surrogate.t)
    if error > (target_error or max(0.5 * (surrogate.error_estimate or 0.0), TOLD_TIME_ERROR)):
        message = (
            f"between the {n} times of the training, interpolation in time errs by {percent(error)} of the solution, "
            "which no further solve lowers"
        )
        yield Finding("few-times", message, f"model.n_time: auto, or more than {n}")


def _unequal_times(surrogate: Surrogate) -> Iterator[Finding]:
    unused, error = (surrogate.info.get(key, 0.0) for key in ("unused_time", "time_interpolation_error"))
    if error > TOLD_TIME_ERROR:
        message = (
            f"runs have different times, and interpolation to common ones errs by {percent(error)} of the solution"
        )
        yield Finding("unequal-times", message, "problem.options: more times, or the same at all points")
    mesh_error = surrogate.info.get("mesh_interpolation_error", 0.0)
    if mesh_error > TOLD_TIME_ERROR:
        message = (
            f"runs have different meshes; interpolation to the common one and back errs by {percent(mesh_error)} of "
            "the solution, which the errors of the model do not contain"
        )
        yield Finding("unequal-meshes", message, "problem.options.common_mesh: finer where the solution is")
    if unused > TOLD_UNUSED:
        message = (
            f"runs have different lengths: the model ends at {surrogate.t[-1]:.4g}, and {percent(unused)} of the "
            "longest run is not used"
        )
        yield Finding("unequal-runs", message, "model.run_length: normalised; problem.options: the same final time")
