"""Campaigns whose solves are run by their user: which are to be run, and how they ended.

The campaign is that of `run_campaign`. It takes solutions from its store, and stops where one is missing.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from mlasdi.agent.campaign.campaign import run_campaign
from mlasdi.agent.campaign.solves import Solves
from mlasdi.agent.config import Config
from mlasdi.agent.execution import SolveResult, SolvesLeft, StoredSolves, TaskFailure
from mlasdi.agent.records import CampaignLock, Ledger, Monitor, Point
from mlasdi.preprocessing import places_among
from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import StoredRun

WORKER = "user"  # in the ledger, of runs that the user has made


def runs_to_do(config: Config, monitor: Monitor | None = None) -> list[dict[str, float]]:
    """Do all that can be done without further solves: train, assess, choose, at the end report.

    Returns:
        The points whose solutions the campaign needs next; empty when it has ended.

    Raises:
        CampaignError, LedgerError: as `run_campaign`.
    """
    try:
        run_campaign(config, monitor, StoredSolves(config.cluster))
    except SolvesLeft as left:
        points = [dict(task.mu) for task in left.tasks]
        return [mu for k, mu in enumerate(points) if mu not in points[:k]]  # to train on, and to validate at, once
    return []


def add_run(config: Config, mu: Mapping[str, float], snapshots: Snapshots, solve_s: float = 0.0) -> None:
    """Record a solution, at a point that `runs_to_do` has named or at any other of the box.

    Raises:
        ValueError: another solution is recorded there.
        SolverError: the solution breaks the contract of a full-order model.
        LedgerError: an agent works on the campaign, or its ledger is damaged.
    """
    with _opened(config) as solves:
        snapshots.check(solves.fom.layout)
        for point in _points_at(solves, mu):
            if point.status != "solved":
                solves.put(point, snapshots, solve_s)
                _record(solves, point, solve_s, None)
            elif not _is_same(solves.kept(point, snapshots), solves.snapshots(point)):
                raise ValueError(f"mu {point.mu}: another solution is recorded there already")


def add_failure(config: Config, mu: Mapping[str, float], reason: str) -> None:
    """Record that a solve failed; the campaign continues without this point.

    Raises:
        LedgerError: as `add_run`.
    """
    with _opened(config) as solves:
        for point in _points_at(solves, mu):
            if point.status == "proposed":
                _record(solves, point, 0.0, TaskFailure("exception", reason))


@contextmanager
def _opened(config: Config) -> Iterator[Solves]:
    with CampaignLock(config.folder), Ledger(config.folder / "ledger.db") as ledger:
        yield Solves(config, ledger, StoredSolves(config.cluster), Monitor())


def _points_at(solves: Solves, mu: Mapping[str, float]) -> list[Point]:
    """The points of the ledger at `mu`, to train on and to validate at; a new one if there is none."""
    points, given = solves.ledger.points(), solves.space.as_array([mu])
    places = places_among(solves.space.to_unit(solves.mus(points)), solves.space.to_unit(given))
    if same := [point for point, place in zip(points, places, strict=True) if place >= 0]:
        return same
    (new,) = solves.record(_open_round(solves.ledger), "train", given, [None])
    return [solves.ledger.point(new)]


def _open_round(ledger: Ledger) -> int:
    """The round whose solves are under way or, after the last round, the next one."""
    round = max(ledger.last_round("propose"), 0)
    return round if ledger.step_payload(round, "solve") is None else round + 1


def _record(solves: Solves, point: Point, solve_s: float, failure: TaskFailure | None) -> None:
    """Record how a solve ended; a solved training point makes a campaign that had ended continue."""
    ledger, now = solves.ledger, time.time()
    (attempt,) = ledger.start_attempts([point.id], solves.config.cluster.solve_cpus)
    ledger.finish_attempt(
        attempt, SolveResult(point.id, point.address, solve_s, now - solve_s, now, WORKER, False, failure)
    )
    if point.purpose == "train" and failure is None:
        round = _open_round(ledger)
        if round > 0 and solves.config.cluster.mode == "synchronous" and ledger.step_payload(round, "propose") is None:
            ledger.complete_step(round, "propose", {"n_points": 1})
        ledger.set_meta("finished", None)


def _is_same(told: Snapshots, known: Snapshots | StoredRun) -> bool:
    return np.array_equal(told.t, known.t) and np.array_equal(told.u, known.u[:])
