"""The runs of a data set: their files, and their parameters in tables, arrays and attributes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mlasdi.solvers import Table, read_table
from mlasdi.solvers.adapters.array_files import ARRAY_SUFFIXES, NO_PARAMETERS, read_group
from mlasdi.solvers.adapters.file_arrays import named_columns
from mlasdi.solvers.formats import is_series, members, yaml_content

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


def stamps(*paths: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and modification times of files, and of the files in folders."""
    files = [file for path in paths if path for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())


def size_of(path: Path) -> int:
    """Bytes of a file, of all files of a folder, or of the files of a series."""
    if is_series(str(path)) and not path.exists():
        return sum(map(size_of, members(Path(path.anchor), str(path.relative_to(path.anchor)))))
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


@lru_cache(maxsize=8)
def index_runs(
    root: Path,
    table: Path | None,
    parameters: tuple[str, ...],
    reader: str,
    stamps: tuple[tuple[str, int, int], ...],
) -> tuple[Run, ...]:
    """All runs of a data set; cached, because the solver is built for every solve and opening all files takes long.

    Args:
        stamps: `stamps` of the files, by which a changed file makes the cached value invalid.
    """
    is_folder = root.is_dir() and root.suffix.lower() != ".zarr"
    if is_folder:
        runs = tuple(_in_folder(root, table, parameters, reader))
    elif table is not None:
        runs = tuple(_in_table_of_file(root, read_table(table), parameters))
    else:
        runs = tuple(_in_file(root, parameters, reader))
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
        values, attributes = named_columns(file, _keys(parameters), reader)
        yield Run(_point({**attributes, **values}, parameters, str(file)), file)


def _in_table(root: Path, table: Table, parameters: tuple[str, ...]) -> Iterator[Run]:
    columns = table.cells("file"), table.numbers(parameters).tolist(), table.row_numbers
    for (where, name), mu, row in zip(*columns, strict=True):
        file = root / str(name)
        if not (members(root, str(name)) if is_series(str(name)) else file.exists()):
            raise ValueError(f"{where}: there is no file {file}")
        yield Run(tuple(mu), file, row=row)


def _in_table_of_file(file: Path, table: Table, parameters: tuple[str, ...]) -> Iterator[Run]:
    """Runs of one file whose parameters are in a table: by `group`, by `index`, or in their order."""
    points, numbers = table.numbers(parameters).tolist(), table.row_numbers
    if "group" in table.columns:
        for (_, name), mu, row in zip(table.cells("group"), points, numbers, strict=True):
            yield Run(tuple(mu), file, group=str(name), row=row)
        return
    at = table.numbers(["index"])[:, 0] if "index" in table.columns else np.arange(len(points))
    for index, mu, row in zip(at.tolist(), points, numbers, strict=True):
        yield Run(tuple(mu), file, index=int(index), row=row)


def _in_file(file: Path, parameters: tuple[str, ...], reader: str) -> Iterator[Run]:
    if not file.exists():
        raise ValueError("no such file or folder")
    columns, _ = named_columns(file, _keys(parameters), reader)
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
                row = {**group.attrs, **read_group(group, _keys(parameters))}
                yield Run(_point(row, parameters, f"{file}, group {name}"), file, group=name)


def _point(row: Mapping[str, Any], parameters: tuple[str, ...], where: str) -> tuple[float, ...]:
    missing = [name for name in _keys(parameters) if name not in row]
    if missing:
        has = ", ".join(map(str, row)) or "nothing"
        raise ValueError(f"{where} has no parameter {missing[0]}; it has {has}")
    point = tuple(_number(row, name, where) for name in parameters)
    for name, value in zip(parameters, point, strict=True):
        if not np.isfinite(value):
            raise ValueError(f"{where}: parameter '{name}' = {value} must be finite")
    return point


def _keys(places: tuple[str, ...]) -> list[str]:
    """Names of the arrays and attributes that hold these parameters."""
    return [place.partition(":")[0] for place in places]


def _number(row: Mapping[str, Any], place: str, where: str) -> float:
    """The number that an array or attribute is, or the number under a key of an attribute with YAML text."""
    name, _, keys = place.partition(":")
    value = row[name]
    if keys:
        value = yaml_content(value if isinstance(value, bytes) else str(value))
        for key in keys.split("."):
            if not isinstance(value, Mapping) or key not in value:
                has = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
                raise ValueError(f"{where}: '{name}' has no key '{keys}'; at '{key}' it has {has}")
            value = value[key]
    try:
        return float(np.asarray(value, dtype=float).item())
    except (TypeError, ValueError):
        raise ValueError(f"{where}: parameter '{place}' = {value!r} is not one number") from None
