"""What the model would have predicted at each training point, had it not been solved: error and calibration.

Every fold forgets one parameter point, and those that are too much alike with it (`mlasdi.kernel_selection.folds`):
kernels, latent coefficients and networks are kept, while interpolation and closed-form stages are fitted again. Folds
at the corners of the box extrapolate, so the plain error is pessimistic; what the folds do tell is how large errors are
in units of the predicted standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.basis import PodBasis
from mlasdi.calibration import LEAST, UNCALIBRATED, TimeFactors, band_factors, error_factors, parts_of
from mlasdi.clock import COMMON_CLOCK, Clock
from mlasdi.coefficient_gp import CoefficientGP
from mlasdi.errors import relative
from mlasdi.kriging import Kriging
from mlasdi.side_by_side import each
from mlasdi.staged_model import StagedModel
from mlasdi.training_set import TrainingSet

MIN_FOLDS = 5  # with fewer training points, leave-one-out errors do not tell good models from bad ones
SAMPLED = 2000  # entries of the state on which the pointwise band is calibrated: its cost shall not grow with the mesh
CHUNK = 32  # points whose standard deviation is computed at once
# At a left-out point, e and d of `kriging_trust` at the times at which it is judged.
Correction: TypeAlias = tuple[Float[Tensor, "_ rank"], Float[Tensor, "_ rank"]]


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-parameter-out results.

    Attributes:
        errors: maximum over time of the relative L2 error at the left-out point, with the first k stages
            `[stage, point]`.
        std_factors, error_factors: see `mlasdi.calibration`.
    """

    errors: Float[np.ndarray, "stage point"]
    std_factors: TimeFactors
    error_factors: TimeFactors


def relative_std(
    model: StagedModel,
    basis: PodBasis,
    x: Float[np.ndarray, "param d"],
    t: Float[Tensor, " time"],
    gp: CoefficientGP | None = None,
    clock: Clock = COMMON_CLOCK,
    factors: TimeFactors = UNCALIBRATED,
) -> Float[np.ndarray, " param"]:
    """Standard deviation of the field in the L2 norm, relative to the solution's, times a factor, maximum over time.

    Args:
        t: times, with a `clock` own ones, which count until a point's end.
        gp: the GPs whose uncertainty counts; those conditioned on pending points, for example.
        factors: over each point's own interval.
    """
    found = []
    for part in np.array_split(x, range(CHUNK, len(x), CHUNK)):  # every direction is a prediction of its own
        rates = clock.rate(part)[:, None]
        shares = _relative_spread(model, basis, part, t, gp, clock)
        calibrated = factors(t.numpy() / rates) * shares
        if not clock.is_common:
            # At its end, between two times, by interpolation: what is maximised over `x` must not jump.
            ends = [np.interp(end, t, row) for end, row in zip(rates[:, 0], shares, strict=True)]
            inside = np.where(clock.reached(part, t.numpy()), calibrated, 0.0)
            calibrated = np.column_stack([inside, factors(np.ones(len(part))) * ends])
        found.append(calibrated.max(axis=-1))
    return np.concatenate(found)


def _relative_spread(
    model: StagedModel,
    basis: PodBasis,
    x: Float[np.ndarray, "param d"],
    t: Float[Tensor, " time"],
    gp: CoefficientGP | None,
    clock: Clock,
) -> Float[np.ndarray, "param time"]:
    """Standard deviation of the field in the L2 norm, relative to the solution's."""
    spread = basis.scale * model.deviations(x, t, gp, clock).square().sum(dim=(0, -1)).sqrt().numpy()
    return relative(spread, basis.norm(model.mean(x, t).numpy()))


def _errors(
    prediction: Float[Tensor, "time rank"], truth: Float[Tensor, "time rank"], basis: PodBasis
) -> Float[np.ndarray, " time"]:
    """Relative L2 errors over time, from POD coordinates."""
    distance = basis.scale * (prediction - truth).square().sum(dim=-1).sqrt().numpy()
    return relative(distance, basis.norm(truth.numpy()))


def mean_errors(errors: Float[np.ndarray, "stage point"], data: TrainingSet) -> Float[np.ndarray, " stage"]:
    """Root mean square of leave-one-out errors over the folds, by their weights."""
    return np.sqrt(errors**2 @ data.fold_weights / data.fold_weights.sum())


def fold_errors(model: StagedModel, data: TrainingSet, basis: PodBasis) -> Float[np.ndarray, " point"]:
    """Largest relative L2 error over time at each left-out point, of the whole model, in POD coordinates."""
    folds = each(partial(_left_out, model, data), range(data.n_points))
    parts = zip(folds, data.c, data.judged, strict=True)
    return np.array([_errors(prediction, c[judged], basis).max() for prediction, c, judged in parts])


def _left_out(model: StagedModel, data: TrainingSet, i: int) -> Float[Tensor, "time rank"]:
    """Prediction at point `i` without what is known there, at the times at which it is judged."""
    return model.without(i, data).mean(data.x[i : i + 1], data.t[data.judged[i]])[0]


