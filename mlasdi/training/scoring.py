"""How good a model is by its own account: leave-one-out errors, calibration, and the estimate of its largest error."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.stages import StagedModel
from mlasdi.surrogate import FieldStd, min_factor
from mlasdi.training.alignment_choice import feasible_points
from mlasdi.training.context import TrainingContext
from mlasdi.validation import LeaveOneOut, leave_one_out

ESTIMATE_POINTS = 256  # Sobol points of the box over which the error estimate is the maximum; bounds its cost


@dataclass(frozen=True)
class ErrorEstimates:
    """Leave-one-out errors of a model, and the error estimate.

    Attributes:
        loo: None with fewer than three points.
        loo_error: typical error of the folds, of the whole model; infinite if unknown.
        error_estimate: of the largest error over the box; None if unknown.
    """

    loo: LeaveOneOut | None
    loo_error: float
    error_estimate: float | None


def estimate_errors(model: StagedModel, context: TrainingContext) -> ErrorEstimates:
    """Run the folds of a model; the error estimate is the largest one at corners, faces and inside of the box."""
    data = context.data
    loo = leave_one_out(
        model, data, context.basis, min_factor(data.kernels.uncertainty, aligned=not context.aligned.is_common)
    )
    if loo is None:
        return ErrorEstimates(None, np.inf, None)
    points = feasible_points(context.space, ESTIMATE_POINTS, context.seed)
    std = FieldStd(model, context.basis, time_scaling=data.time_scaling).maximum(points, data.t)
    largest = float(np.hypot(loo.calibration.estimate(points, std).max(), context.noise_error))
    return ErrorEstimates(
        loo, typical_error(loo.errors[-1], data.fold_weights), largest if np.isfinite(largest) else None
    )


def typical_error(errors: Float[np.ndarray, " point"], weights: Float[np.ndarray, " point"]) -> float:
    """Square of the weighted mean root of the errors of folds.

    The mean itself is decided by folds at corners of the box, which extrapolate, and the more so the more parameters
    there are; the median forgets failures.

    Args:
        weights: as `TrainingSet.fold_weights`.
    """
    return float((weights @ np.sqrt(errors) / weights.sum()) ** 2)
