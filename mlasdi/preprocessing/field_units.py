"""The units in which the fields of a state are measured in norms."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import field_parts


def field_units(
    variance: Float[np.ndarray, " state"], mean: Float[np.ndarray, " state"], sizes: Sequence[int]
) -> Float[np.ndarray, " state"]:
    """Standard deviation of each field over the snapshots; for a constant field, the root mean square of its values.

    For all fields the latter if they have different sizes, or are numbers.

    Args:
        variance, mean: of each value over the snapshots.
        sizes: number of values of each field.
    """
    std = np.sqrt([one.mean() for one in field_parts(variance, sizes)])
    size = np.sqrt([one.mean() for one in field_parts(variance + mean**2, sizes)])
    by_size = len(set(sizes)) > 1 or sizes[0] == 1
    is_constant = (std <= np.finfo(float).eps * size) | by_size
    units = np.where(is_constant, np.where(size > 0, size, 1.0), std)
    return np.repeat(units, sizes)
