"""Reads tables of points: CSV with a header line, or Parquet."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

SUFFIXES = (".csv", ".parquet")


def read_columns(path: Path, names: Sequence[str]) -> Float[np.ndarray, "row name"]:
    """The named columns of a table; other columns are ignored.

    Raises:
        ValueError: no such file, another format, missing columns, no rows, or cells that are not finite numbers.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: give a file that ends in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    columns, rows, first_line = _csv(path) if path.suffix == ".csv" else _parquet(path)
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(f"{path}: column '{missing[0]}' is missing; it has {', '.join(columns) or 'none'}")
    if not rows:
        raise ValueError(f"{path}: the table has no rows")
    wanted = [columns.index(name) for name in names]
    table = np.empty((len(rows), len(names)))
    for k, row in enumerate(rows):
        where = f"{path}, row {k + first_line}"
        for column, index in enumerate(wanted):
            if index >= len(row):
                raise ValueError(f"{where}: it has {len(row)} of {len(columns)} cells, and none for '{names[column]}'")
            table[k, column] = _number(row[index], where)
    return table


def _number(cell: object, where: str) -> float:
    try:
        number = float(cell)  # type: ignore[arg-type]  # a cell that cannot be converted is an error
    except (TypeError, ValueError):
        raise ValueError(f"{where}: '{cell}' is not a number") from None
    if not np.isfinite(number):
        raise ValueError(f"{where}: '{cell}' must be finite")
    return number


def _csv(path: Path) -> tuple[list[str], list[Sequence[object]], int]:
    """Column names, rows, and the line number of the first row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file ({error})") from None
    header = [name.strip() for name in lines[0]] if lines else []
    return header, list(lines[1:]), 2


def _parquet(path: Path) -> tuple[list[str], list[Sequence[object]], int]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({' '.join(str(error).split())})") from None
    return table.column_names, list(zip(*(column.to_pylist() for column in table.columns), strict=True)), 1
