"""Writes fields on meshes for ParaView: VTU for one time, and XDMF for many; meshio writes the files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Mesh

_CELLS = {1: "line", 2: "quad", 3: "hexahedron"}
# Corners of a cell of a grid in the order of VTK: steps along the axes.
_CORNERS = {
    1: ((0,), (1,)),
    2: ((0, 0), (1, 0), (1, 1), (0, 1)),
    3: ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
}


def grid_mesh(axes: Sequence[Float[np.ndarray, " _"]]) -> Mesh:
    """The mesh of a tensor grid of one to three axes; its nodes are the points of the grid in C order.

    Raises:
        ValueError: there are more than three axes.
    """
    n_axes = len(axes)
    if n_axes not in _CELLS:
        raise ValueError(f"a grid with {n_axes} axes is no mesh; ParaView's files have up to three")
    points = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=-1).astype(float)
    numbers = np.arange(len(points)).reshape([len(x) for x in axes])
    corners = [numbers[tuple(slice(k, n - 1 + k) for k, n in zip(step, numbers.shape, strict=True))].ravel()
               for step in _CORNERS[n_axes]]  # fmt: skip
    return Mesh(points, {_CELLS[n_axes]: np.stack(corners, axis=-1)})


def point_cloud(axes: Sequence[Float[np.ndarray, " n"]]) -> Mesh:
    """Scattered points as a mesh of single nodes."""
    points = np.stack(list(axes), axis=-1).astype(float)
    return Mesh(points, {"vertex": np.arange(len(points))[:, None]})


def write_vtu(path: Path, mesh: Mesh, fields: Mapping[str, Float[np.ndarray, " place"]]) -> None:
    """Write fields of one time as a VTU file."""
    import meshio

    meshio.vtu.write(path, meshio.Mesh(_in_space(mesh), _blocks(mesh), **_placed(mesh, fields)))


@contextmanager
def xdmf_series(path: Path, mesh: Mesh) -> Iterator[Callable[[float, Mapping[str, np.ndarray]], None]]:
    """An XDMF file with its numbers as text; the body calls what is yielded with each time and its fields."""
    import meshio

    with meshio.xdmf.TimeSeriesWriter(path, data_format="XML") as file:
        file.write_points_cells(_in_space(mesh), _blocks(mesh))
        yield lambda t, fields: file.write_data(t, **_placed(mesh, fields))


def _blocks(mesh: Mesh) -> list[tuple[str, np.ndarray]]:
    return [(kind, np.asarray(nodes, dtype=np.int64)) for kind, nodes in mesh.cells.items()]


def _placed(mesh: Mesh, fields: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields as meshio takes them: at the nodes, or at each block of cells."""
    if not mesh.centred:
        return {"point_data": dict(fields)}
    ends = np.cumsum([len(nodes) for nodes in mesh.cells.values()])[:-1]
    return {"cell_data": {name: np.split(values, ends) for name, values in fields.items()}}


def _in_space(mesh: Mesh) -> Float[np.ndarray, "point 3"]:
    """Coordinates of the nodes, with zeros for those that the mesh has not."""
    return np.pad(mesh.points, ((0, 0), (0, 3 - mesh.points.shape[1])))
