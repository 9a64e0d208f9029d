"""What is analytic in time, at many times: interpolated from a few Chebyshev nodes, where these resolve it.

Latent trajectories are exponentials of time, and sine features of them are analytic, so their Chebyshev series converge
geometrically: a few dozen evaluations hold what a thousand do (L. N. Trefethen, Approximation Theory and Approximation
Practice, SIAM 2013, chapters 5, 8).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# Numbers of nodes that are tried, as long as the times are this many times as many.
N_NODES = (33, 65, 129)
WORTHWHILE = 4
# Size of the last coefficients, relative to the largest, at which a series counts as resolved.
RESOLVED = 1e-11


def at_times(
    evaluate: Callable[[Float[Tensor, " n"]], Float[Tensor, "*batch n rank"]], t: Float[Tensor, " time"]
) -> Float[Tensor, "*batch time rank"]:
    """Values of `evaluate`, which must be analytic, at times `t`: to eleven digits, and at few times exactly."""
    low, high = t.min(), t.max()
    for n in N_NODES:
        if len(t) < WORTHWHILE * n or not low < high:
            break
        unit = _unit_nodes(n)
        values = evaluate(low + (high - low) * unit)
        if _is_resolved(values):
            return _interpolation((t - low) / (high - low), unit) @ values
    return evaluate(t)


def _unit_nodes(n: int) -> Float[Tensor, " n"]:
    """Chebyshev points of the second kind on [0, 1], ascending; both ends are among them."""
    return 0.5 - 0.5 * torch.cos(math.pi * torch.arange(n, dtype=torch.float64) / (n - 1))


def _is_resolved(values: Float[Tensor, "*batch n rank"]) -> bool:
    """Whether the Chebyshev series through the values has come to its end."""
    n = values.shape[-2]
    k = torch.arange(n, dtype=values.dtype)
    weights = torch.ones_like(k)
    weights[[0, -1]] = 0.5
    coefficients = (torch.cos(math.pi / (n - 1) * torch.outer(k, k)) * weights) @ values
    largest = coefficients.abs().amax()
    # The last four: those of odd or of even functions vanish alternately.
    return bool(coefficients[..., -4:, :].abs().amax() <= RESOLVED * largest)


def _interpolation(x: Float[Tensor, " m"], nodes: Float[Tensor, " n"]) -> Float[Tensor, "m n"]:
    """The matrix of barycentric interpolation from Chebyshev points of the second kind (Trefethen, theorem 5.2)."""
    signs = 1.0 - 2.0 * (torch.arange(len(nodes)) % 2).to(nodes.dtype)
    signs[[0, -1]] *= 0.5
    distance = x[:, None] - nodes
    terms = signs / distance
    matrix = terms / terms.sum(dim=1, keepdim=True)
    hits = (distance == 0).nonzero()  # there, the value of the node
    if len(hits):
        matrix[hits[:, 0]] = torch.nn.functional.one_hot(hits[:, 1], len(nodes)).to(matrix.dtype)
    return matrix
