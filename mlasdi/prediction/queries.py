"""What a surrogate is asked for: parameters, times, and probes; checked.

Probes are single values of a state, at sensors or of chosen fields. Nothing else is then decoded.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mlasdi.latent import LatentModel
from mlasdi.solvers import ParameterSpace, Points, StateLayout

# Safety bounds, relative to the interval: ends that are off by rounding are inside.
TIME_TOLERANCE, GRID_TOLERANCE = 1e-9, 1e-9
WARNING_LEVEL = 5  # from the check over the method of the surrogate, and the limit of its threads, to its caller


class ExtrapolationWarning(UserWarning):
    """A prediction outside the trained parameter box or time interval."""


def checked_points(space: ParameterSpace, mu: Points) -> Float[np.ndarray, "param d"]:
    """Points of the unit cube.

    Raises:
        ValueError: unknown or missing parameters, a wrong shape, or values that are not finite or have no logarithm.

    Warns:
        ExtrapolationWarning: outside the trained box.
    """
    rows = space.as_array(mu)
    if note := beyond_box(space, rows):
        warnings.warn(note, ExtrapolationWarning, stacklevel=WARNING_LEVEL)
    x = space.to_unit(rows)
    if not np.isfinite(x).all():
        point = space.as_dict(rows[~np.isfinite(x).all(axis=1)][0])
        raise ValueError(f"{point}: parameters with a log scale must be positive")
    return x


def given_points(space: ParameterSpace, mu: Points | None, named: Mapping[str, ArrayLike]) -> Points:
    """Points that are given as one argument or by name.

    Raises:
        ValueError: both are given, or none.
    """
    if mu is not None and "mu" in space.names and named:
        return {"mu": mu, **named}
    if mu is not None and named:
        raise ValueError(f"parameters are given twice: as mu, and by the names {sorted(named)}")
    if mu is None and not named:
        raise ValueError(f"no parameters are given; the model has {list(space.names)}")
    return named if mu is None else mu


def beyond_box(space: ParameterSpace, rows: Float[np.ndarray, "param n_params"]) -> str:
    """A text that names a point outside the trained box, or outside its linear constraints; empty if none is."""
    beyond = rows[~space.contains(rows)]
    if len(beyond):
        box = {p.name: [p.low, p.high] for p in space.parameters}
        others = f" and {len(beyond) - 1} more points lie" if len(beyond) > 1 else " lies"
        return f"{space.as_dict(beyond[0])}{others} outside the trained box {box}"
    for constraint in space.linear_constraints:
        infeasible = rows[~constraint.holds(space.columns(rows))]
        if len(infeasible):
            return f"{space.as_dict(infeasible[0])} lies outside the trained region {constraint}"
    return ""


def beyond_interval(trained: Float[np.ndarray, " trained"], times: Float[np.ndarray, " time"]) -> str:
    """A text that says that times lie outside the training interval; empty if none does."""
    low, high = _accepted(trained)
    if times.min() >= low and times.max() <= high:
        return ""
    return f"times reach outside the trained interval [{trained[0]:g}, {trained[-1]:g}]"


def _accepted(trained: Float[np.ndarray, " trained"]) -> tuple[float, float]:
    """First and last time inside the training interval, up to rounding."""
    tolerance = TIME_TOLERANCE * (trained[-1] - trained[0])
    return float(trained[0] - tolerance), float(trained[-1] + tolerance)


def checked_times(
    trained: Float[np.ndarray, " trained"], t: ArrayLike | None, latent: LatentModel
) -> Float[np.ndarray, " time"]:
    """Times of a prediction; the training times by default.

    Args:
        trained: the training times.
        t: the times that are asked for.
        latent: the latent dynamics, which decide what an extrapolation is.

    Raises:
        ValueError: the wrong shape, no time, a time that is not finite, or one before the first of the training where
            the dynamics are integrated in steps.

    Warns:
        ExtrapolationWarning: outside the training interval.
    """
    times = trained if t is None else np.atleast_1d(np.asarray(t, dtype=float))
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all():
        raise ValueError(f"times must be a finite array [time] of at least one, got shape {times.shape}")
    note = beyond_interval(trained, times)
    if latent.dynamics and times.min() < _accepted(trained)[0]:
        raise ValueError(
            f"time {times.min():g} is before the first of the training, {trained[0]:g}: the latent dynamics are "
            "integrated forward only"
        )
    if note:
        if not latent.has_dynamics:
            note += "; without latent dynamics the prediction there is the mean state"
        warnings.warn(note, ExtrapolationWarning, stacklevel=WARNING_LEVEL)
    return times


@dataclass(frozen=True)
class Probes:
    """Values, each a weighted sum of a few entries of the state.

    Attributes:
        entries: indices of state entries `[value, corner]`.
        weights: weights of these entries, of the same shape.
        layout: fields and places of the values; None where they have no names.
    """

    entries: Int[np.ndarray, "value corner"]
    weights: Float[np.ndarray, "value corner"]
    layout: StateLayout | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def of(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch value"]:
        """The values of the probes in given states."""
        return np.sum(u[..., self.entries] * self.weights, axis=-1)

    def matrix(self, n_state: int) -> csr_array:
        """Sparse matrix `[value, state]` that maps a state to the values."""
        rows = np.repeat(np.arange(len(self)), self.entries.shape[1])
        return csr_array((self.weights.ravel(), (rows, self.entries.ravel())), shape=(len(self), n_state))

    @classmethod
    def joined(cls, parts: Sequence["Probes"]) -> "Probes":
        """Several probes as one, their values one after the other."""
        width = max(part.entries.shape[1] for part in parts)
        padded = [
            np.pad(array, [(0, 0), (0, width - array.shape[1])]) for p in parts for array in (p.entries, p.weights)
        ]
        return cls(np.concatenate(padded[::2]), np.concatenate(padded[1::2]))

    @classmethod
    def of_fields(cls, layout: StateLayout, fields: Sequence[str]) -> "Probes":
        """All values of the given fields, one field after the other, those on the grid of the first one before others.

        Raises:
            ValueError: the state has no such field, or none is given.
        """
        chosen = layout.restricted(fields)
        entries = np.concatenate([_entries(layout, name) for name in chosen.fields])[:, None]
        return cls(entries, np.ones(entries.shape), chosen)

    @classmethod
    def at_points(
        cls, layout: StateLayout, points: Mapping[str, ArrayLike], fields: Sequence[str] | None = None
    ) -> "Probes":
        """Values of fields at points in space: all points of one field, then of the next.

        On a grid they are interpolated linearly in every coordinate; of scattered nodes the closest one is taken.

        Args:
            layout: fields and grid of the state.
            points: coordinate name -> coordinate of each point `[point]`, or one number.
            fields: names of fields; by default all that have these coordinates.

        Raises:
            ValueError: unknown or missing coordinates, points outside the grid or where the state holds no value, or
                an unknown field.
        """
        if fields is None:
            fields = [name for name in layout.fields if set(layout.of(name).coordinates) == set(points)] or layout.own
        places, parts = [], {}
        for name in fields:
            one = layout.of(name)
            coordinates = _coordinates(one, points)
            nodes, weights = _closest_node(one, coordinates) if one.scattered else _cell(one, coordinates)
            parts[name] = cls(_entries(layout, name)[nodes], weights)
            places.append(replace(one, coordinates=coordinates, mask=None, scattered=True, mesh=None))
        of_values = StateLayout.joined(places)
        return replace(cls.joined([parts[name] for name in of_values.fields]), layout=of_values)


def _entries(layout: StateLayout, name: str) -> Int[np.ndarray, " value"]:
    """Entries of a field in the state."""
    k = layout.fields.index(name)
    return sum(layout.sizes[:k]) + np.arange(layout.sizes[k])


def _coordinates(layout: StateLayout, points: Mapping[str, ArrayLike]) -> dict[str, Float[np.ndarray, " point"]]:
    """The points as arrays of one length, checked, in the order of the layout's coordinates."""
    if set(points) != set(layout.coordinates):
        (name,), has = layout.fields, sorted(layout.coordinates) or "none"
        raise ValueError(f"coordinates {sorted(points)} given; field '{name}' has {has}")
    arrays = {name: np.atleast_1d(np.asarray(points[name], dtype=float)) for name in layout.coordinates}
    sizes = {name: array.shape for name, array in arrays.items()}
    if len(set(sizes.values())) > 1 or len(next(iter(sizes.values()))) != 1:
        raise ValueError(f"coordinates need one value a point, got shapes {sizes}")
    for name, array in arrays.items():
        low, high = float(np.min(layout.coordinates[name])), float(np.max(layout.coordinates[name]))
        tolerance = GRID_TOLERANCE * (high - low)
        outside = ~((array >= low - tolerance) & (array <= high + tolerance))  # NaN is outside, too
        if outside.any():
            raise ValueError(
                f"{name}={array[outside][0]:g} lies outside the grid; give {name} from {low:g} to {high:g}"
            )
        arrays[name] = np.clip(array, low, high)
    return arrays


