"""The contract of a full-order model: what it must offer, what it returns, and how it fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

Json = dict[str, Any]

FAILURE_KINDS = {
    "bad-parameters": "the solver has no solution at these parameters",
    "not-converged": "an iteration of the solver did not converge",
    "exception": "the solver raised an exception, or could not be started",
    "exit-code": "the program ended with an exit code other than 0",
    "signal": "the program was ended by a signal",
    "time-out": "the solve exceeded its time limit",
    "out-of-memory": "memory was exhausted",
    "worker-lost": "the process that ran the solve died",
    "missing-output": "the program wrote no output file",
    "bad-output": "the output is empty, cut off, unreadable or of the wrong type",
    "bad-times": "times do not increase",
    "wrong-shape": "the shapes of the arrays do not match",
    "not-finite": "the solution has values that are infinite or not a number",
}
"""Kinds of failed solves, with their meaning."""


class SolverError(Exception):
    """A full-order solve failed.

    Attributes:
        kind: one of `FAILURE_KINDS`, or a kind of the solver's own, for programs to test.
        message: what happened and, if known, what to do about it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # both, or the exception cannot be unpickled on its way out of a worker
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


class Problem(str):
    """What is wrong with a solution or a solver: a text with a `kind`, one of `FAILURE_KINDS` or
    `mlasdi.solvers.verification.BREACH_KINDS`."""

    kind: str

    def __new__(cls, kind: str, text: str) -> "Problem":
        problem = super().__new__(cls, text)
        problem.kind = kind
        return problem


@dataclass(frozen=True, eq=False)
class Mesh:
    """An unstructured mesh, which goes with the fields into files of predictions.

    Attributes:
        points: nodes `[point, dim]`.
        cells: type of cell (`triangle`, `quad`, `tetra`, ...) -> numbers of the nodes of each cell `[cell, node]`, in
            the order of meshio, which is that of VTK.
        centred: whether fields have one value for each cell, in the order of `cells`; else one for each node.

    Raises:
        ValueError: a cell has a node that is not among the points.
    """

    points: Float[np.ndarray, "point dim"]
    cells: Mapping[str, Int[np.ndarray, "_ _"]]
    centred: bool = False

    def __post_init__(self) -> None:
        for kind, nodes in self.cells.items():
            if nodes.size and not 0 <= nodes.min() <= nodes.max() < len(self.points):
                raise ValueError(f"a cell of type {kind} has a node that is not among the {len(self.points)} points")

    @property
    def places(self) -> Float[np.ndarray, "place dim"]:
        """Where the values of a field are: the nodes, or the means of the nodes of each cell."""
        if not self.centred:
            return self.points
        return np.concatenate([self.points[nodes].mean(axis=1) for nodes in self.cells.values()])


