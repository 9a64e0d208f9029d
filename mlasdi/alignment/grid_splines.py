"""Splines along the axes of a tensor grid, as sparse matrices from coefficients to values at other places.

The nodes at the ends of an axis, its *strips*, stay out of them: they keep their values, and their places.
"""

from collections.abc import Iterable, Sequence
from functools import partial, reduce

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse import csr_array, diags_array, kron

from mlasdi.solvers import StateLayout

DEGREE = 3  # of the splines between the nodes of a grid
# Of the nodes of an axis, at each of its ends, those that keep their places, and how many these are at least: what a
# boundary condition does there does not move with the solution.
STRIP_SHARE, FEWEST_IN_STRIP = 0.0075, 2
# Cells of an axis by which a spline goes on beyond its ends, along its tangent. Up to its end a trajectory is
# interpolated in own coordinates with nodes beyond, and less and less with the further ones.
REACH = 3
FEWEST_NODES = 24  # of an axis that can be scaled and shifted


def nodes_of(coordinate: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """Nodes of an axis from 0 to 1; None where it cannot be scaled: it has few, or they are not in order."""
    coordinate = np.asarray(coordinate, dtype=float)
    if len(coordinate) < FEWEST_NODES:
        return None
    nodes = (coordinate - coordinate[0]) / (coordinate[-1] - coordinate[0] or 1.0)
    return nodes if np.all(np.diff(nodes) > 0) else None


def grid_of(layout: StateLayout) -> tuple[list[Float[np.ndarray, " _"] | None], tuple[int, ...]]:
    """Nodes of each axis of a layout, None of those that cannot be scaled, and the shape of its grid.

    The points of a mesh or a masked grid are one axis that cannot be.
    """
    if layout.scattered or layout.mask is not None:
        return [None], (layout.n_points,)
    return [nodes_of(coordinate) for coordinate in layout.coordinates.values()], layout.shape


def strip_of(n: int) -> int:
    """How many of the `n` nodes of an axis are the strip at each of its ends."""
    return max(FEWEST_IN_STRIP, int(STRIP_SHARE * n))


def spline_coefficients(
    values: Float[np.ndarray, "state ..."], nodes: Sequence[Float[np.ndarray, " _"] | None], shape: tuple[int, ...]
) -> Float[np.ndarray, "state ..."]:
    """Coefficients of the tensor splines through the values of each field, along the axes that have nodes.

    A spline goes through the inner nodes of an axis; the values on the strips along its ends stay.
    """
    fields = values.reshape(-1, *shape, *values.shape[1:]).copy()
    for k, own in enumerate(nodes, start=1):
        if own is not None:
            strip = strip_of(len(own))
            inner = np.moveaxis(fields, k, 0)[strip:-strip]
            inner[:] = make_interp_spline(own[strip:-strip], inner, DEGREE).c
    return fields.reshape(values.shape)


def along_axis(
    nodes: Float[np.ndarray, " n"], place: Float[np.ndarray, " m"], rows: Int[np.ndarray, " m"]
) -> csr_array:
    """Values along an axis, from what `spline_coefficients` gives.

    Args:
        place: where, from 0 to 1; on the strips, the nodes themselves count. Values are constant beyond places that are
            `held`.
        rows: nodes that look at these places.
    """
    n, strip = len(nodes), strip_of(len(nodes))
    inner = nodes[strip:-strip]
    knots = np.concatenate([[inner[0]] * (DEGREE + 1), inner[2:-2], [inner[-1]] * (DEGREE + 1)])  # as `.c` has them
    moved, fixed = np.flatnonzero(~on_strips(rows, n)), np.flatnonzero(on_strips(rows, n))
    inside = np.clip(place[moved], inner[0], inner[-1])
    spline = BSpline.design_matrix(inside, knots, DEGREE).tocoo()
    beyond = np.clip(place[moved], *_reach(inner)) - inside
    outside = np.flatnonzero(beyond)
    # The slope at an end is that between the first two coefficients, or the last two.
    first = np.where(beyond[outside] < 0, 0, len(inner) - 2)
    rise = beyond[outside] * DEGREE / (knots[first + DEGREE + 1] - knots[first + 1])
    data = np.concatenate([spline.data, -rise, rise, np.ones(len(fixed))])
    row = np.concatenate([moved[spline.row], moved[outside], moved[outside], fixed])
    column = np.concatenate([spline.col + strip, first + strip, first + 1 + strip, rows[fixed]])
    return csr_array((data, (row, column)), shape=(len(rows), n))


def _reach(inner: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """From where and up to where a spline through these nodes goes on."""
    return float(inner[0] - REACH * (inner[1] - inner[0])), float(inner[-1] + REACH * (inner[-1] - inner[-2]))


def on_strips(rows: Int[np.ndarray, " m"], n: int) -> Bool[np.ndarray, " m"]:
    """Which nodes of an axis stay where they are."""
    first, last = first_interior_nodes(n)
    return (rows < first) | (rows > last)


def first_interior_nodes(n: int) -> tuple[int, int]:
    """The first and the last of the `n` nodes of an axis that are on no strip."""
    strip = strip_of(n)
    return strip, n - 1 - strip


def strips_added(n: int, sign: int) -> csr_array:
    """Matrix that adds to the values on the strips `sign` times that of the nearest node beside them."""
    rows = np.arange(n)
    nearest, on = np.clip(rows, *first_interior_nodes(n)), on_strips(rows, n)
    data = np.concatenate([np.ones(n), np.full(on.sum(), float(sign))])
    at = np.concatenate([rows, rows[on]]), np.concatenate([rows, nearest[on]])
    return csr_array((data, at), shape=(n, n))


def strips_alone(n: int) -> csr_array:
    """Matrix to what the strips add to the value at the nearest node beside them, and zero between the strips.

    A spline that goes through the inner nodes has the value at the first one, and at the last, as its coefficient.
    """
    on = diags_array(on_strips(np.arange(n), n).astype(float))
    found = csr_array(on @ strips_added(n, -1))
    found.sort_indices()  # sums with it would take memory of the size of the grid otherwise
    return found


def is_within_reach(
    nodes: Float[np.ndarray, " n"], place: Float[np.ndarray, " m"], rows: Int[np.ndarray, " m"]
) -> Bool[np.ndarray, " m"]:
    """Which places the splines through the inner nodes of an axis reach; the strips are always there."""
    strip = strip_of(len(nodes))
    low, high = _reach(nodes[strip:-strip])
    return ((place >= low - 1e-9) & (place <= high + 1e-9)) | on_strips(rows, len(nodes))


def tensor_product(along: Iterable[csr_array]) -> csr_array:
    """Matrix on the flattened grid whose factors work along its axes."""
    return csr_array(reduce(partial(kron, format="csr"), along))


def midpoint_round_trip(
    nodes: Float[np.ndarray, " n"], values: Float[np.ndarray, "n ..."]
) -> Float[np.ndarray, "n ..."]:
    """Values at the nodes of an axis, as they are interpolated from those in the middle of its cells; the ends stay."""
    middle = (nodes[1:] + nodes[:-1]) / 2
    there = make_interp_spline(nodes, values, DEGREE)(middle)
    found = values.copy()
    found[1:-1] = make_interp_spline(middle, there, DEGREE)(nodes[1:-1])
    return found
