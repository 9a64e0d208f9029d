"""Maps fields on meshes that differ between runs, or change during a run, to one mesh.

Interpolation is linear in the simplices of the Delaunay triangulation of the places of a field: nodes, or centres of
cells (`scipy.spatial.Delaunay`, `scipy.interpolate.LinearNDInterpolator`). It also fills holes and notches of a domain.
A place outside of the hull gets the value of the nearest one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay, QhullError, cKDTree

from mlasdi.solvers import Mesh, SolverError
from mlasdi.solvers.formats import MESH, POINTS, read_mesh
from mlasdi.solvers.outputs.array_values import numbers

MAPPING_ERROR = "mesh_interpolation_error"
"""Name of the error among the arrays of a solution that was mapped."""


@dataclass(frozen=True)
class CommonMesh:
    """Places to which fields are mapped.

    Attributes:
        places: coordinates `[place, dim]`.
        shape: of a field on them: that of a grid, or the number of places.
        arrays: what describes them among the arrays of a solution: a mesh, or the coordinates of a grid by name.
    """

    places: Float[np.ndarray, "place dim"]
    shape: tuple[int, ...]
    arrays: Mapping[str, object]

    @classmethod
    def of(cls, given: str | Mapping[str, tuple[float, float, int]]) -> "CommonMesh":
        """From the path of a mesh file, or from first, last and number of points along each axis of a grid.

        Raises:
            ValueError: the file cannot be read, or an axis does not increase, or has fewer than two points.
        """
        if isinstance(given, str):
            mesh = read_mesh(Path(given))
            return cls(_varying(mesh.places), (len(mesh.places),), {MESH: mesh})
        for axis, (first, last, n) in given.items():
            if not (first < last and n >= 2):
                raise ValueError(
                    f"axis {axis} = [{first:g}, {last:g}, {n}]; expected [first, last, number of points >= 2]"
                )
        axes = {axis: np.linspace(first, last, n) for axis, (first, last, n) in given.items()}
        grid = np.meshgrid(*axes.values(), indexing="ij")
        return cls(np.stack([x.ravel() for x in grid], axis=-1), grid[0].shape, axes)

    def mapped(self, arrays: Mapping[str, object], points: str = POINTS) -> dict[str, object]:
        """Arrays with the fields of one mesh on this one; other arrays stay as they are.

        Args:
            arrays: a `Mesh`, or an array of coordinates `[place, dim]`, or `[time, place, dim]` if the places move; and
                fields `[..., place]` or `[..., place, component]`, whose first axis is time if the places move.
            points: name of the array of coordinates.

        Returns:
            The same without coordinates, and as `MAPPING_ERROR` the largest relative L2 error of the fields from
            interpolation to this mesh and back.

        Raises:
            SolverError: there are no coordinates (`bad-output`), they do not fit (`wrong-shape`), or values of a field
                are missing (`not-finite`).
        """
        mesh = arrays.get(MESH)
        if not isinstance(mesh, Mesh) and points not in arrays:
            raise SolverError("bad-output", f"there is no mesh and no array '{points}'; option common_mesh needs one")
        places = mesh.places if isinstance(mesh, Mesh) else numbers(points, arrays)
        found, error = {name: one for name, one in arrays.items() if name not in (MESH, points)}, 0.0
        for name, one in found.items():
            values = np.asarray(one)
            axis = next((k for k in (-1, -2) if values.ndim >= -k and values.shape[k] == places.shape[-2]), None)
            if axis is None:
                continue
            if not np.isfinite(values).all():
                raise SolverError("not-finite", f"'{name}' has missing values, and cannot be mapped to the common mesh")
            first = np.moveaxis(values, axis, 0)  # [place, ...]
            if places.ndim == 3:
                parts = [self._mapped(at, first[:, k]) for k, at in enumerate(places)]
                mapped, errors = np.stack([part for part, _ in parts], axis=1), [one_error for _, one_error in parts]
            else:
                mapped, *errors = self._mapped(places, first)
            error = max(error, *errors)
            before, after = values.shape[:axis], values.shape[axis:][1:]
            found[name] = np.moveaxis(mapped, 0, axis).reshape(*before, *self.shape, *after)
        return {**found, MAPPING_ERROR: error}

    def _mapped(
        self, places: Float[np.ndarray, "n dim"], values: Float[np.ndarray, "n ..."]
    ) -> tuple[Float[np.ndarray, "place ..."], float]:
        """Values at the common places, and the relative error of mapping them there and back."""
        places = _varying(places)
        if places.shape[1] != self.places.shape[1]:
            raise SolverError(
                "wrong-shape",
                f"the places have {places.shape[1]} coordinates that vary; the common mesh has {self.places.shape[1]}",
            )
        mapped = _interpolated(places, values, self.places)
        norm = float(np.linalg.norm(values))
        distance = float(np.linalg.norm(_interpolated(self.places, mapped, places) - values))
        return mapped, distance / norm if norm else 0.0


def _interpolated(
    places: Float[np.ndarray, "n dim"], values: Float[np.ndarray, "n ..."], wanted: Float[np.ndarray, "m dim"]
) -> Float[np.ndarray, "m ..."]:
    """Linear interpolation between scattered places; outside of their hull, the value of the nearest one."""
    columns = values.reshape(len(places), -1)
    if places.shape[1] == 1:
        order, x = np.argsort(places[:, 0]), wanted[:, 0]
        found = np.stack([np.interp(x, places[order, 0], column) for column in columns[order].T], axis=-1)
    else:
        places = np.ascontiguousarray(places)
        found = LinearNDInterpolator(_triangulation(places.tobytes(), places.shape), columns)(wanted)
        outside = np.isnan(found).any(axis=-1)
        if outside.any():
            found[outside] = columns[cKDTree(places).query(wanted[outside])[1]]
    return found.reshape(len(wanted), *values.shape[1:])


@lru_cache(maxsize=4)
def _triangulation(places: bytes, shape: tuple[int, int]) -> Delaunay:
    """Cached, because all times of a run, and all runs with the common mesh, have the same."""
    try:
        return Delaunay(np.frombuffer(places).reshape(shape))
    except QhullError as error:
        reason = " ".join(str(error).split())[:200]
        raise SolverError(
            "wrong-shape", f"the {shape[0]} places of the mesh cannot be triangulated: {reason}"
        ) from error


def _varying(places: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n varying"]:
    """Coordinates without those that are the same at all places, such as z in the plane."""
    return places[:, np.ptp(places, axis=0) > 0]
