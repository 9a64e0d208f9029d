"""Error norms and the coverage of a band."""

import numpy as np
from jaxtyping import Bool, Float

# Where a state is smaller than this fraction of the largest one of its trajectory, errors are relative to that
# fraction. Otherwise the error of a solution that starts from rest, or dies away, is that of values that do not matter.
SMALL = 0.1


def relative(
    distance: Float[np.ndarray, "*#batch time"], norm: Float[np.ndarray, "*#batch time"]
) -> Float[np.ndarray, "*batch time"]:
    """Distances over `max(|u(t)|, SMALL max_t |u|)`, where `norm` is `|u(t)|` of a trajectory."""
    largest = np.maximum(norm.max(axis=-1, keepdims=True), np.finfo(float).tiny)
    return distance / np.maximum(norm, SMALL * largest)


def relative_error(
    truth: Float[np.ndarray, "*batch time state"], prediction: Float[np.ndarray, "*batch time state"]
) -> Float[np.ndarray, "*batch time"]:
    """|u - u~| / max(|u|, 0.1 max_t |u|) in the L2 norm over the state, per time."""
    return relative(np.linalg.norm(truth - prediction, axis=-1), np.linalg.norm(truth, axis=-1))


def max_relative_error(
    truth: Float[np.ndarray, "*batch time state"], prediction: Float[np.ndarray, "*batch time state"]
) -> Float[np.ndarray, "*batch"]:
    """The largest relative L2 error over time: the error that this project reports (see `relative`)."""
    return np.asarray(relative_error(truth, prediction).max(axis=-1))


def quantity_error(truth: Float[np.ndarray, "*axes"], found: Float[np.ndarray, "*axes"], scale: float) -> float:
    """|q - q~| / max(|q|, 0.1 scale) in the L2 norm over the axes of a quantity.

    Args:
        scale: typical size of the quantity.
    """
    size = max(float(np.linalg.norm(truth)), SMALL * scale, float(np.finfo(float).tiny))
    return float(np.linalg.norm(truth - found)) / size


def covered(
    truth: Float[np.ndarray, "*shape"], mean: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"], z: float
) -> Bool[np.ndarray, "*shape"]:
    """Where the truth lies in the band mean +- z std."""
    return np.abs(truth - mean) <= z * std
