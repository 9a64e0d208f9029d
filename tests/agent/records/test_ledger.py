"""Ledger: what is recorded, what survives kill -9 and damage, and the lock."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_entries import FAILED, SOLVED, add_seconds, run_attempt, start_attempt

from mlasdi.agent.records import CampaignLock, Ledger, LedgerError
from mlasdi.agent.records.ledger import SCHEMA_VERSION


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


# Points and attempts


def test_points_come_back_as_they_were_given(ledger):
    mus = [{"a": 0.1 + 0.2, "w": 1e-300}, {"a": 1 / 3, "w": -0.0}]
    ids = ledger.add_points(2, "train", mus, ["x", "y"], [0.25, None])
    first, second = ledger.points()
    assert [first.id, second.id] == ids
    assert [first.mu, second.mu] == mus
    assert (first.round, first.purpose, first.address, first.score) == (2, "train", "x", 0.25)
    assert (second.score, second.status) == (None, "proposed")


def test_adding_a_point_again_gives_the_same_id_and_keeps_the_first_record(ledger):
    x, y = ledger.add_points(0, "train", [{"a": 1.0}, {"a": 2.0}], ["x", "y"])
    again = ledger.add_points(1, "train", [{"a": 2.0}, {"a": 3.0}], ["y", "z"], [9.0, 8.0])
    assert again[0] == y
    assert again[1] not in (x, y)
    assert [(p.round, p.score) for p in ledger.points()] == [(0, None), (0, None), (1, 8.0)]


def test_one_address_may_serve_both_purposes(ledger):
    (train,) = ledger.add_points(0, "train", [{"a": 1.0}], ["x"])
    (validate,) = ledger.add_points(0, "validate", [{"a": 1.0}], ["x"])
    assert train != validate
    assert [p.id for p in ledger.points("validate")] == [validate]


def test_a_bad_point_takes_its_whole_batch_with_it(ledger):
    with pytest.raises(LedgerError, match="NOT NULL"):
        ledger.add_points(0, "train", [{"a": 1.0}, {"a": 2.0}], ["x", None])
    with pytest.raises(LedgerError, match="CHECK"):
        ledger.add_points(0, "test", [{"a": 1.0}], ["x"])
    with pytest.raises(ValueError, match="shorter"):
        ledger.add_points(0, "train", [{"a": 1.0}, {"a": 2.0}], ["x"])
    assert ledger.points() == []


def test_points_are_selected_by_round_and_status(ledger):
    ids = ledger.add_points(0, "train", [{"a": 1.0}, {"a": 2.0}], ["x", "y"])
    ids += ledger.add_points(1, "train", [{"a": 3.0}], ["z"])
    run_attempt(ledger, ids[0], SOLVED)
    run_attempt(ledger, ids[1], FAILED)
    assert [p.id for p in ledger.points(round=0)] == ids[:2]
    assert {s: [p.id for p in ledger.points(status=s)] for s in ("solved", "failed", "proposed")} == {
        "solved": [ids[0]],
        "failed": [ids[1]],
        "proposed": [ids[2]],
    }


def test_an_attempt_carries_its_outcome(ledger):
    (point,) = ledger.add_points(0, "train", [{"a": 1.0}], ["x"])
    before = time.time()
    attempt = start_attempt(ledger, point)
    (running,) = ledger.attempts(point)
    assert (running.status, running.ended_at, running.cached) == ("running", None, None)
    assert before <= running.started_at <= time.time()
    ledger.finish_attempt(attempt, FAILED)
    run_attempt(ledger, point, replace(SOLVED, cached=True))
    failed, solved = ledger.attempts(point)
    assert (failed.status, failed.failure_kind, failed.failure_message) == (
        "failed",
        "not-converged",
        FAILED.failure.message,
    )
    assert (solved.status, solved.failure_kind, solved.cached) == ("solved", None, True)
    assert (solved.started_at, solved.ended_at, solved.solve_s, solved.worker) == (100.0, 102.5, 2.0, "host:1")
    assert ledger.points()[0].status == "solved"


def test_a_solved_point_stays_solved(ledger):
    (point,) = ledger.add_points(0, "train", [{"a": 1.0}], ["x"])
    run_attempt(ledger, point, SOLVED)
    run_attempt(ledger, point, FAILED)
    assert ledger.points()[0].status == "solved"


def test_an_attempt_ends_once(ledger):
    (point,) = ledger.add_points(0, "train", [{"a": 1.0}], ["x"])
    attempt = run_attempt(ledger, point, SOLVED)
    for unknown in (attempt, attempt + 1):
        with pytest.raises(LedgerError, match=f"attempt {unknown} is not running"):
            ledger.finish_attempt(unknown, FAILED)
    assert ledger.failures() == 0


def test_an_attempt_needs_a_point(ledger):
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        start_attempt(ledger, 17)


def test_counts_separate_purposes_and_leave_out_what_did_not_end(ledger):
    train = ledger.add_points(0, "train", [{"a": float(i)} for i in range(3)], ["x", "y", "z"])
    (validate,) = ledger.add_points(0, "validate", [{"a": 9.0}], ["v"])
    run_attempt(ledger, train[0], FAILED)
    run_attempt(ledger, train[0], SOLVED)
    run_attempt(ledger, train[1], replace(SOLVED, cached=True))
    run_attempt(ledger, validate, FAILED)
    start_attempt(ledger, train[2])
    ledger.recover()
    assert (ledger.solver_runs("train"), ledger.solver_runs("validate")) == (3, 1)
    assert (ledger.failures("train"), ledger.failures("validate"), ledger.failures()) == (1, 1, 2)


# Meta, steps and time

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_meta_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("meta") / "ledger.db"
    with Ledger(path) as ledger:
        ledger.set_meta("config", "earlier")
        ledger.set_meta("config", value)
    with Ledger(path) as ledger:
        assert ledger.get_meta("config", "absent") == value
        assert ledger.get_meta("hash", "absent") == "absent"


def test_steps_are_complete_once(ledger):
    assert ledger.step_payload(3, "train") is None
    ledger.complete_step(3, "train", {"stages": 2, "loss": 0.5})
    ledger.complete_step(3, "train", {"loss": 0.5, "stages": 2})
    assert ledger.step_payload(3, "train") == {"stages": 2, "loss": 0.5}
    assert ledger.step_payload(3, "assess") is None
    with pytest.raises(LedgerError, match="'train' of round 3 is finished already"):
        ledger.complete_step(3, "train", {"stages": 3})
    assert ledger.step_payload(3, "train")["stages"] == 2
    with pytest.raises(LedgerError, match="CHECK"):
        ledger.complete_step(3, "celebrate", {})


def test_a_round_begins_where_the_one_before_ends_or_the_campaign_goes_on(tmp_path, monkeypatch):
    clock = iter(range(1, 100))
    monkeypatch.setattr("time.time", lambda: next(clock))
    with Ledger(tmp_path / "ledger.db") as ledger:
        with ledger.activity_log.timed("run"):  # begins at 1, ends at 6
            ledger.complete_step(0, "propose", {})  # 2
            assert ledger.round_times(0) is None
            ledger.complete_step(0, "assess", {})  # 3
            ledger.complete_step(0, "publish", {})  # 4
            ledger.complete_step(1, "propose", {})  # 5
        with ledger.activity_log.timed("run"):
            ledger.complete_step(1, "assess", {})
            ledger.complete_step(2, "propose", {})
            ledger.complete_step(2, "assess", {})
        assert ledger.round_times(0) == (1, 3)
        began_at, ended_at = ledger.round_times(1)
        assert began_at == 4
        assert ledger.round_times(2)[0] == ended_at


def test_seconds_add_up_over_sessions(tmp_path):
    for _ in range(2):
        with Ledger(tmp_path / "ledger.db") as ledger:
            add_seconds(ledger, "solve", 1.5)
            add_seconds(ledger, "solve", 0.25)
            add_seconds(ledger, "train", 4.0)
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        assert ledger.seconds() == {"solve": 3.5, "train": 8.0}


# Rounds whose solves end in any order


def test_a_round_is_closed_with_what_is_solved_and_later_solves_join_the_next(ledger):
    early, late, later = ledger.add_points(0, "train", [{"a": float(i)} for i in range(3)], ["x", "y", "z"])
    run_attempt(ledger, early, SOLVED)
    slow = start_attempt(ledger, late)
    ledger.close_round(0)
    assert ledger.step_payload(0, "propose") == {"n_points": 3}
    assert ledger.step_payload(0, "solve") == {}
    ledger.finish_attempt(slow, SOLVED)
    run_attempt(ledger, later, FAILED)
    assert [(p.round, p.status) for p in ledger.points()] == [(0, "solved"), (1, "solved"), (0, "failed")]
    ledger.close_round(0)  # repeated after a kill: nothing changes
    ledger.close_round(1)
    run_attempt(ledger, later, SOLVED)
    assert [p.round for p in ledger.points()] == [0, 1, 2]
    assert ledger.last_round("solve") == 1
    assert ledger.last_round("train") == -1
    assert [ledger.count("train", "solved", after_round=k) for k in (-1, 0, 1, 2)] == [3, 2, 1, 0]


def test_validation_points_and_points_solved_again_keep_their_round(ledger):
    (validate,) = ledger.add_points(0, "validate", [{"a": 1.0}], ["v"])
    (train,) = ledger.add_points(0, "train", [{"a": 1.0}], ["t"])
    run_attempt(ledger, train, SOLVED)
    ledger.close_round(0)
    run_attempt(ledger, validate, SOLVED)
    run_attempt(ledger, train, SOLVED)  # its file was damaged
    assert [(p.purpose, p.round) for p in ledger.points()] == [("validate", 0), ("train", 0)]


def test_what_is_recorded_together_is_there_together_or_not_at_all(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        with ledger.transaction():
            (point,) = ledger.add_points(0, "train", [{"a": 1.0}], ["x"])
            with Ledger(path, read_only=True) as reader:
                assert reader.points() == []
            run_attempt(ledger, point, SOLVED)
        with pytest.raises(LedgerError, match="NOT NULL"), ledger.transaction():
            _half_done(ledger)
        assert [p.address for p in ledger.points("train", status="solved")] == ["x"]
        assert ledger.get_meta("half") is None
        assert ledger.point(point).mu == {"a": 1.0}
        with pytest.raises(LedgerError, match="there is no point 17"):
            ledger.point(17)


def _half_done(ledger):
    ledger.add_points(0, "train", [{"a": 2.0}], ["y"])
    ledger.set_meta("half", True)
    ledger.add_points(0, "train", [{"a": 3.0}], [None])


def test_an_attempt_given_up_counts_for_nothing(ledger):
    (point,) = ledger.add_points(0, "train", [{"a": 1.0}], ["x"])
    attempt = start_attempt(ledger, point, cores=2.0)
    ledger.interrupt_attempt(attempt)
    assert [(a.status, a.cores) for a in ledger.attempts()] == [("interrupted", 2.0)]
    assert (ledger.points()[0].status, ledger.solver_runs("train"), ledger.failures()) == ("proposed", 0, 0)
    ended = run_attempt(ledger, point, SOLVED)
    ledger.interrupt_attempt(ended)  # has ended: stays as it is
    assert ledger.attempts()[-1].status == "solved"


# Opening


def test_opening_marks_running_attempts_interrupted_and_they_may_be_tried_again(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        done, cut = ledger.add_points(0, "train", [{"a": 1.0}, {"a": 2.0}], ["x", "y"])
        run_attempt(ledger, done, SOLVED)
        start_attempt(ledger, cut)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert [a.status for a in ledger.attempts()] == ["solved", "interrupted"]
        assert [p.status for p in ledger.points()] == ["solved", "proposed"]
        assert ledger.recover() == 0
        run_attempt(ledger, cut, SOLVED)
        assert [a.status for a in ledger.attempts(cut)] == ["interrupted", "solved"]
        assert ledger.points()[1].status == "solved"


def test_a_reader_changes_nothing(tmp_path):
    path = tmp_path / "ledger.db"
    with pytest.raises(LedgerError, match="has not been started"):
        Ledger(path, read_only=True)
    assert not path.exists()
    with Ledger(path) as writer:
        (point,) = writer.add_points(0, "train", [{"a": 1.0}], ["x"])
        attempt = start_attempt(writer, point)
        with Ledger(path, read_only=True) as reader:
            assert reader.attempts()[0].status == "running"
            with pytest.raises(LedgerError, match="readonly"):
                add_seconds(reader, "solve", 1.0)
        writer.finish_attempt(attempt, SOLVED)


def test_another_schema_version_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    for read_only in (False, True):
        with pytest.raises(LedgerError, match=f"schema version {SCHEMA_VERSION + 1}.*reads {SCHEMA_VERSION}"):
            Ledger(path, read_only=read_only)


def test_a_foreign_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ledger.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE photos (id)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a campaign ledger"):
        Ledger(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_ledger(tmp_path):
    path = tmp_path / "ledger.db"
    path.touch()  # what a kill between creating the file and the first transaction leaves
    with pytest.raises(LedgerError, match="has not been started"):
        Ledger(path, read_only=True)
    with Ledger(path) as ledger:
        assert ledger.points() == []


def overwritten(data):
    """Every page but the first filled with noise."""
    return data[:4096] + random.Random(0).randbytes(len(data) - 4096)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"not a database" * 500, lambda data: data[: len(data) // 2], overwritten, lambda data: data[:50]],
    ids=["other-contents", "half", "noise", "stump"],
)
def test_a_damaged_file_is_reported_with_the_remedy(tmp_path, damage):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.add_points(0, "train", [{"a": float(i)} for i in range(300)], [f"{i:032x}" for i in range(300)])
    path.write_bytes(damage(path.read_bytes()))
    for read_only in (False, True):
        with pytest.raises(LedgerError, match=r"ledger\.db is damaged .*move it aside"):
            Ledger(path, read_only=read_only)


def test_a_folder_that_does_not_exist_is_reported(tmp_path):
    with pytest.raises(LedgerError, match=r"cannot use the ledger .*unable to open"):
        Ledger(tmp_path / "absent" / "ledger.db")


# kill -9

# Works through a seeded sequence of events for ever, and reports on standard output what the ledger has accepted.
EVENTS = """
import random, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/records"]
from test_ledger import FAILED, SOLVED, Ledger
rng = random.Random({seed})
ledger = Ledger({path!r})
n, seconds = len(ledger.points()), int(ledger.seconds().get("solve", 0))
while True:
    batch = [f"{{n + i}}" for i in range(3)]
    ids = ledger.add_points(n, "train", [{{"a": float(x)}} for x in batch], batch)
    n += 3
    print("points", n, flush=True)
    for point in ids:
        attempt = ledger.start_attempts([point])[0]
        print("started", attempt, flush=True)
        if rng.random() < 0.8:
            ledger.finish_attempt(attempt, rng.choice([SOLVED, FAILED]))
            print("ended", attempt, flush=True)
    ledger.activity_log.end(ledger.activity_log.begin("solve"), seconds=1.0)
    seconds += 1
    print("seconds", seconds, flush=True)
