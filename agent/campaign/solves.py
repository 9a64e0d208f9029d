"""The solves of a campaign: its points and attempts in the ledger, tasks, and solutions in the store."""

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
    SolvesLeft,
    SolveTask,
    TrainTask,
    read_snapshots,
)
from mlasdi.agent.records import Ledger, Monitor, Point, Purpose
from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import DamagedSnapshot, StoredRun, address, open_store
from mlasdi.surrogate import Surrogate
from mlasdi.validation import covered_part

# Seed of the points of `validation.sobol`; designs have other seeds, and hence other points.
VALIDATION_SEED = 2**31 - 1

_Read = TypeVar("_Read")


class Solves:
    """Runs the solver for one campaign and reads its solutions.

    Training solutions are stored with all times. Validation solutions may be thinned before they are stored, because
    there may be hundreds of them (`validation.n_time`).
    """

    def __init__(self, config: Config, ledger: Ledger, executor: Executor, monitor: Monitor) -> None:
        self.config, self.ledger, self.executor, self.monitor = config, ledger, executor, monitor
        self.spec, self.space = config.problem.spec, config.problem.space
        self.fom = self.spec.build()
        self.identity = self.fom.identity()
        # As workers see it; the folder of `store` is, for a URL, the cache of this machine.
        self._root, self._shared = config.snapshot_root, config.shared_solutions
        self.store = open_store(self._root)
        self._n_time: dict[Purpose, int | None] = {"train": None, "validate": config.validation.n_time}
        self._validation = config.validation
        self._running: dict[int, tuple[Purpose, Point, int]] = {}  # point id -> purpose, point and attempt id
        self.available = config.choosable()

    def record(self, round: int, purpose: Purpose, mus: np.ndarray, scores: Sequence[float | None]) -> list[int]:
        """Record points in the ledger before they are solved, and return their ids; existing points stay unchanged."""
        points = [self.space.as_dict(mu) for mu in mus]
        addresses = [address(self.identity, mu, self._n_time[purpose]) for mu in points]
        return self.ledger.add_points(round, purpose, points, addresses, scores)

    def add_replacement_point(self, round: int, seed: int) -> bool:
        """Record a point in place of a failed one of the initial design; returns whether one was left."""
        found = next_sobol(self.space, self.mus(self.ledger.points("train")), 1, seed, self.available)
        self.record(round, "train", found, [None] * len(found))
        return len(found) > 0

    def run(self, purpose: Purpose, points: Sequence[Point]) -> None:
        """Solve those of the points that are due; a failed solve is recorded, and the others continue.

        Points with transient failures are tried again after all others.

        Raises:
            SolvesError: the disk is full.
        """
        known = {point.id for point in points}
        while due := [p for p in self.ledger.points(purpose) if p.id in known and self.is_due(p)]:
            self._run(purpose, due)

    def _run(self, purpose: Purpose, points: Sequence[Point]) -> None:
        """One attempt at each point."""
        tasks = self.begin(purpose, points)
        try:
            for result in self.executor.run(tasks):
                self.record_result(result)
        except SolvesLeft:
            self.forget_running()
            raise
        finally:
            self.interrupt_running()

    def begin(self, purpose: Purpose, points: Sequence[Point]) -> list[SolveTask]:
        """Record that an attempt begins at each point; returns the tasks, whose results are for `record_result`."""
        attempts = self.ledger.start_attempts([point.id for point in points], self.config.cluster.solve_cpus)
        self._running |= {point.id: (purpose, point, attempt) for point, attempt in zip(points, attempts, strict=True)}
        self.monitor.solving(purpose, len(points))
        return [self._task(purpose, point) for point in points]

    @property
    def n_running(self) -> int:
        """Number of attempts that have begun and whose results are not recorded yet."""
        return len(self._running)

    def record_result(self, result: SolveResult) -> Point:
        """Record how an attempt ended; returns its point with the status before.

        Raises:
            SolvesError: the disk is full. The attempt stays running, for `interrupt_running`.
        """
        purpose, point, attempt = self._running[result.task_id]
        if result.failure is not None and result.failure.kind == DISK_FULL:
            raise SolvesError(
                f"the disk is full: the solution at {point.mu} cannot be stored in {self.store.root} "
                f"({result.failure.message}); free disk space, then rerun the same command to resume"
            )
        del self._running[result.task_id]
        self.ledger.finish_attempt(attempt, result)
        self.monitor.solved(purpose, point.mu, result)
        return point

    def put(self, point: Point, snapshots: Snapshots, solve_s: float) -> None:
        """Store a solution that was computed elsewhere."""
        kept = self.kept(point, snapshots)
        self.store.put(point.address, kept, identity=self.identity, mu=point.mu, solve_s=solve_s)

    def kept(self, point: Point, snapshots: Snapshots) -> Snapshots:
        """What is stored of a solution at a point."""
        return snapshots.thinned(self._n_time[point.purpose])

    def interrupt_running(self) -> None:
        """Record that running attempts are interrupted; their points keep their status."""
        for _, _, attempt in self._running.values():
            self.ledger.interrupt_attempt(attempt)
        self._running = {}

    def forget_running(self) -> None:
        """Forget attempts that did not begin: their solves are left to the user."""
        for _, _, attempt in self._running.values():
            self.ledger.forget_attempt(attempt)
        self._running = {}

    def is_due(self, point: Point) -> bool:
        """Whether a point is to be solved: it was not tried, or failed transiently and has retries left."""
        if point.status != "failed":
            return point.status == "proposed"
        failed = [attempt for attempt in self.ledger.attempts(point.id) if attempt.status == "failed"]
        return len(failed) <= self.config.cluster.retries and failed[-1].failure_kind in TRANSIENT

    def _task(self, purpose: Purpose, point: Point) -> SolveTask:
        n_time, limit = self._n_time[purpose], self.config.cluster.solve_time_limit_s
        return SolveTask(point.id, self.spec, point.mu, point.address, self._root, n_time, limit, self._shared)

    def resolving_damaged(self, read: Callable[[], _Read]) -> _Read:
        """Call `read`; if it finds damaged solutions, solve these again and repeat it."""
        while True:
            try:
                return read()
            except DamagedSnapshot as damage:
                self.set_aside(damage.path)
                point = self.points_at(damage.path)[0]
                self._run(point.purpose, [point])

    def set_aside(self, path: Path) -> None:
        """Rename the file of a damaged solution, with a warning."""
        kept = self.store.set_aside(path.stem)
        self.monitor.warning(f"a stored solution is damaged and is solved again; the damaged file is kept as {kept}")

    def points_at(self, path: Path) -> list[Point]:
        """The points whose solution is stored in a file."""
        return [point for point in self.ledger.points() if point.address == path.stem]

    def validation_set(self) -> np.ndarray:
        """Validation points `[point, n_params]`: a grid, Sobol points, or the points of a data set not used so far."""
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
        """Solved validation points, without those that have become training points since."""
        solved = self.ledger.points("validate", status="solved")
        if not self._validation.rest:
            return solved
        known = [point.mu for point in self.ledger.points("train")]
        return [point for point in solved if point.mu not in known]

    def mus(self, points: Sequence[Point]) -> np.ndarray:
        """The parameters of points as an array `[point, n_params]`."""
        return self.space.as_array([point.mu for point in points]) if points else np.empty((0, self.space.n_params))

    def snapshots(self, point: Point) -> Snapshots | StoredRun:
        """The solution at a solved point; the states of a large one are read when they are asked for.

        Raises:
            SolvesError: it is missing from the store.
            DamagedSnapshot: its file is damaged.
        """
        return read_snapshots(self.store, Solution(point.mu, point.address))

    def truth(self, point: Point, surrogate: Surrogate) -> Snapshots | StoredRun:
        """The solution at a solved point, at the times that a surrogate covers."""
        return covered_part(surrogate, self.snapshots(point))

    def solutions(self, round: int) -> tuple[Solution, ...]:
        """The training data of a round: all solutions of training points up to this round.

        Raises:
            SolvesError: fewer than two solves succeeded.
        """
        points = [point for point in self.ledger.points("train", status="solved") if point.round <= round]
        if len(points) < 2:
            raise SolvesError(
                f"only {len(points)} solves succeeded, and a surrogate needs 2: fix the cause, then "
                f"delete the campaign folder to start again. {self._last_failure()}"
            )
        return tuple(Solution(point.mu, point.address) for point in points)

    def training_task(self, round: int, place: str, before: str | None) -> TrainTask:
        """The task of training a round's model and saving it at `place`, a folder or a URL.

        Args:
            before: folder or URL of the model of the round before; None for the first one.

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
            memory_mb=self.config.cluster.train_memory_mb,
            before=before,
            quantities=self.config.outputs,
        )

    def _last_failure(self) -> str:
        failed: list[Mapping[str, str | None]] = [
            {"kind": attempt.failure_kind, "message": attempt.failure_message}
            for attempt in self.ledger.attempts()
            if attempt.status == "failed"
        ]
        return f"The last failure: {failed[-1]['kind']}: {failed[-1]['message']}" if failed else ""