def leave_one_out(model: StagedModel, data: TrainingSet, basis: PodBasis, least: float = LEAST) -> LeaveOneOut | None:
    """Run all folds; None where there are fewer than three points, which leave nothing to interpolate.

    Args:
        least: see `band_factors`.
    """
    if data.n_points < 3:
        return None
    errors = np.empty((len(model.stages), data.n_points))
    quantiles, ratios = [], []
    sampled = basis.sampled(SAMPLED)
    for i in range(data.n_points):
        fold, x, judged = model.without(i, data), data.x[i : i + 1], data.judged[i]
        truth, t = data.c[i, judged], data.t[judged]
        for k in range(len(model.stages)):
            prediction = fold.mean(x, t, k + 1)[0]
            over_time = _errors(prediction, truth, basis)
            errors[k, i] = over_time.max()
        along = sampled.lift_std(fold.deviations(x, t, clock=data.clock)[:, 0].numpy())
        std = np.maximum(np.hypot(along, sampled.truncation_rms * sampled.unit), np.finfo(float).tiny)
        distance = np.abs(sampled.lift(truth.numpy()) - sampled.lift(prediction.numpy()))
        spread = np.maximum(_relative_spread(fold, basis, x, t, None, data.clock)[0], np.finfo(float).tiny)
        parts = parts_of(t.numpy() / data.clock.rate(x)[0])
        quantiles.append([np.quantile(distance[part] / std[part], 0.9) if part.any() else np.nan for part in parts])
        ratios.append([over_time[part].max() / spread[part].max() if part.any() else np.nan for part in parts])
    return LeaveOneOut(errors, band_factors(np.array(quantiles), least), error_factors(np.array(ratios)))


def kriging_trust(model: StagedModel, data: TrainingSet) -> float:
    """How far to believe what the stages know of the way between the training points, from 0 to 1.

    Kriging of the field errs at a left-out point by e; the stages would correct it by d: their own prediction there
    less the kriging of their own predictions. The trust is the least-squares factor on d over all folds. Below five
    points the folds leave too little: there, d is compared with the noise that the training residual makes of it.
    """
    return _trust(model, data, _corrections(model, data) if data.n_points >= MIN_FOLDS else [])


def kriged_fold_errors(model: StagedModel, data: TrainingSet, basis: PodBasis) -> Float[np.ndarray, " point"]:
    """`fold_errors` of the model with a kriging stage on top: at a left-out point it errs by e less trust times d."""
    corrections = _corrections(model, data)
    trust = _trust(model, data, corrections)
    pairs = zip(corrections, data.c, data.judged, strict=True)
    return np.array([_errors(c[judged] - error + trust * d, c[judged], basis).max() for (error, d), c, judged in pairs])


def _corrections(model: StagedModel, data: TrainingSet) -> list[Correction]:
    return each(partial(_corrected, model, data), range(data.n_points))


def _corrected(model: StagedModel, data: TrainingSet, i: int) -> Correction:
    fold, rest, x = model.without(i, data), data.without(i), data.x[i : i + 1]
    judged = data.judged[i, : len(rest.t)]
    error = data.c[i, data.judged[i]] - _kriged(rest.c, rest, x)[0, judged]
    return error, _correction(fold, rest, x)[0, judged]


def _trust(model: StagedModel, data: TrainingSet, corrections: Sequence[Correction]) -> float:
    if data.n_points < MIN_FOLDS:
        return _trust_by_size(model, data)
    together = data.fold_weights @ [float((error * d).sum()) for error, d in corrections]
    alone = data.fold_weights @ [float(d.square().sum()) for _, d in corrections]
    return float(np.clip(together / alone, 0.0, 1.0)) if alone > 0 else 1.0


def _trust_by_size(model: StagedModel, data: TrainingSet) -> float:
    """Share of the corrections' mean square at the anchors that is not explained by the training residual."""
    if not len(data.anchors):
        return 1.0
    _, residual = model.residual(data, with_anchors=False)
    correction = _correction(model, data, data.anchors).square().mean()
    return float(torch.clamp(1 - residual.square().mean() / correction, 0.0, 1.0)) if correction > 0 else 1.0


def _correction(
    model: StagedModel, data: TrainingSet, x: Float[np.ndarray, "param d"]
) -> Float[Tensor, "param time rank"]:
    """What the model predicts at `x` beyond the kriging of its own predictions at the training points."""
    return model.mean(x, data.t) - _kriged(model.mean(data.x, data.t), data, x)


def _kriged(
    values: Float[Tensor, "point time rank"], data: TrainingSet, x: Float[np.ndarray, "param d"]
) -> Float[Tensor, "param time rank"]:
    return torch.tensordot(torch.from_numpy(Kriging(data.x, data.kernel).weights(x)), values, dims=1)
