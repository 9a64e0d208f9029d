"""Existing solutions in files as a full-order model that has solutions at their parameters only."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Snapshots, SolverError, Table, differ_by_white_noise, not_averaged, read_table
from mlasdi.solvers.adapters.array_files import ARRAY_SUFFIXES, NO_PARAMETERS, read_group
from mlasdi.solvers.adapters.file_arrays import FileArrays, named_columns
from mlasdi.solvers.formats import is_series, members

# A requested point is that of a run if no parameter differs by more than this fraction of the range of its values.
_TOLERANCE = 1e-9
_TABLE_NAMES = ("parameters.csv", "parameters.json")


@dataclass(frozen=True)
class Run:
    """One solution of a data set.

    Attributes:
        mu: its parameters.
        file: file that contains it, or a pattern of the names of files with one time each.
        group: group in an HDF5 file that has one group for each run; else empty.
        index: index along the first axis of arrays that contain all runs; else None.
        row: its row in the table of the runs; None without a table.
    """

    mu: tuple[float, ...]
    file: Path
    group: str = ""
    index: int | None = None
    row: int | None = None

    def __str__(self) -> str:
        """Where the run is, for messages."""
        places = {"group": self.group or None, "run": self.index, "row": self.row}
        return ", ".join([str(self.file), *(f"{name} {one}" for name, one in places.items() if one is not None)])


@dataclass(frozen=True, kw_only=True)
class DataSet(FileArrays):
    """Existing runs of a solver, in one of these forms.

    - a folder with one file for each run, and a table `parameters.csv` or `parameters.json` with a column `file` and
      one column for each parameter; in the column, a pattern such as `run_1/u_*.vtu` stands for files with one time
      each; without a table, each file contains its parameters as attributes or scalars
    - one HDF5 file with a group for each run, which contains its parameters as attributes or scalars
    - one HDF5, NetCDF, Zarr, MATLAB or NPZ file with arrays whose first axis is the run: each parameter `[run]`, fields
      `[run, time, ...]`, and times `[time]` or `[run, time]`

    If several runs have the same parameters, the solution is their mean if they differ by white noise alone; other
    differences are an error, because the parameters do not say which run is meant.

    Stored solutions are found again by the parameters of all runs, the names and sizes of their files, and `version`.

    Attributes:
        path: the folder or file.
        parameters: names of the parameters.
        table: table of the runs, if it is not in the folder under its usual name.
        version: of the data.
        mean_of_runs: whether runs at equal parameters are averaged whatever they differ by; a configuration that gives
            the level of the noise as `model.noise` sets it.

    Raises:
        ValueError: the files or the table cannot be read.
    """

    path: str
    parameters: tuple[str, ...]
    table: str = ""
    version: str = ""
    mean_of_runs: bool = False

    layout = None  # each solution brings its own

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("option parameters must name at least one")
        self.available()

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self.parameters

    def available(self) -> Float[np.ndarray, "run n_params"]:
        """The different parameters of all runs, in the order of `parameter_names`."""
        return np.array(list(dict.fromkeys(run.mu for run in self.all_runs)))

    def identity(self) -> Json:
        runs = [[*run.mu, run.file.name, _size(run.file), run.group, run.index] for run in self.all_runs]
        digest = hashlib.sha256(json.dumps(runs).encode()).hexdigest()
        return {"solver": "data-set", "runs": digest, "version": self.version, **self.naming()}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """The solution at one of the available points.

        Raises:
            SolverError: there is no run at these parameters (`bad-parameters`), its file cannot be used, or several
                runs there have different times or shapes (`bad-output`), or differ by more than white noise
                (`bad-parameters`).
        """
        runs = self._runs_at(mu)
        first, *others = (self._read(run) for run in runs)
        for other in others:
            if first.u.shape != other.u.shape or not np.array_equal(first.t, other.t):
                reason = "they have different times or shapes"
                raise SolverError("bad-output", not_averaged(runs, str(dict(mu)), reason))
        if not others or first.layout is None:
            return first
        u = np.stack([first.u, *(other.u for other in others)])
        if not (self.mean_of_runs or differ_by_white_noise(u, len(first.layout.fields))):
            raise SolverError("bad-parameters", not_averaged(runs, str(dict(mu))))
        return replace(first, u=u.mean(axis=0))

    def _read(self, run: Run) -> Snapshots:
        try:
            if run.group:
                with h5py.File(run.file, "r", locking=False) as content:
                    arrays = read_group(content[run.group], self.wanted())
            elif run.index is not None:
                arrays = self._slice(run)
            else:
                arrays = self.read_files(Path(self.path), os.path.relpath(run.file, self.path))
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise SolverError("bad-output", f"{run} cannot be read: {error}") from error
        try:
            snapshots = self.snapshots({name: one for name, one in arrays.items() if name not in self.parameters})
        except SolverError as error:
            raise SolverError(error.kind, f"{run}: {error}") from error
        self.check_finite(snapshots, str(run), () if run.index is None else (run.index,))
        return snapshots

    @cached_property
    def all_runs(self) -> tuple[Run, ...]:
        """All runs, in the order of the table or of the file names."""
        root, table = Path(self.path), Path(self.table) if self.table else None
        try:
            return _index(root, table, self.parameters, self.reader, _stamps(root, table))
        except SolverError as error:
            raise ValueError(f"option path: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f"option path: {self.path}: {' '.join(str(error).split())}") from error

    def _runs_at(self, mu: Mapping[str, float]) -> list[Run]:
        points, wanted = self.available(), np.array([mu[name] for name in self.parameters])
        spread = np.maximum(np.ptp(points, axis=0), np.finfo(float).tiny)
        distance = (np.abs(points - wanted) / spread).max(axis=1)
        nearest = int(np.argmin(distance))
        if distance[nearest] > _TOLERANCE:
            there = dict(zip(self.parameters, points[nearest].tolist(), strict=True))
            raise SolverError("bad-parameters", f"the data set has no run at {dict(mu)}; the nearest is at {there}")
        return [run for run in self.all_runs if run.mu == tuple(points[nearest])]

    def _slice(self, run: Run) -> dict[str, np.ndarray]:
        """Arrays of one run from a file that contains all runs."""
        arrays, _ = named_columns(run.file, self.wanted(), self.reader)
        shared = {*self.coordinate_names(), *self.parameters}
        if self.time in arrays and 1 in (arrays[self.time].ndim, *arrays[self.time].shape):  # MATLAB's vectors
            shared.add(self.time)
        return {name: values if name in shared else values[run.index] for name, values in arrays.items()}


def _stamps(*paths: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and modification times of files, and of the files in folders."""
    files = [file for path in paths if path for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())


