"""Failure as normal: every kind through an executor, and a campaign with a program that hangs, crashes and lies."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from unpublished import Unpublished

import mlasdi.agent.campaign.campaign
from mlasdi.agent.campaign import CampaignError, run_campaign
from mlasdi.agent.choosing.acquisition import chance_of_success
from mlasdi.agent.config import load_config
from mlasdi.agent.execution import SolverSpec, SolveTask
from mlasdi.agent.execution.executor import SerialExecutor
from mlasdi.agent.records import Ledger
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.contract import FAILURE_KINDS
from mlasdi.solvers.storage import SnapshotStore, address

SOURCE = Path(__file__).parents[1] / "solvers" / "advection.c"
NAMELIST = "&advection\n speed = {speed:.17g}\n width = {width:.17g}\n n_x = 64\n n_t = 11\n/\n"
MODEL = {"kind": "snapshot-gp", "n_time": 11}  # the fastest one; what the model is does not matter here
BOX = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 1.0, 100.0, scale="log")))

FUNCTIONS = """
import numpy as np
from mlasdi.solvers import SolverError

T = np.linspace(0, 1, 5)

def divides(a): return 1 / 0
def exhausts(a): raise MemoryError
def stalls(a): raise SolverError("not-converged", "Newton stalls")
def lies(a): return "done"
def mismatched(a): return T, np.ones((4, 3))
def backwards(a): return T[::-1], np.ones((5, 3))
def explodes(a): return T, np.full((5, 3), np.inf)
"""


def script(text: str, **options: object) -> dict:
    return {
        "argv": ["sh", "in"],
        "files": {"in": f"# {{a}}\n{text}"},
        "parameters": ["a"],
        "output": "u.csv",
        **options,
    }


def function(name: str) -> dict:
    return {"function": f"failing_functions:{name}"}


FAULTS = {
    "exit code": ("command", script("exit 3"), "exit-code"),
    "segmentation fault": ("command", script("kill -SEGV $$"), "signal"),
    "abort": ("command", script("kill -ABRT $$"), "signal"),
    "hang": ("command", script("exec sleep 86400", time_limit_s=0.3), "time-out"),
    "no output": ("command", script("exit 0"), "missing-output"),
    "empty output": ("command", script("touch u.csv"), "bad-output"),
    "truncated output": ("command", script("printf '0,1,2\\n1,1' > u.csv"), "bad-output"),
    "garbage": ("command", script("echo 'Killed!' > u.csv"), "bad-output"),
    "values not finite": ("command", script("printf '0,1\\n1,nan\\n' > u.csv"), "not-finite"),
    "times that stand": ("command", script("printf '0,1\\n0,1\\n' > u.csv"), "bad-times"),
    "no such program": ("command", {**script(""), "argv": ["no-such-program", "in"]}, "exception"),
    "memory limit": (
        "command",
        {**script(""), "argv": [sys.executable, "-c", "bytearray(2 * 10**9)", "{a}"], "memory_limit_mb": 500},
        "out-of-memory",
    ),
    "exception": ("callable", function("divides"), "exception"),
    "memory": ("callable", function("exhausts"), "out-of-memory"),
    "no convergence": ("callable", function("stalls"), "not-converged"),
    "wrong type": ("callable", function("lies"), "bad-output"),
    "shapes": ("callable", function("mismatched"), "wrong-shape"),
    "times backwards": ("callable", function("backwards"), "bad-times"),
    "infinity": ("callable", function("explodes"), "not-finite"),
    "no such run": ("data-set", {"path": "runs.npz", "parameters": ["a"]}, "bad-parameters"),
}


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the user's functions and data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "failing_functions", raising=False)
    (tmp_path / "failing_functions.py").write_text(FUNCTIONS)
    np.savez(tmp_path / "runs.npz", a=[1.0, 2.0], t=[0.0, 1.0], u=np.ones((2, 2, 3)))
    return tmp_path


@pytest.mark.parametrize("fault", FAULTS)
def test_every_kind_of_failure_is_data(user_folder: Path, fault: str) -> None:
    solver, options, kind = FAULTS[fault]
    spec, mu = SolverSpec(solver, options), {"a": 1.5}
    task = SolveTask(0, spec, mu, address(spec.build().identity(), mu), str(user_folder / "store"))
    (result,) = SerialExecutor().run([task])
    assert result.failure is not None
    assert result.failure.kind == kind
    assert "\n" not in result.failure.message
    assert SnapshotStore(user_folder / "store").addresses() == []


def test_the_kinds_are_all_those_of_the_contract() -> None:
    """But for that of a lost worker, which takes one to be lost (`test_executor.py`)."""
    assert {kind for _, _, kind in FAULTS.values()} == FAILURE_KINDS.keys() - {"worker-lost"}


# A campaign with a compiled program


@pytest.fixture
def program(tmp_path: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    subprocess.run([compiler, "-O1", "-o", tmp_path / "advection", SOURCE, "-lm"], check=True)
    return tmp_path / "advection"


def write_config(root: Path, **changes: object) -> Path:
    options = {
        "argv": ["./advection", "input.nml", "u.csv"],
        "parameters": ["speed", "width"],
        "files": {"input.nml": NAMELIST},
        "output": "u.csv",
        "time_limit_s": 3.0,
    }
    settings = {
        "name": "program",
        "root": str(root / "mlruns"),
        "problem": {"solver": "command", "options": options, "parameters": {"speed": [0.5, 2.0], "width": [0.1, 0.3]}},
        "budget": {"solver_runs": 8},
        "sampling": {"initial": "corners+sobol", "initial_sobol": 4, "candidates": 32},
        "model": MODEL,
        "cluster": {"executor": "serial"},
    }
    path = root / "program.yaml"
    path.write_text(yaml.safe_dump({**settings, **changes}))
    return path


@pytest.fixture
def campaign_root(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a campaign."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlasdi.agent.campaign.campaign, "Publisher", Unpublished)
    return tmp_path


def left_behind(root: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cwd", "exe"]) if str(root) in f"{p.info['cwd']} {p.info['exe']}"
            and p.pid != psutil.Process().pid]  # fmt: skip


@pytest.mark.slow
def test_a_program_that_hangs_crashes_and_lies(campaign_root: Path) -> None:
    """Three of the four corners fail, each in its way; the campaign finishes, and says so."""
    report = run_campaign(load_config(write_config(campaign_root, budget={"solver_runs": 9})))
    assert (report["stop_reason"], report["solver_runs"], report["failed_runs"]) == ("solver-runs", 9, 3)
    assert report["rounds"] == 2
    failures = {(f["mu"]["speed"], f["mu"]["width"]): f for f in report["failures"]}
    assert {mu: failure["kind"] for mu, failure in failures.items()} == {
        (0.5, 0.3): "bad-output", (2.0, 0.1): "time-out", (2.0, 0.3): "signal",
    }  # fmt: skip
    assert "SIGSEGV" in failures[2.0, 0.3]["message"]
    kept = list((campaign_root / "mlruns/runs").iterdir())
    assert len(kept) == 3
    assert all((run / "stderr.txt").exists() for run in kept)
    assert json.loads((campaign_root / "mlruns/campaigns/program/report.json").read_text()) == report
    assert left_behind(campaign_root) == []


@pytest.mark.slow
def test_failed_points_need_not_be_charged(campaign_root: Path) -> None:
    budget = {"solver_runs": 6, "charge_failures": False}
    sampling = {"initial": "corners+sobol", "initial_sobol": 2, "batch": 3, "acquisition": "sobol"}
    report = run_campaign(load_config(write_config(campaign_root, budget=budget, sampling=sampling)))
    assert len(report["points"]) == 6
    assert report["solver_runs"] == 6 + report["failed_runs"] >= 9


def test_a_failing_initial_design_is_filled_up(campaign_root: Path) -> None:
    """One of four corners succeeds, which is no surrogate; further points are tried while the budget allows."""
    report = run_campaign(
        load_config(write_config(campaign_root, budget={"solver_runs": 5}, sampling={"initial": "corners"}))
    )
    assert (report["solver_runs"], report["failed_runs"], len(report["points"])) == (5, 3, 2)


def test_too_many_failures_end_a_campaign_with_their_message(campaign_root: Path) -> None:
    budget = {"solver_runs": 9, "max_failures": 3}
    path = write_config(campaign_root, budget=budget, sampling={"initial": "corners"})
    with pytest.raises(CampaignError, match=r"only 1 solves succeeded.*SIGSEGV"):
        run_campaign(load_config(path))
    with Ledger(campaign_root / "mlruns/campaigns/program/ledger.db", read_only=True) as ledger:
        assert len(ledger.points("train")) == 4


# A folder of runs


def runs(root: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The problem of a folder of thirty precomputed runs, and their points, of which the corners come last."""
    rng, x, t = np.random.default_rng(0), np.linspace(0, 1, 64), np.linspace(0, 1, 21)[:, None]
    points = np.vstack([rng.uniform([0.5, 0.1], [1.0, 0.2], (26, 2)), [[0.5, 0.1], [0.5, 0.2], [1, 0.1], [1, 0.2]]])
    data = root / "data"
    data.mkdir()
    for i, (speed, width) in enumerate(points):
        u = np.exp(-(((x - 0.3 - 0.3 * speed * t) / width) ** 2))
        np.savez(data / f"run{i:02d}.npz", t=t[:, 0], u=u, x=x, speed=speed, width=width)
    problem = {
        "solver": "data-set",
        "options": {"path": "data", "parameters": ["width", "speed"], "coordinates": {"x": "x"}, "fields": ["u"]},
        "parameters": {"speed": [0.5, 1.0], "width": [0.1, 0.2]},
    }
    return problem, points


