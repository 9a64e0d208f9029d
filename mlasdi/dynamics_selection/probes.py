"""Points of the box that nothing was trained on, at which latent dynamics must behave."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.operator_inference import (
    OperatorInferenceModel,
    OperatorInferenceSettings,
    TrajectoryData,
    model_coordinates,
)

# Variance of the parameter basis at a probe, relative to the largest one at a fold, beyond which the folds say nothing
# of the probe: all points of a design may lie where some polynomial vanishes.
LEVERAGE = 4.0
# At the probes, the norm relative to the largest one in training, and the distance from kriging relative to the largest
# leave-one-out error of kriging.
MOST_GROWTH, MOST_DISTANCE = 2.0, 3.0


@dataclass(frozen=True)
class Probes:
    """Points of the box that nothing was trained on."""

    x: Float[np.ndarray, "probe d"]
    raw: Float[np.ndarray, "probe d"]


def is_identifiable(data: TrajectoryData, settings: OperatorInferenceSettings, probes: Probes) -> bool:
    """Whether the folds test the parameter basis in all directions that matter at the probes."""
    theta, theta_at = model_coordinates(settings, data.raw), model_coordinates(settings, probes.raw)

    def variance(known: np.ndarray, new: np.ndarray) -> np.ndarray:
        inverse = np.linalg.inv(np.eye(theta.shape[1]) + known.T @ known / 1e-6)
        return np.einsum("nt,ts,ns->n", new, inverse, new)

    folds = [variance(theta[data.kept(i)], theta[i : i + 1])[0] for i in range(data.n_points)]
    return bool(variance(theta, theta_at).max() <= LEVERAGE * max(folds))


def problem_at(probes: Probes, model: OperatorInferenceModel, data: TrajectoryData) -> str | None:
    """What is wrong with a model at points that nothing was trained on; None if nothing is."""
    forecast = model.latent(probes.x, probes.raw, data.t)
    z = forecast.z
    if not np.isfinite(z).all() or model.in_sample.failed.any():
        return "blows up"
    size = np.max(np.linalg.norm(data.c[:, :, : model.settings.rank], axis=-1))
    if np.max(np.linalg.norm(z, axis=-1)) > MOST_GROWTH * size:
        return "leaves the range of the training trajectories"
    predicted = model.predict(probes.x, probes.raw, forecast=forecast)
    weights = data.weights(probes.x)
    distance = np.linalg.norm(predicted - np.tensordot(weights, data.c, axes=1), axis=-1)
    typical = np.clip(weights, 0, None) @ data.denominators / np.clip(weights, 0, None).sum(axis=1, keepdims=True)
    if np.max(distance / typical) > MOST_DISTANCE * np.max(data.errors(data.fold_kriging)):
        return "is further from kriging than the error of kriging explains"
    return None