@dataclass(frozen=True, eq=False)
class StateLayout:
    """Fields and grid of a state: how the flat state vector consists of named fields on a grid.

    The state is the concatenation of `fields`, each flattened in C order over the axes of `coordinates`.

    Attributes:
        fields: names of the fields, for example `("u",)` or `("u", "v")`.
        coordinates: axis name -> coordinates `[n]` of a tensor grid, in the order of the field's axes; if `scattered`,
            name -> coordinate `[n]` of each point.
        field_units, coordinate_units: name -> unit for labels; names without a unit are dimensionless.
        mask: True at the points of the tensor grid that the state holds, `[*grid]`; None if it holds all of them. A
            body in a flow is masked.
        scattered: the points form no tensor grid, for example the nodes of an unstructured mesh.
        mesh: the mesh of scattered points, if it is known.

    Raises:
        ValueError: there is no field or no coordinate, or the shapes do not match.
    """

    fields: tuple[str, ...]
    coordinates: Mapping[str, Float[np.ndarray, " n"]]
    field_units: Mapping[str, str] = field(default_factory=dict)
    coordinate_units: Mapping[str, str] = field(default_factory=dict)
    time_unit: str = ""
    mask: Bool[np.ndarray, "*grid"] | None = None
    scattered: bool = False
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        if not self.fields or not self.coordinates:
            raise ValueError("a state needs at least one field and one coordinate")
        if self.scattered and len({len(x) for x in self.coordinates.values()}) > 1:
            sizes = {name: len(x) for name, x in self.coordinates.items()}
            raise ValueError(f"scattered points need coordinates of one length, got {sizes}")
        if self.mask is not None and self.mask.shape != self.shape:
            raise ValueError(f"the mask has shape {self.mask.shape}, the grid {self.shape}")
        if self.mesh is not None and self.shape != (len(self.mesh.places),):
            raise ValueError(f"the mesh has {len(self.mesh.places)} places, the fields have shape {self.shape}")

    def __eq__(self, other: object) -> bool:
        # The comparison that `dataclass` generates fails on arrays: their truth value is ambiguous.
        if not isinstance(other, StateLayout):
            return NotImplemented
        (mine, arrays), (theirs, other_arrays) = self.parts(), other.parts()
        return mine == theirs and all(np.array_equal(array, other_arrays[name]) for name, array in arrays.items())

    @property
    def shape(self) -> tuple[int, ...]:
        """Grid shape of one field."""
        lengths = tuple(len(x) for x in self.coordinates.values())
        return lengths[:1] if self.scattered else lengths

    @property
    def n_points(self) -> int:
        """Number of values of one field."""
        return int(np.prod(self.shape)) if self.mask is None else int(self.mask.sum())

    @property
    def n_state(self) -> int:
        return len(self.fields) * self.n_points

    def split(self, u: Float[np.ndarray, "*batch state"]) -> dict[str, Float[np.ndarray, "*batch_and_grid"]]:
        """The fields of states, each on its grid; NaN at masked points."""
        parts = np.split(u, len(self.fields), axis=-1)
        return {name: self._on_grid(part) for name, part in zip(self.fields, parts, strict=True)}

    def _on_grid(self, values: Float[np.ndarray, "*batch point"]) -> Float[np.ndarray, "*batch_and_grid"]:
        if self.mask is None:
            return values.reshape(*values.shape[:-1], *self.shape)
        grid = np.full((*values.shape[:-1], *self.shape), np.nan)
        grid[..., self.mask] = values
        return grid

    def parts(self) -> tuple[Json, dict[str, np.ndarray]]:
        """The layout as it is written to files: names and units as JSON, and arrays by name."""
        description = {
            "fields": list(self.fields),
            "axes": list(self.coordinates),
            "field_units": dict(self.field_units),
            "coordinate_units": dict(self.coordinate_units),
            "time_unit": self.time_unit,
            "masked": self.mask is not None,
            "scattered": self.scattered,
        }
        arrays = {f"x.{axis}": np.asarray(values) for axis, values in self.coordinates.items()}
        arrays |= {} if self.mask is None else {"mask": self.mask}
        if self.mesh is not None:
            description["mesh"] = {"cells": list(self.mesh.cells), "centred": self.mesh.centred}
            arrays |= {"mesh": self.mesh.points} | {f"mesh.{kind}": nodes for kind, nodes in self.mesh.cells.items()}
        return description, arrays

    @classmethod
    def from_parts(cls, description: Json, arrays: Mapping[str, np.ndarray]) -> "StateLayout":
        """The inverse of `parts`."""
        rest = dict(description)
        fields, axes = tuple(rest.pop("fields")), rest.pop("axes")
        mask = arrays["mask"].astype(bool) if rest.pop("masked") else None
        mesh = None
        if "mesh" in rest:
            cells = {kind: arrays[f"mesh.{kind}"] for kind in rest["mesh"]["cells"]}
            mesh = Mesh(arrays["mesh"], cells, rest.pop("mesh")["centred"])
        return cls(fields, {axis: arrays[f"x.{axis}"] for axis in axes}, mask=mask, mesh=mesh, **rest)


