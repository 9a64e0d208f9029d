"""Converts named arrays, as functions return them and files hold them, to a trajectory."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Mesh, Snapshots, SolverError, StateLayout
from mlasdi.solvers.formats import MESH, POINTS
from mlasdi.solvers.outputs.array_values import numbers, vector
from mlasdi.solvers.outputs.common_mesh import MAPPING_ERROR, CommonMesh
from mlasdi.solvers.outputs.grids import AXES, Axes, Output, fewest_axes, masked, on_points, with_components


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
        times: [first, last] of equidistant times, if no array contains them; `names`, if the files of a series have
            them in their names; or `steady`, if no field depends on time. Where there is no array of times, numbers
            and fields with one axis are steady without it.
        time_axis: which axis of a field is time.
        axes: field -> the names of its axes, `time` and those of `coordinates`, such as `[time, x]`, `[time]` for one
            number at each time, `[x]` for a steady field, `[]` for one number; names that are not among the coordinates
            count points. By default numbers are steady; other fields have time and, by their lengths, coordinates.
        masked: whether points that are never finite lie outside the domain, for example in a body; else they are an
            error.
        common_mesh: for meshes or points that differ between runs, or change during a run: the path of a mesh file, or
            axis -> [first, last, number of points] of a grid, to which all fields are mapped (`CommonMesh`).
        units: name of a field or coordinate, or `time` -> unit, for labels.
    """

    time: str = "t"
    fields: tuple[str, ...] = ()
    coordinates: Mapping[str, str | tuple[float, ...]] | str = field(default_factory=dict)
    times: tuple[float, float] | Literal["names", "steady"] | None = None
    time_axis: int = 0
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masked: bool = False
    common_mesh: str | Mapping[str, tuple[float, float, int]] = ""
    units: Mapping[str, str] = field(default_factory=dict)

    def naming(self) -> Json:
        """These options as JSON, for the identity of a solver."""
        named = {name: asdict(self)[name] for name in NamedArrays.__dataclass_fields__}
        if isinstance(self.target, CommonMesh):
            named["common_mesh"] = hashlib.sha256(self.target.places.tobytes()).hexdigest()
        return {name: one for name, one in named.items() if one or name not in ("axes", "common_mesh")}

    @cached_property
    def target(self) -> CommonMesh | None:
        """The mesh to which fields are mapped, if any.

        Raises:
            ValueError: it cannot be read or made.
        """
        try:
            return CommonMesh.of(self.common_mesh) if self.common_mesh else None
        except ValueError as error:
            raise ValueError(f"option common_mesh: {error}") from error

    def on_target(self, arrays: Mapping[str, object]) -> Mapping[str, object]:
        """Arrays with their fields on the common mesh, if there is one and they are not there yet.

        Raises:
            SolverError: see `CommonMesh.mapped`.
        """
        if self.target is None or MAPPING_ERROR in arrays:
            return arrays
        # There may be as many times as places.
        times = {name: one for name, one in arrays.items() if name == self.time}
        rest = {name: one for name, one in arrays.items() if name != self.time}
        return times | self.target.mapped(rest, self.coordinates if isinstance(self.coordinates, str) else POINTS)

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
        """The trajectory in named arrays; a steady solution has the one time 0.

        Args:
            arrays: they may contain a `Mesh` under the name `mesh`, on which the fields are.

        Raises:
            SolverError: an array is missing or has no numbers (`bad-output`), the times do not increase
                (`bad-times`), or the shapes do not match (`wrong-shape`).
        """
        if self.target is not None:
            return self._mapped(self.target, self.on_target(arrays))
        reserved = {self.time, *self.coordinate_names(), MESH, *([] if self.coordinates else [POINTS])}
        names = self.fields or tuple(name for name in arrays if name not in reserved)
        if not names:
            raise SolverError("bad-output", f"there are no fields; found only {list(arrays)}")
        unknown = [name for name in self.axes if name not in names]
        if unknown:
            raise SolverError("bad-output", f"option axes: there is no field '{unknown[0]}'; found {', '.join(names)}")
        given = {name: self._array(name, arrays) for name in names}
        t = self._times(arrays, given)
        outputs = self._outputs(given, None if t is None else t.size, self._axes(arrays))
        if self.masked:
            outputs = masked(outputs)
        layout = StateLayout.joined([replace(one.layout, time_unit=self.units.get("time", "")) for one in outputs])
        values = {one.layout.fields[0]: one.flat for one in outputs}
        n_time = 1 if t is None else t.size
        rows = [np.broadcast_to(values[name], (n_time, values[name].shape[1])) for name in layout.fields]
        return Snapshots(np.zeros(1) if t is None else t, np.concatenate(rows, axis=1), layout)

    def _mapped(self, target: CommonMesh, arrays: Mapping[str, object]) -> Snapshots:
        """The trajectory in arrays whose fields are on the common mesh."""
        fields = {name: one for name, one in arrays.items() if name != MAPPING_ERROR}
        axes = {axis: axis for axis in target.arrays if axis != MESH}
        found = replace(self, common_mesh="", coordinates=axes).snapshots({**fields, **target.arrays})
        return replace(found, mesh_interpolation_error=float(np.max(numbers(MAPPING_ERROR, arrays))))

    def check_finite(
        self, snapshots: Snapshots, source: str, leading: tuple[int, ...] = (), files: Sequence[object] = ()
    ) -> None:
        """Check that a trajectory that `snapshots` made has no value that is infinite or not a number.

        Args:
            source: where the arrays come from, for the message.
            files: the files of single times, in their order, if there is one for each.
            leading: indices of the arrays before those of the trajectory, as of a run in an array of all runs.

        Raises:
            SolverError: it has one (`not-finite`); the message names source, array and index.
        """
        layout, bad = snapshots.layout, ~np.isfinite(snapshots.u)
        if layout is None or not bad.any():
            return
        row, column = divmod(int(np.argmax(bad)), snapshots.u.shape[1])
        name, place = layout.locate(column)
        index = list(place)
        if not layout.of(name).steady:
            index.insert(self._time_axis(name) % (len(index) + 1), row)
        if len(files) == len(bad):
            source, index = str(files[row]), list(place)
        never = bad[:, column].all() and not self.masked
        remedy = "; for points outside the domain, which are never finite, set the option masked" if never else ""
        raise SolverError(
            "not-finite",
            f"{source}: '{name}' is missing or not finite at index {[*leading, *index]} "
            f"({int(bad.sum()):,} of {bad.size:,} values are){remedy}",
        )

    def _array(self, name: str, arrays: Mapping[str, object]) -> np.ndarray:
        base, _, component = name.rpartition("_")
        if name in arrays or base not in arrays or component not in AXES:
            return numbers(name, arrays)
        vector, k = numbers(base, arrays), AXES.index(component)
        if not vector.ndim or k >= vector.shape[-1]:
            raise SolverError("wrong-shape", f"'{base}' of shape {vector.shape} has no component {component}")
        return vector[..., k]

    def _times(
        self, arrays: Mapping[str, object], given: Mapping[str, np.ndarray]
    ) -> Float[np.ndarray, " time"] | None:
        """Times; None for a steady solution."""
        declared = [name for name in given if name in self.axes]
        timed = [name for name in declared if self._declared_time(name) is not None]
        if self.times == "steady" or (len(declared) == len(given) and not timed):
            return None
        if isinstance(self.times, tuple):
            name = next((name for name in (*timed, *given) if given[name].ndim), "")
            return np.linspace(*self.times, self._n_times(name, given[name])) if name else None
        if self.time not in arrays and not timed and all(one.ndim < 2 for one in given.values()):
            return None
        t = vector(numbers(self.time, arrays))
        if t.ndim != 1 or t.size < 1 or not np.isfinite(t).all() or not (np.diff(t) > 0).all():
            raise SolverError(
                "bad-times", f"times '{self.time}' of shape {t.shape} must be finite and strictly increase"
            )
        return t

    def _n_times(self, name: str, value: np.ndarray) -> int:
        """Length of the axis of time.

        Raises:
            SolverError: the field has no such axis (`wrong-shape`).
        """
        axis = self._time_axis(name)
        if not -value.ndim <= axis < value.ndim:
            raise SolverError("wrong-shape", f"field '{name}' of shape {value.shape} has no axis {axis}")
        return int(value.shape[axis])

    def _declared_time(self, name: str) -> int | None:
        """Which axis of a field is time by the option `axes`; None if none is."""
        return next((k for k, axis in enumerate(self.axes[name]) if axis in ("time", self.time)), None)

    def _time_axis(self, name: str) -> int:
        return (self._declared_time(name) or 0) if name in self.axes else self.time_axis

    def _outputs(self, given: Mapping[str, np.ndarray], n_time: int | None, axes: Axes) -> list[Output]:
        """The fields with their grids; vectors by their components."""
        timed = {name: n_time is not None and self._has_time(name, one, n_time, axes) for name, one in given.items()}
        values = {
            name: np.moveaxis(one, self._time_axis(name), 0) if timed[name] else one[None]
            for name, one in given.items()
        }
        shapes, found = axes.lengths or fewest_axes(values), []
        for name, one in values.items():
            declared = self.axes.get(name)
            grid = None if declared is None else tuple(a for a in declared if a not in ("time", self.time))
            if grid is not None and not 0 <= one.ndim - 1 - len(grid) <= 1:
                shape = given[name].shape
                raise SolverError(
                    "wrong-shape", f"field '{name}' has shape {shape}; its axes are {list(declared or ())}"
                )
            own = shapes if grid is None else [one.shape[1 : 1 + len(grid)]]
            for component, part in with_components({name: one}, own).items():
                coordinates, scattered = axes.on(part.shape[1:], component, grid)
                layout = StateLayout(
                    (component,),
                    coordinates,
                    {component: unit} if (unit := self._unit(component)) else {},
                    {axis: self.units[axis] for axis in coordinates if axis in self.units},
                    scattered=scattered,
                    mesh=axes.mesh if scattered else None,
                    steady=not timed[name],
                )
                found.append(Output(part, layout))
        return found

    def _has_time(self, name: str, value: np.ndarray, n_time: int, axes: Axes) -> bool:
        """Whether a field depends on time.

        Raises:
            SolverError: its shape does not tell (`wrong-shape`).
        """
        if name in self.axes:
            has_time = self._declared_time(name) is not None
            if has_time and self._n_times(name, value) != n_time:
                raise SolverError(
                    "wrong-shape",
                    f"field '{name}' has shape {value.shape}; its axes are {list(self.axes[name])} with {n_time} times",
                )
            return has_time
        if not value.ndim:
            return False
        if self._n_times(name, value) == n_time:
            return True
        if axes.span(value.shape):
            return False
        expected = list(value.shape)
        expected[self.time_axis] = n_time
        raise SolverError(
            "wrong-shape",
            f"field '{name}' has shape {value.shape}; expected {tuple(expected)}: [time, ...] with {n_time} times, or "
            "what the option axes says (options: fields, axes, time_axis)",
        )

    def _axes(self, arrays: Mapping[str, object]) -> Axes:
        """The coordinates that the options, the mesh or the points give."""
        mesh = arrays.get(MESH)
        if isinstance(self.coordinates, str):
            return on_points(numbers(self.coordinates, arrays), self.coordinates)
        if self.coordinates:
            given = {
                axis: vector(numbers(source, arrays)) if isinstance(source, str) else np.array(source, dtype=float)
                for axis, source in self.coordinates.items()
            }
            pairs = [axis for axis, one in self.coordinates.items() if not isinstance(one, str) and len(one) == 2]
            return Axes(given, frozenset(pairs))
        if isinstance(mesh, Mesh):
            return on_points(mesh.places, MESH, mesh)
        if POINTS in arrays:
            return on_points(numbers(POINTS, arrays), POINTS)
        return Axes({})

    def _unit(self, name: str) -> str:
        """The unit of a field; that of a vector is the unit of its components."""
        return self.units.get(name, self.units.get(name.rpartition("_")[0], ""))
