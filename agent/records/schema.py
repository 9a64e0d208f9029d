"""The tables of the ledger, and the records read from them."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

Purpose = Literal["train", "validate"]
PointStatus = Literal["proposed", "solved", "failed"]
AttemptStatus = Literal["running", "solved", "failed", "interrupted"]
Step = Literal["propose", "solve", "train", "assess", "publish"]

SCHEMA_VERSION = 2
APPLICATION_ID = int.from_bytes(b"mLSD", "big")
SCHEMA = f"""
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
    cores REAL NOT NULL,
    started_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    ended_at REAL,
    solve_s REAL,
    worker TEXT,
    cached INTEGER,
    failure_kind TEXT,
    failure_message TEXT
);
CREATE INDEX attempts_of_points ON attempts (point_id);
CREATE TABLE steps (
    round INTEGER NOT NULL,
    step TEXT NOT NULL CHECK (step IN {get_args(Step)}),
    payload TEXT NOT NULL,
    completed_at REAL NOT NULL,
    PRIMARY KEY (round, step)
);
CREATE TABLE activities (
    id INTEGER PRIMARY KEY,
    activity TEXT NOT NULL,
    worker TEXT NOT NULL,
    cores REAL NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    is_open INTEGER NOT NULL
);
"""


class Failure(Protocol):
    """What the ledger records of a failure."""

    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...


class Outcome(Protocol):
    """What the ledger records of a finished attempt, for example `mlasdi.agent.execution.solve_task.SolveResult`."""

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
    """A parameter point of a campaign.

    Attributes:
        round: the first round whose model may be trained on it; in a synchronous campaign, the round that proposed it.
        address: of its snapshots in the store.
        score: value of the acquisition function; None if the point was not chosen by one.
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
    """One run of the solver at a point. Times are unix seconds; attributes of the result are None before it ends.

    Attributes:
        cores: number of cores that it was given.
        seen_at: time of the last heartbeat during the attempt; for an interrupted one, the best estimate of its end.
    """

    id: int
    point_id: int
    status: AttemptStatus
    cores: float
    started_at: float
    seen_at: float
    ended_at: float | None
    solve_s: float | None
    worker: str | None
    cached: bool | None
    failure_kind: str | None
    failure_message: str | None


@dataclass(frozen=True)
class Activity:
    """Time spent on anything but a solve. Times are unix seconds.

    Attributes:
        worker: `host:pid` of a worker; empty for the agent's own process.
        ended_at: its end; while it is open, the time of the last heartbeat.
    """

    id: int
    activity: str
    worker: str
    cores: float
    started_at: float
    ended_at: float
    is_open: bool
