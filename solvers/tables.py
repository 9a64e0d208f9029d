"""Reads tables: CSV with commas, semicolons, tabs or blanks between cells, JSON with a list of rows, and Parquet.

Every table that a user can give is read here: points, sensors, candidates, the runs of a data set, and solutions in
text files. Messages name the row, as an editor or viewer numbers it, and the column.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
SUFFIXES = (*TEXT_SUFFIXES, ".json", ".parquet")
_ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Table:
    """The cells of a table with named columns.

    Attributes:
        path: its file, for messages.
        columns: names of the columns.
        rows: cells by row; a row may have fewer cells than there are columns.
        row_numbers: number of each row in the file.
    """

    path: Path
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    row_numbers: Sequence[int]

    def cells(self, name: str) -> list[tuple[str, object]]:
        """Place (for messages) and content of each cell of a column.

        Raises:
            ValueError: there is no such column, or several, a cell is empty or absent, or a row has further cells.
        """
        if name not in self.columns:
            raise ValueError(f"{self.path}: column '{name}' is missing; it has {', '.join(self.columns) or 'none'}")
        if self.columns.count(name) > 1:
            raise ValueError(f"{self.path}: {self.columns.count(name)} columns are called '{name}'")
        at, found = self.columns.index(name), []
        for number, row in zip(self.row_numbers, self.rows, strict=True):
            if at >= len(row):
                where = f"{self.path}, row {number}"
                raise ValueError(f"{where}: it has {len(row)} of {len(self.columns)} cells, and none for '{name}'")
            if any(cell not in (None, "") for cell in row[len(self.columns) :]):
                where = f"{self.path}, row {number}"
                raise ValueError(f"{where}: it has {len(row)} cells, and there are {len(self.columns)} columns")
            where = f"{self.path}, row {number}, column '{name}'"
            if row[at] is None or row[at] == "":
                raise ValueError(f"{where}: the cell is empty")
            found.append((where, row[at]))
        return found

    def numbers(self, names: Sequence[str]) -> Float[np.ndarray, "row name"]:
        """The named columns; other columns are ignored.

        Raises:
            ValueError: a column is missing, there are no rows, or a cell is empty or no finite number.
        """
        columns = [[_finite(where, cell) for where, cell in self.cells(name)] for name in names]
        if not self.rows:
            raise ValueError(f"{self.path}: the table has no rows")
        return np.array(columns, dtype=float).reshape(len(names), len(self.rows)).T

    def numbers_or_nan(self, name: str) -> Float[np.ndarray, " row"]:
        """One column, NaN where a cell is empty, absent or `nan`.

        Raises:
            ValueError: there is no such column, or several, or a cell is no finite number.
        """
        empty = [self._is_empty(row, name) for row in self.rows]
        kept = [k for k, is_empty in enumerate(empty) if not is_empty]
        part = Table(self.path, self.columns, [self.rows[k] for k in kept], [self.row_numbers[k] for k in kept])
        found = np.full(len(self.rows), np.nan)
        found[kept] = [_finite(where, cell) for where, cell in part.cells(name)]
        return found

    def _is_empty(self, row: Sequence[object], name: str) -> bool:
        at = list(self.columns).index(name) if name in self.columns else len(row)
        return at >= len(row) or row[at] is None or str(row[at]).strip().lower() in ("", "nan")


def read_table(path: Path) -> Table:
    """A table with named columns: text with a header line, JSON, or Parquet.

    Raises:
        ValueError: no such file, another format, or the file is damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: give a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    return {".json": _json, ".parquet": _parquet}.get(suffix, _text)(path)


def read_columns(path: Path, names: Sequence[str]) -> Float[np.ndarray, "row name"]:
    """The named columns of a table; other columns are ignored.

    Raises:
        ValueError: the table cannot be read, a column is missing, or a cell is empty or no finite number.
    """
    return read_table(path).numbers(names)


