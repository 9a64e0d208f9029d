"""Errors of a model at points that were solved after it was trained."""

import numpy as np

from mlasdi.preprocessing import TrainingData, places_among
from mlasdi.surrogate import PrequentialErrors, Surrogate, field_errors, max_relative_error
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
    inside = (data.t >= surrogate.t[0]) & (data.t <= surrogate.t[-1])
    found = [_errors(surrogate, data.mu[i], data.t[inside], data.u[i, inside]) for i in new]
    return PrequentialErrors(
        x=tuple(map(tuple, x[new].tolist())),
        errors=tuple(error for error, _ in found),
        expected=tuple(surrogate.relative_std(data.mu[new]).tolist()),
        deviations=tuple(surrogate.uncalibrated_std(data.mu[new]).tolist()),
        n_points=(len(known),) * len(new),
        fields=tuple(of_fields for _, of_fields in found),
    )


def _errors(surrogate: Surrogate, mu: np.ndarray, t: np.ndarray, u: np.ndarray) -> tuple[float, dict[str, float]]:
    """Largest relative error over time at one point, of the state and of each field.

    A prediction that is not finite counts as `FAR_OFF`.
    """
    unit, prediction = surrogate.reconstruction.norm_unit, surrogate.predict(mu, t, std=False).mean[0]
    errors = [float(max_relative_error(u / unit, prediction / unit)), *field_errors(surrogate.layout, u, prediction)]
    names, quantities = surrogate.layout.fields, solution_errors(surrogate, t, u, prediction)
    found = dict(zip(("", *names, *quantities), (*errors, *quantities.values()), strict=True))
    finite = {name: error if np.isfinite(error) else FAR_OFF for name, error in found.items()}
    return finite.pop(""), finite
