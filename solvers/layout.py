"""What the values of a state are: fields on a grid, at scattered points or on a mesh, with their units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

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

    def coarsened(
        self, max_nodes: int, max_points: int | None = None
    ) -> tuple["StateLayout", Int[np.ndarray, " kept"]]:
        """A layout of some of the points, evenly spread, and which entries of a state these are.

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
            longest = min(max_nodes, max(self.shape))
            while longest > 1 and np.prod(np.minimum(self.shape, longest)) > most:
                longest -= 1
            if longest == max(self.shape):
                return self, np.arange(self.n_state)
            rows = [_evenly(n, longest) for n in self.shape]
            axes = {name: np.asarray(x)[at] for (name, x), at in zip(self.coordinates.items(), rows, strict=True)}
            of_field = np.ravel_multi_index(np.ix_(*rows), self.shape).ravel()
        kept = np.concatenate([of_field + k * self.n_points for k in range(len(self.fields))])
        return StateLayout(self.fields, axes, scattered=scattered), kept

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


def _evenly(n: int, most: int) -> Int[np.ndarray, " kept"]:
    """At most so many of `n` indices, first and last included."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)
