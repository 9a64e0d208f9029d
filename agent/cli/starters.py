"""Writes a commented configuration for the user's own solver, and a working example solver."""

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from mlasdi.agent.text import dump_yaml
from mlasdi.solvers import TabulatedModel, build_solver
from mlasdi.solvers.formats import contents_of, guessed_options

SolverKind = Literal["callable", "scalars", "command", "data-set"]
SOLVER_KINDS: tuple[SolverKind, ...] = get_args(SolverKind)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def write_starter(name: str, kind: SolverKind, folder: Path) -> list[Path]:
    """Write `NAME.yaml` and, except for data sets, `NAME_solver.py`.

    Args:
        name: of the campaign and of a Python module, hence letters, digits and underscores.

    Returns:
        The files written, the configuration first.

    Raises:
        ValueError: the name is not allowed.
        FileExistsError: a file exists; then nothing is written.
        OSError: the folder cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name '{name}': use letters, digits and underscores, and do not start with a digit")
    config, solver = folder / f"{name}.yaml", folder / f"{name}_solver.py"
    starters = files("mlasdi.agent.cli").joinpath("starters")
    text = starters.joinpath(f"{kind}.yaml").read_text()
    places = {"COMMON": starters.joinpath("common.yaml").read_text().rstrip(), "MODULE": solver.stem}
    for place, value in (places | {"FILE": config.name, "PYTHON": sys.executable}).items():
        text = text.replace(f"@{place}@", value)
    written = {config: text}
    program = starters.joinpath(f"{kind}.py")
    if program.is_file():
        written[solver] = program.read_text()
    for path in written:
        if path.exists():
            raise FileExistsError(f"{path} exists: choose another name, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in written.items():
        path.write_text(content)
    return list(written)


def inspected(path: Path) -> dict[str, Any]:
    """What a file of runs holds, and a configuration that reads it.

    Returns:
        `arrays` (name -> shape and type), `attributes`, `config` (YAML text; None if no array looks like fields over
        time), and `notes`: what a person has to decide.

    Raises:
        ValueError: the file has no named arrays, or is damaged.
        OSError: it cannot be read.
    """
    held = contents_of(path)
    found: dict[str, Any] = {
        "arrays": {name: {"shape": list(shape), "dtype": held.dtypes[name]} for name, shape in held.shapes.items()},
        "attributes": {name: _short(value) for name, value in held.attributes.items()},
    }
    try:
        options, notes = guessed_options(path, held)
    except ValueError as error:
        return {**found, "config": None, "notes": [str(error)]}
    box, doubts = _box(options)
    n_runs = max(4, 2 ** len(box) + 2)
    config = {
        "problem": {"solver": "data-set", "options": {**options, "parameters": list(box)}, "parameters": box},
        "budget": {"solver_runs": n_runs},
        "validation": {"rest": True},
    }
    comments = "".join(f"# {note}\n" for note in [*notes, *doubts])
    return {**found, "config": comments + dump_yaml(config), "notes": [*notes, *doubts]}


def _box(options: dict[str, Any]) -> tuple[dict[str, list[float]], list[str]]:
    """Ranges of the parameters that vary between the runs, and what a person has to decide; drops unused sources."""
    names = options["parameters"]
    try:
        fom = build_solver("data-set", options) if names else None
    except ValueError as error:
        return {name: [0.0, 1.0] for name in names}, [f"the runs cannot be read yet: {error}"]
    if not isinstance(fom, TabulatedModel):
        return {}, []
    points = fom.available()
    low, high = points.min(axis=0), points.max(axis=0)
    box = {name: [float(a), float(b)] for name, a, b in zip(names, low, high, strict=True) if a < b}
    if not box:
        return {name: [float(a), float(b)] for name, a, b in zip(names, low, high, strict=True)}, [
            "no parameter differs between the runs that were found: add files, or a table of the runs (option table)"
        ]
    if "sources" in options:
        options["sources"] = {name: place for name, place in options["sources"].items() if name in box}
    return box, [f"{len(points)} runs were found"]


def _short(value: Any) -> str:
    text = " ".join(str(value.decode(errors="replace") if isinstance(value, bytes) else value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
