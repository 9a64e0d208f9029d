"""Probes: single values of a state, at sensors or of chosen fields, for which nothing else has to be decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mlasdi.solvers import StateLayout


@dataclass(frozen=True)
class Probes:
    """Values, each a weighted sum of a few entries of the state.

    Attributes:
        entries: indices into the state `[value, corner]`.
        weights: weights of these entries, of the same shape.
    """

    entries: Int[np.ndarray, "value corner"]
    weights: Float[np.ndarray, "value corner"]

    def __len__(self) -> int:
        return len(self.entries)

    def of(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch value"]:
        """The values that these probes read from states."""
        return np.sum(u[..., self.entries] * self.weights, axis=-1)

    def matrix(self, n_state: int) -> csr_array:
        """From a state to the values `[value, state]`."""
        rows = np.repeat(np.arange(len(self)), self.entries.shape[1])
        return csr_array((self.weights.ravel(), (rows, self.entries.ravel())), shape=(len(self), n_state))

    @classmethod
    def joined(cls, parts: Sequence["Probes"]) -> "Probes":
        """The values of some probes, one after the other."""
        width = max(part.entries.shape[1] for part in parts)
        padded = [
            np.pad(array, [(0, 0), (0, width - array.shape[1])]) for p in parts for array in (p.entries, p.weights)
        ]
        return cls(np.concatenate(padded[::2]), np.concatenate(padded[1::2]))

    @classmethod
    def of_fields(cls, layout: StateLayout, fields: Sequence[str]) -> "Probes":
        """All values of some fields, one field after the other.

        Raises:
            ValueError: the state has no such field, or none is given.
        """
        points = np.arange(layout.n_points)
        entries = np.concatenate([k * layout.n_points + points for k in _positions(layout, fields)])[:, None]
        return cls(entries, np.ones(entries.shape))

    @classmethod
    def at_points(
        cls, layout: StateLayout, points: Mapping[str, ArrayLike], fields: Sequence[str] | None = None
    ) -> "Probes":
        """Values of some fields (all by default) at points in space: all points of one field, then of the next.

        On a grid they are interpolated linearly in every coordinate; of scattered nodes the closest one counts.

        Args:
            points: coordinate name -> coordinate of each point `[point]`, or one number.

        Raises:
            ValueError: unknown or missing coordinates, points outside the grid or where the state holds no value, or
                an unknown field.
        """
        which = _positions(layout, layout.fields if fields is None else fields)
        place = _coordinates(layout, points)
        nodes, weights = _closest(layout, place) if layout.scattered else _cells(layout, place)
        return cls(np.concatenate([k * layout.n_points + nodes for k in which]), np.concatenate([weights] * len(which)))


def _positions(layout: StateLayout, fields: Sequence[str]) -> list[int]:
    unknown = [name for name in fields if name not in layout.fields]
    if unknown or not fields:
        given = f"field '{unknown[0]}' is not known" if unknown else "no field is given"
        raise ValueError(f"{given}; the state has {', '.join(layout.fields)}")
    return [layout.fields.index(name) for name in fields]


def _coordinates(layout: StateLayout, points: Mapping[str, ArrayLike]) -> dict[str, Float[np.ndarray, " point"]]:
    """The points as arrays of one length, checked, in the order of the layout's coordinates."""
    if set(points) != set(layout.coordinates):
        raise ValueError(f"coordinates {sorted(points)} given; the state has {sorted(layout.coordinates)}")
    arrays = {name: np.atleast_1d(np.asarray(points[name], dtype=float)) for name in layout.coordinates}
    sizes = {name: array.shape for name, array in arrays.items()}
    if len(set(sizes.values())) > 1 or len(next(iter(sizes.values()))) != 1:
        raise ValueError(f"coordinates need one value a point, got shapes {sizes}")
    for name, array in arrays.items():
        low, high = float(np.min(layout.coordinates[name])), float(np.max(layout.coordinates[name]))
        slack = 1e-9 * (high - low)
        outside = ~((array >= low - slack) & (array <= high + slack))  # not a number is outside, too
        if outside.any():
            raise ValueError(
                f"{name}={array[outside][0]:g} lies outside the grid; give {name} from {low:g} to {high:g}"
            )
        arrays[name] = np.clip(array, low, high)
    return arrays


def _cells(
    layout: StateLayout, place: Mapping[str, Float[np.ndarray, " point"]]
) -> tuple[Int[np.ndarray, "point corner"], Float[np.ndarray, "point corner"]]:
    """The corners of the cell around each point, and their weights in multilinear interpolation."""
    n = len(next(iter(place.values())))
    nodes, weights = np.zeros((n, 1), dtype=np.int64), np.ones((n, 1))
    for name, at in place.items():
        axis = np.asarray(layout.coordinates[name])
        order = np.argsort(axis)  # a grid may run downwards
        grid = axis[order]
        if len(grid) == 1:
            continue  # one place along this axis: no choice, and index zero
        left = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, len(grid) - 2)
        share = (at - grid[left]) / (grid[left + 1] - grid[left])
        ends = np.stack([order[left], order[left + 1]], axis=1)
        nodes = (nodes[:, :, None] * len(axis) + ends[:, None]).reshape(n, -1)
        weights = (weights[:, :, None] * np.stack([1 - share, share], axis=1)[:, None]).reshape(n, -1)
    return (nodes, weights) if layout.mask is None else _held(layout.mask, nodes, weights, place)


def _held(
    mask: Bool[np.ndarray, "*grid"],
    nodes: Int[np.ndarray, "point corner"],
    weights: Float[np.ndarray, "point corner"],
    place: Mapping[str, Float[np.ndarray, " point"]],
) -> tuple[Int[np.ndarray, "point corner"], Float[np.ndarray, "point corner"]]:
    """Nodes of a full grid as those that the state holds; beside a body the corners in it do not count."""
    held = mask.ravel()
    weights = np.where(held[nodes], weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    lost = total[:, 0] < 1e-9
    if lost.any():
        where = ", ".join(f"{name}={at[lost][0]:g}" for name, at in place.items())
        raise ValueError(f"the state holds no value at {where}: the point is masked")
    return np.where(held, np.cumsum(held) - 1, 0)[nodes], weights / total


def _closest(
    layout: StateLayout, place: Mapping[str, Float[np.ndarray, " point"]]
) -> tuple[Int[np.ndarray, "point corner"], Float[np.ndarray, "point corner"]]:
    """The closest of scattered nodes."""
    tree = cKDTree(np.stack([np.asarray(layout.coordinates[name]) for name in place], axis=1))
    _, nodes = tree.query(np.stack(list(place.values()), axis=1))
    return np.asarray(nodes, dtype=np.int64)[:, None], np.ones((len(nodes), 1))
