"""Proper orthogonal decomposition of curves: modes that all runs and times share."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import svd

TRUNCATION = 1e-6  # of the deviations from the mean, in the root mean square over runs and times


def compressed(
    curves: Float[np.ndarray, "point time component node"],
) -> tuple[
    Float[np.ndarray, "point time rank"], Float[np.ndarray, "rank component node"], Float[np.ndarray, "component node"]
]:
    """Coordinates in orthonormal modes, the modes, and the mean over runs and times."""
    n_points, n_times, *shape = curves.shape
    flat = curves.reshape(n_points * n_times, -1)
    mean = flat.mean(axis=0)
    left, values, modes = svd(flat - mean, full_matrices=False)
    tail = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]  # norm of what the first k modes leave
    rank = max(1, int(np.sum(tail > TRUNCATION * tail[0])))
    coordinates = (left[:, :rank] * values[:rank]).reshape(n_points, n_times, rank)
    return coordinates, modes[:rank].reshape(rank, *shape), mean.reshape(*shape)
