"""Converts named arrays, as functions return them and files hold them, to a trajectory."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Mesh, Snapshots, SolverError, StateLayout
from mlasdi.solvers.adapters.grids import AXES, Axes, on_points, with_components
from mlasdi.solvers.formats import MESH, POINTS


@dataclass(frozen=True, kw_only=True)
class NamedArrays:
    """How named arrays make a trajectory: options that all adapters share.

    Attributes:
        time: name of the array of times.
        fields: names of the arrays that make the state, in this order; if empty, all but times and coordinates. The
            components of a vector, on its last axis, become fields u_x, u_y, u_z, which may also be named here.
        coordinates: axis -> name of the array with its coordinates, or [first, last] of equidistant coordinates, or all
            of them; in the order of the fields' axes. Several names for fields with a single axis are the coordinates
            of scattered points; so is the name of one array `[point, dim]` in place of the mapping. If empty, those of
            the mesh, or of the array `points [point, dim]`; else axes are called x, y, z and count points.
        times: [first, last] of equidistant times, if no array contains them; or `names`, if the files of a series have
            them in their names.
        time_axis: which axis of a field is time.
        masked: whether points that are never finite lie outside the domain, for example in a body; else they are an
            error.
        units: name of a field or coordinate, or `time` -> unit, for labels.
    """

    time: str = "t"
    fields: tuple[str, ...] = ()
    coordinates: Mapping[str, str | tuple[float, ...]] | str = field(default_factory=dict)
    times: tuple[float, float] | Literal["names"] | None = None
    time_axis: int = 0
    masked: bool = False
    units: Mapping[str, str] = field(default_factory=dict)

    def naming(self) -> Json:
        """These options as JSON, for the identity of a solver."""
        return {name: asdict(self)[name] for name in NamedArrays.__dataclass_fields__}

    def wanted(self) -> list[str] | None:
        """Names of the arrays that are needed; None for all arrays."""
        if not self.fields:
            return None
        vectors = [base for base, _, component in (name.rpartition("_") for name in self.fields) if component in AXES]
        return [*([] if self.times else [self.time]), *self.fields, *vectors, *self.coordinate_names(), POINTS]

    def coordinate_names(self) -> list[str]:
        """Names of the arrays that hold coordinates."""
        if isinstance(self.coordinates, str):
            return [self.coordinates]
        return [source for source in self.coordinates.values() if isinstance(source, str)]

    def snapshots(self, arrays: Mapping[str, object]) -> Snapshots:
        """The trajectory in named arrays.

        Args:
            arrays: they may contain a `Mesh` under the name `mesh`, on which the fields are.

        Raises:
            SolverError: an array is missing or has no numbers (`bad-output`), the times do not increase
                (`bad-times`), or the shapes do not match (`wrong-shape`).
        """
        reserved = {self.time, *self.coordinate_names(), MESH, *([] if self.coordinates else [POINTS])}
        names = self.fields or tuple(name for name in arrays if name not in reserved)
        if not names:
            raise SolverError("bad-output", f"there are no fields; found only {list(arrays)}")
        given = {name: self._field(name, arrays) for name in names}
        t = self._times(arrays, len(next(iter(given.values()))))
        axes = self._axes(arrays)
        values = with_components(given, axes.lengths)
        grid = next(iter(values.values())).shape[1:]
        for name, value in values.items():
            if value.shape != (t.size, *grid):
                raise SolverError(
                    "wrong-shape",
                    f"field '{name}' has shape {value.shape}; expected {(t.size, *grid)}: [time, ...] with {t.size} "
                    "times (options: fields, time_axis)",
                )
        mask = self._mask(values) if self.masked else None
        layout = self._layout(tuple(values), grid, axes, mask)
        points = [value.reshape(t.size, -1) if mask is None else value[:, mask] for value in values.values()]
        return Snapshots(t, np.concatenate(points, axis=1), layout)

    def check_finite(self, snapshots: Snapshots, source: str, leading: tuple[int, ...] = ()) -> None:
        """Check that a trajectory that `snapshots` made has no value that is infinite or not a number.

        Args:
            source: where the arrays come from, for the message.
            leading: indices of the arrays before those of the trajectory, as of a run in an array of all runs.

        Raises:
            SolverError: it has one (`not-finite`); the message names source, array and index.
        """
        layout, bad = snapshots.layout, ~np.isfinite(snapshots.u)
        if layout is None or not bad.any():
            return
        row, column = divmod(int(np.argmax(bad)), snapshots.u.shape[1])
        field_number, point = divmod(column, layout.n_points)
        if layout.mask is not None:
            point = int(np.flatnonzero(layout.mask)[point])
        index = [int(i) for i in np.unravel_index(point, layout.shape)]
        index.insert(self.time_axis % (len(index) + 1), row)
        never = bad[:, column].all() and not self.masked
        remedy = "; for points outside the domain, which are never finite, set the option masked" if never else ""
        raise SolverError(
            "not-finite",
            f"{source}: '{layout.fields[field_number]}' is missing or not finite at index {[*leading, *index]} "
            f"({int(bad.sum()):,} of {bad.size:,} values are){remedy}",
        )

    def _field(self, name: str, arrays: Mapping[str, object]) -> Float[np.ndarray, "time ..."]:
        base, _, component = name.rpartition("_")
        if name not in arrays and base in arrays and component in AXES:
            vector, k = numbers(base, arrays), AXES.index(component)
            if k >= vector.shape[-1]:
                raise SolverError("wrong-shape", f"'{base}' of shape {vector.shape} has no component {component}")
            value = vector[..., k]
        else:
            value = numbers(name, arrays)
        if value.ndim < 2:
            raise SolverError(
                "wrong-shape",
                f"field '{name}' has shape {value.shape}; expected [time, ...] (options: fields, coordinates, time)",
            )
        if not -value.ndim <= self.time_axis < value.ndim:
            raise SolverError("wrong-shape", f"field '{name}' of shape {value.shape} has no axis {self.time_axis}")
        return np.moveaxis(value, self.time_axis, 0)

    def _times(self, arrays: Mapping[str, object], n_time: int) -> Float[np.ndarray, " time"]:
        if isinstance(self.times, tuple):
            return np.linspace(*self.times, n_time)
        t = _vector(numbers(self.time, arrays))
        if t.ndim != 1 or t.size < 2 or not np.isfinite(t).all() or not (np.diff(t) > 0).all():
            raise SolverError(
                "bad-times",
                f"times '{self.time}' of shape {t.shape} must be finite and strictly increase over at least 2 entries",
            )
        return t

    @staticmethod
    def _mask(values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Points of the grid that are finite at some time in some field; None if all are."""
        finite = np.any([np.isfinite(value).any(axis=0) for value in values.values()], axis=0)
        return None if finite.all() or not finite.any() else finite

    def _axes(self, arrays: Mapping[str, object]) -> Axes:
        """The coordinates that the options, the mesh or the points give."""
        mesh = arrays.get(MESH)
        if isinstance(self.coordinates, str):
            return on_points(numbers(self.coordinates, arrays), self.coordinates)
        if self.coordinates:
            given = {
                axis: _vector(numbers(source, arrays)) if isinstance(source, str) else np.array(source, dtype=float)
                for axis, source in self.coordinates.items()
            }
            pairs = [axis for axis, one in self.coordinates.items() if not isinstance(one, str) and len(one) == 2]
            return Axes(given, frozenset(pairs))
        if isinstance(mesh, Mesh):
            return on_points(mesh.places, MESH, mesh)
        if POINTS in arrays:
            return on_points(numbers(POINTS, arrays), POINTS)
        return Axes({})

    def _layout(
        self, names: tuple[str, ...], grid: tuple[int, ...], axes: Axes, mask: np.ndarray | None
    ) -> StateLayout:
        found, scattered = axes.on(grid)
        return StateLayout(
            names,
            found,
            {name: unit for name in names if (unit := self._unit(name))},
            {axis: self.units[axis] for axis in found if axis in self.units},
            self.units.get("time", ""),
            mask,
            scattered,
            axes.mesh,
        )

    def _unit(self, name: str) -> str:
        """The unit of a field; that of a vector is the unit of its components."""
        return self.units.get(name, self.units.get(name.rpartition("_")[0], ""))


def _vector(values: np.ndarray) -> np.ndarray:
    """`[n, 1]` and `[1, n]`, as MATLAB writes vectors, as `[n]`."""
    return values.ravel() if values.ndim == 2 and 1 in values.shape else values


def numbers(name: str, arrays: Mapping[str, object]) -> np.ndarray:
    """The array called `name` as float64.

    Raises:
        SolverError: it is missing, or has no real numbers (`bad-output`).
    """
    if name not in arrays:
        raise SolverError("bad-output", f"there is no array '{name}'; found {', '.join(map(str, arrays)) or 'nothing'}")
    try:
        value = np.asarray(arrays[name])
    except ValueError as error:  # nested lists of unequal lengths
        raise SolverError("bad-output", f"'{name}' is no array: {error}") from error
    if value.dtype.kind not in "fiub":
        remedy = "; give real and imaginary part as two fields" if value.dtype.kind == "c" else ""
        raise SolverError("bad-output", f"'{name}' holds {value.dtype}, not real numbers{remedy}")
    return value.astype(np.float64)
