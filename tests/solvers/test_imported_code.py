"""Importing the user's own code: folders called `solvers` and `agent` beside the configuration are the user's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlasdi.solvers import imported

HEAT = """
from dataclasses import dataclass

import numpy as np

from mlasdi.solvers import Snapshots, StateLayout

X = np.linspace(0, 1, 9)


def heat(k):
    t = np.linspace(0, 1, 11)
    return t, {"u": np.exp(-k * t)[:, None] * np.sin(np.pi * X), "x": X}


@dataclass(frozen=True)
class Heat:
    parameter_names = ("k",)
    layout = StateLayout(("u",), {"x": X})

    def identity(self):
        return {"solver": "heat"}

    def solve(self, mu):
        t, arrays = heat(mu["k"])
        return Snapshots(t, arrays["u"])
"""
CONFIG = """
problem:
  solver: {solver}
  options: {options}
  parameters: {{k: [1, 2]}}
budget: {{solver_runs: 2}}
"""


@pytest.mark.parametrize("python_path", [pytest.param(None, marks=pytest.mark.slow), "."])
@pytest.mark.parametrize("folder", ["solvers", pytest.param("agent", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("solver", "options"),
    [
        ("{folder}.heat:Heat", "{{}}"),
        pytest.param("callable", "{{function: '{folder}.heat:heat', coordinates: {{x: x}}}}", marks=pytest.mark.slow),
    ],
)
def test_a_user_may_have_folders_called_solvers_and_agent(
    tmp_path: Path, folder: str, solver: str, options: str, python_path: str | None
) -> None:
    """In a process of its own, as the command runs; also with the folder on the module search path."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "heat.py").write_text(HEAT)
    names = {"solver": solver.format(folder=folder), "options": options.format(folder=folder)}
    (tmp_path / "heat.yaml").write_text(CONFIG.format(**names))
    # The search path of the installed package, without the root of this project, which has such folders itself.
    here = str(Path(__file__).parents[2])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path) != Path(here)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*([python_path] if python_path else []), *paths])}
    code = "from mlasdi.agent.cli.main import main; main()"
    command = [sys.executable, "-P", "-c", code, "check", "heat.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "satisfies the contract" in done.stdout


@pytest.mark.parametrize("name", ["heat", "heat:", ":Heat", "no.such.module:Heat", "math:no_such_name"])
def test_names_that_cannot_be_imported_are_value_errors(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        imported(name)
