"""The grid of fields: coordinates of a tensor grid or of scattered points, and components of vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Mesh, SolverError, StateLayout

AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Axes:
    """Coordinates that are given for fields whose shape need not be known yet.

    Attributes:
        given: axis -> coordinates `[n]`, or the first and last of equidistant ones.
        equidistant: the axes of which the first and the last are given.
        on_places: whether these are coordinates of single places, on one axis of the fields.
        mesh: the mesh of these places.
    """

    given: Mapping[str, Float[np.ndarray, " n"]]
    equidistant: frozenset[str] = frozenset()
    on_places: bool = False
    mesh: Mesh | None = None

    @property
    def lengths(self) -> list[tuple[int | None, ...]]:
        """Shapes that a field with one value for each place may have beside time; None is a length that is unknown."""
        tensor = tuple(None if axis in self.equidistant else x.size for axis, x in self.given.items())
        scattered = [tensor[:1]] if len(set(tensor)) == 1 and len(tensor) > 1 and tensor[0] is not None else []
        if self.on_places:
            return [tensor[:1]]
        return [tensor, *scattered] if tensor else []

    def on(
        self, grid: tuple[int, ...], name: str, axes: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Float[np.ndarray, " n"]], bool]:
        """Coordinates of a field with shape `grid` beside time, and whether its points are scattered.

        Args:
            grid: the shape.
            name: of the field, for messages.
            axes: names of its axes; None if its lengths tell which of the coordinates are its.

        Raises:
            SolverError: the coordinates do not fit (`wrong-shape`).
        """
        if not grid:
            return {}, False
        if self.on_places and grid == (next(iter(self.given.values())).size,):
            return dict(self.given), True
        if axes is not None:
            return {axis: self._along(axis, n, name) for axis, n in zip(axes, grid, strict=True)}, False
        if not self.given:
            return {axis_name(i, len(grid)): np.arange(float(n)) for i, n in enumerate(grid)}, False
        if len(grid) == len(self.given) and not self.on_places:
            return {axis: self._along(axis, n, name) for axis, n in zip(self.given, grid, strict=True)}, False
        if grid in self.lengths:
            return dict(self.given), True
        fitting = self._fitting(grid)
        if len(fitting) != 1 or self.on_places:
            which = "several of them fit" if fitting and not self.on_places else "they do not fit"
            raise SolverError(
                "wrong-shape",
                f"field '{name}' has axes {grid} beside time, and coordinates are given for {list(self.given)}: "
                f"{which} (option axes)",
            )
        return {axis: self._along(axis, n, name) for axis, n in zip(fitting[0], grid, strict=True)}, False

    def span(self, grid: tuple[int, ...]) -> bool:
        """Whether all axes of a shape have lengths of coordinates that are given."""
        return grid in self.lengths or any(self.equidistant.isdisjoint(axes) for axes in self._fitting(grid))

    def _fitting(self, grid: tuple[int, ...]) -> list[tuple[str, ...]]:
        """Axes, in their order, that may have these lengths."""
        return [
            chosen
            for chosen in combinations(self.given, len(grid))
            if all(axis in self.equidistant or self.given[axis].size == n for axis, n in zip(chosen, grid, strict=True))
        ]

    def _along(self, axis: str, n: int, name: str) -> Float[np.ndarray, " n"]:
        """Coordinates along one axis with `n` points, which count them if they are not given."""
        if axis not in self.given:
            return np.arange(float(n))
        x = self.given[axis]
        if axis in self.equidistant:
            return np.linspace(x[0], x[1], n)
        if x.shape != (n,):
            raise SolverError("wrong-shape", f"coordinate '{axis}' has shape {x.shape}; field '{name}' needs ({n},)")
        return x


@dataclass(frozen=True)
class Output:
    """One field of a solution.

    Attributes:
        values: `[time, *grid]`; a steady field has one time.
        layout: of this field alone.
    """

    values: Float[np.ndarray, "*time_and_grid"]
    layout: StateLayout

    @property
    def flat(self) -> Float[np.ndarray, "time value"]:
        """Its values in a state."""
        mask = self.layout.mask
        return self.values.reshape(len(self.values), -1) if mask is None else self.values[:, mask]


def masked(outputs: Sequence[Output]) -> list[Output]:
    """The fields without the points of their grids that are never finite, in none of the fields on that grid."""
    found = []
    for one in outputs:
        alike = [other for other in outputs if other.layout.coordinates.keys() == one.layout.coordinates.keys()]
        alike = [other for other in alike if other.layout.shape == one.layout.shape]
        finite = np.any([np.isfinite(other.values).any(axis=0) for other in alike], axis=0)
        mask = None if finite.all() or not finite.any() else finite
        found.append(replace(one, layout=replace(one.layout, mask=mask)))
    return found


def on_points(points: np.ndarray, name: str, mesh: Mesh | None = None) -> Axes:
    """Columns of `points [point, dim]` as coordinates x, y, z of scattered places, without those that never change.

    Raises:
        SolverError: the shape is another (`wrong-shape`).
    """
    if points.ndim != 2 or not 1 <= points.shape[1] <= len(AXES):
        raise SolverError("wrong-shape", f"coordinates '{name}' have shape {points.shape}; expected [point, 1 to 3]")
    columns = dict(zip(AXES, np.ascontiguousarray(points.T), strict=False))
    varying = {axis: x for axis, x in columns.items() if x.size and np.ptp(x) > 0}
    return Axes(varying or columns, on_places=True, mesh=mesh)


def with_components(
    values: Mapping[str, Float[np.ndarray, "time ..."]], lengths: Sequence[tuple[int | None, ...]]
) -> dict[str, Float[np.ndarray, "time ..."]]:
    """Fields with one value for each place: the components of a vector u, on its last axis, are u_x, u_y, u_z or u_1...

    Args:
        values: fields by name.
        lengths: shapes that a field may have beside time, see `Axes.lengths` and `fewest_axes`.
    """
    found = {}
    for name, value in values.items():
        shape, known = value.shape[1:], [one for one in lengths if None not in one or value.shape[-1] == 1]
        if any(_fits(shape, one) for one in lengths) or not any(_fits(shape[:-1], one) for one in known):
            found[name] = value
        elif shape[-1] == 1:
            found[name] = value[..., 0]
        else:
            components = AXES if shape[-1] <= len(AXES) else [str(k + 1) for k in range(shape[-1])]
            found |= {f"{name}_{one}": value[..., k] for k, one in enumerate(components[: shape[-1]])}
    return found


def fewest_axes(values: Mapping[str, Float[np.ndarray, "time ..."]]) -> list[tuple[int | None, ...]]:
    """The shape beside time with the fewest axes, less a last axis of length 1; numbers have none."""
    shapes = [value.shape[1:] for value in values.values() if value.ndim > 1]
    if not shapes:
        return []
    fewest = min(shapes, key=len)
    return [fewest[:-1] if len(fewest) > 1 and fewest[-1] == 1 else fewest]


def axis_name(i: int, n: int) -> str:
    """Name of the i-th of n axes without names."""
    return AXES[i] if n <= len(AXES) else f"x{i + 1}"


def _fits(shape: tuple[int, ...], lengths: tuple[int | None, ...]) -> bool:
    pairs = zip(shape, lengths, strict=False)
    return len(shape) == len(lengths) and all(n is None or n == m for m, n in pairs)
