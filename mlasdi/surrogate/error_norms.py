"""Error norms and the coverage of a band."""

import numpy as np
from jaxtyping import Bool, Float

# A state below this fraction of the trajectory's largest norm counts as vanishing, as one that starts from rest.
VANISHING = 1e-6


def relative(
    distance: Float[np.ndarray, "*batch time"], norm: Float[np.ndarray, "*batch time"]
) -> Float[np.ndarray, "*batch time"]:
    """Distances relative to the norms of a trajectory; where the norm vanishes, relative to its largest one."""
    largest = np.maximum(norm.max(axis=-1, keepdims=True), np.finfo(float).tiny)
    return distance / np.where(norm > VANISHING * largest, norm, largest)


def relative_error(
    truth: Float[np.ndarray, "*batch time state"], prediction: Float[np.ndarray, "*batch time state"]
) -> Float[np.ndarray, "*batch time"]:
    """|u - u~| / |u| in the L2 norm over the state, per time; where u vanishes, relative to its largest norm."""
    return relative(np.linalg.norm(truth - prediction, axis=-1), np.linalg.norm(truth, axis=-1))


def max_relative_error(
    truth: Float[np.ndarray, "*batch time state"], prediction: Float[np.ndarray, "*batch time state"]
) -> Float[np.ndarray, "*batch"]:
    """The largest relative L2 error over time: the error that this project reports."""
    return np.asarray(relative_error(truth, prediction).max(axis=-1))


def covered(
    truth: Float[np.ndarray, "*shape"], mean: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"], z: float
) -> Bool[np.ndarray, "*shape"]:
    """Where the truth lies in the band mean +- z std."""
    return np.abs(truth - mean) <= z * std
