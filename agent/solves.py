"""The solves of a campaign: points and attempts in the ledger, tasks for the executor, solutions in the store."""

from collections.abc import Mapping, Sequence

import numpy as np

from agent.config import Config
from agent.executor import Executor
from agent.ledger import Ledger, Point, Purpose
from agent.monitor import Monitor
from agent.sampling import next_sobol
from agent.tasks import TRANSIENT, SolveTask
from mlasdi.training import TrainingData
from solvers.contract import Snapshots, StateLayout
from solvers.store import SnapshotStore, address
from solvers.times import aligned, within

# An error of interpolation in time beyond this is worth a warning: surrogates can be better than it.
COARSE_TIMES = 1e-3
# Of the points of `validation.sobol`; a campaign's own designs have other seeds, and hence other points.
VALIDATION_SEED = 2**31 - 1


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
        self._validation, self._retries = config.validation, config.cluster.retries
        self.available = config.choosable()
        self.time_error = 0.0

    def record(self, round: int, purpose: Purpose, mus: np.ndarray, scores: Sequence[float | None]) -> None:
        """Enter points into the ledger before any of them is solved; points that are there already stay as they are."""
        points = [self.space.as_dict(mu) for mu in mus]
        identity = self.fom.identity()
        addresses = [address(identity, mu, self._n_time[purpose]) for mu in points]
        self.ledger.add_points(round, purpose, points, addresses, scores)

    def record_spare(self, round: int, seed: int) -> bool:
        """Enter a point in place of a failed one of the initial design; whether there was one left."""
        spare = next_sobol(self.space, self.mus(self.ledger.points("train")), 1, seed, self.available)
        self.record(round, "train", spare, [None] * len(spare))
        return len(spare) > 0

    def run(self, purpose: Purpose, points: Sequence[Point]) -> None:
        """Solve the points that are proposed and not solved; a failed solve is recorded, and the others go on.

        Points whose failure may have been the machine's are tried again, after all others.
        """
        known = {point.id for point in points}
        while due := {p.id: p for p in self.ledger.points(purpose) if p.id in known and self._is_due(p)}:
            attempts = {point_id: self.ledger.start_attempt(point_id) for point_id in due}
            self.monitor.solving(purpose, len(due))
            for result in self.executor.run([self._task(purpose, point) for point in due.values()]):
                self.ledger.finish_attempt(attempts[result.task_id], result)
                self.monitor.solved(purpose, due[result.task_id].mu, result)

    def _is_due(self, point: Point) -> bool:
        """Whether a point has not been solved, or only failed in a way, and not so often, that it is tried again."""
        if point.status != "failed":
            return point.status == "proposed"
        failed = [attempt for attempt in self.ledger.attempts(point.id) if attempt.status == "failed"]
        return len(failed) <= self._retries and failed[-1].failure_kind in TRANSIENT

    def _task(self, purpose: Purpose, point: Point) -> SolveTask:
        root = str(self.store.root.resolve())
        return SolveTask(point.id, self.spec, point.mu, point.address, root, self._n_time[purpose])

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
        found = self.store.get(point.address)
        if found is None:
            raise SolvesError(
                f"the solution at {point.mu} is missing ({self.store.path(point.address)}): put the file back, "
                "or delete the campaign folder to start afresh"
            )
        return found

    def truth(self, point: Point, t: np.ndarray) -> Snapshots:
        """The solution at a solved point within the times `t` of a surrogate, which may be fewer than the solver's."""
        return within(self.snapshots(point), float(t[0]), float(t[-1]))

    def training_data(self, round: int) -> TrainingData:
        """All solutions for training up to a round, on common times.

        Sets `time_error` to the estimated relative error of the interpolation that took.

        Raises:
            SolvesError: fewer than two solves succeeded, or solutions hardly overlap in time or differ in their grids.
        """
        points = [point for point in self.ledger.points("train", status="solved") if point.round <= round]
        if len(points) < 2:
            raise SolvesError(
                f"only {len(points)} solves succeeded, and a surrogate needs 2: mend the cause and "
                f"delete the campaign folder to start afresh. {self._last_failure()}"
            )
        found = [self.snapshots(point) for point in points]
        layout = self._layout(points, found)
        try:
            common = aligned(found)
        except ValueError as error:
            raise SolvesError(str(error)) from error
        if common.error > COARSE_TIMES:
            self.monitor.warning(
                f"solutions have different times, and interpolation between them costs about {common.error:.1e} of "
                "their norm: have the solver write more times, or the same for all points"
            )
        self.time_error = common.error
        return TrainingData(self.space, layout, self.mus(points), common.t, common.u)

    def _layout(self, points: Sequence[Point], found: Sequence[Snapshots]) -> StateLayout:
        """Fields and grid of all solutions: the solver's, or what they all say."""
        layouts = [self.fom.layout or snapshots.layout for snapshots in found]
        first = layouts[0]
        if first is None:
            raise SolvesError(f"the solution at {points[0].mu} says nothing of its fields and grid")
        for point, layout in zip(points, layouts, strict=True):
            if layout != first:
                raise SolvesError(
                    f"the solution at {point.mu} has other fields or another grid ({_summary(layout)}) than that at "
                    f"{points[0].mu} ({_summary(first)}): interpolate to one grid in the solver"
                )
        return first

    def _last_failure(self) -> str:
        failed: list[Mapping[str, str | None]] = [
            {"kind": attempt.failure_kind, "message": attempt.failure_message}
            for attempt in self.ledger.attempts()
            if attempt.status == "failed"
        ]
        return f"The last failure: {failed[-1]['kind']}: {failed[-1]['message']}" if failed else ""


def _summary(layout: StateLayout | None) -> str:
    return "none" if layout is None else f"{', '.join(layout.fields)} on {' x '.join(map(str, layout.shape))}"
