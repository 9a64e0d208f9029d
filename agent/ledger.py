"""The record of a campaign, from which it resumes: every point, attempt, finished step and second spent."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from agent.ledger_file import CampaignLock, LedgerError, LedgerFile

__all__ = ["Attempt", "CampaignLock", "Ledger", "LedgerError", "Outcome", "Point"]

Purpose = Literal["train", "validate"]
PointStatus = Literal["proposed", "solved", "failed"]
AttemptStatus = Literal["running", "solved", "failed", "interrupted"]
Step = Literal["propose", "solve", "train", "assess", "publish"]

SCHEMA_VERSION = 1
_APPLICATION_ID = int.from_bytes(b"mLSD", "big")
_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN {get_args(Purpose)}),
    mu TEXT NOT NULL,
    address TEXT NOT NULL,
    score REAL,
    status TEXT NOT NULL DEFAULT 'proposed' CHECK (status IN {get_args(PointStatus)}),
    UNIQUE (purpose, address)
);
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    point_id INTEGER NOT NULL REFERENCES points (id),
    status TEXT NOT NULL DEFAULT 'running' CHECK (status IN {get_args(AttemptStatus)}),
    started_at REAL NOT NULL,
    ended_at REAL,
    solve_s REAL,
    worker TEXT,
    cached INTEGER,
    failure_kind TEXT,
    failure_message TEXT
);
CREATE TABLE steps (
    round INTEGER NOT NULL,
    step TEXT NOT NULL CHECK (step IN {get_args(Step)}),
    payload TEXT NOT NULL,
    completed_at REAL NOT NULL,
    PRIMARY KEY (round, step)
);
CREATE TABLE activities (activity TEXT PRIMARY KEY, seconds REAL NOT NULL);
"""


class Failure(Protocol):
    """What the ledger keeps of a failure."""

    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...


class Outcome(Protocol):
    """What the ledger keeps of a finished attempt; `agent.executor.SolveResult` is one."""

    @property
    def started_at(self) -> float: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def solve_s(self) -> float: ...
    @property
    def worker(self) -> str: ...
    @property
    def cached(self) -> bool: ...
    @property
    def failure(self) -> Failure | None: ...


@dataclass(frozen=True)
class Point:
    """A parameter point that the campaign chose.

    Attributes:
        round: the round that first proposed it.
        address: of its snapshots in the store.
        score: of the acquisition function; None where none chose the point.
    """

    id: int
    round: int
    purpose: Purpose
    mu: dict[str, float]
    address: str
    score: float | None
    status: PointStatus


@dataclass(frozen=True)
class Attempt:
    """One run of the solver at a point. Times are unix seconds; what only an end brings is None before it."""

    id: int
    point_id: int
    status: AttemptStatus
    started_at: float
    ended_at: float | None
    solve_s: float | None
    worker: str | None
    cached: bool | None
    failure_kind: str | None
    failure_message: str | None


def _to_json(value: Any) -> str:
    """Strict JSON, keys sorted, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


class Ledger:
    """SQLite record of one campaign; every method that writes is one transaction, on disk when it returns.

    Opening for writing marks attempts that a killed agent left running as interrupted, so the writer must hold the
    campaign's `CampaignLock`. Readers beside it open with `read_only=True`.

    Raises:
        LedgerError: the file is damaged, not a ledger, of another schema version, or absent when `read_only`.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._file = LedgerFile(
            self.path, _SCHEMA, application_id=_APPLICATION_ID, version=SCHEMA_VERSION, read_only=read_only
        )
        if not read_only:
            self.recover()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Facts about the campaign

    def set_meta(self, key: str, value: Any) -> None:
        """Record a JSON value under `key`, in place of an earlier one."""
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

        A point that is there already, by purpose and address, keeps its first record and gives the same id.
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
        rows = self._file.rows(
            "SELECT * FROM points WHERE purpose = ifnull(?, purpose) AND round = ifnull(?, round)"
            " AND status = ifnull(?, status) ORDER BY id",
            (purpose, round, status),
        )
        return [Point(**{**dict(row), "mu": json.loads(row["mu"])}) for row in rows]

    def start_attempt(self, point_id: int) -> int:
        """Record that the solver is about to run at a point; returns the id of the attempt."""
        with self._file.transaction() as db:
            insert = "INSERT INTO attempts (point_id, started_at) VALUES (?, ?) RETURNING id"
            return int(db.execute(insert, (point_id, time.time())).fetchall()[0]["id"])

    def finish_attempt(self, attempt_id: int, result: Outcome) -> None:
        """Record how an attempt ended, and with it the point's status; a solved point stays solved.

        Raises:
            LedgerError: there is no such attempt running.
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
            db.execute(
                "UPDATE points SET status = ? WHERE status != 'solved'"
                " AND id = (SELECT point_id FROM attempts WHERE id = ?)",
                (status, attempt_id),
            )

    def attempts(self, point_id: int | None = None) -> list[Attempt]:
        """The attempts, or those at one point, in the order in which they were started."""
        rows = self._file.rows("SELECT * FROM attempts WHERE point_id = ifnull(?, point_id) ORDER BY id", (point_id,))
        return [
            Attempt(**{**dict(row), "cached": None if row["cached"] is None else bool(row["cached"])}) for row in rows
        ]

    def recover(self) -> int:
        """Mark attempts without an end as interrupted, and return how many there were; points keep their status."""
        with self._file.transaction() as db:
            return db.execute("UPDATE attempts SET status = 'interrupted' WHERE status = 'running'").rowcount

    def solver_runs(self, purpose: Purpose) -> int:
        """Ended attempts for a purpose, failed ones included, interrupted ones not.

        A solution found in the store counts too, so that a campaign killed between storing a solution and recording
        it uses the same budget as one that was not.
        """
        return self._count_attempts(purpose, "solved") + self._count_attempts(purpose, "failed")

    def failures(self, purpose: Purpose | None = None) -> int:
        """Failed attempts, of one purpose or of all."""
        return self._count_attempts(purpose, "failed")

    def _count_attempts(self, purpose: Purpose | None, status: AttemptStatus) -> int:
        return self._file.value(
            "SELECT count(*) FROM attempts JOIN points ON points.id = point_id"
            " WHERE purpose = ifnull(?, purpose) AND attempts.status = ?",
            (purpose, status),
        )

    # Rounds and time

    def complete_step(self, round: int, step: Step, payload: Mapping[str, Any]) -> None:
        """Record that a step of a round is finished, with what the next steps need to know of it.

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

    def step_payload(self, round: int, step: Step) -> dict[str, Any] | None:
        """What a finished step recorded; None while it is not finished."""
        text = self._file.value("SELECT payload FROM steps WHERE round = ? AND step = ?", (round, step))
        return None if text is None else json.loads(text)

    def add_seconds(self, activity: str, seconds: float) -> None:
        """Add time spent on an activity; the sums span all resumes."""
        with self._file.transaction() as db:
            db.execute(
                "INSERT INTO activities VALUES (?, ?)"
                " ON CONFLICT (activity) DO UPDATE SET seconds = seconds + excluded.seconds",
                (activity, seconds),
            )

    def seconds(self) -> dict[str, float]:
        """Seconds spent so far, by activity."""
        return {row["activity"]: row["seconds"] for row in self._file.rows("SELECT * FROM activities")}
