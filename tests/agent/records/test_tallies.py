"""Sums that triggers keep: equal to what is counted anew, in ledgers of earlier versions too."""

import sqlite3

import pytest
from ledger_entries import FAILED, SOLVED, run_attempt, start_attempt

from mlasdi.agent.records import Ledger, LedgerError
from mlasdi.agent.records.cost_accounting import core_seconds, spans

SHORT = ("CONSTANT ROW", "USING INDEX open_activities")  # indices of a few rows
STATES = [(purpose, status) for purpose in ("train", "validate") for status in ("proposed", "solved", "failed")]


def written(path):
    """A ledger with points of all kinds, an attempt under way, and activities of agent and workers."""
    ledger = Ledger(path)
    mus = [{"a": float(k)} for k in range(6)]
    ids = ledger.add_points(0, "train", mus, [str(k) for k in range(6)])
    ledger.add_points(0, "train", mus[:2], ["0", "1"])  # known already
    (check,) = ledger.add_points(0, "validate", mus[:1], ["0"])
    for point in (ids[0], ids[1], check):
        run_attempt(ledger, point, SOLVED)
    run_attempt(ledger, ids[2], FAILED)
    run_attempt(ledger, ids[3], FAILED)
    run_attempt(ledger, ids[3], SOLVED)  # solved in the end
    ledger.interrupt_attempt(start_attempt(ledger, ids[4]))
    start_attempt(ledger, ids[5])
    log = ledger.activity_log
    log.end_of_worker(log.begin("choose", worker="unknown"), "host:1", 10.0, 12.5)
    log.end_of_worker(log.begin("train", worker="unknown", cores=2), "host:1", 20.0, 24.0)
    log.end(log.begin("assess"), seconds=5.0)
    log.begin("choose", worker="unknown")
    log.beat()
    return ledger


def counted(ledger):
    points = ledger.points()
    return [sum((p.purpose, p.status) == state for p in points) for state in STATES]


def as_of_earlier_versions(path):
    """Remove what they do not have."""
    database = sqlite3.connect(path)
    for kind, name in database.execute("SELECT type, name FROM sqlite_master WHERE sql LIKE 'CREATE%'").fetchall():
        if (kind in ("index", "trigger") and name != "attempts_of_points") or name == "tallies":
            database.execute(f"DROP {kind} {name}")
    database.commit()
    database.close()


def test_sums_are_those_of_all_entries(tmp_path):
    with written(tmp_path / "ledger.db") as ledger:
        assert [ledger.count(*state) for state in STATES] == counted(ledger) == [2, 3, 1, 0, 1, 0]
        assert ledger.core_seconds() == pytest.approx(sum(core_seconds(spans(ledger)).values()))
        assert ledger.core_seconds() > 10


def taken_back(ledger):
    with ledger.transaction():
        (point,) = ledger.add_points(1, "train", [{"a": 9.0}], ["9"])
        attempt = run_attempt(ledger, point, SOLVED)
        ledger.finish_attempt(attempt, SOLVED)  # has ended


def test_what_a_transaction_takes_back_is_not_counted(tmp_path):
    with written(tmp_path / "ledger.db") as ledger:
        before = ledger.core_seconds()
        with pytest.raises(LedgerError):
            taken_back(ledger)
        assert [ledger.count(*state) for state in STATES] == counted(ledger)
        assert ledger.core_seconds() == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_of_an_earlier_version_is_counted(tmp_path, read_only):
    path = tmp_path / "ledger.db"
    with written(path) as ledger:
        spent = ledger.core_seconds()
    as_of_earlier_versions(path)
    before = path.read_bytes()
    with Ledger(path, read_only=read_only) as ledger:
        assert [ledger.count(*state) for state in STATES] == counted(ledger)
        assert ledger.core_seconds() == pytest.approx(spent)
        if not read_only:
            run_attempt(ledger, ledger.points("train", status="failed")[0].id, SOLVED)
            assert ledger.count("train", "solved") == 4
    assert (path.read_bytes() == before) == read_only


def test_queries_of_every_step_scan_no_table(tmp_path, monkeypatch):
    """What takes time that grows with the ledger is a scan."""
    with written(tmp_path / "ledger.db") as ledger:
        file, plans = ledger._file, []
        rows = file.rows

        def explained(query, values=()):
            plans.extend((query, row["detail"]) for row in rows(f"EXPLAIN QUERY PLAN {query}", values))
            return rows(query, values)

        monkeypatch.setattr(file, "rows", explained)
        for status in ("solved", "failed"):
            ledger.count("train", status)
        ledger.count("train", "solved", after_round=3)
        ledger.core_seconds()
        ledger.activity_log.elapsed_s()
        ledger.last_round("train")
        ledger.point(1)
        ledger.attempts(1)
        ledger.points("train", status="failed")
        ledger.points("train", round=3)
        ledger.round_times(3)
    assert len(plans) > 10
    assert [one for one in plans if one[1].startswith("SCAN ") and not one[1].endswith(SHORT)] == []
