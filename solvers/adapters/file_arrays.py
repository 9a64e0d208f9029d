"""Solutions in files: what the adapters that read files have in common, beside `NamedArrays`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlasdi.solvers import Json, SolverError, contained, imported, read_matrix
from mlasdi.solvers.adapters.array_files import (
    ARRAY_SUFFIXES,
    TABLES,
    Arrays,
    guarded,
    read_arrays,
    read_snapshot_arrays,
    table_columns,
)
from mlasdi.solvers.formats import BINARY_SUFFIXES, RawFormat, check_installed, is_series, members, read_series
from mlasdi.solvers.outputs import NamedArrays


@dataclass(frozen=True, kw_only=True)
class FileArrays(NamedArrays):
    """How files make a trajectory: by the suffix, a raw format, or a function.

    Attributes:
        reader: `package.module:name` of a function that takes the path of a file or folder and returns its arrays by
            name, in place of the readers that the suffix chooses; an array may be a `mlasdi.solvers.Mesh` called mesh.
        raw: dtype, shape and more of raw binary files, each of which holds one array.
    """

    reader: str = ""
    raw: RawFormat | None = None

    def naming(self) -> Json:
        """These options as JSON, for the identity of a solver."""
        raw = {} if self.raw is None else {"raw": asdict(self.raw)}
        return super().naming() | ({"reader": self.reader} if self.reader else {}) | raw

    def check_reader(self, name: str) -> None:
        """Check that files called `name` can be read.

        Raises:
            ValueError: the function cannot be loaded, the suffix is unknown, a package is missing, or the common mesh
                cannot be read.
        """
        _ = self.target  # an error of the option is told at once
        suffix = Path(name).suffix.lower()
        if self.reader:
            _loaded(self.reader)
        elif self.raw is None and suffix in BINARY_SUFFIXES:
            raise ValueError(f"'{name}': a raw binary file needs the option raw: {{dtype: <f8, shape: [...]}}")
        elif self.raw is None and suffix not in ARRAY_SUFFIXES:
            allowed = ", ".join((*ARRAY_SUFFIXES, *BINARY_SUFFIXES))
            raise ValueError(
                f"'{name}': the format follows from the suffix; allowed: {allowed}; or name a function as reader"
            )
        elif self.raw is None:
            check_installed(suffix)
        if is_series(name) and self.time_axis != 0:
            raise ValueError(f"option time_axis: {self.time_axis}: the files of a series have no axis of time")
        if self.times == "steady" and is_series(name):
            raise ValueError(f"option times: steady is for one file, not for the series '{name}'")
        if self.times == "names" and not is_series(name):
            raise ValueError(f"option times: names is for a series of files such as u_*.vtu, not for '{name}'")

    def read_files(self, folder: Path, name: str) -> Arrays:
        """The arrays of a file, or of a series of files with one time each, as `snapshots` takes them.

        Args:
            folder: folder of the files.
            name: path in it, or a pattern of paths.

        Raises:
            SolverError: see `read_snapshot_arrays` and `mlasdi.solvers.formats.read_series`.
        """
        if not is_series(name):
            path = folder / name
            if self.reader:
                return by_function(self.reader, path)
            if self.raw is not None:
                return self._raw(path)
            return read_snapshot_arrays(path, self)
        files = members(folder, name)
        if not files:
            raise SolverError("missing-output", f"there is no output file {folder / name}")
        times = None if self.times == "steady" else self.times
        return read_series(files, self._one_time, self.time, times, self.coordinate_names())

    def _one_time(self, path: Path) -> Arrays:
        """Arrays of one file of a series, without an axis of time."""
        return dict(self.on_target(self._of_one_time(path)))

    def _of_one_time(self, path: Path) -> Arrays:
        if self.reader:
            return by_function(self.reader, path)
        if self.raw is not None:
            return self._raw(path)
        with guarded(path):
            if path.suffix.lower() in TABLES:
                return table_columns(path, self)
            return read_arrays(path, self.wanted(), one_time=True)[0]

    def _raw(self, path: Path) -> Arrays:
        assert self.raw is not None
        with guarded(path):
            if len(self.fields) > 1:
                raise ValueError(f"a raw file holds one field, and the option fields has {list(self.fields)}")
            return {self.fields[0] if self.fields else "u": self.raw.read(path)}


def named_columns(path: Path, names: Sequence[str] | None, reader: str = "") -> tuple[Arrays, Mapping[str, Any]]:
    """Arrays by name of a file, and its attributes; see `read_arrays`, and `FileArrays.reader`.

    A CSV file has a header, and a row for each run: its columns are one number for each.
    """
    if not reader and path.suffix.lower() == ".csv":
        header, values = read_matrix(path)
        if header is None:
            raise ValueError("a table of runs needs a header with the names of its columns")
        return {name: values[:, i] for i, name in enumerate(header) if names is None or name in names}, {}
    if not reader:
        return read_arrays(path, names)
    return {name: one for name, one in by_function(reader, path).items() if names is None or name in names}, {}


def by_function(reader: str, path: Path) -> Arrays:
    """What the function `reader` returns for a file or folder.

    Raises:
        ValueError: the function cannot be loaded.
        SolverError: there is no such file (`missing-output`), or the function fails or returns no mapping
            (`bad-output`).
    """
    if not path.exists():
        raise SolverError("missing-output", f"there is no output file {path}")
    function = _loaded(reader)
    try:
        with contained():
            found = function(path)
    except SolverError:
        raise
    except Exception as error:  # the user's function may fail in its own ways
        reason = f"{type(error).__name__}: {error}"
        raise SolverError("bad-output", f"{path}: the reader {reader} failed: {reason}") from error
    if not isinstance(found, Mapping):
        returned = type(found).__name__
        raise SolverError("bad-output", f"{path}: the reader {reader} returned {returned}; expected arrays by name")
    return {str(name): one for name, one in found.items()}


def _loaded(reader: str) -> Callable[[Path], Any]:
    function = imported(reader)
    if not callable(function):
        raise ValueError(f"option reader: '{reader}' is {type(function).__name__}, not a function")
    return function