@dataclass(frozen=True, eq=False)
class Snapshots:
    """One trajectory u(t; mu) of the full-order model.

    Attributes:
        t: times `[time]`, strictly increasing.
        u: states `[time, state]`, float64.
        layout: fields and grid of the states; None if the solver's `layout` says it.
        restart: a solver's own array, from which it can start at other parameters (`Continuable`).
    """

    t: Float[np.ndarray, " time"]
    u: Float[np.ndarray, "time state"]
    layout: StateLayout | None = None
    restart: Float[np.ndarray, "..."] | None = None

    def problems(self, layout: StateLayout | None) -> list[Problem]:
        """What is wrong with these snapshots; empty if they can be used.

        Args:
            layout: the solver's; None if it has none, so that `self.layout` counts.
        """
        layout = layout or self.layout
        if layout is None:
            return [Problem("bad-output", "neither the solver nor its solution has a layout")]
        n_state, found = layout.n_state, list[Problem]()
        if self.t.ndim != 1 or self.t.size < 2:
            shape = f"times have shape {self.t.shape}; expected [time] with at least 2 entries"
            found.append(Problem("bad-times", shape))
        elif not (np.isfinite(self.t).all() and (np.diff(self.t) > 0).all()):
            found.append(Problem("bad-times", "times must be finite and strictly increasing"))
        if self.u.shape != (self.t.size, n_state):
            expected = f"[time, state] = ({self.t.size}, {n_state})"
            found.append(Problem("wrong-shape", f"states have shape {self.u.shape}; expected {expected}"))
        if self.u.dtype != np.float64:
            found.append(Problem("bad-output", f"states have dtype {self.u.dtype}; expected float64"))
        elif not np.isfinite(self.u).all():
            first = int(np.argmax(~np.isfinite(self.u).reshape(self.u.shape[0], -1).all(axis=1)))
            found.append(Problem("not-finite", f"states are not finite from time index {first}"))
        return found

    def check(self, layout: StateLayout | None) -> None:
        """Raise an error if these snapshots cannot be used.

        Raises:
            SolverError: with the kind of the first problem.
        """
        problems = self.problems(layout)
        if problems:
            raise SolverError(problems[0].kind, "; ".join(problems))

    def thinned(self, n_time: int | None) -> "Snapshots":
        """At most `n_time` of the snapshots, evenly spread over the time indices, first and last included.

        Raises:
            ValueError: `n_time` is less than 2.
        """
        if n_time is not None and n_time < 2:
            raise ValueError(f"n_time {n_time}: at least 2 snapshots must be kept, the first and the last")
        if n_time is None or n_time >= self.t.size:
            return self
        keep = evenly_spread(self.t.size, n_time)
        return replace(self, t=self.t[keep], u=self.u[keep])


@runtime_checkable
class FullOrderModel(Protocol):
    """A solver of the time-dependent PDE. Instances are cheap to build, picklable, and hold no open resources."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters that `solve` takes."""
        ...

    @property
    def layout(self) -> StateLayout | None:
        """Fields and grid of the state; None if each solution brings its own (`Snapshots.layout`)."""
        ...

    def identity(self) -> Json:
        """Name, scheme and every setting that changes the solution, as JSON; stored solutions are found again by it."""
        ...

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Solve at one parameter point.

        Raises:
            SolverError: the solve failed; `kind` says why.
        """
        ...


@dataclass(frozen=True)
class Start:
    """An earlier solve by the same solver and settings, from whose `Snapshots.restart` a new solve can start.

    Attributes:
        mu: its parameters.
        load: reads `Snapshots.restart`; returns None if it cannot be read any more.
    """

    mu: Mapping[str, float]
    load: Callable[[], Float[np.ndarray, "..."] | None]


@runtime_checkable
class Continuable(FullOrderModel, Protocol):
    """A full-order model that solves faster when it starts from the result of an earlier solve.

    The solution may depend on the start by less than the solver's error only, because it is stored under the
    parameters alone.
    """

    def solve_from(self, mu: Mapping[str, float], starts: Sequence[Start]) -> Snapshots:
        """Solve at one parameter point, from one of `starts` or, if none is suitable, without.

        Raises:
            SolverError: the solve failed; `kind` says why.
        """
        ...


@runtime_checkable
class TabulatedModel(Protocol):
    """A full-order model that has solutions at certain points only, such as a data set."""

    def available(self) -> Float[np.ndarray, "point n_params"]:
        """These points, the parameters in the order of `parameter_names`."""
        ...


def evenly_spread(n: int, k: int) -> Int[np.ndarray, " kept"]:
    """At most `k` of the indices 0, ..., n - 1, evenly spread, the first and (from `k` = 2 on) the last included."""
    if k >= n:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, k).round().astype(int))
