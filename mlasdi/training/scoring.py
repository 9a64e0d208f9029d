"""How good a model is by its own account: leave-one-out errors, calibration, and the estimate of its largest error."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import StateLayout
from mlasdi.stages import StagedModel
from mlasdi.surrogate import FieldErrors, FieldStd, LocalCalibration, PrequentialErrors, min_factor
from mlasdi.training.alignment_choice import feasible_points
from mlasdi.training.context import TrainingContext
from mlasdi.validation import LeaveOneOut, leave_one_out

CORNER = 1e-6  # distance from a bound, in the unit cube, within which a point lies on it
ESTIMATE_POINTS = 256  # Sobol points of the box over which the error estimate is the maximum; bounds its cost


@dataclass(frozen=True)
class ErrorEstimates:
    """Leave-one-out errors of a model, and the error estimate.

    Attributes:
        loo: None with fewer than three points.
        loo_error: typical error of the folds, of the whole model; infinite if unknown.
        error_estimate: of the largest error over the box; None if unknown.
        points: corners, faces and inside of the box, over which the estimate is the maximum, in the unit cube.
        deviations: relative standard deviation at each of them, uncalibrated, of the state and of each field
            `[1 + field, param]`.
        data_error: that of the context, which no estimate falls below.
    """

    loo: LeaveOneOut | None
    loo_error: float
    error_estimate: float | None
    points: Float[np.ndarray, "param d"] | None = None
    deviations: Float[np.ndarray, "field param"] | None = None
    data_error: float = 0.0

    def calibrated_by(self, prequential: PrequentialErrors, kind: str) -> tuple[LocalCalibration, float | None]:
        """Calibration by the folds and by errors at points that were solved later, and the estimate with it.

        Args:
            kind: of the model (`TrainingRecord.kind`).
        """
        if self.loo is None or self.points is None or self.deviations is None:
            return LocalCalibration(), None
        calibration = prequential.calibrating(self.loo.calibration, kind)
        largest = _largest(calibration, self.points, self.deviations[0], self.data_error)
        if largest is None:
            return calibration, None
        calibration = replace(calibration, factor=prequential.factor(largest, kind))
        return calibration, _largest(calibration, self.points, self.deviations[0], self.data_error)

    def of_fields(self, layout: StateLayout | None, factor: float) -> dict[str, FieldErrors]:
        """Leave-one-out errors and error estimates of single fields; none where they are not known.

        Args:
            factor: on the estimates, that of the whole state.
        """
        if layout is None or self.loo is None or self.points is None or self.deviations is None:
            return {}
        calibrations = [replace(one, factor=factor) for one in self.loo.of_fields]
        columns = zip(layout.fields, calibrations, self.deviations[1:], strict=False)
        return {
            name: FieldErrors(_largest(calibration, self.points, std, self.data_error), calibration)
            for name, calibration, std in columns
        }


def estimate_errors(model: StagedModel, context: TrainingContext) -> ErrorEstimates:
    """Run the folds of a model; the error estimate is the largest one at corners, faces and inside of the box."""
    data, norms = context.data, context.field_norms
    least = min_factor(data.kernels.uncertainty, aligned=not context.aligned.is_common)
    loo = leave_one_out(model, data, context.basis, least, norms)
    if loo is None:
        return ErrorEstimates(None, np.inf, None)
    points = feasible_points(context.space, ESTIMATE_POINTS, context.seed)
    std = FieldStd(model, context.basis, time_scaling=data.time_scaling).maxima(points, data.t, norms)
    typical = typical_error(loo.errors[-1], np.array(loo.calibration.weights))
    largest = _largest(loo.calibration, points, std[0], context.data_error)
    return ErrorEstimates(loo, typical, largest, points, std, context.data_error)


def _largest(
    calibration: LocalCalibration,
    points: Float[np.ndarray, "param d"],
    deviations: Float[np.ndarray, " param"],
    data_error: float,
) -> float | None:
    """The largest estimated error; None if it is not finite."""
    largest = float(np.hypot(calibration.estimate(points, deviations).max(), data_error))
    return largest if np.isfinite(largest) else None


def supports_estimate(x: Float[np.ndarray, "point d"], prequential: PrequentialErrors) -> bool:
    """Whether anything tells how large errors are inside of the box: a training point there, or a later solve.

    Folds at corners of the box extrapolate. On seventeen problems with the corners alone, no estimate from them was
    better than 0.3 to 17 times the true error.
    """
    is_corner = np.all((x < CORNER) | (x > 1 - CORNER), axis=1)
    return len(prequential) > 0 or not bool(is_corner.all())


def typical_error(errors: Float[np.ndarray, " point"], weights: Float[np.ndarray, " point"]) -> float:
    """Square of the weighted mean root of the errors of folds.

    The mean itself is decided by the largest few; the median forgets failures. Folds at corners of the box extrapolate:
    they count little, or they would decide, the more so the more parameters there are.

    Args:
        weights: as in `LocalCalibration`.
    """
    return float((weights @ np.sqrt(errors) / weights.sum()) ** 2)
