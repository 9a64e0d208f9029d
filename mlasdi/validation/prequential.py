"""Errors of a model at points that were solved after it was trained."""

import numpy as np
from jaxtyping import Int

from mlasdi.preprocessing import TrainingData, places_among
from mlasdi.solvers import field_parts
from mlasdi.solvers.storage import block_ranges
from mlasdi.surrogate import PrequentialErrors, Surrogate, relative
from mlasdi.validation.quantity_errors import solution_errors

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
    inside = np.flatnonzero((data.t >= surrogate.t[0]) & (data.t <= surrogate.t[-1]))
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
    """Largest relative error over time at one point, of the state and of each field.

    A prediction that is not finite counts as `FAR_OFF`.
    """
    layout, unit = surrogate.layout, surrogate.reconstruction.norm_unit
    coordinates = surrogate.coordinates(data.mu[i], data.t[times])[0]
    basis = surrogate.reconstruction.at(surrogate.space.to_unit(data.mu[i : i + 1])[0])
    distances, norms = np.empty((2, 1 + len(layout.fields), len(times)))
    for rows in block_ranges(len(times), layout.n_state):
        truth = data.trajectory(i, times[rows])
        for found, u in ((norms, truth), (distances, truth - basis.lift(coordinates[rows]))):
            parts = u / unit, *field_parts(u, layout.sizes)
            found[:, rows] = [np.linalg.norm(part, axis=-1) for part in parts]
    whole, *of_fields = relative(distances, norms).max(axis=-1).tolist()
    errors = dict(zip(layout.fields, of_fields, strict=True))
    if surrogate.record.quantities:
        truth = data.trajectory(i, times)
        errors |= solution_errors(surrogate, data.t[times], truth, basis.lift(coordinates))
    finite = {name: error if np.isfinite(error) else FAR_OFF for name, error in errors.items()}
    return (whole if np.isfinite(whole) else FAR_OFF), finite
