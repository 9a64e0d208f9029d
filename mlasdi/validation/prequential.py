"""Errors of a model at points that were solved after it was trained."""

import numpy as np
from jaxtyping import Int

from mlasdi.preprocessing import TrainingData, places_among
from mlasdi.surrogate import PrequentialErrors, Surrogate
from mlasdi.validation.trajectory_errors import trajectory_errors

FAR_OFF = 1e6  # error of a prediction that is not finite


def prequential_errors(surrogate: Surrogate, data: TrainingData) -> PrequentialErrors:
    """Errors at those points of `data` at which the surrogate was not trained.

    Args:
        data: trajectories of the same problem, the new ones after the others.

    Raises:
        ValueError: parameters, fields or grid are those of another problem.
    """
    if surrogate.space != data.space or surrogate.layout != data.layout:
        raise ValueError("the earlier surrogate has other parameters, fields or another grid than the trajectories")
    x, known = data.space.to_unit(data.mu), surrogate.model.latent.x
    new = np.flatnonzero(places_among(x, known) < 0)
    if not len(new):
        return PrequentialErrors()
    is_inside = (data.t >= surrogate.t[0]) & (data.t <= surrogate.t[-1])
    inside = np.flatnonzero(is_inside | (surrogate.end_times is not None))
    found = [_errors(surrogate, data, i, inside) for i in new.tolist()]
    return PrequentialErrors(
        x=tuple(map(tuple, x[new].tolist())),
        errors=tuple(error for error, _ in found),
        expected=tuple(surrogate.relative_std(data.mu[new]).tolist()),
        deviations=tuple(surrogate.uncalibrated_std(data.mu[new]).tolist()),
        n_points=(len(known),) * len(new),
        kinds=(surrogate.record.kind,) * len(new),
        fields=tuple(of_fields for _, of_fields in found),
    )


def _errors(
    surrogate: Surrogate, data: TrainingData, i: int, times: Int[np.ndarray, " kept"]
) -> tuple[float, dict[str, float]]:
    """Errors of the state and of each field at one point; those of a prediction that is not finite are `FAR_OFF`."""
    t = data.t[times]
    if data.durations is not None:
        t = t[0] + (t - t[0]) * (data.durations[i] / (t[-1] - t[0]))
    whole, errors = trajectory_errors(surrogate, data.mu[i], t, lambda rows: data.trajectory(i, times[rows]))
    finite = {name: error if np.isfinite(error) else FAR_OFF for name, error in errors.items()}
    return (whole if np.isfinite(whole) else FAR_OFF), finite
