"""What each process imports: libraries that take long to load are imported by what needs them, and by nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mlasdi

# Libraries that take longer to import than the checks of a configuration.
SLOW = {
    *("torch", "gpytorch", "botorch", "pandas", "sklearn", "mlflow", "ray", "matplotlib", "xarray"),
    *("scipy.interpolate", "scipy.optimize", "scipy.special", "scipy.stats"),
}
NOT_FOR_PREDICTIONS = {
    *("gpytorch", "botorch", "pandas", "mlflow", "ray", "matplotlib", "xarray", "h5py", "scipy.stats"),
    *("mlasdi.training.fitting", "mlasdi.agent.execution.solve_task"),
}

CONFIGURATION = """
problem: {solver: multiscale, parameters: {A: [1.0, 1.4]}}
budget: {solver_runs: 5}
"""
# Commands as `mlasdi` runs them, one after the other; the last line of the output has their exit codes and the modules.
COMMANDS = """
import json, sys
from mlasdi.agent.cli.main import app
codes = []
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments, prog_name="mlasdi")
    except SystemExit as end:
        codes.append(end.code)
print()
print(json.dumps([codes, list(sys.modules)]))
"""


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(list(sys.modules)))"
    return set(json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout))


def run_commands(folder: Path, *commands: list[str]) -> tuple[list[int], set[str], str]:
    """Exit codes, imported modules, and what was written on standard error."""
    given = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(given, check=True, capture_output=True, text=True, cwd=folder)
    codes, modules = json.loads(done.stdout.splitlines()[-1])
    return codes, set(modules), done.stderr


@pytest.mark.parametrize(
    "statement",
    ["from mlasdi.agent.config import Config", "import mlasdi; mlasdi.Config; mlasdi.ModelSettings(stages=[])"],
)
def test_settings_import_no_slow_library(statement):
    modules = modules_after(statement)
    assert "mlasdi.training.settings" in modules
    assert modules & SLOW == set()


def test_a_wrong_key_is_refused_before_slow_imports(tmp_path):
    (tmp_path / "wrong.yaml").write_text(CONFIGURATION.replace("solver_runs", "solver_run"))
    codes, modules, errors = run_commands(tmp_path, ["run", "wrong.yaml"], ["check", "wrong.yaml"], ["--help"])
    assert codes == [2, 2, 0]
    assert errors.count("did you mean 'solver_runs'?") == 2
    assert modules & {*SLOW, "numba"} == set()


def test_the_status_of_a_campaign_needs_no_model(tmp_path):
    (tmp_path / "one.yaml").write_text(CONFIGURATION)
    codes, modules, _ = run_commands(tmp_path, ["status", "one.yaml"], ["status", "one.yaml", "--json"])
    assert codes == [0, 0]
    assert "mlasdi.agent.report.status" in modules
    assert modules & SLOW == set()


def test_a_prediction_imports_neither_the_agent_nor_the_training(tmp_path):
    """Of kriging and of operator inference; torch, and SciPy's splines, are part of both."""
    a, t, x = np.linspace(1, 2, 5)[:, None], np.linspace(0, 0.5, 16), np.linspace(0, 1, 21)
    u = np.exp(-a[:, :, None] * t[:, None]) * np.sin(np.pi * x)
    common = {"parameters": {"a": (1, 2)}, "coordinates": {"x": x}}
    mlasdi.fit(a, t, u, **common, kind="snapshot-gp").save(tmp_path / "kriging")
    inferred = mlasdi.fit(
        a, t, u, **common, effort="quick", first_stage={"kind": "operator-inference"}, stages=[], time_scaling="off",
        coordinate_scaling="off",
    )  # fmt: skip
    assert [stage["name"].partition(" ")[0] for stage in inferred.describe()["stages"]] == ["operator-inference"]
    inferred.save(tmp_path / "inferred")
    predictions = [["predict", model, "--at", "a=1.3", "--out", f"{model}.npz"] for model in ("kriging", "inferred")]
    codes, modules, _ = run_commands(tmp_path, *predictions)
    assert codes == [0, 0]
    assert (tmp_path / "inferred.npz").exists()
    assert modules & NOT_FOR_PREDICTIONS == set()
