"""Reads fields on unstructured meshes: VTU and VTK (one time each), PVD (VTU files by time) and XDMF.

meshio reads the files; https://docs.vtk.org/en/latest/design_documents/VTKFileFormats.html describes VTU and PVD,
https://www.xdmf.org/index.php/XDMF_Model_and_Format XDMF.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mlasdi.solvers import Mesh, SolverError

Arrays = dict[str, Any]
MESH, POINTS = "mesh", "points"
"""Names of the mesh and of the coordinates `[point, dim]` among the arrays of a file."""


def read_mesh_file(path: Path, names: Sequence[str] | None, time: str) -> Arrays:
    """Fields `[time, place]` or `[time, place, component]` of a file, its times, and its `Mesh` under the name `MESH`.

    Args:
        names: fields to read; None for all that lie at the nodes, or else all at the cells.
        time: the name under which the times are returned. VTU and VTK files have none, and one time.

    Raises:
        SolverError: the mesh changes (`wrong-shape`); names file and mesh.
        ValueError: fields lie partly at nodes and partly at cells, or a cell type is unknown.
    """
    if path.suffix.lower() in _ONE_TIME:
        content = read_one_time(path, names)
        return {name: one if name in (MESH, POINTS) else one[None] for name, one in content.items()}
    return joined(mesh_steps(path, names), time)


def read_one_time(path: Path, names: Sequence[str] | None) -> Arrays:
    """Fields `[place]` or `[place, component]` of a VTU or VTK file, and its `Mesh`; arguments as `read_mesh_file`."""
    import meshio

    readers = {".vtu": meshio.vtu.read, ".vtk": meshio.vtk.read, **dict.fromkeys(_XDMF, meshio.xdmf.read)}
    found = readers[path.suffix.lower()](path)
    return _content(found.points, found.cells, found.point_data, found.cell_data, names)


def read_mesh(path: Path) -> Mesh:
    """The mesh of a file, with its nodes as places; of several times the first.

    Raises:
        ValueError: it is no mesh file, or it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in MESH_READERS:
        raise ValueError(f"{path}: the format is unknown; allowed: {', '.join(MESH_READERS)}")
    try:
        arrays = read_one_time(path, ()) if suffix in _ONE_TIME else next(mesh_steps(path, ()))[2]
    except Exception as error:  # meshio raises anything for a damaged file
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from error
    mesh: Mesh = arrays[MESH]
    return mesh


def joined(steps: Iterator[tuple[Path, float | None, Arrays]], time: str) -> Arrays:
    """Arrays of single times as arrays over time `[time, ...]`.

    Args:
        steps: file, time (None where there is none) and arrays of each time.

    Raises:
        SolverError: an array is missing (`bad-output`), or has another shape, or the mesh changes (`wrong-shape`); the
            message names the file.
    """
    times, columns = list[float](), dict[str, list[Any]]()
    mesh: Mesh | None = None
    first: Path | None = None
    for path, t, arrays in steps:
        found = arrays.pop(MESH, None)
        if first is None:
            first, mesh, columns = path, found, {name: [] for name in arrays}
        elif (found is None) != (mesh is None) or not (found is mesh or _is_same(found, mesh)):
            raise SolverError("wrong-shape", f"{path}: its mesh differs from that of {first} (option common_mesh)")
        for name, values in columns.items():
            if name not in arrays:
                raise SolverError("bad-output", f"{path}: there is no array '{name}', which {first} has")
            one = np.asarray(arrays[name])
            if values and one.shape != values[0].shape:
                expected = f"{first} has {values[0].shape}"
                raise SolverError("wrong-shape", f"{path}: array '{name}' has shape {one.shape}; {expected}")
            values.append(one)
        if t is not None:
            times.append(t)
    stacked: Arrays = {name: np.stack(values) for name, values in columns.items()}
    stacked |= {time: np.array(times)} if times else {}
    return stacked if mesh is None else {**stacked, MESH: mesh}


