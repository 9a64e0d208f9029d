"""The cost of a campaign: seconds of the agent by activity, and core-seconds of its workers."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlasdi.agent.records.ledger import Attempt, Ledger, Purpose
from mlasdi.agent.records.schema import Activity

# Activities of workers: successful solves for training and for validation, other solves, trainings, choices of points.
SOLVE, VALIDATE, WASTED, TRAIN, CHOOSE = "solve", "validate", "failed or cut off", "train", "choose"
# Activities of the agent itself; it trains and chooses, too, where workers do not.
ASSESS, PUBLISH = "assess", "publish"
_OF_AGENT = {"acquire": CHOOSE, ASSESS: ASSESS, PUBLISH: PUBLISH}
# Worker of interrupted attempts and of lost tasks, whose process is not known.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Span:
    """One activity of one worker.

    Attributes:
        worker: `host:pid`.
        lane: number, from 0, that tells concurrent activities of a host apart, for charts.
        cores: number of cores that it used.
        start_s, end_s: seconds since the campaign began.
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


def spans(ledger: Ledger, *, of_agent: bool = False) -> list[Span]:
    """Activities of all workers, in the order in which they began; without solves that were found in the store.

    Args:
        of_agent: with the agent's own activities, for charts: it chooses points, assesses models and publishes them.
    """
    purposes: dict[int, Purpose] = {point.id: point.purpose for point in ledger.points()}
    activities = ledger.activity_log.activities()
    found = [_of_attempt(attempt, purposes[attempt.point_id]) for attempt in ledger.attempts() if not attempt.cached]
    found += [_of_activity(one) for one in activities if one.activity == TRAIN or one.worker]
    if of_agent:
        own = [one for one in activities if one.activity in _OF_AGENT and not one.worker]
        found += [replace(_of_activity(one), activity=_OF_AGENT[one.activity]) for one in own]
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
    """Assign each span to the first free lane of its host."""
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
    """Entries of the report: `seconds` (with `other` for the rest of the total), `core_seconds` and `workers`."""
    spent, found, elapsed_s = ledger.seconds(), spans(ledger), ledger.activity_log.elapsed_s()
    other = max(elapsed_s - sum(spent.values()), 0.0)
    return {
        "seconds": {**spent, "other": other, "total": elapsed_s},
        "core_seconds": core_seconds(found),
        "workers": by_worker(found),
    }