def test_a_folder_of_runs_becomes_a_surrogate_without_a_solver(campaign_root: Path) -> None:
    """The agent takes eight runs of thirty, judges by the others, and knows nothing of how they were made."""
    problem, points = runs(campaign_root)
    path = write_config(
        campaign_root, problem=problem, budget={"solver_runs": 8}, sampling={"initial": "corners", "batch": 2},
        validation={"rest": True},
    )  # fmt: skip
    report = run_campaign(load_config(path))
    assert (report["solver_runs"], report["failed_runs"], report["rounds"]) == (8, 0, 3)
    chosen = [(p["speed"], p["width"]) for p in report["points"]]
    assert set(chosen[:4]) == {tuple(p) for p in points[-4:].tolist()}  # the corners are there, so they are taken
    assert set(chosen) <= {tuple(p) for p in points.tolist()}
    assert report["max_relative_error"] < 0.2
    with Ledger(campaign_root / "mlruns/campaigns/program/ledger.db", read_only=True) as ledger:
        assert len(ledger.points("validate")) == 26  # all but the corners, when the first surrogate was assessed
    assessed = np.load(campaign_root / "mlruns/campaigns/program/assessments/round-002.npz")["mu"]
    assert len(assessed) == 22
    assert {tuple(mu) for mu in assessed.tolist()}.isdisjoint(chosen)


@pytest.mark.slow
def test_all_runs_of_a_folder_are_taken_at_once(campaign_root: Path) -> None:
    problem, _ = runs(campaign_root)
    path = write_config(campaign_root, problem=problem, budget={"solver_runs": 30}, sampling={"initial": "all"})
    report = run_campaign(load_config(path))
    assert (len(report["points"]), report["rounds"], report["stop_reason"]) == (30, 1, "solver-runs")


# Keeping away


def test_the_chance_of_success_follows_the_outcomes() -> None:
    solved, failed = BOX.from_unit([[0.0, 0.0], [0.0, 1.0], [0.4, 0.5]]), BOX.from_unit([[1.0, 0.0], [1.0, 1.0]])
    chance = chance_of_success(BOX, solved, failed)
    np.testing.assert_allclose(chance(solved), 1, atol=0.02)
    np.testing.assert_allclose(chance(failed), 0, atol=0.02)
    across = chance(BOX.from_unit(np.column_stack([np.linspace(0.4, 1, 20), np.full(20, 0.5)])))
    assert (np.diff(across) < 1e-9).all()
    assert across[-1] < 0.3
