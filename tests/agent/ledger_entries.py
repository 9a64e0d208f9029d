"""Entries of a ledger that tests make by hand."""

from dataclasses import dataclass

from mlasdi.agent.records import Ledger


@dataclass(frozen=True)
class Reason:
    kind: str
    message: str


@dataclass(frozen=True)
class Result:
    started_at: float = 100.0
    ended_at: float = 102.5
    solve_s: float = 2.0
    worker: str = "host:1"
    cached: bool = False
    failure: Reason | None = None


SOLVED = Result()
FAILED = Result(failure=Reason("not-converged", "try a smaller step"))


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


def run_attempt(ledger: Ledger, point_id: int, result: Result) -> int:
    """An attempt that ended with a result; returns its id."""
    attempt_id = start_attempt(ledger, point_id)
    ledger.finish_attempt(attempt_id, result)
    return attempt_id
