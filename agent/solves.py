"""The solves of a campaign: points and attempts in the ledger, tasks for the executor, solutions in the store."""

from collections.abc import Mapping, Sequence

import numpy as np

from agent.config import Config
from agent.executor import Executor
from agent.ledger import Ledger, Point, Purpose
from agent.monitor import Monitor
from agent.tasks import SolveTask
from mlasdi.training import TrainingData
from solvers.contract import Snapshots
from solvers.store import SnapshotStore, address


class SolvesError(Exception):
    """Solutions that the campaign needs are not to be had."""


class Solves:
    """Runs the solver for one campaign and finds its solutions again.

    Solves for training keep all their times; those for validation are thinned before they are stored, since there may
    be hundreds.
    """

    def __init__(self, config: Config, ledger: Ledger, executor: Executor, monitor: Monitor) -> None:
        self.ledger, self.executor, self.monitor = ledger, executor, monitor
        self.spec, self.space = config.problem.spec, config.problem.space
        self.fom = self.spec.build()
        self.store = SnapshotStore(config.folder / "snapshots")
        self._n_time: dict[Purpose, int | None] = {"train": None, "validate": config.validation.n_time}

    def record(self, round: int, purpose: Purpose, mus: np.ndarray, scores: Sequence[float | None]) -> None:
        """Enter points into the ledger before any of them is solved; points that are there already stay as they are."""
        points = [self.space.as_dict(mu) for mu in mus]
        identity = self.fom.identity()
        addresses = [address(identity, mu, self._n_time[purpose]) for mu in points]
        self.ledger.add_points(round, purpose, points, addresses, scores)

    def run(self, purpose: Purpose, points: Sequence[Point]) -> None:
        """Solve the points that are proposed and not solved; a failed solve is recorded, and the others go on."""
        waiting = {point.id: point for point in points if point.status == "proposed"}
        if not waiting:
            return
        attempts = {point_id: self.ledger.start_attempt(point_id) for point_id in waiting}
        self.monitor.solving(purpose, len(waiting))
        for result in self.executor.run([self._task(purpose, point) for point in waiting.values()]):
            self.ledger.finish_attempt(attempts[result.task_id], result)
            self.monitor.solved(purpose, waiting[result.task_id].mu, result)

    def _task(self, purpose: Purpose, point: Point) -> SolveTask:
        root = str(self.store.root.resolve())
        return SolveTask(point.id, self.spec, point.mu, point.address, root, self._n_time[purpose])

    def mus(self, points: Sequence[Point]) -> np.ndarray:
        """The parameters of points as an array `[point, n_params]`."""
        return np.array([[point.mu[name] for name in self.space.names] for point in points]).reshape(
            -1, self.space.n_params
        )

    def snapshots(self, point: Point) -> Snapshots:
        """The solution at a solved point.

        Raises:
            SolvesError: it is gone from the store.
            DamagedSnapshot: its file is damaged.
        """
        found = self.store.get(point.address)
        if found is None:
            raise SolvesError(
                f"the solution at {point.mu} is missing ({self.store.path(point.address)}): put the file back, "
                "or delete the campaign folder to start afresh"
            )
        return found

    def training_data(self, round: int) -> TrainingData:
        """All solutions for training up to a round, on common times.

        Raises:
            SolvesError: fewer than two solves succeeded, or solutions have different times.
        """
        points = [point for point in self.ledger.points("train", status="solved") if point.round <= round]
        if len(points) < 2:
            raise SolvesError(
                f"only {len(points)} solves succeeded, and a surrogate needs 2: mend the cause and "
                f"delete the campaign folder to start afresh. {self._last_failure()}"
            )
        found = [self.snapshots(point) for point in points]
        for point, snapshots in zip(points, found, strict=True):
            if not np.array_equal(snapshots.t, found[0].t):
                raise SolvesError(f"the solution at {point.mu} has other times than that at {points[0].mu}")
        u = np.stack([snapshots.u for snapshots in found])
        layout = self.fom.layout or found[0].layout
        if layout is None:
            raise SolvesError(f"the solution at {points[0].mu} says nothing of its fields and grid")
        return TrainingData(self.space, layout, self.mus(points), found[0].t, u)

    def _last_failure(self) -> str:
        failed: list[Mapping[str, str | None]] = [
            {"kind": attempt.failure_kind, "message": attempt.failure_message}
            for attempt in self.ledger.attempts()
            if attempt.status == "failed"
        ]
        return f"The last failure: {failed[-1]['kind']}: {failed[-1]['message']}" if failed else ""
