"""The seconds of a campaign: what the agent and its workers spent their time on, kept through kill -9.

An activity is a row from its first moment on, and a `Heartbeat` moves the ends of open rows along: what a killed agent
was about is lost for one beat at most.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from mlasdi.agent.records.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, Activity
from mlasdi.agent.records.sqlite_file import LedgerError, LedgerFile

_log = logging.getLogger(__name__)

BEAT_S = 5.0
# The activity that all others of the agent lie within: its process from beginning to end.
RUN = "run"


class TimeSheet:
    """The table of activities of one ledger."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def begin(self, activity: str, *, worker: str = "", cores: float = 1.0) -> int:
        """Record that an activity begins now; returns its id."""
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
            seconds: that it took by a clock that nobody sets; None to go by the time of day.
        """
        with self._file.transaction() as db:
            end = "UPDATE activities SET is_open = 0, ended_at = ifnull(started_at + ?, ?) WHERE id = ?"
            db.execute(end, (seconds, time.time(), activity_id))

    def end_elsewhere(self, activity_id: int, worker: str, started_at: float, ended_at: float) -> None:
        """Record that an activity of a worker has ended, and which worker that was; unix seconds by its clock."""
        with self._file.transaction() as db:
            end = "UPDATE activities SET is_open = 0, worker = ?, started_at = ?, ended_at = ? WHERE id = ?"
            db.execute(end, (worker, started_at, ended_at, activity_id))

    def enter(self, activity: str, worker: str, cores: float, started_at: float, ended_at: float) -> None:
        """Record an activity that is over."""
        with self._file.transaction() as db:
            insert = (
                "INSERT INTO activities (activity, worker, cores, started_at, ended_at, is_open)"
                " VALUES (?, ?, ?, ?, ?, 0)"
            )
            db.execute(insert, (activity, worker, cores, started_at, ended_at))

    @contextmanager
    def timed(self, activity: str) -> Iterator[None]:
        """Record the body as an activity of the agent."""
        activity_id, start = self.begin(activity), time.monotonic()
        try:
            yield
        finally:
            self.end(activity_id, seconds=time.monotonic() - start)

    def beat(self) -> None:
        """Move the ends of everything that is open to now."""
        now = time.time()
        with self._file.transaction() as db:
            db.execute("UPDATE activities SET ended_at = ? WHERE is_open", (now,))
            db.execute("UPDATE attempts SET seen_at = ? WHERE status = 'running'", (now,))

    def close_all(self) -> None:
        """Leave the ends of open activities where the last beat put them."""
        with self._file.transaction() as db:
            db.execute("UPDATE activities SET is_open = 0 WHERE is_open")

    def activities(self) -> list[Activity]:
        """All activities, in the order in which they began."""
        rows = self._file.rows("SELECT * FROM activities ORDER BY started_at, id")
        return [Activity(**{**dict(row), "is_open": bool(row["is_open"])}) for row in rows]

    def seconds(self) -> dict[str, float]:
        """Seconds of the agent's process, by activity; the sums span all resumes."""
        rows = self._file.rows(
            "SELECT activity, sum(ended_at - started_at) AS spent FROM activities"
            " WHERE worker = '' AND activity != ? GROUP BY activity ORDER BY min(id)",
            (RUN,),
        )
        return {row["activity"]: row["spent"] for row in rows}

    def elapsed_s(self) -> float:
        """Seconds that agents have worked on the campaign, the one at work included."""
        query = (
            "SELECT ifnull(sum(CASE WHEN is_open THEN max(?, ended_at) ELSE ended_at END - started_at), 0)"
            " FROM activities WHERE activity = ?"
        )
        return float(self._file.value(query, (time.time(), RUN)))

    def core_seconds(self) -> float:
        """Core-seconds of all that workers did, failed and interrupted solves included, and of trainings anywhere."""
        solves = "SELECT ifnull(sum(cores * (ifnull(ended_at, seen_at) - started_at)), 0) FROM attempts"
        others = (
            "SELECT ifnull(sum(cores * (ended_at - started_at)), 0) FROM activities"
            " WHERE activity = 'train' OR worker != ''"
        )
        return float(self._file.value(solves)) + float(self._file.value(others))


class Heartbeat:
    """Beats for a ledger from a thread of its own, with a connection of its own: `with Heartbeat(path): ...`.

    Its failure is not the campaign's: a beat that cannot be written is skipped.
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
        sheet = TimeSheet(file)
        try:
            while not self._stop.wait(self.interval_s):
                try:
                    sheet.beat()
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