"""


def check_consistent(ledger, accepted):
    """Nothing accepted is lost, no event is half there, and nothing is left running."""
    points, attempts = ledger.points(), {attempt.id: attempt for attempt in ledger.attempts()}
    assert len(points) % 3 == 0
    assert len({p.address for p in points}) == len(points) >= accepted["points"]
    assert max(attempts) >= accepted["started"]
    assert attempts[accepted["ended"]].status in ("solved", "failed")
    assert ledger.seconds()["solve"] >= accepted["seconds"]
    by_point = {attempt.point_id: attempt for attempt in attempts.values()}
    for point in points:
        status = by_point[point.id].status if point.id in by_point else "interrupted"
        assert status == ("interrupted" if point.status == "proposed" else point.status)


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_between_and_within_transactions(tmp_path, seed):
    path, rng = tmp_path / "ledger.db", random.Random(seed)
    accepted = {}
    for session in range(3):
        script = EVENTS.format(
            tests=os.path.dirname(os.path.dirname(__file__)), seed=10 * seed + session, path=str(path)
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
            n_lines = rng.randrange(20, 60)
            lines = [child.stdout.readline() for _ in range(n_lines)]
            time.sleep(rng.random() * 0.01)
            child.kill()
            lines += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        for line in lines:
            if line.endswith("\n"):  # the kill may cut the last line short
                event, number = line.split()
                accepted[event] = int(number)
        with Ledger(path) as ledger:
            check_consistent(ledger, accepted)


# Writes so much in one transaction that SQLite spills unfinished changes into the database itself, then dies.
HALF_DONE = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 5")
database.execute("BEGIN IMMEDIATE")
for i in range(2000):
    database.execute("UPDATE points SET mu = ? WHERE id = ?", ("x" * 500, i + 1))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("read_only", [False, True])
def test_a_transaction_cut_in_the_middle_is_undone(tmp_path, read_only):
    path = tmp_path / "ledger.db"
    mus = [{"a": float(i)} for i in range(2000)]
    with Ledger(path) as ledger:
        ledger.add_points(0, "train", mus, [str(i) for i in range(2000)])
    before = path.read_bytes()
    assert subprocess.run([sys.executable, "-c", HALF_DONE, str(path)]).returncode == -signal.SIGKILL
    assert path.read_bytes() != before  # half of the changes have reached the file
    with Ledger(path, read_only=read_only) as ledger:
        assert [p.mu for p in ledger.points()] == mus


# The lock

HOLD = """
import sys, time
from mlasdi.agent.records import CampaignLock
with CampaignLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_lock_refuses_a_second_agent_and_names_the_first(tmp_path):
    with CampaignLock(tmp_path / "burgers"):
        with pytest.raises(LedgerError, match=rf"campaign 'burgers' is being worked on by process {os.getpid()} on "):
            CampaignLock(tmp_path / "burgers").__enter__()
        with CampaignLock(tmp_path / "other"):
            pass
    with CampaignLock(tmp_path / "burgers"):
        pass


def test_lock_is_freed_by_kill_9(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerError, match=f"process {holder.pid} on "):
            CampaignLock(tmp_path).__enter__()
        holder.kill()
    with CampaignLock(tmp_path):
        assert str(os.getpid()) in (tmp_path / "lock-holder").read_text()


def test_lock_is_freed_by_an_exception(tmp_path):
    with pytest.raises(KeyError), CampaignLock(tmp_path):
        raise KeyError
    with CampaignLock(tmp_path):
        pass


# Holds the lock, starts a child that inherits what can be inherited, and waits for the end.
HOLD_WITH_CHILD = """
import subprocess, sys, time
from mlasdi.agent.records import CampaignLock
with CampaignLock(sys.argv[1]):
    subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], close_fds=False)
    time.sleep(600)
"""


def test_a_child_that_outlives_the_holder_does_not_keep_the_lock(tmp_path):
    command = [sys.executable, "-c", HOLD_WITH_CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "up\n"
        holder.kill()
        holder.wait()
        with CampaignLock(tmp_path):
            holder.stdin.write("\n")  # only now the child, which shares the holder's input, can end
            holder.stdin.flush()
            assert holder.stdout.read() == ""
