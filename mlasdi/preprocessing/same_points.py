"""Points of the unit cube that are the same but for rounding."""

import numpy as np
from jaxtyping import Float, Int

SAME_POINT = 1e-9  # distance in any parameter, below which two points are one


def places_among(x: Float[np.ndarray, "n d"], known: Float[np.ndarray, "m d"]) -> Int[np.ndarray, " n"]:
    """For each point of `x` the row of the same point in `known`; -1 where it is not there."""
    if not len(known):
        return np.full(len(x), -1)
    from scipy.spatial import cKDTree  # slow to import

    distance, nearest = cKDTree(known).query(x, p=np.inf, distance_upper_bound=SAME_POINT)
    return np.where(np.isfinite(distance), nearest, -1)
