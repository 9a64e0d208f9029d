"""Series of files with one time each, named by a pattern such as `out/u_*.vtu`."""

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mlasdi.solvers import SolverError
from mlasdi.solvers.formats.mesh_files import POINTS, Arrays, joined

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def is_series(name: str) -> bool:
    """Whether a file name is a pattern: has `*`, `?` or `[...]`."""
    return glob.has_magic(name)


def members(folder: Path, pattern: str) -> list[Path]:
    """The files of a series in natural order: u_2 before u_10."""
    found = glob.glob(pattern, root_dir=folder, recursive=True)
    return [folder / name for name in sorted(found, key=_natural)]


def read_series(
    files: Sequence[Path],
    read: Callable[[Path], Arrays],
    time: str,
    times: tuple[float, float] | Literal["names"] | None,
    fixed: Sequence[str],
) -> Arrays:
    """Arrays over time `[time, ...]`, each file read by `read`.

    Args:
        time: name of the array with the time in each file, if `times` is not given; under it the times are returned.
        times: `names` if the last number in the name of a file is its time; [first, last] of equidistant times.
        fixed: names of arrays that are the same in all files, such as coordinates; returned without the axis of time.

    Raises:
        SolverError: a file or its time is missing, or an array is missing or changes its shape; the message names it.
    """
    if isinstance(times, tuple):
        _check_no_gap(files)
    kept = Arrays()

    def steps() -> Iterator[tuple[Path, float | None, Arrays]]:
        for path in files:
            arrays = read(path)
            t = None if isinstance(times, tuple) else _time(path, arrays, time, times)
            arrays.pop(time, None)
            for name in (*fixed, POINTS):
                if name in arrays:
                    one = np.asarray(arrays.pop(name))
                    if not np.array_equal(one, kept.setdefault(name, one)):
                        raise SolverError("wrong-shape", f"{path}: '{name}' differs from that of {files[0]}")
            yield path, t, arrays

    return {**joined(steps(), time), **kept}


def _time(path: Path, arrays: Arrays, time: str, times: str | None) -> float:
    if times == "names":
        numbers = _NUMBER.findall(path.stem if path.suffix[1:].isalpha() else path.name)
        if not numbers:
            raise SolverError("bad-times", f"{path}: its name has no number to be the time (option times: names)")
        return float(numbers[-1])
    if time not in arrays:
        remedy = "give the option times: [first, last], or names if the names of the files contain the times"
        raise SolverError("bad-times", f"{path}: there is no time '{time}'; {remedy}")
    value = np.asarray(arrays[time])
    if value.size != 1:
        raise SolverError("bad-times", f"{path}: '{time}' has shape {value.shape}; a file of a series has one time")
    return float(value.item())


def _check_no_gap(files: Sequence[Path]) -> None:
    """Check that the numbers of the files have equal steps, where their times are said to be equidistant.

    Raises:
        SolverError: a file is missing (`missing-output`).
    """
    numbers = [_NUMBER.findall(path.stem) for path in files]
    if len(files) < 3 or not all(numbers):
        return
    steps = np.diff([float(found[-1]) for found in numbers])
    odd = np.flatnonzero(~np.isclose(steps, np.median(steps)))
    if odd.size:
        before, after = files[odd[0]].name, files[odd[0] + 1].name
        raise SolverError(
            "missing-output",
            f"{files[0].parent}: a file between {before} and {after} is missing: the times are given as equidistant "
            "(option times), and the numbers of the others are",
        )


def _natural(name: str) -> list[tuple[bool, float, str]]:
    """Sorts names with numbers by the numbers."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), float(part) if part.isdigit() else 0.0, part) for part in parts]
