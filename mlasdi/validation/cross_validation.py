"""Leave-one-out errors of a model at its training points, and the calibration of its standard deviations by them.

Each fold leaves out one parameter point and its near-replicates (`mlasdi.interpolation`). Kernels, latent coefficients
and networks are kept; interpolation and closed-form stages are fitted again. Folds at the corners of the box
extrapolate, so the mean error is pessimistic. How large errors are in units of the predicted standard deviation is not,
and calibrates it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from torch import Tensor

from mlasdi.interpolation import Kriging
from mlasdi.preprocessing import PodBasis
from mlasdi.stages import StagedModel, TrainingSet
from mlasdi.surrogate import (
    EXTRAPOLATED,
    INTERPOLATED,
    MIN_FACTOR,
    NORMAL_90,
    FieldNorms,
    FieldStd,
    LocalCalibration,
    TimeFactors,
    band_factors,
    error_factors,
    relative,
    time_parts,
)
from mlasdi.validation.mapping import parallel_map

# With fewer training points leave-one-out errors choose no stage: with four solves of burgers1d, stages chosen by them
# are no better than kriging.
MIN_FOLDS = 5
MAX_CALIBRATION_STATES = 2000  # entries of the state that calibrate pointwise bands: bounds the cost on large meshes
COVERAGE = 0.9  # of the bands that are calibrated
TINY = np.finfo(float).tiny
SMALLEST_SPREAD = 1e-10  # relative standard deviation in the L2 norm; smaller ones are rounding errors

# Errors e and corrections d of `kriging_drift_weight` at a left-out point, at the times that are scored.
Correction: TypeAlias = tuple[Float[Tensor, "_ rank"], Float[Tensor, "_ rank"]]


@dataclass(frozen=True)
class LeaveOneOut:
    """Results of leaving out each training point in turn.

    Attributes:
        errors: maximum over time of the relative L2 error at each left-out point (`TrainingSet.fold_points`), with the
            first k stages `[stage, fold]`.
        std_factors: factors on pointwise standard deviations (`band_factors`).
        error_factors: factors on the standard deviation in the L2 norm (`mlasdi.surrogate.error_factors`).
        calibration: error of the whole model and its standard deviation in the L2 norm at each left-out point, both
            relative and the maximum over time.
        bands: half width of the band that contains 90 % of the errors at each left-out point, over the half width of
            the band that `std_factors` give.
        of_fields: the same for single fields, each relative to its own norm.
    """

    errors: Float[np.ndarray, "stage fold"]
    std_factors: TimeFactors
    error_factors: TimeFactors
    calibration: LocalCalibration
    bands: LocalCalibration
    of_fields: tuple[LocalCalibration, ...] = ()


def mean_errors(errors: Float[np.ndarray, "stage fold"], data: TrainingSet) -> Float[np.ndarray, " stage"]:
    """Root mean square of leave-one-out errors over the folds, weighted by `TrainingSet.fold_weights`."""
    return np.sqrt(errors**2 @ data.fold_weights / data.fold_weights.sum())


def fold_errors(model: StagedModel, data: TrainingSet, basis: PodBasis) -> Float[np.ndarray, " fold"]:
    """Largest relative L2 error over time at each left-out point, of the whole model, in POD coordinates."""
    points = data.fold_points.tolist()
    predictions = parallel_map(partial(_left_out_prediction, model, data), points)
    truths = [data.c[i, data.is_scored[i]] for i in points]
    return np.array([_errors(*pair, basis).max() for pair in zip(predictions, truths, strict=True)])


def leave_one_out(
    model: StagedModel,
    data: TrainingSet,
    basis: PodBasis,
    least_factor: float = MIN_FACTOR,
    norms: FieldNorms = (),
) -> LeaveOneOut | None:
    """Errors of all folds with the first k stages, and factors that calibrate the standard deviations.

    Args:
        least_factor: the argument `least` of `band_factors`.
        norms: of single fields whose errors are wanted, too, by `PodBasis.field_norms`.

    Returns:
        None with fewer than three points: a fold of one point cannot interpolate.
    """
    if data.n_points < 3:
        return None
    subsampled = basis.subsampled(MAX_CALIBRATION_STATES)
    folds = [_fold(model, data, basis, subsampled, i, norms) for i in data.fold_points.tolist()]
    errors, quantiles, ratios, pairs = (np.array(columns) for columns in zip(*folds, strict=True))
    x, weights = data.x[data.fold_points].tolist(), _likeness(data)
    factors = band_factors(quantiles, least_factor)
    whole, *of_fields = [
        LocalCalibration().with_pairs(x, found.tolist(), spreads.tolist(), weights)
        for found, spreads in np.moveaxis(pairs, 0, -1)
    ]
    widths = np.nanmean(quantiles / (NORMAL_90 * np.array(factors.values)), axis=1)
    bands = LocalCalibration().with_pairs(x, widths.tolist(), [1.0] * len(x), weights)
    return LeaveOneOut(errors.T, factors, error_factors(ratios), whole, bands, tuple(of_fields))


def _likeness(data: TrainingSet) -> list[float]:
    """How much each fold is like a prediction inside of the box: little where it extrapolates (`LocalCalibration`)."""
    points = data.fold_points.tolist()
    inside = (_is_in_convex_hull(data.x[i], np.delete(data.x, data.held_out[i], axis=0)) for i in points)
    return [INTERPOLATED if found else EXTRAPOLATED for found in inside]


def _is_in_convex_hull(point: Float[np.ndarray, " d"], others: Float[np.ndarray, "n d"]) -> bool:
    """Whether weights of the others, not negative and with the sum 1, give the point."""
    rows = np.vstack([others.T, np.ones(len(others))])
    return bool(linprog(np.zeros(len(others)), A_eq=rows, b_eq=np.append(point, 1.0)).success)


def _fold(
    model: StagedModel, data: TrainingSet, basis: PodBasis, subsampled: PodBasis, i: int, norms: FieldNorms
) -> tuple[list[float], list[float], list[float], list[tuple[float, float]]]:
    """Errors by number of stages; quantiles of pointwise errors in standard deviations, and ratios, by part of time.

    The last ones are the largest error and the largest standard deviation over time, both relative, of the whole state
    and of each field.
    """
    fold, x, is_scored = model.without(i, data), data.x[i : i + 1], data.is_scored[i]
    truth, t = data.c[i, is_scored], data.t[is_scored]
    predictions = [fold.mean(x, t, k + 1)[0] for k in range(len(model.stages))]
    errors = [_errors(prediction, truth, basis) for prediction in predictions]
    std = subsampled.lift_std(fold.deviations(x, t, time_scaling=data.time_scaling)[:, 0].numpy())
    std = np.maximum(np.hypot(std, subsampled.truncation_rms * subsampled.unit), TINY)
    distance = np.abs(subsampled.lift(truth.numpy()) - subsampled.lift(predictions[-1].numpy()))
    spreads = FieldStd(fold, basis, time_scaling=data.time_scaling).by_field(x, t, norms)[:, 0]
    spread, *of_fields = np.maximum(spreads, SMALLEST_SPREAD)
    quantiles, ratios = [], []
    for part in time_parts(t.numpy() / data.time_scaling.rate(x)[0]):
        scored = part.any()
        quantiles.append(float(np.quantile(distance[part] / std[part], COVERAGE)) if scored else np.nan)
        ratios.append(float(errors[-1][part].max() / spread[part].max()) if scored else np.nan)
    pairs = [(float(errors[-1].max()), float(spread.max()))]
    for norm, deviation in zip(norms, of_fields, strict=True):
        found = _field_errors(predictions[-1].numpy(), truth.numpy(), norm)
        pairs.append((float(found.max()), float(deviation.max())))
    return [float(over_time.max()) for over_time in errors], quantiles, ratios, pairs


def _field_errors(
    prediction: Float[np.ndarray, "time rank"],
    truth: Float[np.ndarray, "time rank"],
    norm: Float[np.ndarray, "row column"],
) -> Float[np.ndarray, " time"]:
    """Relative L2 errors of one field over time, from POD coordinates and its `PodBasis.field_norms`."""
    offset, matrix = norm[:, 0], norm[:, 1:].T
    distance = np.linalg.norm((prediction - truth) @ matrix, axis=-1)
    return relative(distance, np.linalg.norm(offset + truth @ matrix, axis=-1))


def _errors(
    prediction: Float[Tensor, "time rank"], truth: Float[Tensor, "time rank"], basis: PodBasis
) -> Float[np.ndarray, " time"]:
    """Relative L2 errors over time, from POD coordinates."""
    distance = basis.scale * (prediction - truth).square().sum(dim=-1).sqrt().numpy()
    return relative(distance, basis.norm(truth.numpy()))


def _left_out_prediction(model: StagedModel, data: TrainingSet, i: int) -> Float[Tensor, "time rank"]:
    """Prediction at point `i` by the model of its fold, at the times that are scored."""
    return model.without(i, data).mean(data.x[i : i + 1], data.t[data.is_scored[i]])[0]


def kriging_drift_weight(model: StagedModel, data: TrainingSet) -> float:
    """Least-squares weight of the stages' prediction between the training points, clipped to [0, 1].

    Plain kriging of the field has the error e at a left-out point. The stages would change it by the correction d:
    their own prediction there, less the kriging of their own predictions. Over all folds, with weights w,

        weight = sum w <e, d> / sum w <d, d> .

    With fewer than `MIN_FOLDS` points the folds are too few, and the weight is the share of the mean square of d at the
    anchors that exceeds the mean square of the training residual.
    """
    return _drift_weight(model, data, _corrections(model, data) if data.n_points >= MIN_FOLDS else [])


def kriged_fold_errors(model: StagedModel, data: TrainingSet, basis: PodBasis) -> Float[np.ndarray, " fold"]:
    """`fold_errors` of the model with a kriging stage on top: the error of a fold is e less the drift weight times d.

    See `kriging_drift_weight` for e and d.
    """
    corrections = _corrections(model, data)
    drift_weight = _drift_weight(model, data, corrections)
    errors = []
    for (error, correction), i in zip(corrections, data.fold_points.tolist(), strict=True):
        truth = data.c[i, data.is_scored[i]]
        errors.append(_errors(truth - error + drift_weight * correction, truth, basis).max())
    return np.array(errors)


def _corrections(model: StagedModel, data: TrainingSet) -> list[Correction]:
    return parallel_map(partial(_correction_of_fold, model, data), data.fold_points.tolist())


def _correction_of_fold(model: StagedModel, data: TrainingSet, i: int) -> Correction:
    fold, rest, x = model.without(i, data), data.without(i), data.x[i : i + 1]
    is_scored = data.is_scored[i, : len(rest.t)]
    error = data.c[i, data.is_scored[i]] - _kriged(rest.c, rest, x)[0, is_scored]
    return error, _correction(fold, rest, x)[0, is_scored]


def _drift_weight(model: StagedModel, data: TrainingSet, corrections: Sequence[Correction]) -> float:
    if data.n_points < MIN_FOLDS:
        return _drift_weight_by_size(model, data)
    product = data.fold_weights @ [float((error * d).sum()) for error, d in corrections]
    square = data.fold_weights @ [float(d.square().sum()) for _, d in corrections]
    return float(np.clip(product / square, 0.0, 1.0)) if square > 0 else 1.0


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