def mesh_steps(path: Path, names: Sequence[str] | None) -> Iterator[tuple[Path, float | None, Arrays]]:
    """File, time (None where there is none) and arrays of each time of a mesh file; arguments as `read_mesh_file`."""
    if path.suffix.lower() in _ONE_TIME:
        yield path, None, read_one_time(path, names)
        return
    yield from {".pvd": _pvd_steps, **dict.fromkeys(_XDMF, _xdmf_steps)}[path.suffix.lower()](path, names)


def _pvd_steps(path: Path, names: Sequence[str] | None) -> Iterator[tuple[Path, float | None, Arrays]]:
    entries = ElementTree.parse(path).getroot().findall(".//DataSet")
    if not entries:
        raise ValueError("it names no files (elements DataSet)")
    if any(entry.get("part", "0") != "0" for entry in entries):
        raise ValueError("it has several parts at one time; write one, or read it with the option reader")
    for entry in sorted(entries, key=lambda entry: float(entry.attrib["timestep"])):
        file = path.parent / entry.attrib["file"]
        if not file.is_file():
            raise SolverError("missing-output", f"{path}: there is no file {file}, which it names")
        try:
            arrays = read_one_time(file, names)
        except SolverError:
            raise
        except Exception as error:  # meshio raises anything for a damaged file
            raise SolverError("bad-output", f"{file} cannot be read: {error or type(error).__name__}") from error
        yield file, float(entry.attrib["timestep"]), arrays


def _xdmf_steps(path: Path, names: Sequence[str] | None) -> Iterator[tuple[Path, float | None, Arrays]]:
    import meshio

    root = ElementTree.parse(path).getroot()
    if root.find(".//Grid[@CollectionType='Temporal']") is None:
        yield path, None, read_one_time(path, names)
        return
    with meshio.xdmf.TimeSeriesReader(path) as reader:
        points, cells = reader.read_points_cells()
        mesh = None
        for k in range(reader.num_steps):
            t, point_data, cell_data = reader.read_data(k)
            arrays = _content(points, cells, point_data, cell_data, names)
            mesh = arrays[MESH] = mesh or arrays[MESH]
            yield path, float(t), arrays


def _content(points: Any, cells: Sequence[Any], at_nodes: Any, at_cells: Any, names: Sequence[str] | None) -> Arrays:
    """The wanted fields and their mesh; cells and their values are sorted by the type of cell."""
    held = list(names) if names is not None else list(at_nodes or at_cells)
    nodes, centred = ([name for name in held if name in data] for data in (at_nodes, at_cells))
    if nodes and [name for name in centred if name not in at_nodes]:
        raise ValueError(f"fields {nodes} lie at nodes and {centred} at cells; read those of one kind (option fields)")
    kinds = list(dict.fromkeys(block.type for block in cells))
    blocks = {kind: [i for i, block in enumerate(cells) if block.type == kind] for kind in kinds}
    by_kind = {kind: np.concatenate([np.asarray(cells[i].data) for i in one]) for kind, one in blocks.items()}
    order = [i for kind in kinds for i in blocks[kind]]
    mesh = Mesh(np.asarray(points, dtype=float), by_kind, centred=bool(centred) and not nodes)
    if mesh.centred:
        return {name: np.concatenate([at_cells[name][i] for i in order]) for name in centred} | {MESH: mesh}
    return {name: np.asarray(at_nodes[name]) for name in nodes} | {MESH: mesh}


def _is_same(one: Mesh | None, other: Mesh | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        np.array_equal(one.points, other.points)
        and one.centred == other.centred
        and list(one.cells) == list(other.cells)
        and all(np.array_equal(nodes, other.cells[kind]) for kind, nodes in one.cells.items())
    )


_ONE_TIME = (".vtu", ".vtk")
_XDMF = (".xdmf", ".xmf")
MESH_READERS: dict[str, Callable[[Path, Sequence[str] | None, str], Arrays]] = dict.fromkeys(
    (*_ONE_TIME, ".pvd", *_XDMF), read_mesh_file
)
"""Suffix of a file, in lower case -> function that reads it."""
