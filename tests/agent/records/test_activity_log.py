"""Seconds and core-seconds: what is counted, what a killed agent leaves, and the heartbeat."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_entries import add_activity, start_attempt

from mlasdi.agent.execution import SolveResult
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.records import (
    CHOOSE,
    PUBLISH,
    RUN,
    SOLVE,
    TRAIN,
    UNKNOWN,
    VALIDATE,
    WASTED,
    Heartbeat,
    Ledger,
    accounting,
    spans,
)
from mlasdi.agent.records.cost_accounting import by_worker, core_seconds


def result(
    point_id: int, start: float, end: float, worker: str, *, cached: bool = False, ok: bool = True
) -> SolveResult:
    failure = None if ok else TaskFailure("not-converged", "stuck")
    return SolveResult(point_id, "", end - start, start, end, worker, cached, failure)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def filled(ledger: Ledger) -> None:
    """Two workers of one host and one of another; a solve on two cores, one that failed, one in the store already."""
    ids = ledger.add_points(0, "train", [{"a": float(i)} for i in range(4)], ["p", "q", "r", "s"])
    ids += ledger.add_points(0, "validate", [{"a": 9.0}], ["v"])
    for point_id, cores, outcome in (
        (ids[0], 2.0, result(ids[0], 100, 104, "here:1")),
        (ids[1], 1.0, result(ids[1], 101, 103, "here:2", ok=False)),
        (ids[2], 1.0, result(ids[2], 104, 104.5, "here:2", cached=True)),
        (ids[4], 1.0, result(ids[4], 105, 106, "there:7")),
    ):
        ledger.finish_attempt(start_attempt(ledger, point_id, cores), outcome)
    add_activity(ledger, "train", "there:7", 3.0, 102, 105)
    add_activity(ledger, "choose", "here:1", 1.0, 104, 104.25)
    add_activity(ledger, "publish", "", 1.0, 106, 107)
    add_activity(ledger, RUN, "", 1.0, 99, 109)


def test_every_second_is_accounted_for(ledger: Ledger) -> None:
    filled(ledger)
    found = accounting(ledger)
    assert found["seconds"] == {"publish": 1.0, "other": 9.0, "total": 10.0}
    assert found["core_seconds"] == {SOLVE: 8.0, WASTED: 2.0, TRAIN: 9.0, CHOOSE: 0.25, VALIDATE: 1.0}
    assert found["workers"] == {
        "here:1": {SOLVE: 4.0, CHOOSE: 0.25},
        "here:2": {WASTED: 2.0},
        "there:7": {TRAIN: 3.0, VALIDATE: 1.0},
    }


def test_the_budget_counts_what_the_report_counts(ledger: Ledger) -> None:
    filled(ledger)
    cached = 0.5  # finding a stored solution takes a moment, which does not count in the report
    assert ledger.core_seconds() == pytest.approx(sum(core_seconds(spans(ledger)).values()) + cached)


def test_lanes_hold_one_thing_at_a_time(ledger: Ledger) -> None:
    filled(ledger)
    found = spans(ledger)
    assert [(one.activity, one.host, one.lane, one.start_s) for one in found] == [
        (SOLVE, "here", 0, 1.0),
        (WASTED, "here", 1, 2.0),
        (TRAIN, "there", 0, 3.0),
        (CHOOSE, "here", 0, 5.0),
        (VALIDATE, "there", 0, 6.0),
    ]


def test_charts_also_show_what_the_agent_itself_does(ledger: Ledger) -> None:
    filled(ledger)
    own = [one for one in spans(ledger, of_agent=True) if one.host == "agent"]
    assert [(one.activity, one.end_s - one.start_s) for one in own] == [(PUBLISH, 1.0)]
    assert not [one for one in spans(ledger) if one.host == "agent"]


def test_an_attempt_that_was_cut_off_ends_where_it_was_last_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "ledger.db", [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    with Ledger(path) as ledger:
        (point,) = ledger.add_points(0, "train", [{"a": 1.0}], ["p"])
        start_attempt(ledger, point, cores=4.0)
        ledger.activity_log.begin("solve")
        now[0] += 2.5
        ledger.activity_log.beat()
        now[0] += 60  # silent until the next agent comes
    with Ledger(path) as ledger:
        (attempt,) = ledger.attempts()
        assert attempt.status == "interrupted"
        (one,) = spans(ledger)
        assert (one.worker, one.activity) == (UNKNOWN, WASTED)
        assert one.end_s - one.start_s == 2.5
        assert core_seconds([one])[WASTED] == 4 * 2.5
        assert ledger.seconds()["solve"] == 2.5
        assert by_worker([one]) == {UNKNOWN: {WASTED: 2.5}}


# Works on a campaign until it is killed, and says when each beat has been written.
AT_WORK = """
import sys, time
from pathlib import Path
from mlasdi.agent.records import Ledger
from mlasdi.agent.records import RUN, Heartbeat
with Ledger(sys.argv[1]) as ledger, Heartbeat(sys.argv[1], 0.05):
    ledger.activity_log.begin(RUN)
    ledger.activity_log.begin("train")
    deadline = time.monotonic() + 60
    while ledger.seconds()["train"] < 0.3 and time.monotonic() < deadline:
        time.sleep(0.01)
    print("beaten", flush=True)
    time.sleep(600)
"""


def test_kill_9_costs_one_beat(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with subprocess.Popen([sys.executable, "-c", AT_WORK, str(path)], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "beaten\n"
        os.kill(agent.pid, signal.SIGKILL)
    with Ledger(path) as ledger:
        assert not any(one.is_open for one in ledger.activity_log.activities())
        assert ledger.seconds()["train"] >= 0.3
        run, train = ledger.activity_log.activities()
        assert run.ended_at == train.ended_at  # at the last beat
        assert ledger.activity_log.elapsed_s() == pytest.approx(run.ended_at - run.started_at)


def test_the_agent_at_work_counts_up_to_now(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.activity_log.begin(RUN)
    start = ledger.activity_log.activities()[0].started_at
    monkeypatch.setattr(time, "time", lambda: start + 20)
    assert ledger.activity_log.elapsed_s() == pytest.approx(20)
    assert ledger.seconds() == {}


def test_a_heartbeat_that_cannot_begin_is_not_the_campaigns_trouble(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database" * 500)
    with Heartbeat(tmp_path / "ledger.db", 0.01) as heart:
        heart._thread.join(timeout=30)  # it gives up by itself
    assert not heart._thread.is_alive()


def test_a_heartbeat_ends_with_its_block(ledger: Ledger) -> None:
    with Heartbeat(ledger.path, 0.01) as heart:
        activity = ledger.activity_log.begin("solve")
        before = ledger.activity_log.activities()[0].ended_at
        deadline = time.monotonic() + 30
        while ledger.activity_log.activities()[0].ended_at == before:
            assert time.monotonic() < deadline
        ledger.activity_log.end(activity)
    assert not heart._thread.is_alive()


def test_whether_an_agent_runs_has_ended_or_was_killed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ledger.activity_log
    assert log.state() == "stopped"
    with log.timed(RUN):
        assert log.state() == "running"
    assert log.state() == "stopped"
    log.begin(RUN)
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert log.state() == "killed"
    log.beat()
    assert log.state() == "running"
