"""Error norms and the coverage of a band."""

import numpy as np
from jaxtyping import Bool, Float


def relative_error(
    truth: Float[np.ndarray, "*batch time state"], prediction: Float[np.ndarray, "*batch time state"]
) -> Float[np.ndarray, "*batch time"]:
    """|u - u~| / |u| in the L2 norm over the state, per time; where u vanishes, relative to its largest norm."""
    norm = np.linalg.norm(truth, axis=-1)
    floor = np.finfo(float).eps * norm.max(axis=-1, keepdims=True) + np.finfo(float).tiny
    norm = np.where(norm > floor, norm, norm.max(axis=-1, keepdims=True) + np.finfo(float).tiny)
    return np.linalg.norm(truth - prediction, axis=-1) / norm


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
