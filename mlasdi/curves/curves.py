"""Graphs of states over a 1-D grid as curves in normalised arc length, and back.

A state with fields u1, u2, ... is the curve (x, u1, u2, ...) along the grid. Jumps, which are a node wide in x, are a
finite part of its length: curves of runs with a shock at different places differ smoothly.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

MIN_NODES = 257  # of a curve; 161 to 401 change errors little on sod and traffic
CONSTANT = 1e-9  # variation of a field, over its size, that is rounding
UNIFORM = 1e-9  # range of the steps of a grid, over the first, that is rounding
SEPARATION = 1e-9  # of the nodes of a curve in x, over the length of the grid: values at a jump stay single-valued


@dataclass(frozen=True)
class CurveSpace:
    """The unit of each component of a curve, and the number of its nodes.

    Attributes:
        grid: increasing positions of the nodes of a state.
        origin: position and values that are the zero of the units: the first node, the least value of each field.
        unit: length of the grid over its weight, and the range of each field.
    """

    grid: Float[np.ndarray, " node"]
    origin: Float[np.ndarray, " component"]
    unit: Float[np.ndarray, " component"]

    @classmethod
    def of(
        cls, u: Float[np.ndarray, "point time field node"], grid: Float[np.ndarray, " node"], weight: float
    ) -> "CurveSpace":
        """Units in which the grid is `weight` long, and the range of each field over all runs is 1."""
        least, units = u.min(axis=(0, 1, 3)), field_units(u)
        return cls(grid, np.append(grid[0], least), np.append((grid[-1] - grid[0]) / weight, units))

    @cached_property
    def n_nodes(self) -> int:
        """Nodes of a curve, at equidistant arc lengths."""
        return max(MIN_NODES, len(self.grid))

    def curves(self, u: Float[np.ndarray, "time field node"]) -> Float[np.ndarray, "time component curve_node"]:
        """The curves of states, at equidistant arc lengths, in the units."""
        position = np.broadcast_to(self.grid, (len(u), 1, len(self.grid)))
        graph = (np.concatenate([position, u], axis=1) - self.origin[:, None]) / self.unit[:, None]
        steps = np.diff(graph, axis=-1)
        # the length of a step is |dx| + |du|: of a steep front it hardly depends on the nodes that it falls between
        length = np.cumsum(steps[:, 0] + np.linalg.norm(steps[:, 1:], axis=1), axis=-1)
        arc = np.concatenate([np.zeros((len(u), 1)), length / length[:, -1:]], axis=-1)
        return piecewise_linear(arc, graph, np.linspace(0.0, 1.0, self.n_nodes))


def field_units(u: Float[np.ndarray, "point time field node"]) -> Float[np.ndarray, " field"]:
    """The range of each field over all runs; the size of those that are constant, and 1 for those that vanish."""
    size = np.abs(u).max(axis=(0, 1, 3))
    span = u.max(axis=(0, 1, 3)) - u.min(axis=(0, 1, 3))
    units = np.where(span > CONSTANT * size, span, size)
    return np.where(units > 0, units, 1.0)


def states(
    curves: Float[np.ndarray, "time component curve_node"], grid: Float[np.ndarray, " node"]
) -> Float[np.ndarray, "time field node"]:
    """Values on the grid of curves (x, u1, u2, ...); where a sum of curves turns back in x, it goes straight up."""
    position = curves[:, 0].astype(float)
    turns = (position[:, 1:] < position[:, :-1]).any(axis=1)
    position[turns] = np.maximum.accumulate(position[turns], axis=-1)
    position += SEPARATION * (grid[-1] - grid[0]) * np.arange(curves.shape[-1])
    return piecewise_linear(position, curves, grid, first=1)


def piecewise_linear(
    knots: Float[np.ndarray, "row knot"],
    values: Float[np.ndarray, "row component knot"],
    at: Float[np.ndarray, " node"],
    first: int = 0,
) -> Float[np.ndarray, "row some node"]:
    """`numpy.interp` of many rows: linear between the increasing knots of each row, constant outside of them.

    Args:
        knots: of each row.
        values: at the knots.
        at: increasing places at which values are wanted.
        first: component from which on they are wanted.
    """
    n_rows, n_knots = knots.shape
    # Number of knots of each row that lie at or before each node: one search for all, as the nodes are the same.
    places = _first_at(at, knots) + (len(at) + 1) * np.arange(n_rows)[:, None]
    count = np.bincount(places.ravel(), minlength=n_rows * (len(at) + 1)).reshape(n_rows, -1)
    left = np.clip(np.cumsum(count[:, :-1], axis=1) - 1, 0, n_knots - 2)
    index, flat = left + n_knots * np.arange(n_rows)[:, None], knots.ravel()  # flat indices: fast to take
    start, end = flat.take(index), flat.take(index + 1)
    part = np.clip((at - start) / np.maximum(end - start, np.finfo(float).tiny), 0.0, 1.0)
    n_components, flat = values.shape[1], values.reshape(-1)
    found = np.empty((n_rows, n_components - first, len(at)))
    index += n_knots * ((n_components - 1) * np.arange(n_rows)[:, None] + first)
    for k in range(n_components - first):
        low = flat.take(index)
        index += 1
        found[:, k] = low + part * (flat.take(index) - low)
        index += n_knots - 1
    return found


def _first_at(at: Float[np.ndarray, " node"], knots: Float[np.ndarray, "row knot"]) -> Int[np.ndarray, "row knot"]:
    """The first node at or after each knot; of equidistant nodes by arithmetic, which is faster than a search."""
    steps = np.diff(at)
    if len(steps) and np.ptp(steps) <= UNIFORM * steps[0]:
        places = np.ceil((knots - at[0]) * (len(steps) / (at[-1] - at[0])))
        return np.asarray(np.clip(places, 0, len(at)).astype(np.intp))
    return np.searchsorted(at, knots)


def linear_in_index(values: Float[np.ndarray, "index ..."], at: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n ..."]:
    """Values between those of an array, at fractional indices along its first axis."""
    left = np.minimum(at.astype(int), max(len(values) - 2, 0))
    part = (at - left).reshape(-1, *[1] * (values.ndim - 1))
    return values[left] * (1 - part) + values[np.minimum(left + 1, len(values) - 1)] * part
