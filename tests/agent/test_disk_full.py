"""A full disk, for a solution, a model or the ledger: the campaign says so, and resumes when there is space.

The kernel enforces it, as a full disk would, by a limit on the size of files (RLIMIT_FSIZE) in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from quick_campaign import quick_config, run_quick

from mlasdi.agent.execution import is_disk_full
from mlasdi.agent.records import Ledger

HERE = Path(__file__).parent
RUN = """
import resource, sys
sys.path.insert(0, {here!r})
import mlasdi.agent.campaign.campaign, unpublished
from mlasdi.agent.config import load_config
from mlasdi.solvers.builtin.burgers1d import Burgers1D
mlasdi.agent.campaign.campaign.Publisher = unpublished.Unpublished
config = load_config({config!r})
Burgers1D(n_x=41, n_t=21).solve({{"a": 0.8, "w": 1.0}})  # compiles, and caches what it compiled
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    mlasdi.agent.campaign.campaign.run_campaign(config)
except mlasdi.agent.campaign.campaign.CampaignError as error:
    print(error)
"""
# A solution of 401 x 201 values takes 0.6 MB, the ledger less than 0.1 MB, a model of rank 10 about 0.05 MB.
FINE, COARSE = {"n_x": 401, "n_t": 201}, {"n_x": 401, "n_t": 5}


@pytest.mark.parametrize("mode", ["synchronous", pytest.param("asynchronous", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("options", "limit", "told"),
    [
        (FINE, 300_000, "the disk is full: the solution at"),
        pytest.param(COARSE, 30_000, "room|database or disk is full|disk I/O error", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_ends_a_campaign_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, options: dict, limit: int, told: str
) -> None:
    problem = {"options": options, "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]}}
    config = quick_config(tmp_path, cluster={"mode": mode}, problem=problem, budget={"solver_runs": 6})
    script = RUN.format(here=str(HERE), config=str(tmp_path / "quick.yaml"), limit=limit)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, env=environment)
    message = done.stdout + done.stderr
    assert any(part in message for part in told.split("|")), message
    if options is FINE:
        assert "free disk space, then rerun the same command to resume" in done.stdout
        with Ledger(config.folder / "ledger.db", read_only=True) as ledger:
            assert ledger.failures() == 0  # it is no failure of a point, and costs no budget
            assert {attempt.status for attempt in ledger.attempts()} == {"interrupted"}
    report = run_quick(config, monkeypatch)
    assert (report["stop_reason"], report["solver_runs"], report["failed_runs"]) == ("solver-runs", 6, 0)
    assert not list(Path(config.snapshot_root).glob(".*.partial"))


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (OSError(27, "File too large"), True),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(2, "No such file"), False),
        (ValueError("28"), False),
    ],
)
def test_it_is_told_from_other_troubles(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
    wrapped = RuntimeError("while saving")
    wrapped.__cause__ = error
    assert is_disk_full(wrapped) is full
