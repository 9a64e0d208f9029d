"""Indices and running sums of the ledger, by which its queries take the same time however long it is.

Triggers keep the sums, within the transaction that changes what is summed. A ledger of an earlier version gets all of
them when it is opened for writing.
"""

from itertools import product
from typing import get_args

from mlasdi.agent.records.schema import PointStatus, Purpose
from mlasdi.agent.records.sqlite_file import LedgerFile

_CORE_SECONDS = "core seconds"
_ATTEMPTS = "ifnull(sum(cores * (ifnull(ended_at, seen_at) - started_at)), 0) FROM attempts"
_ACTIVITIES = (
    "ifnull(sum(cores * (ended_at - started_at)), 0) FROM activities WHERE (activity = 'train' OR worker != '')"
)
_STATES = [(purpose, status) for purpose, status in product(get_args(Purpose), get_args(PointStatus))]

# Numbers of points, and core-seconds of all attempts and activities that have ended.
_SUMS = (
    f"SELECT '{_CORE_SECONDS}' AS name, (SELECT {_ATTEMPTS} WHERE status != 'running')"
    f" + (SELECT {_ACTIVITIES} AND NOT is_open) AS value"
) + "".join(
    f" UNION ALL SELECT '{purpose} {status}',"
    f" (SELECT count(*) FROM points WHERE purpose = '{purpose}' AND status = '{status}')"
    for purpose, status in _STATES
)
_ADDITIONS = (
    "CREATE INDEX points_by_status ON points (purpose, status, round)",
    "CREATE INDEX points_by_round ON points (purpose, round)",
    "CREATE INDEX attempts_by_status ON attempts (status)",
    "CREATE INDEX open_activities ON activities (id) WHERE is_open",
    "CREATE INDEX activities_by_name ON activities (activity)",
    "CREATE INDEX steps_by_name ON steps (step, round)",
    "CREATE TABLE tallies (name TEXT PRIMARY KEY, value REAL NOT NULL)",
    f"INSERT INTO tallies {_SUMS}",
    "CREATE TRIGGER point_added AFTER INSERT ON points BEGIN"
    " UPDATE tallies SET value = value + 1 WHERE name = NEW.purpose || ' ' || NEW.status; END",
    "CREATE TRIGGER point_changed AFTER UPDATE OF status ON points BEGIN"
    " UPDATE tallies SET value = value - 1 WHERE name = OLD.purpose || ' ' || OLD.status;"
    " UPDATE tallies SET value = value + 1 WHERE name = NEW.purpose || ' ' || NEW.status; END",
    "CREATE TRIGGER attempt_ended AFTER UPDATE OF status ON attempts"
    " WHEN OLD.status = 'running' AND NEW.status != 'running' BEGIN"
    " UPDATE tallies SET value = value + NEW.cores * (ifnull(NEW.ended_at, NEW.seen_at) - NEW.started_at)"
    f" WHERE name = '{_CORE_SECONDS}'; END",
    "CREATE TRIGGER activity_ended AFTER UPDATE OF is_open ON activities"
    " WHEN OLD.is_open AND NOT NEW.is_open AND (NEW.activity = 'train' OR NEW.worker != '') BEGIN"
    " UPDATE tallies SET value = value + NEW.cores * (NEW.ended_at - NEW.started_at)"
    f" WHERE name = '{_CORE_SECONDS}'; END",
)
# Core-seconds of what is under way, by the last heartbeat.
_UNDER_WAY = f"SELECT (SELECT {_ATTEMPTS} WHERE status = 'running') + (SELECT {_ACTIVITIES} AND is_open)"


class Tallies:
    """The sums of one ledger.

    Args:
        read_only: leave a file that lacks them as it is, and count anew for each query.
    """

    def __init__(self, file: LedgerFile, *, read_only: bool) -> None:
        self._file = file
        if not read_only:
            self._add()
        self._sums = "tallies" if self._are_kept() else f"({_SUMS})"

    def _add(self) -> None:
        if self._are_kept():
            return
        with self._file.transaction() as db:
            if not self._are_kept():  # another process may have been faster
                for statement in _ADDITIONS:
                    db.execute(statement)

    def _are_kept(self) -> bool:
        return self._file.value("SELECT 1 FROM sqlite_master WHERE name = 'tallies'") is not None

    def n_points(self, purpose: Purpose, status: PointStatus) -> int:
        """Number of points of a purpose and status."""
        return int(self._value(f"{purpose} {status}"))

    def core_seconds(self) -> float:
        """Core-seconds of all attempts, trainings and other activities of workers, until the last heartbeat."""
        return self._value(_CORE_SECONDS) + float(self._file.value(_UNDER_WAY))

    def _value(self, name: str) -> float:
        return float(self._file.value(f"SELECT value FROM {self._sums} WHERE name = ?", (name,)))
