"""Reads named arrays from the files that solvers write: HDF5, NetCDF, NPZ, tables as NPY or CSV, and those of
`mlasdi.solvers.formats`."""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import netcdf_file

from mlasdi.solvers import SolverError, read_matrix
from mlasdi.solvers.formats import (
    MESH_SUFFIXES,
    SUFFIXES,
    check_installed,
    decoded,
    joined,
    mesh_steps,
    read_file,
)
from mlasdi.solvers.outputs import NamedArrays

Arrays = dict[str, Any]


def read_snapshot_arrays(path: Path, naming: NamedArrays) -> Arrays:
    """The arrays of a solution file by name, as `NamedArrays.snapshots` takes them.

    HDF5, NetCDF and NPZ hold arrays by name; names in HDF5 may contain groups ("run/u"). Values of HDF5 and NetCDF are
    decoded by the attributes of their variables (`cf_attributes.decoded`). CSV and NPY hold a table with
    one row for each time; the first column is the time, unless `naming.times` is given. In a CSV file with a header,
    the columns of field `u` are called `u` or begin with `u_`; numbers as column names are the coordinates of a single
    field, if `naming.coordinates` names one. With `naming.times` steady, columns are fields along one axis, or numbers
    if there is one row. An NPY file with more than two axes is one field, and needs `naming.times`.

    Raises:
        SolverError: the file is absent (`missing-output`), or it is empty, truncated, unreadable or lacks an array
            (`bad-output`).
    """
    with guarded(path):
        return _reader(path)(path, naming)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Reading a file in the body: what is wrong with the file becomes a `SolverError` that names it.

    Raises:
        SolverError: the file is absent (`missing-output`), or it is empty or cannot be read (`bad-output`).
    """
    if not path.is_file() and not (path.is_dir() and path.suffix.lower() == ".zarr"):
        raise SolverError("missing-output", f"there is no output file {path}")
    if path.is_file() and path.stat().st_size == 0:
        raise SolverError("bad-output", f"the output file {path} is empty")
    try:
        yield
    # What the libraries raise for damaged files.
    except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, RuntimeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SolverError("bad-output", f"the output file {path} cannot be read: {reason}") from error


def read_arrays(
    path: Path, names: Sequence[str] | None = None, *, one_time: bool = False
) -> tuple[Arrays, dict[str, Any]]:
    """Arrays by name of a file that is no table, decoded by their attributes; and the attributes of the file.

    Args:
        names: the arrays to read; None for all at the top level of the file. Absent names are left out.
        one_time: whether the fields of a mesh file have no axis of time.

    Raises:
        OSError, ValueError: the file is damaged, or an attribute of an array cannot be decoded.
    """
    if path.suffix.lower() in SUFFIXES:
        arrays, attributes = read_file(path, names)
        if one_time and path.suffix.lower() in MESH_SUFFIXES:
            held = {name: one for name, one in arrays.items() if isinstance(one, np.ndarray)}
            if any(len(one) != 1 for one in held.values()):
                raise ValueError("it has several times, and a file of a series has one")
            arrays |= {name: one[0] for name, one in held.items()}
        return arrays, attributes
    if path.suffix.lower() == ".npz":
        # Opened here, because NumPy does not close the file of a damaged archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in names or file.files if name in file.files}, {}
    with path.open("rb") as stream:
        classic = stream.read(3) == b"CDF"  # NetCDF 3; NetCDF 4 is HDF5
    if classic:
        with netcdf_file(path, mmap=False) as file:
            found = {name: file.variables[name] for name in names or file.variables if name in file.variables}
            held = {name: _decoded(name, _native(one[()]), one._attributes) for name, one in found.items()}
            return held, {name: _plain(value) for name, value in file._attributes.items()}
    with h5py.File(path, "r", locking=False) as file:
        return read_group(file, names), {name: _plain(value) for name, value in file.attrs.items()}


def read_group(group: h5py.Group, names: Sequence[str] | None = None) -> Arrays:
    """Arrays of a group of an HDF5 file by name, decoded by their attributes.

    Args:
        names: the arrays to read, which may lie in groups below ("grid/x"); None for all of the group itself. Absent
            names are left out.

    Raises:
        ValueError: an attribute of an array cannot be decoded.
    """
    found = {name: group[name] for name in names or group if name in group}
    return {
        name: _decoded(name, np.asarray(item), item.attrs)
        for name, item in found.items()
        if isinstance(item, h5py.Dataset)
    }


def _decoded(name: str, values: np.ndarray, attributes: Mapping[str, Any]) -> np.ndarray:
    try:
        return decoded(values, attributes)
    except ValueError as error:
        raise ValueError(f"variable '{name}': {error}") from error


def _reader(path: Path) -> Callable[[Path, NamedArrays], Arrays]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"its format is unknown; allowed: {', '.join(ARRAY_SUFFIXES)}")
    return reader


def _named(path: Path, naming: NamedArrays) -> Arrays:
    return read_arrays(path, naming.wanted())[0]


def _mesh(path: Path, naming: NamedArrays) -> Arrays:
    if naming.target is None:
        return read_file(path, naming.wanted(), naming.time)[0]
    check_installed(path.suffix.lower())
    steps = mesh_steps(path, naming.wanted())
    return joined(((file, t, dict(naming.on_target(arrays))) for file, t, arrays in steps), naming.time)


def table_columns(path: Path, naming: NamedArrays) -> Arrays:
    """A table with a row for each place, as one file of a series: its columns by name; without names it is one field.

    Raises:
        ValueError: it is no table of numbers.
    """
    header, values = (None, np.load(path, allow_pickle=False)) if path.suffix == ".npy" else read_matrix(path)
    if header is None:
        return {_only_field(naming): values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values}
    columns = dict(zip(header, values.T, strict=True))
    names = naming.wanted()
    return {name: values for name, values in columns.items() if names is None or name in names}


def _npy(path: Path, naming: NamedArrays) -> Arrays:
    values = np.load(path, allow_pickle=False)
    if naming.times is not None:
        return {_only_field(naming): values}
    return _columns(values, naming, None)


def _csv(path: Path, naming: NamedArrays) -> Arrays:
    # Every line below the header must consist of numbers: a truncated or garbled line is an error, not a shorter table.
    header, values = read_matrix(path)
    return _columns(values, naming, header)


def _columns(values: np.ndarray, naming: NamedArrays, header: list[str] | None) -> Arrays:
    """Times, fields and coordinates of a table `[time, column]`; of steady fields `[place, column]`, or one row."""
    if naming.times == "steady" and header:
        wanted = naming.wanted()
        held = {name: values[:, i] for i, name in enumerate(header) if wanted is None or name in wanted}
        return {name: column[0] if len(column) == 1 else column for name, column in held.items()}
    if values.ndim != 2:
        raise ValueError(f"it has shape {values.shape}; a table [time, column] is expected, or the option times")
    timed = naming.times is None
    at = header.index(naming.time) if timed and header and naming.time in header else 0
    arrays = {naming.time: values[:, at]} if timed else {}
    states = np.delete(values, at, axis=1) if timed else values
    names = [name for i, name in enumerate(header) if i != at or not timed] if header else []
    if names and all(map(_is_number, names)):
        arrays |= {axis: np.array([float(name) for name in names]) for axis in naming.coordinate_names()[:1]}
    if len(naming.fields) < 2:
        return {**arrays, _only_field(naming): states}
    for field in naming.fields:
        columns = [i for i, name in enumerate(names) if name == field or name.startswith(f"{field}_")]
        if not columns:
            raise ValueError(
                f"no column is called {field}_0 or the like; columns: {', '.join(names) or 'without names'}"
            )
        # A column with the name of the field is one number at each time.
        arrays[field] = states[:, columns[0]] if [names[i] for i in columns] == [field] else states[:, columns]
    return arrays


def _only_field(naming: NamedArrays) -> str:
    if len(naming.fields) > 1:
        raise ValueError(f"it holds one field without a name, and the option fields has {list(naming.fields)}")
    return naming.fields[0] if naming.fields else "u"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _native(value: Any) -> np.ndarray:
    """An array in native byte order; NetCDF 3 is big-endian."""
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value


READERS: dict[str, Callable[[Path, NamedArrays], Arrays]] = {
    ".h5": _named, ".hdf5": _named, ".nc": _named, ".npz": _named, ".npy": _npy, ".csv": _csv, ".txt": _csv,
    ".mat": _named, ".zarr": _named, **dict.fromkeys(MESH_SUFFIXES, _mesh),
}  # fmt: skip
"""Suffix of a file, in lower case -> function that reads it."""

TABLES = (".npy", ".csv", ".txt")
"""Suffixes of files that hold a table and no named arrays."""

ARRAY_SUFFIXES = tuple(READERS)
"""Suffixes of files that hold arrays and say which."""

NO_PARAMETERS = (*TABLES, *MESH_SUFFIXES)
"""Suffixes of files that cannot contain the parameters of their run."""