def _cell(
    layout: StateLayout, coordinates: Mapping[str, Float[np.ndarray, " point"]]
) -> tuple[Int[np.ndarray, "point corner"], Float[np.ndarray, "point corner"]]:
    """The corners of the cell around each point, and their weights in multilinear interpolation."""
    n = len(next(iter(coordinates.values())))
    nodes, weights = np.zeros((n, 1), dtype=np.int64), np.ones((n, 1))
    for name, at in coordinates.items():
        axis = np.asarray(layout.coordinates[name])
        order = np.argsort(axis)  # the coordinates of a grid may decrease
        grid = axis[order]
        if len(grid) == 1:
            continue  # a single node along this axis, index zero
        left = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, len(grid) - 2)
        share = (at - grid[left]) / (grid[left + 1] - grid[left])
        ends = np.stack([order[left], order[left + 1]], axis=1)
        nodes = (nodes[:, :, None] * len(axis) + ends[:, None]).reshape(n, -1)
        weights = (weights[:, :, None] * np.stack([1 - share, share], axis=1)[:, None]).reshape(n, -1)
    return (nodes, weights) if layout.mask is None else _unmasked(layout.mask, nodes, weights, coordinates)


def _unmasked(
    mask: Bool[np.ndarray, "*grid"],
    nodes: Int[np.ndarray, "point corner"],
    weights: Float[np.ndarray, "point corner"],
    coordinates: Mapping[str, Float[np.ndarray, " point"]],
) -> tuple[Int[np.ndarray, "point corner"], Float[np.ndarray, "point corner"]]:
    """Nodes of the full grid as indices of the values that the state holds; masked corners of a cell have no weight."""
    is_held = mask.ravel()
    weights = np.where(is_held[nodes], weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    is_masked = total[:, 0] < GRID_TOLERANCE
    if is_masked.any():
        where = ", ".join(f"{name}={at[is_masked][0]:g}" for name, at in coordinates.items())
        raise ValueError(f"the state holds no value at {where}: the point is masked")
    return np.where(is_held, np.cumsum(is_held) - 1, 0)[nodes], weights / total


def _closest_node(
    layout: StateLayout, coordinates: Mapping[str, Float[np.ndarray, " point"]]
) -> tuple[Int[np.ndarray, "point corner"], Float[np.ndarray, "point corner"]]:
    """The closest of scattered nodes."""
    tree = cKDTree(np.stack([np.asarray(layout.coordinates[name]) for name in coordinates], axis=1))
    _, nodes = tree.query(np.stack(list(coordinates.values()), axis=1))
    return np.asarray(nodes, dtype=np.int64)[:, None], np.ones((len(nodes), 1))
