"""Cubic splines along the axes of a tensor grid, as sparse matrices from spline coefficients to values.

What boundary conditions do at the ends of an axis does not move with the solution. So the first and the last few nodes
of an axis, its *boundary nodes*, keep their places and their values; the splines go through the interior nodes.
"""

from collections.abc import Iterable, Sequence
from functools import partial, reduce

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import make_interp_spline
from scipy.sparse import csr_array, diags_array, kron

from mlasdi.solvers import StateLayout

DEGREE = 3  # of the splines
# Boundary nodes at each end of an axis: this share of its nodes, and at least this many. Chosen on the first benchmark
# problems (burgers1d, burgers2d, vlasov, wake, multiscale, rod).
BOUNDARY_SHARE, MIN_BOUNDARY_NODES = 0.0075, 2
# Cells by which a spline is continued along its tangent beyond its last interior node. So the interpolation of a
# trajectory near its end uses nodes beyond the end, too, the further ones less and less. Chosen on burgers1d and rod.
REACH = 3
MIN_NODES = 24  # of an axis that can be scaled and shifted: with fewer, splines resolve no moving structure


def axis_nodes(coordinate: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """Nodes of an axis scaled to go from 0 to 1; None where the nodes are too few to scale it, or not monotone."""
    coordinate = np.asarray(coordinate, dtype=float)
    if len(coordinate) < MIN_NODES:
        return None
    nodes = (coordinate - coordinate[0]) / (coordinate[-1] - coordinate[0] or 1.0)
    return nodes if np.all(np.diff(nodes) > 0) else None


def grid_nodes(layout: StateLayout) -> tuple[list[Float[np.ndarray, " _"] | None], tuple[int, ...]]:
    """Nodes of each axis of a layout, None for axes that cannot be scaled, and the shape of its grid.

    The points of a mesh or of a masked grid count as one axis that cannot be scaled.
    """
    if layout.scattered or layout.mask is not None or not layout.shape:
        return [None], (layout.n_points,)
    return [axis_nodes(coordinate) for coordinate in layout.coordinates.values()], layout.shape


def n_boundary_nodes(n: int) -> int:
    """How many of the `n` nodes of an axis are boundary nodes, at each of its ends."""
    return max(MIN_BOUNDARY_NODES, int(BOUNDARY_SHARE * n))


def spline_coefficients(
    values: Float[np.ndarray, "state ..."], nodes: Sequence[Float[np.ndarray, " _"] | None], shape: tuple[int, ...]
) -> Float[np.ndarray, "state ..."]:
    """Coefficients of the tensor-product splines through the values of each field.

    Args:
        values: states, along the first axis.
        nodes: of each axis, from 0 to 1; None for axes without splines.
        shape: of the grid.

    Returns:
        Coefficients at interior nodes, and the values themselves at boundary nodes and along axes without splines.
    """
    fields = values.reshape(-1, *shape, *values.shape[1:]).copy()
    for k, along in enumerate(nodes, start=1):
        if along is not None:
            n_boundary = n_boundary_nodes(len(along))
            interior = np.moveaxis(fields, k, 0)[n_boundary:-n_boundary]
            interior[:] = make_interp_spline(along[n_boundary:-n_boundary], interior, DEGREE).c
    return fields.reshape(values.shape)


def interpolation_matrix(
    nodes: Float[np.ndarray, " n"], place: Float[np.ndarray, " m"], rows: Int[np.ndarray, " m"]
) -> csr_array:
    """Matrix `[m, n]` from the coefficients that `spline_coefficients` gives along an axis to values.

    Args:
        nodes: of the axis, from 0 to 1.
        place: where the values are wanted, from 0 to 1. Beyond the places of `is_within_reach` they are constant.
        rows: index of the node to which each place belongs; that of a boundary node takes the value there.
    """
    n, n_boundary = len(nodes), n_boundary_nodes(len(nodes))
    interior = nodes[n_boundary:-n_boundary]
    knots = np.concatenate([[interior[0]] * (DEGREE + 1), interior[2:-2], [interior[-1]] * (DEGREE + 1)])
    fixed_nodes = is_boundary(rows, n)
    moved, fixed = np.flatnonzero(~fixed_nodes), np.flatnonzero(fixed_nodes)
    inside = np.clip(place[moved], interior[0], interior[-1])
    first_basis, basis = _basis_values(knots, inside)
    beyond = np.clip(place[moved], *_reach(interior)) - inside
    outside = np.flatnonzero(beyond)
    # The slope at an end is that between the first two coefficients, or the last two.
    first = np.where(beyond[outside] < 0, 0, len(interior) - 2)
    rise = beyond[outside] * DEGREE / (knots[first + DEGREE + 1] - knots[first + 1])
    data = np.concatenate([basis.ravel(), -rise, rise, np.ones(len(fixed))])
    row = np.concatenate([np.tile(moved, len(basis)), moved[outside], moved[outside], fixed])
    of_basis = (first_basis + np.arange(len(basis))[:, None]).ravel() + n_boundary
    column = np.concatenate([of_basis, first + n_boundary, first + 1 + n_boundary, rows[fixed]])
    return csr_array((data, (row, column)), shape=(len(rows), n))


def _basis_values(
    knots: Float[np.ndarray, " k"], place: Float[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "basis m"]]:
    """At each place, the number of the first B-spline that is not zero there, and the values of these splines.

    The recurrence of Cox and de Boor; `scipy.interpolate.BSpline.design_matrix` takes several times longer.
    Reference: L. Piegl and W. Tiller, The NURBS Book, Springer 1997, algorithm A2.2.
    """
    piece = np.clip(np.searchsorted(knots, place, side="right") - 1, DEGREE, len(knots) - DEGREE - 2)
    before = [place - knots[piece + 1 - j] for j in range(1, DEGREE + 1)]
    after = [knots[piece + j] - place for j in range(1, DEGREE + 1)]
    values = np.ones((DEGREE + 1, len(place)))
    for j in range(DEGREE):
        carried = np.zeros(len(place))
        for r in range(j + 1):
            share = values[r] / (after[r] + before[j - r])
            values[r] = carried + after[r] * share
            carried = before[j - r] * share
        values[j + 1] = carried
    return piece - DEGREE, values


def _reach(interior: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The places at which the continuation of a spline along its tangents begins and ends."""
    first, last = interior[1] - interior[0], interior[-1] - interior[-2]
    return float(interior[0] - REACH * first), float(interior[-1] + REACH * last)


def is_boundary(rows: Int[np.ndarray, " m"], n: int) -> Bool[np.ndarray, " m"]:
    """Which of the nodes `rows`, of `n` along an axis, are boundary nodes."""
    first, last = interior_range(n)
    return (rows < first) | (rows > last)


def interior_range(n: int) -> tuple[int, int]:
    """The first and the last interior node of `n` nodes along an axis."""
    n_boundary = n_boundary_nodes(n)
    return n_boundary, n - 1 - n_boundary


def boundary_offsets(n: int, sign: int) -> csr_array:
    """Matrix `[n, n]` that adds to the values at boundary nodes `sign` times that of the nearest interior node.

    With sign -1 the boundary nodes hold differences from the interior, with sign 1 they get their values back.
    """
    rows = np.arange(n)
    nearest, on = np.clip(rows, *interior_range(n)), is_boundary(rows, n)
    data = np.concatenate([np.ones(n), np.full(on.sum(), float(sign))])
    at = np.concatenate([rows, rows[on]]), np.concatenate([rows, nearest[on]])
    return csr_array((data, at), shape=(n, n))


def boundary_differences(n: int) -> csr_array:
    """Matrix `[n, n]` to the differences of boundary nodes from the nearest interior node, zero at interior nodes.

    A spline through the interior nodes has the value at the first one, and at the last, as its coefficient there.
    """
    on = diags_array(is_boundary(np.arange(n), n).astype(float))
    matrix = csr_array(on @ boundary_offsets(n, -1))
    matrix.sort_indices()  # otherwise, sums with it take memory of the size of the grid
    return matrix


def is_within_reach(
    nodes: Float[np.ndarray, " n"], place: Float[np.ndarray, " m"], rows: Int[np.ndarray, " m"]
) -> Bool[np.ndarray, " m"]:
    """Which places lie on the splines of an axis or on their continuation by `REACH` cells; boundary nodes always."""
    n_boundary = n_boundary_nodes(len(nodes))
    low, high = _reach(nodes[n_boundary:-n_boundary])
    return ((place >= low - 1e-9) & (place <= high + 1e-9)) | is_boundary(rows, len(nodes))


def tensor_product(along: Iterable[csr_array]) -> csr_array:
    """Kronecker product of matrices that act along the axes of a grid: the matrix on the flattened grid."""
    return csr_array(reduce(partial(kron, format="csr"), along))


def midpoint_round_trip(
    nodes: Float[np.ndarray, " n"], values: Float[np.ndarray, "n ..."]
) -> Float[np.ndarray, "n ..."]:
    """Values interpolated to the midpoints of the cells, and from these back to the nodes; the ends stay.

    What changes is what the grid does not resolve.
    """
    midpoints = (nodes[1:] + nodes[:-1]) / 2
    there = make_interp_spline(nodes, values, DEGREE)(midpoints)
    back = values.copy()
    back[1:-1] = make_interp_spline(midpoints, there, DEGREE)(nodes[1:-1])
    return back
