"""Answers that the edge of the trained box cuts off."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import ParameterSpace

# An edge cuts a posterior off when it is closer to the median than this many of its standard deviations on that side.
NEAR = 3.0
ONE_STD = 0.1587  # a normal distribution's probability below its mean minus one standard deviation
AT_EDGE = 1e-3  # distance of one point to an edge, in the unit cube


def at_edges(
    space: ParameterSpace, samples: Float[np.ndarray, "sample n_params"], names: Sequence[str]
) -> dict[str, str]:
    """Parameter -> `low`, `high` or `both`: edges of the box that cut off a distribution, or at which one point lies.

    Args:
        samples: of the distribution, or one point.
        names: the parameters that vary.
    """
    x = space.to_unit(samples)
    median, lower, upper = np.quantile(x, [0.5, ONE_STD, 1 - ONE_STD], axis=0)
    is_low = median <= np.maximum(NEAR * (median - lower), AT_EDGE)
    is_high = 1 - median <= np.maximum(NEAR * (upper - median), AT_EDGE)
    found = {}
    for name in names:
        k = space.names.index(name)
        if is_low[k] or is_high[k]:
            found[name] = "both" if is_low[k] and is_high[k] else "low" if is_low[k] else "high"
    return found


def edge_warning(what: str, edges: Mapping[str, str]) -> str:
    """The warning about such edges."""
    texts = [f"{name} ({'both edges' if edge == 'both' else f'{edge} edge'})" for name, edge in edges.items()]
    return f"{what} is at the edge of the trained box in {', '.join(texts)}: a wider box may give another answer"
