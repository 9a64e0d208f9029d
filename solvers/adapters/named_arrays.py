"""Converts named arrays, as functions return them and files hold them, to a trajectory."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Snapshots, SolverError, StateLayout

_AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class NamedArrays:
    """How named arrays make a trajectory: options that all adapters share.

    Attributes:
        time: name of the array of times.
        fields: names of the arrays that make the state, in this order; if empty, all but times and coordinates.
        coordinates: axis -> name of the array with its coordinates, or [first, last] of equidistant coordinates, or all
            of them; in the order of the fields' axes. If empty, axes are called x, y, z and their coordinates are point
            numbers. Several names for fields with a single axis are the coordinates of scattered points.
        times: [first, last] of equidistant times, if no array contains them.
        time_axis: which axis of a field is time.
        masked: whether points that are never finite lie outside the domain, for example in a body; else they are an
            error.
        units: name of a field or coordinate, or `time` -> unit, for labels.
    """

    time: str = "t"
    fields: tuple[str, ...] = ()
    coordinates: Mapping[str, str | tuple[float, ...]] = field(default_factory=dict)
    times: tuple[float, float] | None = None
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
        return [*([] if self.times else [self.time]), *self.fields, *self.coordinate_names()]

    def coordinate_names(self) -> list[str]:
        """Names of the arrays that hold coordinates."""
        return [source for source in self.coordinates.values() if isinstance(source, str)]

    def snapshots(self, arrays: Mapping[str, object]) -> Snapshots:
        """The trajectory in named arrays.

        Raises:
            SolverError: an array is missing or has no numbers (`bad-output`), the times do not increase
                (`bad-times`), or the shapes do not match (`wrong-shape`).
        """
        reserved = {self.time, *self.coordinate_names()}
        names = self.fields or tuple(name for name in arrays if name not in reserved)
        if not names:
            raise SolverError("bad-output", f"there are no fields; found only {list(arrays)}")
        values = {name: self._field(name, arrays) for name in names}
        t = self._times(arrays, len(next(iter(values.values()))))
        grid = next(iter(values.values())).shape[1:]
        for name, value in values.items():
            if value.shape != (t.size, *grid):
                raise SolverError(
                    "wrong-shape",
                    f"field '{name}' has shape {value.shape}; expected {(t.size, *grid)}: [time, ...] with {t.size} "
                    "times (options: fields, time_axis)",
                )
        mask = self._mask(values) if self.masked else None
        layout = self._layout(names, grid, arrays, mask)
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
        if self.times is not None:
            return np.linspace(*self.times, n_time)
        t = numbers(self.time, arrays)
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

    def _layout(
        self, names: tuple[str, ...], grid: tuple[int, ...], arrays: Mapping[str, object], mask: np.ndarray | None
    ) -> StateLayout:
        axes = self.coordinates or {_axis_name(i, len(grid)): (0, n - 1) for i, n in enumerate(grid)}
        scattered = len(grid) == 1 and len(axes) > 1
        if not scattered and len(axes) != len(grid):
            raise SolverError(
                "wrong-shape", f"fields have axes {grid} beside time, and coordinates are given for {list(axes)}"
            )
        lengths = grid * len(axes) if scattered else grid
        found = {}
        for (axis, source), n in zip(axes.items(), lengths, strict=True):
            if isinstance(source, str):
                found[axis] = numbers(source, arrays)
            else:
                found[axis] = np.linspace(*source, n) if len(source) == 2 else np.array(source, dtype=float)
            if found[axis].shape != (n,):
                raise SolverError(
                    "wrong-shape", f"coordinate '{axis}' has shape {found[axis].shape}; the fields need ({n},)"
                )
        return StateLayout(
            names,
            found,
            {name: self.units[name] for name in names if name in self.units},
            {axis: self.units[axis] for axis in axes if axis in self.units},
            self.units.get("time", ""),
            mask,
            scattered,
        )


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


def _axis_name(i: int, n: int) -> str:
    return _AXES[i] if n <= len(_AXES) else f"x{i + 1}"
