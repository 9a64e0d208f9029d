"""What the model would have predicted at each training point, had it not been solved: error and calibration.

Every fold forgets one parameter point, and those that are too much alike with it (`mlasdi.interpolation`):
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

from mlasdi.interpolation import Kriging
from mlasdi.preprocessing import PodBasis
from mlasdi.stages import StagedModel, TrainingSet
from mlasdi.surrogate import MIN_FACTOR, TimeFactors, band_factors, error_factors, parts_of, relative, relative_spread
from mlasdi.validation.mapping import parallel_map

MIN_FOLDS = 5  # with fewer training points, leave-one-out errors do not tell good models from bad ones
SAMPLED = 2000  # entries of the state on which the pointwise band is calibrated: its cost shall not grow with the mesh
# At a left-out point, e and d of `kriging_trust` at the times at which it is judged.
Correction: TypeAlias = tuple[Float[Tensor, "_ rank"], Float[Tensor, "_ rank"]]


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-parameter-out results.

    Attributes:
        errors: maximum over time of the relative L2 error at the left-out point, with the first k stages
            `[stage, point]`.
        std_factors, error_factors: see `mlasdi.surrogate.uncertainty`.
    """

    errors: Float[np.ndarray, "stage point"]
    std_factors: TimeFactors
    error_factors: TimeFactors


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
    folds = parallel_map(partial(_left_out, model, data), range(data.n_points))
    parts = zip(folds, data.c, data.is_scored, strict=True)
    return np.array([_errors(prediction, c[is_scored], basis).max() for prediction, c, is_scored in parts])


def _left_out(model: StagedModel, data: TrainingSet, i: int) -> Float[Tensor, "time rank"]:
    """Prediction at point `i` without what is known there, at the times at which it is judged."""
    return model.without(i, data).mean(data.x[i : i + 1], data.t[data.is_scored[i]])[0]


def leave_one_out(
    model: StagedModel, data: TrainingSet, basis: PodBasis, least: float = MIN_FACTOR
) -> LeaveOneOut | None:
    """Run all folds; None where there are fewer than three points, which leave nothing to interpolate.

    Args:
        least: see `band_factors`.
    """
    if data.n_points < 3:
        return None
    errors = np.empty((len(model.stages), data.n_points))
    quantiles, ratios = [], []
    subsampled = basis.subsampled(SAMPLED)
    for i in range(data.n_points):
        fold, x, is_scored = model.without(i, data), data.x[i : i + 1], data.is_scored[i]
        truth, t = data.c[i, is_scored], data.t[is_scored]
        for k in range(len(model.stages)):
            prediction = fold.mean(x, t, k + 1)[0]
            over_time = _errors(prediction, truth, basis)
            errors[k, i] = over_time.max()
        along = subsampled.lift_std(fold.deviations(x, t, time_scaling=data.time_scaling)[:, 0].numpy())
        std = np.maximum(np.hypot(along, subsampled.truncation_rms * subsampled.unit), np.finfo(float).tiny)
        distance = np.abs(subsampled.lift(truth.numpy()) - subsampled.lift(prediction.numpy()))
        spread = np.maximum(relative_spread(fold, basis, x, t, None, data.time_scaling)[0], np.finfo(float).tiny)
        parts = parts_of(t.numpy() / data.time_scaling.rate(x)[0])
        quantiles.append([np.quantile(distance[part] / std[part], 0.9) if part.any() else np.nan for part in parts])
        ratios.append([over_time[part].max() / spread[part].max() if part.any() else np.nan for part in parts])
    return LeaveOneOut(errors, band_factors(np.array(quantiles), least), error_factors(np.array(ratios)))


def kriging_drift_weight(model: StagedModel, data: TrainingSet) -> float:
    """How far to believe what the stages know of the way between the training points, from 0 to 1.

    Kriging of the field errs at a left-out point by e; the stages would correct it by d: their own prediction there
    less the kriging of their own predictions. The trust is the least-squares factor on d over all folds. Below five
    points the folds leave too little: there, d is compared with the noise that the training residual makes of it.
    """
    return _drift_weight(model, data, _corrections(model, data) if data.n_points >= MIN_FOLDS else [])


def kriged_fold_errors(model: StagedModel, data: TrainingSet, basis: PodBasis) -> Float[np.ndarray, " point"]:
    """`fold_errors` of the model with a kriging stage on top: at a left-out point it errs by e less trust times d."""
    corrections = _corrections(model, data)
    drift_weight = _drift_weight(model, data, corrections)
    pairs = zip(corrections, data.c, data.is_scored, strict=True)
    return np.array(
        [
            _errors(c[is_scored] - error + drift_weight * d, c[is_scored], basis).max()
            for (error, d), c, is_scored in pairs
        ]
    )


def _corrections(model: StagedModel, data: TrainingSet) -> list[Correction]:
    return parallel_map(partial(_corrected, model, data), range(data.n_points))


def _corrected(model: StagedModel, data: TrainingSet, i: int) -> Correction:
    fold, rest, x = model.without(i, data), data.without(i), data.x[i : i + 1]
    is_scored = data.is_scored[i, : len(rest.t)]
    error = data.c[i, data.is_scored[i]] - _kriged(rest.c, rest, x)[0, is_scored]
    return error, _correction(fold, rest, x)[0, is_scored]


def _drift_weight(model: StagedModel, data: TrainingSet, corrections: Sequence[Correction]) -> float:
    if data.n_points < MIN_FOLDS:
        return _drift_weight_by_size(model, data)
    together = data.fold_weights @ [float((error * d).sum()) for error, d in corrections]
    alone = data.fold_weights @ [float(d.square().sum()) for _, d in corrections]
    return float(np.clip(together / alone, 0.0, 1.0)) if alone > 0 else 1.0


def _drift_weight_by_size(model: StagedModel, data: TrainingSet) -> float:
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
