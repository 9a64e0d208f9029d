"""The ledger of a campaign, from which it resumes: all points, attempts, finished steps and times."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlasdi.agent.records.activity_log import ActivityLog
from mlasdi.agent.records.schema import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    Attempt,
    AttemptStatus,
    Outcome,
    Point,
    PointStatus,
    Purpose,
    Step,
)
from mlasdi.agent.records.sqlite_file import LedgerError, LedgerFile
from mlasdi.agent.records.tallies import Tallies


def _to_json(value: Any) -> str:
    """Strict JSON with sorted keys, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


_POINT = "id, round, purpose, mu, address, score, status"  # columns, in the order of the attributes of `Point`


def _point(row: sqlite3.Row) -> Point:
    id, round, purpose, mu, address, score, status = row
    return Point(id, round, purpose, json.loads(mu), address, score, status)


class Ledger:
    """SQLite record of one campaign; every method that writes is one transaction, on disk when it returns.

    Opening for writing marks attempts that a killed agent left running as interrupted, so the writer must hold the
    campaign's `CampaignLock`. Concurrent readers open the ledger with `read_only=True`.

    Raises:
        LedgerError: the file is damaged, not a ledger, of another schema version, or absent when `read_only`.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._file = LedgerFile(
            self.path, SCHEMA, application_id=APPLICATION_ID, version=SCHEMA_VERSION, read_only=read_only
        )
        try:
            self._tallies = Tallies(self._file, read_only=read_only)
            self.activity_log = ActivityLog(self._file)
            if not read_only:
                self.recover()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that the body records one transaction, with a single write to the disk."""
        with self._file.transaction():
            yield

    # Facts about the campaign

    def set_meta(self, key: str, value: Any) -> None:
        """Record a JSON value under `key`; replaces an earlier one."""
        with self._file.transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _to_json(value)))

    def get_meta(self, key: str, default: Any = None) -> Any:
        text = self._file.value("SELECT value FROM meta WHERE key = ?", (key,))
        return default if text is None else json.loads(text)

    # Points and attempts

    def add_points(
        self,
        round: int,
        purpose: Purpose,
        mus: Sequence[Mapping[str, float]],
        addresses: Sequence[str],
        scores: Sequence[float | None] | None = None,
    ) -> list[int]:
        """Record proposed points, all in one transaction, and return their ids.

        A point that is recorded already, with the same purpose and address, keeps its record and its id.
        """
        scores = [None] * len(mus) if scores is None else scores
        with self._file.transaction() as db:
            db.executemany(
                "INSERT INTO points (round, purpose, mu, address, score) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (purpose, address) DO NOTHING",
                [
                    (round, purpose, _to_json(dict(mu)), address, score)
                    for mu, address, score in zip(mus, addresses, scores, strict=True)
                ],
            )
            find = "SELECT id FROM points WHERE purpose = ? AND address = ?"
            return [self._file.value(find, (purpose, address)) for address in addresses]

    def points(
        self, purpose: Purpose | None = None, *, round: int | None = None, status: PointStatus | None = None
    ) -> list[Point]:
        """The points, or those of one purpose, round and status, in the order in which they were recorded."""
        wanted = {"purpose": purpose, "round": round, "status": status}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given) or "TRUE"
        rows = self._file.rows(f"SELECT {_POINT} FROM points WHERE {where} ORDER BY id", tuple(given.values()))
        return [_point(row) for row in rows]

    def point(self, point_id: int) -> Point:
        """The point with an id.

        Raises:
            LedgerError: there is none.
        """
        rows = self._file.rows(f"SELECT {_POINT} FROM points WHERE id = ?", (point_id,))
        if not rows:
            raise LedgerError(f"there is no point {point_id}")
        return _point(rows[0])

    def start_attempts(self, point_ids: Iterable[int], cores: float = 1.0) -> list[int]:
        """Record that solves of points begin, all in one transaction; returns the ids of the attempts."""
        insert = "INSERT INTO attempts (point_id, cores, started_at, seen_at) VALUES (?, ?, ?, ?) RETURNING id"
        now = time.time()
        with self._file.transaction() as db:
            return [int(db.execute(insert, (n, cores, now, now)).fetchall()[0]["id"]) for n in point_ids]

    def finish_attempt(self, attempt_id: int, result: Outcome) -> None:
        """Record how an attempt ended, and with it the point's status; a solved point stays solved.

        A training point that is solved after the solves of its round were finished moves to the next round.

        Raises:
            LedgerError: the attempt is not running.
        """
        failure = result.failure
        status = "solved" if failure is None else "failed"
        measured = (result.started_at, result.ended_at, result.solve_s, result.worker, result.cached)
        why = (None, None) if failure is None else (failure.kind, failure.message)
        with self._file.transaction() as db:
            ended = db.execute(
                "UPDATE attempts SET status = ?, started_at = ?, ended_at = ?, solve_s = ?, worker = ?, cached = ?,"
                " failure_kind = ?, failure_message = ? WHERE id = ? AND status = 'running'",
                (status, *measured, *why, attempt_id),
            )
            if ended.rowcount != 1:
                raise LedgerError(f"attempt {attempt_id} is not running: it has ended, or was never started")
            this_point = "id = (SELECT point_id FROM attempts WHERE id = ?)"
            if status == "solved":
                db.execute(
                    "UPDATE points SET round = max(round, 1 + (SELECT ifnull(max(round), -1) FROM steps WHERE"
                    f" step = 'solve')) WHERE status != 'solved' AND purpose = 'train' AND {this_point}",
                    (attempt_id,),
                )
            db.execute(f"UPDATE points SET status = ? WHERE status != 'solved' AND {this_point}", (status, attempt_id))

    def interrupt_attempt(self, attempt_id: int) -> None:
        """Record that a running attempt was interrupted: its point keeps its status, and no budget is charged."""
        with self._file.transaction() as db:
            db.execute(
                "UPDATE attempts SET status = 'interrupted', seen_at = ? WHERE id = ? AND status = 'running'",
                (time.time(), attempt_id),
            )

    def forget_attempt(self, attempt_id: int) -> None:
        """Remove a running attempt that did not begin after all."""
        with self._file.transaction() as db:
            db.execute("DELETE FROM attempts WHERE id = ? AND status = 'running'", (attempt_id,))

    def attempts(self, point_id: int | None = None) -> list[Attempt]:
        """The attempts, or those at one point, in the order in which they were started."""
        where, given = ("", ()) if point_id is None else (" WHERE point_id = ?", (point_id,))
        rows = self._file.rows(f"SELECT * FROM attempts{where} ORDER BY id", given)
        return [
            Attempt(**{**dict(row), "cached": None if row["cached"] is None else bool(row["cached"])}) for row in rows
        ]

    def recover(self) -> int:
        """Mark running attempts as interrupted, and return their number; points keep their status.

        Activities that a killed agent left open end at its last heartbeat.
        """
        self.activity_log.close_all()
        with self._file.transaction() as db:
            return db.execute("UPDATE attempts SET status = 'interrupted' WHERE status = 'running'").rowcount

    def solver_runs(self, purpose: Purpose) -> int:
        """Number of solved and failed attempts for a purpose; interrupted ones do not count.

        A solution found in the store counts too, so that a campaign that is killed between storing a solution and
        recording it uses the same budget as one that is not.
        """
        return self._count_attempts(purpose, "solved") + self._count_attempts(purpose, "failed")

    def failures(self, purpose: Purpose | None = None) -> int:
        """Number of failed attempts, for one purpose or for all."""
        return self._count_attempts(purpose, "failed")

    def _count_attempts(self, purpose: Purpose | None, status: AttemptStatus) -> int:
        return self._file.value(
            "SELECT count(*) FROM attempts JOIN points ON points.id = point_id"
            " WHERE purpose = ifnull(?, purpose) AND attempts.status = ?",
            (purpose, status),
        )

    # Rounds and time

    def complete_step(self, round: int, step: Step, payload: Mapping[str, Any]) -> None:
        """Record that a step of a round is finished, with the data that later steps need.

        Raises:
            LedgerError: the step is finished already, with another payload.
        """
        text = _to_json(dict(payload))
        with self._file.transaction() as db:
            db.execute(
                "INSERT INTO steps VALUES (?, ?, ?, ?) ON CONFLICT (round, step) DO NOTHING",
                (round, step, text, time.time()),
            )
            if self._file.value("SELECT payload FROM steps WHERE round = ? AND step = ?", (round, step)) != text:
                raise LedgerError(f"step '{step}' of round {round} is finished already, with another payload")

    def reopen_step(self, round: int, step: Step) -> None:
        """Forget that a step is finished, so that it is repeated."""
        with self._file.transaction() as db:
            db.execute("DELETE FROM steps WHERE round = ? AND step = ?", (round, step))

    def step_payload(self, round: int, step: Step) -> dict[str, Any] | None:
        """The data of a finished step; None while it is not finished."""
        text = self._file.value("SELECT payload FROM steps WHERE round = ? AND step = ?", (round, step))
        return None if text is None else json.loads(text)

    def close_round(self, round: int) -> None:
        """Fix the training data of a round: all points solved by now; later solves belong to later rounds.

        Finishes the steps `propose` and `solve` of the round in one transaction. Repeating it changes nothing.
        """
        if self.step_payload(round, "solve") is not None:
            return
        with self._file.transaction() as db:
            n_points = self._file.value("SELECT count(*) FROM points WHERE purpose = 'train' AND round = ?", (round,))
            for step, payload in (("propose", {"n_points": n_points}), ("solve", {})):
                db.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", (round, step, _to_json(payload), time.time()))

    def count(self, purpose: Purpose, status: PointStatus, *, after_round: int = -1) -> int:
        """Number of points of a purpose and status in rounds after `after_round`."""
        if after_round < 0:
            return self._tallies.n_points(purpose, status)
        return self._file.value(
            "SELECT count(*) FROM points WHERE purpose = ? AND status = ? AND round > ?", (purpose, status, after_round)
        )

    def last_round(self, step: Step) -> int:
        """The last round in which a step is finished; -1 if there is none."""
        return self._file.value("SELECT ifnull(max(round), -1) FROM steps WHERE step = ?", (step,))

    def round_times(self, round: int) -> tuple[float, float] | None:
        """Unix seconds at which a round began and at which its model was assessed; None before it was.

        A round begins where the one before ends, or where the campaign was started or resumed since.
        """
        ended_at = self._file.rows("SELECT completed_at FROM steps WHERE round = ? AND step = 'assess'", (round,))
        if not ended_at:
            return None
        query = (
            "SELECT max(began_at) AS began_at FROM ("
            " SELECT completed_at AS began_at FROM steps WHERE round = ? - 1 AND step IN ('assess', 'publish')"
            " UNION ALL SELECT started_at FROM activities WHERE activity = 'run')"
            " WHERE began_at <= (SELECT min(completed_at) FROM steps WHERE round = ?)"
        )
        began_at = self._file.value(query, (round, round))
        return (ended_at[0]["completed_at"] if began_at is None else began_at), ended_at[0]["completed_at"]

    def seconds(self) -> dict[str, float]:
        """Seconds of the agent's process so far, by activity, summed over all runs of the campaign."""
        return self.activity_log.seconds()

    def core_seconds(self) -> float:
        """Core-seconds of all work of workers, failed and interrupted solves included, and of all trainings."""
        return self._tallies.core_seconds()
