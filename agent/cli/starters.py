"""Writes a commented configuration for the user's own solver, and a working example solver."""

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

SolverKind = Literal["callable", "command", "data-set"]
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
