"""Evenly spread indices, by which long axes are thinned."""

import numpy as np
from jaxtyping import Int


def evenly_spread(n: int, k: int) -> Int[np.ndarray, " kept"]:
    """At most `k` of the indices 0, ..., n - 1, evenly spread, the first and (from `k` = 2 on) the last included."""
    if k >= n:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, k).round().astype(int))
