"""Commands whose solver leaves, moves or prints: an error message or a failed point, never an exit without a word."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlasdi.agent.config import load_config

SOLVER = """
import os, sys
import numpy as np
T, X = np.linspace(0, 1, 6), np.linspace(0, 1, 5)
def decays(a): return T, np.exp(-a * T)[:, None] * np.cos(X)
def exits(a):
    if a > 1.9: sys.exit(0)
    return decays(a)
def leaves(a):
    if a > 1.9: os._exit(0)
    return decays(a)
def always_leaves(a): os._exit(0)
def misbehaves(a):
    print("stray")
    os.chdir("/")
    sys.stdout.close()
    os.close(2)
    if os.fork() == 0: sys.exit(0)
    return decays(a)
"""
CONFIG: dict[str, Any] = {
    "problem": {"solver": "callable", "parameters": {"a": [1.0, 2.0]}},
    "budget": {"solver_runs": 4},
    "model": {"kind": "snapshot-gp"},
    "cluster": {"executor": "serial"},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the solvers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "misbehaving", raising=False)
    Path("misbehaving.py").write_text(SOLVER)
    return tmp_path


def configured(function: str, **problem: object) -> str:
    options = {"options": {"function": f"misbehaving:{function}"}}
    Path("own.yaml").write_text(yaml.safe_dump(CONFIG | {"problem": CONFIG["problem"] | options | problem}))
    return "own.yaml"


def mlasdi(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in its own process, with real streams, and without a limit of threads in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    code = "from mlasdi.agent.cli.main import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["exits", "leaves"])
def test_a_solver_that_leaves_at_one_point_costs_that_point(function: str) -> None:
    result = mlasdi("run", configured(function), "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["solver_runs"], report["failed_runs"]) == (4, 1)
    (failure,) = report["failures"]
    assert failure["mu"] == {"a": 2.0}
    assert failure["kind"] == "exception"
    assert "misbehaving.py:" in failure["message"]
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_what_a_solver_does_to_its_process_does_not_matter(folder: Path) -> None:
    result = mlasdi("run", configured("misbehaves"))
    assert result.returncode == 0, result.stderr
    assert "stray" not in result.stdout
    assert "Traceback" not in result.stderr
    assert len(list((folder / "mlruns/campaigns/own/snapshots").glob("*.h5"))) == 4


@pytest.mark.parametrize("command", [["check"], pytest.param(["run", "--dry-run"], marks=pytest.mark.slow)])
def test_a_trial_solve_that_leaves_is_an_error(command: list[str]) -> None:
    result = mlasdi(*command, configured("always_leaves"))
    assert result.returncode == 1
    assert result.stderr.startswith("error: the solver fails at {'a': 1.5}: SolverError: the code called os._exit(0)")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "leave",
    ["os._exit(0)", *(pytest.param(one, marks=pytest.mark.slow) for one in ("sys.exit(0)", "raise GeneratorExit"))],
)
def test_a_module_that_leaves_is_an_error_of_the_configuration(leave: str) -> None:
    Path("leaving_module.py").write_text(f"import os, sys\n{leave}\n")
    result = mlasdi("run", configured("decays", options={"function": "leaving_module:solve"}))
    assert result.returncode == 2
    assert "'leaving_module:solve' cannot be loaded: the code " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_predicate_that_leaves_is_an_error_of_the_configuration() -> None:
    Path("leaving_predicate.py").write_text("import os\ndef allowed(a): os._exit(0)\n")
    result = mlasdi("run", configured("decays", constraints=["leaving_predicate:allowed"]))
    assert result.returncode == 2
    assert "problem.constraints: constraint 'leaving_predicate:allowed' fails: the code called" in result.stderr


def test_solutions_stay_where_the_configuration_was_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(configured("decays"))
    monkeypatch.chdir("/")
    assert config.snapshot_root == str(folder / "mlruns/campaigns/own/snapshots")
