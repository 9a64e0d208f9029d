"""Reads arrays by name from MATLAB, Zarr and mesh files; says which package each format needs."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mlasdi.solvers import SolverError
from mlasdi.solvers.formats.mesh_files import MESH_READERS

NEEDED = {**dict.fromkeys(MESH_READERS, ("meshio",)), ".zarr": ("xarray", "zarr"), ".mat": ()}
"""Suffix of a file -> packages that read it, beyond those that are always installed."""

SUFFIXES = tuple(NEEDED)
MESH_SUFFIXES = tuple(MESH_READERS)
BINARY_SUFFIXES = (".bin", ".raw", ".dat")
"""Suffixes of raw binary files."""


def read_file(path: Path, names: Sequence[str] | None, time: str = "t") -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays by name of a file of one of `SUFFIXES`, and attributes of the whole file.

    Args:
        names: the arrays to read; None for all. Absent names are left out.
        time: the name under which the times of a mesh file are returned.

    Raises:
        ValueError: the file is damaged, or a package is missing.
        SolverError: the mesh changes, or a file of a series is missing.
    """
    suffix = path.suffix.lower()
    check_installed(suffix)
    try:
        if suffix in MESH_READERS:
            return MESH_READERS[suffix](path, None if names is None else [n for n in names if n != time], time), {}
        return {".mat": _matlab, ".zarr": _zarr}[suffix](path, names)
    except SolverError:
        raise
    except Exception as error:  # the libraries raise anything for damaged files
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def check_installed(suffix: str) -> None:
    """Check that the packages are installed that read files with this suffix.

    Raises:
        ValueError: one is missing.
    """
    missing = [package for package in NEEDED.get(suffix, ()) if find_spec(package) is None]
    if missing:
        raise ValueError(f"{suffix} files need {' and '.join(missing)}: pip install 'mlasdi[formats]'")


def _matlab(path: Path, names: Sequence[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of a MAT-file; version 7.3 is HDF5, where MATLAB's axes are reversed."""
    import h5py  # like SciPy's reader, slow to import, and for these files only
    from scipy.io import loadmat

    if h5py.is_hdf5(path):
        with h5py.File(path, "r", locking=False) as file:
            found = {name: item for name, item in file.items() if names is None or name in names}
            return {name: np.asarray(item).T for name, item in found.items() if isinstance(item, h5py.Dataset)}, {}
    held = loadmat(path, variable_names=None if names is None else list(names))
    return {name: values for name, values in held.items() if not name.startswith("__")}, {}


def _zarr(path: Path, names: Sequence[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables of a Zarr store; packed and missing values as xarray decodes them, times since a date in seconds."""
    import xarray

    from mlasdi.solvers.formats.cf_attributes import decoded

    with xarray.open_dataset(path, engine="zarr", decode_times=False, chunks=None) as found:
        wanted = [name for name in found.variables if names is None or name in names]
        arrays = {str(name): decoded(found[name].values, found[name].attrs) for name in wanted}
        return arrays, dict(found.attrs)