def read_matrix(path: Path) -> tuple[list[str] | None, Float[np.ndarray, "row column"]]:
    """A text file of numbers, which may be NaN or infinite.

    Returns:
        The names of the columns, None if the file has none or another number of them; and the numbers.

    Raises:
        ValueError: there are no numbers, rows differ in length, or a cell is empty or no number.
    """
    header, lines, delimiter = _header_and_lines(path)
    if not lines:
        raise ValueError("it has no rows of numbers")
    try:
        values = np.loadtxt([line for _, line in lines], delimiter=delimiter, ndmin=2, comments=None, quotechar='"')
    except ValueError as error:
        _check_cells(header, [(number, _cells(line, delimiter)) for number, line in lines])
        raise ValueError(f"it is no table of numbers: {error}") from error
    return header if header and len(header) == values.shape[1] else None, values


def _check_cells(header: list[str] | None, rows: list[tuple[int, list[str]]]) -> None:
    """Check that all rows have the same number of cells, all of them numbers.

    Raises:
        ValueError: otherwise; the message names row and column.
    """
    width = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            raise ValueError(f"row {number} has {len(cells)} cells, the first row of numbers {width}")
        for column, cell in enumerate(cells):
            if not _is_number(cell):
                name = f"'{header[column]}'" if header and len(header) == width else column + 1
                raise ValueError(f"row {number}, column {name}: {_complaint(cell)}")


def _text(path: Path) -> Table:
    try:
        header, lines, delimiter = _header_and_lines(path, named=True)
        rows = [_cells(line, delimiter) for _, line in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file ({error})") from None
    return Table(path, header or [], rows, [number for number, _ in lines])


def _header_and_lines(path: Path, named: bool = False) -> tuple[list[str] | None, list[tuple[int, str]], str | None]:
    """Names of the columns, numbered lines below them, and the mark between cells (None for blanks).

    Lines that begin with # are comments. The last comment above the cells is the header if the first line of cells
    consists of numbers, as NumPy writes it.

    Args:
        named: whether a first line of numbers without a comment above is a header all the same.
    """
    comment, body = "", list[tuple[int, str]]()
    for number, line in _numbered_lines(path):
        if not line.lstrip().startswith("#"):
            body.append((number, line))
        elif not body and line.strip("# \t"):
            comment = line.strip().lstrip("# ")
    delimiter = _delimiter(body[0][1] if body else comment)
    first = _cells(body[0][1], delimiter) if body else []
    if body and (not all(map(_is_number, first)) or (named and not comment)):
        return first, body[1:], delimiter
    return _cells(comment, delimiter) if comment else None, body, delimiter


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1; a byte-order mark says which Unicode encoding it is."""
    with path.open("rb") as stream:
        start = stream.read(3)
    encoding = next((name for mark, name in _ENCODINGS.items() if start.startswith(mark)), "utf-8")
    with path.open(encoding=encoding) as text:
        for number, line in enumerate(text, start=1):
            if line.strip():
                yield number, line.rstrip()


def _delimiter(line: str) -> str | None:
    """The mark between cells, found outside of quotes; None for blanks.

    A semicolon comes before commas: where it separates cells, commas may be decimal marks.
    """
    unquoted = re.sub('"[^"]*"', "", line)
    if ";" in unquoted:
        return ";"
    return max(",\t", key=unquoted.count) if "," in unquoted or "\t" in unquoted else None


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return [cell.strip('"') for cell in line.split()]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _json(path: Path) -> Table:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f'{path}: must be a table, that is a list of rows such as {{"file": "0.h5", "a": 1}}')
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Table(path, columns, [[row.get(name) for name in columns] for row in rows], range(1, len(rows) + 1))


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({' '.join(str(error).split())})") from None
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return Table(path, table.column_names, rows, range(1, len(rows) + 1))


def _finite(where: str, cell: object) -> float:
    if isinstance(cell, bool) or not _is_number(cell):
        raise ValueError(f"{where}: {_complaint(cell)}")
    number = float(cell)  # type: ignore[arg-type]  # `_is_number` tried it
    if not np.isfinite(number):
        raise ValueError(f"{where}: '{cell}' must be finite")
    return number


def _is_number(cell: object) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]  # what cannot be converted is no number
    except (TypeError, ValueError):
        return False
    return True


def _complaint(cell: object) -> str:
    if cell == "":
        return "the cell is empty"
    decimal_comma = isinstance(cell, str) and "," in cell and _is_number(cell.replace(",", "."))
    return f"'{cell}' is not a number" + ("; write a decimal point" if decimal_comma else "")
