"""Files of predictions for ParaView: VTU (one time), PVD (a VTU file for each time) and XDMF (all times)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mlasdi.agent.prediction.contents import Block, Contents, PredictionFile
from mlasdi.solvers import Mesh, StateLayout
from mlasdi.solvers.formats import check_installed, grid_mesh, point_cloud, write_vtu, xdmf_series
from mlasdi.solvers.storage import atomic_write

MESH_SUFFIXES = (".vtu", ".pvd", ".xdmf")


def check_mesh_package(path: Path) -> None:
    """Check that the package is installed that writes meshes.

    Raises:
        ValueError: it is not.
    """
    try:
        check_installed(path.suffix)
    except ValueError as error:
        raise ValueError(f"--out {path}: {error}") from None


def check_contents(path: Path, contents: Contents) -> None:
    """Check that a mesh file can hold the prediction.

    Raises:
        ValueError: it has several points, or several times for a VTU file, or more than three coordinates.
    """
    if len(contents.points) != 1:
        raise ValueError(f"--out {path}: a mesh file holds one point, not {len(contents.points)}; give --at")
    if path.suffix == ".vtu" and len(contents.t) != 1:
        raise ValueError(
            f"--out {path}: a VTU file holds one time, not {len(contents.t)}; give --times, or a file .pvd or .xdmf"
        )
    grids = [contents.layout, *contents.layout.others.values()]
    if len(grids) > 1 or not contents.layout.shape:
        on_grids = [name for name in contents.layout.fields if contents.layout.of(name).shape]
        raise ValueError(
            f"--out {path}: a mesh file holds fields on one mesh, not {contents.layout.summary()}; "
            f"give --fields with those on one mesh, of {', '.join(on_grids) or 'which there are none'}, or write .nc"
        )
    if len(contents.layout.coordinates) > 3:
        axes = ", ".join(contents.layout.coordinates)
        raise ValueError(f"--out {path}: mesh files have up to three coordinates, not {axes}; write .nc")


@contextmanager
def opened_mesh(path: Path, contents: Contents) -> Iterator[PredictionFile]:
    """A mesh file for blocks of predictions; those that are unfinished get no name that ParaView would open."""
    mesh = mesh_of(contents.layout)
    if path.suffix == ".pvd":
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        names = [f"{folder.name}/{folder.name}_{k:05d}.vtu" for k in range(len(contents.t))]
        yield _Times(contents, lambda k, fields: _write_vtu(path.parent / names[k], mesh, fields))
        with atomic_write(path) as partial:
            ElementTree.ElementTree(_collection(contents.t, names)).write(partial)
        return
    if path.suffix == ".vtu":
        yield _Times(contents, lambda _, fields: _write_vtu(path, mesh, fields))
        return
    with atomic_write(path) as partial, xdmf_series(partial, mesh) as write:
        yield _Times(contents, lambda k, fields: write(float(contents.t[k]), fields))


def mesh_of(layout: StateLayout) -> Mesh:
    """The mesh that the solver gave, or that of the grid, or single points."""
    axes = [np.asarray(x, dtype=float) for x in layout.coordinates.values()]
    if layout.mesh is not None:
        return layout.mesh
    return point_cloud(axes) if layout.scattered else grid_mesh(axes)


class _Times:
    """Predictions as fields `u`, `u_std` and `u_5%` at each time."""

    def __init__(self, contents: Contents, write: Callable[[int, Mapping[str, np.ndarray]], object]) -> None:
        self.contents, self._write = contents, write

    def write(self, block: Block) -> None:
        for row, k in enumerate(range(*block.times.indices(len(self.contents.t)))):
            parts = {"": block.mean[0, row]}
            parts |= {} if block.std is None else {"_std": block.std[0, row]}
            if block.quantiles is not None:
                levels = self.contents.levels
                parts |= {f"_{100 * q:g}%": block.quantiles[0, i, row] for i, q in enumerate(levels)}
            fields = {
                name + suffix: np.ascontiguousarray(field, dtype=float).ravel()
                for suffix, state in parts.items()
                for name, field in self.contents.layout.split(state).items()
            }
            self._write(k, fields)


def _write_vtu(path: Path, mesh: Mesh, fields: Mapping[str, np.ndarray]) -> None:
    with atomic_write(path) as partial:
        write_vtu(partial, mesh, fields)


def _collection(t: np.ndarray, names: list[str]) -> ElementTree.Element:
    """The contents of a PVD file."""
    root = ElementTree.Element("VTKFile", type="Collection", version="1.0")
    collection = ElementTree.SubElement(root, "Collection")
    for time, name in zip(t.tolist(), names, strict=True):
        ElementTree.SubElement(collection, "DataSet", timestep=repr(time), part="0", file=name)
    return root