def _size(path: Path) -> int:
    """Bytes of a file, of all files of a folder, or of the files of a series."""
    if is_series(str(path)) and not path.exists():
        return sum(map(_size, members(Path(path.anchor), str(path.relative_to(path.anchor)))))
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


@lru_cache(maxsize=8)
def _index(
    root: Path,
    table: Path | None,
    parameters: tuple[str, ...],
    reader: str,
    stamps: tuple[tuple[str, int, int], ...],
) -> tuple[Run, ...]:
    """All runs of a data set; cached, because the solver is built for every solve and opening all files takes long.

    Args:
        stamps: `_stamps` of the files, by which a changed file makes the cached value invalid.
    """
    is_folder = root.is_dir() and root.suffix.lower() != ".zarr"
    runs = tuple(_in_folder(root, table, parameters, reader) if is_folder else _in_file(root, parameters, reader))
    if not runs:
        raise ValueError(f"there are no runs; formats: {', '.join(ARRAY_SUFFIXES)}, or the option reader")
    return runs


def _in_folder(root: Path, table: Path | None, parameters: tuple[str, ...], reader: str) -> Iterator[Run]:
    table = table or next((root / name for name in _TABLE_NAMES if (root / name).is_file()), None)
    if table is not None:
        yield from _in_table(root, read_table(table), parameters)
        return
    for file in sorted(path for path in root.iterdir() if reader or path.suffix.lower() in ARRAY_SUFFIXES):
        if not reader and file.suffix.lower() in NO_PARAMETERS:
            columns = ", ".join(("file", *parameters))
            raise ValueError(
                f"{file.name} cannot contain its parameters: add {_TABLE_NAMES[0]} with the columns {columns}"
            )
        values, attributes = named_columns(file, parameters, reader)
        yield Run(_point({**attributes, **values}, parameters, str(file)), file)


def _in_table(root: Path, table: Table, parameters: tuple[str, ...]) -> Iterator[Run]:
    columns = table.cells("file"), table.numbers(parameters).tolist(), table.row_numbers
    for (where, name), mu, row in zip(*columns, strict=True):
        file = root / str(name)
        if not (members(root, str(name)) if is_series(str(name)) else file.exists()):
            raise ValueError(f"{where}: there is no file {file}")
        yield Run(tuple(mu), file, row=row)


def _in_file(file: Path, parameters: tuple[str, ...], reader: str) -> Iterator[Run]:
    if not file.exists():
        raise ValueError("no such file or folder")
    columns, _ = named_columns(file, parameters, reader)
    if set(columns) == set(parameters):
        rows = np.stack([np.ravel(columns[name]).astype(float) for name in parameters], axis=-1)
        for i, row in enumerate(rows):
            numbers = dict(zip(parameters, row, strict=True))
            yield Run(_point(numbers, parameters, f"{file}, run {i}"), file, index=i)
        return
    if not h5py.is_hdf5(file):
        raise ValueError(f"has no arrays {sorted(set(parameters) - set(columns))}, one number for each run")
    with h5py.File(file, "r", locking=False) as content:
        for name, group in content.items():
            if isinstance(group, h5py.Group):
                row = {**group.attrs, **read_group(group, parameters)}
                yield Run(_point(row, parameters, f"{file}, group {name}"), file, group=name)


def _point(row: Mapping[str, Any], parameters: tuple[str, ...], where: str) -> tuple[float, ...]:
    missing = [name for name in parameters if name not in row]
    if missing:
        has = ", ".join(map(str, row)) or "nothing"
        raise ValueError(f"{where} has no parameter {missing[0]}; it has {has}")
    point = tuple(float(np.asarray(row[name], dtype=float).item()) for name in parameters)
    for name, value in zip(parameters, point, strict=True):
        if not np.isfinite(value):
            raise ValueError(f"{where}: parameter '{name}' = {value} must be finite")
    return point
