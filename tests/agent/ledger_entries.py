"""Entries of a ledger that tests make by hand."""

from mlasdi.agent.records import Ledger


def start_attempt(ledger: Ledger, point_id: int, cores: float = 1.0) -> int:
    """One attempt; returns its id."""
    return ledger.start_attempts([point_id], cores)[0]


def add_seconds(ledger: Ledger, activity: str, seconds: float) -> None:
    """An activity of the agent that took so many seconds."""
    ledger.activity_log.end(ledger.activity_log.begin(activity), seconds=seconds)


def add_activity(ledger: Ledger, activity: str, worker: str, cores: float, started_at: float, ended_at: float) -> None:
    """An activity of a worker, or of the agent if `worker` is empty, at given times."""
    activity_id = ledger.activity_log.begin(activity, worker=worker, cores=cores)
    ledger.activity_log.end_of_worker(activity_id, worker, started_at, ended_at)
