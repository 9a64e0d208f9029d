"""The scripts in `examples/` do what they say; the first one also after a kill."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

ROOT = Path(__file__).parents[1]
# Runs a script with a small model and few solves. A second argument above 0: kills it after so many solves.
SMALL = """
import functools, os, runpy, signal, sys
import mlasdi
from mlasdi.agent.records import Ledger
script, most = sys.argv[1], int(sys.argv[2])
real_build = mlasdi.build
def build(solve, box, **settings):  # one round after the corners
    return real_build(solve, box, **settings | {"solver_runs": 2 ** len(box) + 1, "model": {"kind": "snapshot-gp"}})
mlasdi.build = build
mlasdi.fit = functools.partial(mlasdi.fit, kind="snapshot-gp")
real, n = Ledger.finish_attempt, []
def finish(*arguments):
    real(*arguments)
    n.append(1)
    if len(n) == most:
        os.kill(os.getpid(), signal.SIGKILL)
Ledger.finish_attempt = finish
runpy.run_path(script, run_name="__main__")
"""


def run(name: str, folder: Path, killed_after: int = 0) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", SMALL, str(ROOT / "examples" / f"{name}.py"), str(killed_after)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def solved(folder: Path) -> int:
    with sqlite3.connect(folder / "quickstart/campaigns/pulse/ledger.db") as ledger:
        return ledger.execute("SELECT count(*) FROM attempts WHERE status = 'solved'").fetchone()[0]


@pytest.mark.slow
def test_a_script_builds_resumes_after_a_kill_predicts_draws_and_stores(tmp_path: Path) -> None:
    killed = run("quickstart", tmp_path, killed_after=3)
    assert (killed.returncode, solved(tmp_path)) == (-signal.SIGKILL, 3)
    done = run("quickstart", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Study('pulse', ")
    assert solved(tmp_path) == int(done.stdout.split()[1])  # none was solved twice
    assert (tmp_path / "pulse.png").read_bytes().startswith(b"\x89PNG")
    with xr.open_dataset(tmp_path / "pulse.nc", engine="h5netcdf") as stored:
        assert stored["u"].dims == ("point", "time", "x")
        assert 0.8 < float(stored["u"].max()) < 1.2


def test_it_has_few_lines() -> None:
    text = (ROOT / "examples/quickstart.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != "quickstart")
)
def test_the_others_run(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "estimated largest error" in done.stdout
