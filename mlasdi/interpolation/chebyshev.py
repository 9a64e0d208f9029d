"""Functions that are analytic in time, at many times: interpolated from a few Chebyshev nodes.

Latent trajectories are exponentials of time, and sine features of them are analytic, so their Chebyshev series converge
geometrically: a few dozen evaluations are as accurate as a thousand (L. N. Trefethen, Approximation Theory and
Approximation Practice, SIAM 2013, chapters 5, 8).
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

N_NODES = (33, 65, 129)  # numbers of nodes that are tried, in this order
MIN_TIMES_PER_NODE = 4  # with fewer times, interpolation costs more than it saves
# A series is resolved when its last coefficients are this small, relative to the largest value. Far below the accuracy
# of any model, and far above rounding.
RESOLVED = 1e-11


def at_times(
    evaluate: Callable[[Float[Tensor, " n"]], Float[Tensor, "*batch n rank"]], t: Float[Tensor, " time"]
) -> Float[Tensor, "*batch time rank"]:
    """Values of `evaluate` at times `t`: interpolated to about eleven digits, or evaluated where times are few.

    Args:
        evaluate: an analytic function of time, for any times.
        t: times, in any order.
    """
    low, high = t.min(), t.max()
    for n in N_NODES:
        if len(t) < MIN_TIMES_PER_NODE * n or not low < high:
            break
        unit = _unit_nodes(n)
        values = evaluate(low + (high - low) * unit)
        if _is_resolved(values):
            return _interpolated((t - low) / (high - low), unit, values)
    return evaluate(t)


def _angles(n: int) -> Float[Tensor, " n"]:
    return math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n


@cache
def _unit_nodes(n: int) -> Float[Tensor, " n"]:
    """Chebyshev points of the first kind on [0, 1], descending; 0 and 1 are not among them."""
    return 0.5 + 0.5 * torch.cos(_angles(n))


@cache
def _last_coefficients(n: int) -> Float[Tensor, "4 n"]:
    """From values at the nodes to the last four Chebyshev coefficients: two for odd and two for even functions."""
    return 2 / n * torch.cos(torch.outer(torch.arange(n - 4, n, dtype=torch.float64), _angles(n)))


@cache
def _barycentric_weights(n: int) -> Float[Tensor, " n"]:
    return torch.sin(_angles(n)) * (1.0 - 2.0 * (torch.arange(n) % 2))


def _is_resolved(values: Float[Tensor, "*batch n rank"]) -> bool:
    """Whether the last Chebyshev coefficients of the series through the values vanish."""
    last = _last_coefficients(values.shape[-2]) @ values
    return bool(last.abs().amax() <= RESOLVED * values.abs().amax())


def _interpolated(
    x: Float[Tensor, " m"], nodes: Float[Tensor, " n"], values: Float[Tensor, "*batch n rank"]
) -> Float[Tensor, "*batch m rank"]:
    """Barycentric interpolation from Chebyshev points of the first kind (Trefethen, chapter 5)."""
    distance = x[:, None] - nodes
    terms = _barycentric_weights(len(nodes)) / distance
    total = terms.sum(dim=1, keepdim=True)
    if not bool(total.isfinite().all()):  # a time that is a node has the node's value
        hits = distance == 0
        terms = torch.where(hits.any(dim=1, keepdim=True), hits.to(terms.dtype), terms)
        total = terms.sum(dim=1, keepdim=True)
    return (terms @ values) / total
