"""Where the time of a campaign went: every second of the agent and every core-second of its workers."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlasdi.agent.records.ledger import Attempt, Ledger, Purpose
from mlasdi.agent.records.schema import Activity

# What a worker did: a solve that was of use, for either purpose, one that was not, a training, a choice of points.
SOLVE, VALIDATE, WASTED, TRAIN, CHOOSE = "solve", "validate", "failed or cut off", "train", "choose"
# Interrupted attempts and lost workers: nobody knows which process it was.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Span:
    """What one worker did from one moment to another.

    Attributes:
        worker: `host:pid`.
        lane: place among what the same host does at the same time, from 0.
        start_s, end_s: since the campaign began.
    """

    worker: str
    lane: int
    activity: str
    cores: float
    start_s: float
    end_s: float

    @property
    def host(self) -> str:
        return self.worker.rpartition(":")[0] or self.worker


def spans(ledger: Ledger) -> list[Span]:
    """What workers did, in the order in which it began; solutions that were found in the store took nobody's time."""
    purposes: dict[int, Purpose] = {point.id: point.purpose for point in ledger.points()}
    activities = ledger.times.activities()
    found = [_of_attempt(attempt, purposes[attempt.point_id]) for attempt in ledger.attempts() if not attempt.cached]
    found += [_of_activity(one) for one in activities if one.activity == TRAIN or one.worker]
    origin = min((one.start_s for one in found), default=0.0)
    origin = min([origin, *(activity.started_at for activity in activities)])
    shifted = [replace(one, start_s=one.start_s - origin, end_s=one.end_s - origin) for one in found]
    return list(_in_lanes(sorted(shifted, key=lambda one: one.start_s)))


def _of_attempt(attempt: Attempt, purpose: Purpose) -> Span:
    useful = VALIDATE if purpose == "validate" else SOLVE
    activity = useful if attempt.status in ("solved", "running") else WASTED
    ended_at = attempt.seen_at if attempt.ended_at is None else attempt.ended_at
    return Span(attempt.worker or UNKNOWN, 0, activity, attempt.cores, attempt.started_at, ended_at)


def _of_activity(one: Activity) -> Span:
    return Span(one.worker or "agent", 0, one.activity, one.cores, one.started_at, one.ended_at)


def _in_lanes(ordered: Iterable[Span]) -> Iterator[Span]:
    """Each span in the first lane of its host that is free."""
    free_from: dict[str, list[float]] = defaultdict(list)
    for one in ordered:
        lanes = free_from[one.host]
        lane = next((i for i, end_s in enumerate(lanes) if end_s <= one.start_s), len(lanes))
        lanes[lane:lane + 1] = [one.end_s]  # fmt: skip
        yield replace(one, lane=lane)


def core_seconds(found: Iterable[Span]) -> dict[str, float]:
    """Core-seconds of workers, by activity."""
    spent: dict[str, float] = defaultdict(float)
    for one in found:
        spent[one.activity] += one.cores * (one.end_s - one.start_s)
    return dict(spent)


def by_worker(found: Iterable[Span]) -> dict[str, dict[str, float]]:
    """Worker -> activity -> seconds."""
    spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in found:
        spent[one.worker][one.activity] += one.end_s - one.start_s
    return {worker: dict(activities) for worker, activities in sorted(spent.items())}


def accounting(ledger: Ledger) -> dict[str, Any]:
    """Entries of the report: `seconds` (`other` is what no activity accounts for), `core_seconds` and `workers`."""
    spent, found, elapsed_s = ledger.seconds(), spans(ledger), ledger.times.elapsed_s()
    other = max(elapsed_s - sum(spent.values()), 0.0)
    return {
        "seconds": {**spent, "other": other, "total": elapsed_s},
        "core_seconds": core_seconds(found),
        "workers": by_worker(found),
    }
