"""The grid of fields: coordinates of a tensor grid or of scattered points, and components of vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Mesh, SolverError

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

    def on(self, grid: tuple[int, ...]) -> tuple[dict[str, Float[np.ndarray, " n"]], bool]:
        """Coordinates of fields with shape `grid`, and whether their points are scattered.

        Raises:
            SolverError: they do not fit (`wrong-shape`).
        """
        axes = self.given or {axis_name(i, len(grid)): np.array([0.0, n - 1.0]) for i, n in enumerate(grid)}
        equidistant = self.equidistant if self.given else frozenset(axes)
        scattered = self.on_places or (len(grid) == 1 and len(axes) > 1)
        if len(grid) != (1 if scattered else len(axes)):
            raise SolverError(
                "wrong-shape", f"fields have axes {grid} beside time, and coordinates are given for {list(axes)}"
            )
        lengths = grid[:1] * len(axes) if scattered else grid
        found = {}
        for (axis, x), n in zip(axes.items(), lengths, strict=True):
            found[axis] = np.linspace(x[0], x[1], n) if axis in equidistant else x
            if found[axis].shape != (n,):
                raise SolverError(
                    "wrong-shape", f"coordinate '{axis}' has shape {found[axis].shape}; the fields need ({n},)"
                )
        return found, scattered


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
        lengths: shapes that a field may have beside time, see `Axes.lengths`; if empty, that with the fewest axes, less
            a last axis of length 1.
    """
    if not lengths:
        fewest = min((value.shape[1:] for value in values.values()), key=len)
        lengths = [fewest[:-1] if len(fewest) > 1 and fewest[-1] == 1 else fewest]
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


def axis_name(i: int, n: int) -> str:
    """Name of the i-th of n axes without names."""
    return AXES[i] if n <= len(AXES) else f"x{i + 1}"


def _fits(shape: tuple[int, ...], lengths: tuple[int | None, ...]) -> bool:
    pairs = zip(shape, lengths, strict=False)
    return len(shape) == len(lengths) and all(n is None or n == m for m, n in pairs)
