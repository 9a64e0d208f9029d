"""What the values of a state are: fields on grids, at scattered points, on meshes, and numbers, with their units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

Json = dict[str, Any]


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
    """Fields and grid of a state: how the flat state vector consists of named outputs, each with axes of its own.

    The state is the concatenation of `fields`, each flattened in C order over its axes. Most fields lie on one grid,
    the axes of `coordinates`; each of `others` has a layout of its own. A field without axes is a number. A steady
    field has no axis of time: the states of a trajectory repeat it at every time.

    Attributes:
        fields: names of all fields, for example `("u",)` or `("u", "v", "voltage")`; those of `others` come last.
        coordinates: axis name -> coordinates `[n]` of a tensor grid, in the order of the field's axes; if `scattered`,
            name -> coordinate `[n]` of each point; empty for numbers.
        field_units, coordinate_units: name -> unit for labels; names without a unit are dimensionless.
        mask: True at the points of the tensor grid that the state holds, `[*grid]`; None if it holds all of them. A
            body in a flow is masked.
        scattered: the points form no tensor grid, for example the nodes of an unstructured mesh.
        mesh: the mesh of scattered points, if it is known.
        steady: whether the fields on this grid do not depend on time.
        others: field -> its layout, which has that field alone, for fields on another grid, and for steady fields among
            others that are not.

    Raises:
        ValueError: there is no field, or the shapes or names do not match.
    """

    fields: tuple[str, ...]
    coordinates: Mapping[str, Float[np.ndarray, " n"]]
    field_units: Mapping[str, str] = field(default_factory=dict)
    coordinate_units: Mapping[str, str] = field(default_factory=dict)
    time_unit: str = ""
    mask: Bool[np.ndarray, "*grid"] | None = None
    scattered: bool = False
    mesh: Mesh | None = None
    steady: bool = False
    others: Mapping[str, "StateLayout"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.fields:
            raise ValueError("a state needs at least one field")
        if len(set(self.fields)) < len(self.fields):
            raise ValueError(f"the fields {list(self.fields)} have a name twice")
        if self.others and (not self.own or tuple(self.others) != self.fields[len(self.own) :]):
            raise ValueError(f"fields {list(self.fields)} must end with those of other grids, {list(self.others)}")
        if any(one.fields != (name,) for name, one in self.others.items()):
            raise ValueError("the layout of a field on another grid has that field alone")
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
    def own(self) -> tuple[str, ...]:
        """The fields on the grid of `coordinates`."""
        return tuple(name for name in self.fields if name not in self.others)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the fields on the grid of `coordinates`, with `time` unless they are steady."""
        return (*(() if self.steady else ("time",)), *self.coordinates)

    @property
    def shape(self) -> tuple[int, ...]:
        """Grid shape of the fields on the grid of `coordinates`; empty for numbers."""
        lengths = tuple(len(x) for x in self.coordinates.values())
        return lengths[:1] if self.scattered else lengths

    @property
    def n_points(self) -> int:
        """Number of values of one field on the grid of `coordinates`."""
        return int(np.prod(self.shape)) if self.mask is None else int(self.mask.sum())

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each field."""
        return tuple(self.others[name].n_points if name in self.others else self.n_points for name in self.fields)

    @property
    def n_state(self) -> int:
        return sum(self.sizes)

    @property
    def is_steady(self) -> bool:
        """Whether no field depends on time."""
        return self.steady and all(one.steady for one in self.others.values())

    def of(self, name: str) -> "StateLayout":
        """The layout of one field.

        Raises:
            ValueError: there is no such field.
        """
        if name not in self.fields:
            raise ValueError(f"field '{name}' is not known; the state has {', '.join(self.fields)}")
        units = {name: self.field_units[name]} if name in self.field_units else {}
        found = self.others.get(name, self)
        return replace(found, fields=(name,), field_units=units, time_unit=self.time_unit, others={})

    def restricted(self, names: Sequence[str]) -> "StateLayout":
        """The layout of some fields, in this order but for those on the grid of the first one, which come first.

        Raises:
            ValueError: there is no such field, or none is given.
        """
        return StateLayout.joined([self.of(name) for name in names])

    @classmethod
    def joined(cls, outputs: Sequence["StateLayout"]) -> "StateLayout":
        """One layout of fields that have a layout each, in this order but for those on the grid of the first one.

        These come first.

        Raises:
            ValueError: there is none.
        """
        if not outputs:
            raise ValueError("no field is given")
        first = outputs[0]
        blank = replace(first, fields=("",), field_units={})
        own = [one for one in outputs if replace(one, fields=("",), field_units={}) == blank]
        others = {one.fields[0]: one for one in outputs if one not in own}
        units = {name: unit for one in outputs for name, unit in one.field_units.items()}
        names = (*(one.fields[0] for one in own), *others)
        return replace(first, fields=names, field_units=units, others=others)

    def coarsened(
        self, max_nodes: int, max_points: int | None = None
    ) -> tuple["StateLayout", Int[np.ndarray, " kept"]]:
        """A layout of some of the points, evenly spread, and which entries of a state these are.

        All fields must lie on one grid.

        Args:
            max_nodes: along each axis of a tensor grid.
            max_points: of a field; the points of a mesh or of a masked grid have this limit alone.
        """
        most = self.n_points if max_points is None else max_points
        if self.scattered or self.mask is not None:
            if self.n_points <= most:
                return self, np.arange(self.n_state)
            of_field = _evenly(self.n_points, most)
            axes: dict[str, np.ndarray] = {"point": of_field.astype(float)}
            scattered = True
        else:
            scattered = False
            finest = max(self.shape, default=1)
            longest = min(max_nodes, finest)
            while longest > 1 and np.prod(np.minimum(self.shape, longest)) > most:
                longest -= 1
            if longest == finest:
                return self, np.arange(self.n_state)
            rows = [_evenly(n, longest) for n in self.shape]
            axes = {name: np.asarray(x)[at] for (name, x), at in zip(self.coordinates.items(), rows, strict=True)}
            of_field = np.ravel_multi_index(np.ix_(*rows), self.shape).ravel()
        kept = np.concatenate([of_field + k * self.n_points for k in range(len(self.fields))])
        return StateLayout(self.fields, axes, scattered=scattered), kept

    def split(self, u: Float[np.ndarray, "*batch state"]) -> dict[str, Float[np.ndarray, "*batch_and_grid"]]:
        """The fields of states, each on its grid; NaN at masked points. Steady fields are repeated as in the states."""
        parts = field_parts(u, self.sizes)
        return {name: self.others.get(name, self)._on_grid(part) for name, part in zip(self.fields, parts, strict=True)}

    def _on_grid(self, values: Float[np.ndarray, "*batch point"]) -> Float[np.ndarray, "*batch_and_grid"]:
        if self.mask is None:
            return values.reshape(*values.shape[:-1], *self.shape)
        grid = np.full((*values.shape[:-1], *self.shape), np.nan)
        grid[..., self.mask] = values
        return grid

    def locate(self, entry: int) -> tuple[str, tuple[int, ...]]:
        """Field of an entry of the state, and its index on the grid of that field."""
        bounds = np.cumsum(self.sizes)
        k = int(np.searchsorted(bounds, entry, side="right"))
        layout, point = self.of(self.fields[k]), entry - int(bounds[k]) + self.sizes[k]
        if layout.mask is not None:
            point = int(np.flatnonzero(layout.mask)[point])
        return self.fields[k], tuple(int(i) for i in np.unravel_index(point, layout.shape)) if layout.shape else ()

    def summary(self) -> str:
        """Fields and sizes of their grids in words: `T on 20 x 30 points, voltage, loss (steady)`."""
        grids: dict[str, list[str]] = {}
        for name in self.fields:
            one = self.of(name)
            grid = f" on {' x '.join(map(str, one.shape))} points" if one.shape else ""
            grids.setdefault(grid + (" (steady)" if one.steady else ""), []).append(name)
        return ", ".join(", ".join(names) + grid for grid, names in grids.items())

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
        description |= {"steady": True} if self.steady else {}
        arrays = {f"x.{axis}": np.asarray(values) for axis, values in self.coordinates.items()}
        arrays |= {} if self.mask is None else {"mask": self.mask}
        if self.mesh is not None:
            description["mesh"] = {"cells": list(self.mesh.cells), "centred": self.mesh.centred}
            arrays |= {"mesh": self.mesh.points} | {f"mesh.{kind}": nodes for kind, nodes in self.mesh.cells.items()}
        if self.others:
            saved = {name: one.parts() for name, one in self.others.items()}
            description["others"] = {name: one for name, (one, _) in saved.items()}
            arrays |= {f"{name}:{key}": array for name, (_, held) in saved.items() for key, array in held.items()}
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
        others, saved = {}, rest.pop("others", {})
        for name in (name for name in fields if name in saved):  # JSON objects have no order
            held = {key.removeprefix(f"{name}:"): a for key, a in arrays.items() if key.startswith(f"{name}:")}
            others[name] = cls.from_parts(saved[name], held)
        coordinates = {axis: arrays[f"x.{axis}"] for axis in axes}
        return cls(fields, coordinates, mask=mask, mesh=mesh, others=others, **rest)


def field_parts(u: Shaped[np.ndarray, "*batch state"], sizes: Sequence[int]) -> list[Shaped[np.ndarray, "*batch _"]]:
    """The parts of states that belong to fields of these sizes."""
    return np.split(u, np.cumsum(sizes)[:-1], axis=-1)


def _evenly(n: int, most: int) -> Int[np.ndarray, " kept"]:
    """At most so many of `n` indices, first and last included."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)
