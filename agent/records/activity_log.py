"""The activity log of a campaign: what the agent and its workers spent their time on; it survives kill -9.

An activity is inserted as a row when it begins, and a `Heartbeat` updates the ends of open rows regularly. When the
agent is killed, at most the time since the last beat is lost.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from mlasdi.agent.records.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, Activity
from mlasdi.agent.records.sqlite_file import LedgerError, LedgerFile

_log = logging.getLogger(__name__)

BEAT_S = 5.0
SILENT_S = 30.0  # an agent that has not beaten for so long is taken to be dead
# The activity that contains all others of the agent: its process from beginning to end.
RUN = "run"


class ActivityLog:
    """The table of activities of one ledger."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def begin(self, activity: str, *, worker: str = "", cores: float = 1.0) -> int:
        """Record that an activity begins now; returns its id.

        Args:
            worker: `host:pid`; empty for the agent's own process.
            cores: number of cores that it uses.
        """
        now = time.time()
        with self._file.transaction() as db:
            insert = (
                "INSERT INTO activities (activity, worker, cores, started_at, ended_at, is_open)"
                " VALUES (?, ?, ?, ?, ?, 1) RETURNING id"
            )
            return int(db.execute(insert, (activity, worker, cores, now, now)).fetchall()[0]["id"])

    def end(self, activity_id: int, *, seconds: float | None = None) -> None:
        """Record that an activity has ended.

        Args:
            seconds: its duration by a monotonic clock; None to use the time of day, which may be set back.
        """
        with self._file.transaction() as db:
            end = "UPDATE activities SET is_open = 0, ended_at = ifnull(started_at + ?, ?) WHERE id = ?"
            db.execute(end, (seconds, time.time(), activity_id))

    def end_of_worker(self, activity_id: int, worker: str, started_at: float, ended_at: float) -> None:
        """Record that an activity of a worker has ended: its `host:pid`, and unix seconds by the worker's clock."""
        with self._file.transaction() as db:
            end = "UPDATE activities SET is_open = 0, worker = ?, started_at = ?, ended_at = ? WHERE id = ?"
            db.execute(end, (worker, started_at, ended_at, activity_id))

    @contextmanager
    def timed(self, activity: str) -> Iterator[None]:
        """Record the body as an activity of the agent."""
        activity_id, start = self.begin(activity), time.monotonic()
        try:
            yield
        finally:
            self.end(activity_id, seconds=time.monotonic() - start)

    def beat(self) -> None:
        """Set the end of everything that is open to now."""
        now = time.time()
        with self._file.transaction() as db:
            db.execute("UPDATE activities SET ended_at = ? WHERE is_open", (now,))
            db.execute("UPDATE attempts SET seen_at = ? WHERE status = 'running'", (now,))

    def state(self) -> Literal["running", "stopped", "killed"]:
        """Whether an agent runs, has ended, or has not recorded its end and is silent since `SILENT_S`."""
        runs = self._file.rows("SELECT ended_at, is_open FROM activities WHERE activity = ? ORDER BY id", (RUN,))
        if not runs or not runs[-1]["is_open"]:
            return "stopped"
        return "running" if time.time() - runs[-1]["ended_at"] < SILENT_S else "killed"

    def close_all(self) -> None:
        """Close open activities; they end at the last beat."""
        with self._file.transaction() as db:
            db.execute("UPDATE activities SET is_open = 0 WHERE is_open")

    def activities(self) -> list[Activity]:
        """All activities, in the order in which they began."""
        rows = self._file.rows("SELECT * FROM activities ORDER BY started_at, id")
        return [Activity(**{**dict(row), "is_open": bool(row["is_open"])}) for row in rows]

    def seconds(self) -> dict[str, float]:
        """Seconds of the agent's process, by activity, summed over all runs of the campaign."""
        rows = self._file.rows(
            "SELECT activity, sum(ended_at - started_at) AS spent FROM activities"
            " WHERE worker = '' AND activity != ? GROUP BY activity ORDER BY min(id)",
            (RUN,),
        )
        return {row["activity"]: row["spent"] for row in rows}

    def elapsed_s(self) -> float:
        """Wall time of the campaign in seconds, summed over all its runs, the present one included."""
        query = (
            "SELECT ifnull(sum(CASE WHEN is_open THEN max(?, ended_at) ELSE ended_at END - started_at), 0)"
            " FROM activities WHERE activity = ?"
        )
        return float(self._file.value(query, (time.time(), RUN)))


class Heartbeat:
    """Calls `ActivityLog.beat` regularly from a background thread with its own connection: `with Heartbeat(path): ...`.

    A beat that cannot be written is skipped with a warning; the campaign continues.
    """

    def __init__(self, path: Path, interval_s: float = BEAT_S) -> None:
        self.path, self.interval_s = Path(path), interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _beat(self) -> None:
        try:
            file = LedgerFile(self.path, SCHEMA, application_id=APPLICATION_ID, version=SCHEMA_VERSION, read_only=False)
        except LedgerError as error:
            _log.warning("no heartbeat: %s", error)
            return
        log = ActivityLog(file)
        try:
            while not self._stop.wait(self.interval_s):
                try:
                    log.beat()
                except LedgerError as error:
                    _log.warning("a heartbeat was skipped: %s", error)
        finally:
            file.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
