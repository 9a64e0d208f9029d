"""Guesses the options of a data set from what a file holds: the layouts of PDEBench and The Well, and similar ones.

PDEBench: https://arxiv.org/abs/2210.07182, one array `[sample, time, x, ...]`, or a group for each run with `data` and
`grid/*`. The Well: https://arxiv.org/abs/2412.00568, `t0_fields`, `t1_fields`, `dimensions` and `scalars`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlasdi.solvers.formats.listing import Listing
from mlasdi.solvers.formats.yaml_attributes import yaml_content

_TIMES = ("t", "time", "times", "t-coordinate", "t_coordinate")


@dataclass(frozen=True)
class _Scope:
    """The arrays of one run or of all runs, and the attributes that may hold its parameters."""

    shapes: Mapping[str, tuple[int, ...]]
    attributes: Mapping[str, Any]
    is_group: bool


def guessed_options(path: Path, held: Listing) -> tuple[dict[str, Any], list[str]]:
    """Options of the solver `data-set` for a file, and what they leave open, for a person to read.

    Raises:
        ValueError: no array looks like times, or none like fields over them.
    """
    scope, notes = _scope(held), list[str]()
    numeric = {name: shape for name, shape in scope.shapes.items() if not name.endswith(("_mask", "/mask"))}
    time = _time(numeric)
    n_time = max(numeric[time])
    fields, at, extra = _fields(numeric, time, n_time)
    runs_first = at == 1
    grid = min((numeric[name][at + 1 :] for name in fields), key=len)
    coordinates = _coordinates(numeric, {time, *fields}, grid)
    n_runs = numeric[fields[0]][0] if runs_first else None
    used = {time, *fields, *(one for one in coordinates.values() if isinstance(one, str))}
    sources = _parameters(scope, numeric, used, n_runs)
    options: dict[str, Any] = {"path": str(path), "parameters": list(sources), "time": time, "fields": fields}
    options |= {"coordinates": coordinates} if coordinates else {}
    options |= {"extra_times": extra} if extra else {}
    moved = {name: place for name, place in sources.items() if name != place}
    options |= {"sources": moved} if moved else {}
    if not sources:
        notes.append("no parameters were found: name arrays or attributes, or give a table (option table)")
    per_run = [place for place in sources.values() if numeric.get(place) == (n_runs,)]
    if runs_first and not per_run:
        options |= {"path": str(path.parent), "run": 0}
        notes.append(
            f"the parameters are those of the whole file, with {n_runs} runs: run chooses one of each file; to "
            "use all, give a table of their parameters (option table, a row for each run)"
        )
    elif not runs_first and not scope.is_group:
        options["path"] = str(path.parent)
    return options, notes


def _scope(held: Listing) -> _Scope:
    """The first group if all groups at the top hold the same arrays and no others are there; else the file."""
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in held.shapes.items():
        first, _, rest = name.partition("/")
        groups.setdefault(first if rest else "", {})[rest or name] = shape
    members = list(groups.values())
    if "" not in groups and len(groups) > 1 and all(set(one) == set(members[0]) for one in members):
        name, arrays = next(iter(groups.items()))
        prefix = f"{name}@"
        own = {key.removeprefix(prefix): one for key, one in held.attributes.items() if key.startswith(prefix)}
        return _Scope(arrays, own, is_group=True)
    return _Scope(held.shapes, {key: one for key, one in held.attributes.items() if "@" not in key}, is_group=False)


def _time(shapes: Mapping[str, tuple[int, ...]]) -> str:
    for name, shape in shapes.items():
        if name.rpartition("/")[2].lower() in _TIMES and shape and max(shape) > 1:
            return name
    raise ValueError(f"no array looks like times ({', '.join(_TIMES)}); found {', '.join(shapes) or 'none'}")


def _fields(shapes: Mapping[str, tuple[int, ...]], time: str, n_time: int) -> tuple[list[str], int, int]:
    """Names of the arrays over time, which of their axes is time, and how many times have no values."""
    for extra in (0, 1):
        for at in (0, 1):
            found = {
                name: shape
                for name, shape in shapes.items()
                if name != time and len(shape) > at + 1 and shape[at] == n_time - extra
            }
            if found:
                fewest = min(found.values(), key=len)[: at + 1]
                return [name for name, shape in found.items() if shape[: at + 1] == fewest], at, extra
    raise ValueError(f"no array has the {n_time} times of '{time}' on its first or second axis")


def _coordinates(
    shapes: Mapping[str, tuple[int, ...]], used: set[str], grid: tuple[int, ...]
) -> dict[str, str | list[float]]:
    """Axis -> array with its coordinates; its numbers where there is none. Empty if no axis has one."""
    free = {name: shape for name, shape in shapes.items() if name not in used and len(shape) == 1}
    found: dict[str, str | list[float]] = {}
    for i, n in enumerate(grid):
        letter = "xyz"[i] if len(grid) <= 3 else f"x{i + 1}"
        fitting = [name for name, shape in free.items() if shape == (n,)]
        preferred = [name for name in fitting if name.rpartition("/")[2].lower().startswith(letter)]
        if fitting:
            name = (preferred or fitting)[0]
            free.pop(name)
            found[letter] = name
        else:
            found[letter] = [0.0, float(n - 1)]
    *others, last = found
    if others and isinstance(found[last], list) and all(isinstance(found[axis], str) for axis in others):
        found.pop(last)  # the components of a vector
    return found if any(isinstance(one, str) for one in found.values()) else {}


def _parameters(
    scope: _Scope, shapes: Mapping[str, tuple[int, ...]], used: set[str], n_runs: int | None
) -> dict[str, str]:
    """Parameter -> where it is: numbers of each run, single numbers, attributes, and keys of attributes with YAML."""
    arrays = [name for name, shape in shapes.items() if name not in used and shape in ((), (1,), (n_runs,))]
    places = {name: name.rpartition("/")[2] for name in arrays}
    for name, value in scope.attributes.items():
        if isinstance(value, str | bytes):
            places |= {f"{name}:{key}": key.rpartition(".")[2] for key in _leaves(yaml_content(value))}
        elif np.size(value) == 1 and np.asarray(value).dtype.kind in "iuf":
            places[name] = name
    found: dict[str, str] = {}
    for place, name in places.items():
        found[name if name not in found else place.replace("/", "_").replace(":", "_")] = place
    return found


def _leaves(value: Any, prefix: str = "") -> list[str]:
    """Dotted keys of the numbers in a mapping."""
    if not isinstance(value, Mapping):
        return [prefix] if prefix and isinstance(value, int | float) and not isinstance(value, bool) else []
    return [leaf for key, one in value.items() for leaf in _leaves(one, f"{prefix}.{key}" if prefix else str(key))]
