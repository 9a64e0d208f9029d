"""The solves of a campaign: points and attempts in the ledger, tasks for the executor, solutions in the store."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mlasdi.agent.choosing import next_sobol
from mlasdi.agent.config import Config
from mlasdi.agent.execution import (
    DISK_FULL,
    TRANSIENT,
    Executor,
    Solution,
    SolveResult,
    SolvesError,
    SolveTask,
    TrainTask,
    read_snapshots,
)
from mlasdi.agent.records import Ledger, Monitor, Point, Purpose
from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import DamagedSnapshot, address, open_store, within

__all__ = ["Solves", "SolvesError"]

# Of the points of `validation.sobol`; a campaign's own designs have other seeds, and hence other points.
VALIDATION_SEED = 2**31 - 1

_Read = TypeVar("_Read")


class Solves:
    """Runs the solver for one campaign and finds its solutions again.

    Solves for training keep all their times; those for validation are thinned before they are stored, since there may
    be hundreds.
    """

    def __init__(self, config: Config, ledger: Ledger, executor: Executor, monitor: Monitor) -> None:
        self.config, self.ledger, self.executor, self.monitor = config, ledger, executor, monitor
        self.spec, self.space = config.problem.spec, config.problem.space
        self.fom = self.spec.build()
        self.store = open_store(config.snapshot_root)
        self._n_time: dict[Purpose, int | None] = {"train": None, "validate": config.validation.n_time}
        self._validation = config.validation
        self._under_way: dict[int, tuple[Purpose, Point, int]] = {}  # point -> its purpose, and the attempt
        self.available = config.choosable()

    def record(self, round: int, purpose: Purpose, mus: np.ndarray, scores: Sequence[float | None]) -> list[int]:
        """Enter points into the ledger before any of them is solved, and return their ids.

        Points that are there already stay as they are.
        """
        points = [self.space.as_dict(mu) for mu in mus]
        identity = self.fom.identity()
        addresses = [address(identity, mu, self._n_time[purpose]) for mu in points]
        return self.ledger.add_points(round, purpose, points, addresses, scores)

    def add_replacement_point(self, round: int, seed: int) -> bool:
        """Enter a point in place of a failed one of the initial design; whether there was one left."""
        spare = next_sobol(self.space, self.mus(self.ledger.points("train")), 1, seed, self.available)
        self.record(round, "train", spare, [None] * len(spare))
        return len(spare) > 0

    def run(self, purpose: Purpose, points: Sequence[Point]) -> None:
        """Solve the points that are proposed and not solved; a failed solve is recorded, and the others go on.

        Points whose failure may have been the machine's are tried again, after all others.

        Raises:
            SolvesError: there is no room left for solutions.
        """
        known = {point.id for point in points}
        while due := [p for p in self.ledger.points(purpose) if p.id in known and self.is_due(p)]:
            self._run(purpose, due)

    def _run(self, purpose: Purpose, points: Sequence[Point]) -> None:
        """One attempt at each point, finished or not."""
        tasks = self.begin(purpose, points)
        try:
            for result in self.executor.run(tasks):
                self.record_result(result)
        finally:
            self.interrupt_running()

    def begin(self, purpose: Purpose, points: Sequence[Point]) -> list[SolveTask]:
        """Record that an attempt begins at each point; returns the tasks, whose results are for `take_in`."""
        attempts = self.ledger.start_attempts([point.id for point in points], self.config.cluster.solve_cpus)
        self._under_way |= {
            point.id: (purpose, point, attempt) for point, attempt in zip(points, attempts, strict=True)
        }
        self.monitor.solving(purpose, len(points))
        return [self._task(purpose, point) for point in points]

    @property
    def n_under_way(self) -> int:
        """Attempts that have begun, and whose results have not been taken in."""
        return len(self._under_way)

    def record_result(self, result: SolveResult) -> Point:
        """Record how an attempt ended; returns its point as it was before.

        Raises:
            SolvesError: there is no room left for solutions. The attempt is for `give_up`: it counts for nothing.
        """
        purpose, point, attempt = self._under_way[result.task_id]
        if result.failure is not None and result.failure.kind == DISK_FULL:
            raise SolvesError(
                f"there is no room for the solution at {point.mu} in {self.store.root} ({result.failure.message}): "
                "free some, and the same command goes on"
            )
        del self._under_way[result.task_id]
        self.ledger.finish_attempt(attempt, result)
        self.monitor.solved(purpose, point.mu, result)
        return point

    def interrupt_running(self) -> None:
        """Record that whatever is under way is not waited for any more; its points are as they were."""
        for _, _, attempt in self._under_way.values():
            self.ledger.interrupt_attempt(attempt)
        self._under_way = {}

    def is_due(self, point: Point) -> bool:
        """Whether a point has not been solved, or only failed in a way, and not so often, that it is tried again."""
        if point.status != "failed":
            return point.status == "proposed"
        failed = [attempt for attempt in self.ledger.attempts(point.id) if attempt.status == "failed"]
        return len(failed) <= self.config.cluster.retries and failed[-1].failure_kind in TRANSIENT

    def _task(self, purpose: Purpose, point: Point) -> SolveTask:
        root, limit = str(self.store.root.resolve()), self.config.cluster.solve_time_limit_s
        return SolveTask(point.id, self.spec, point.mu, point.address, root, self._n_time[purpose], limit)

    def resolving_damaged(self, read: Callable[[], _Read]) -> _Read:
        """What `read` returns, once the damaged solutions that it comes upon are solved again."""
        while True:
            try:
                return read()
            except DamagedSnapshot as damage:
                self.set_aside(damage.path)
                point = self.points_at(damage.path)[0]
                self._run(point.purpose, [point])

    def set_aside(self, path: Path) -> None:
        """Put a damaged solution out of the way, and tell of it."""
        kept = self.store.set_aside(path.stem)
        self.monitor.warning(f"a stored solution was damaged, and is solved again; the damaged file is kept as {kept}")

    def points_at(self, path: Path) -> list[Point]:
        """The points whose solution is stored in a file."""
        return [point for point in self.ledger.points() if point.address == path.stem]

    def validation_set(self) -> np.ndarray:
        """Points that judge `[point, n_params]`: a grid, or what the campaign has not taken of a data set."""
        if self._validation.grid is not None:
            return self.space.grid(self._validation.grid)
        if self._validation.sobol is not None:
            return self.space.sobol(self._validation.sobol, VALIDATION_SEED)
        if self.available is None:
            return np.empty((0, self.space.n_params))
        known = {tuple(mu) for mu in self.mus(self.ledger.points("train"))}
        rest = [mu for mu in self.available if tuple(mu) not in known]
        return np.array(rest).reshape(-1, self.space.n_params)

    def validated(self) -> list[Point]:
        """Solved validation points; of a data set, those that have not become training data since."""
        solved = self.ledger.points("validate", status="solved")
        if not self._validation.rest:
            return solved
        known = [point.mu for point in self.ledger.points("train")]
        return [point for point in solved if point.mu not in known]

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
        return read_snapshots(self.store, Solution(point.mu, point.address))

    def truth(self, point: Point, t: np.ndarray) -> Snapshots:
        """The solution at a solved point within the times `t` of a surrogate, which may be fewer than the solver's."""
        return within(self.snapshots(point), float(t[0]), float(t[-1]))

    def solutions(self, round: int) -> tuple[Solution, ...]:
        """What the model of a round is trained on: all solutions for training up to it.

        Raises:
            SolvesError: fewer than two solves succeeded.
        """
        points = [point for point in self.ledger.points("train", status="solved") if point.round <= round]
        if len(points) < 2:
            raise SolvesError(
                f"only {len(points)} solves succeeded, and a surrogate needs 2: mend the cause and "
                f"delete the campaign folder to start afresh. {self._last_failure()}"
            )
        return tuple(Solution(point.mu, point.address) for point in points)

    def training_task(self, round: int, place: str) -> TrainTask:
        """The training of a round's model, which is to be saved at `place`, a folder or a URL.

        Raises:
            SolvesError: fewer than two solves succeeded.
        """
        return TrainTask(
            task_id=round,
            solver=self.spec,
            space=self.space,
            solutions=self.solutions(round),
            store_root=self.config.snapshot_root,
            place=place,
            model=self.config.model,
            seed=int(np.random.SeedSequence([self.config.seed, round]).generate_state(1)[0]),
            info={"problem": self.config.problem.solver, "campaign": self.config.name, "round": round},
            cpus=self.config.cluster.train_cpus,
            gpus=self.config.cluster.train_gpus,
        )

    def _last_failure(self) -> str:
        failed: list[Mapping[str, str | None]] = [
            {"kind": attempt.failure_kind, "message": attempt.failure_message}
            for attempt in self.ledger.attempts()
            if attempt.status == "failed"
        ]
        return f"The last failure: {failed[-1]['kind']}: {failed[-1]['message']}" if failed else ""
