"""The asynchronous schedule: solves and trainings run concurrently, and none waits for the slowest solve.

A round is one trained model. A training begins when the last one has ended and there are new solutions; it uses all
points solved by then. When a solve ends, the next begins at the point with the highest score of the newest model, with
running solves as pending points; before there is a model, at the next point of the Sobol sequence.
"""

from collections.abc import Sequence

import numpy as np

from mlasdi.agent.campaign.delivery import Delivery
from mlasdi.agent.campaign.proposal_queue import PointList, ProposalQueue
from mlasdi.agent.campaign.rounds import Rounds
from mlasdi.agent.choosing import initial_design
from mlasdi.agent.config import StopReason
from mlasdi.agent.execution import (
    DAMAGED_SNAPSHOT,
    DISK_FULL,
    TRANSIENT,
    Executor,
    ProposeResult,
    Result,
    SolveResult,
    SolvesError,
    Task,
    TaskFailure,
    TrainResult,
)
from mlasdi.agent.records import Point
from mlasdi.solvers.storage import DamagedSnapshot

# Longest time until a request to stop is noticed.
WAIT_S = 1.0


class Asynchronous:
    """Solves, trainings and choices of points of a campaign that keeps `sampling.batch` solves running."""

    def __init__(self, rounds: Rounds, delivery: Delivery) -> None:
        self.rounds, self.delivery = rounds, delivery
        self.config, self.ledger, self.solves = rounds.config, rounds.ledger, rounds.solves
        self.executor: Executor = self.solves.executor
        waits_for_choice = self.config.cluster.executor != "ray"
        self.proposals = ProposalQueue(rounds, waits_for_choice=waits_for_choice)
        self.model: int | None = None  # round of the newest model
        self.n_initial = 0
        self._known = PointList(rounds.space.n_params)  # all training points in the ledger
        self._due: list[Point] = []  # points in the ledger that are solved before new ones are chosen
        self._tasks: list[Task] = []  # tasks in the ledger that are not submitted yet
        self._training: int | None = None  # activity id of the running training in the ledger
        self._failed_trainings = 0
        self._begun_since_model = 0

    @property
    def _round(self) -> int:
        """The round of the running training or, if none is running, of the next one."""
        return 0 if self.model is None else self.model + 1

    def run(self) -> tuple[int, StopReason]:
        """Work until there is a reason to stop and the last model is trained on all solutions.

        Returns:
            The last round, and the reason.

        Raises:
            SolvesError: too few solves succeed for a model, or a solution is missing.
        """
        with self.rounds.timed("solve"):  # the agent itself only submits tasks and waits for their results
            self._resume()
            results: list[Result] = []
            while True:
                for result in results:
                    if isinstance(result, TrainResult):
                        self._record_model(result)
                with self.ledger.transaction():  # one write to the disk for results and the tasks that follow
                    self._record_results(results)
                    reason = self._start_due_tasks()
                if self._is_idle():
                    if self.model is None:
                        self.solves.solutions(0)  # raises an error that says why there is no model
                    elif reason is not None or self.proposals.is_exhausted(self.model):
                        return self.model, reason or StopReason.NO_NEW_POINT
                for task in self._tasks:
                    self.executor.submit(task)
                self._tasks = []
                results = self.executor.wait(self._timeout_s())

    def _start_due_tasks(self) -> StopReason | None:
        """Record and queue all tasks that can start now; returns the reason if no new points are chosen."""
        reason = self.rounds.stop_reason(self.model)
        if reason is None:
            self._choose()
            self._begin_solves()
        self._begin_training(is_last=reason is not None or not self._runs_left())
        return reason

    def _resume(self) -> None:
        """Record the initial design, and continue from what the ledger contains."""
        newest = self.ledger.last_round("train")
        self.model = newest if newest >= 0 else None
        design = initial_design(self.rounds.space, self.config.sampling, self.config.seed, self.solves.available)
        self.n_initial = len(design)
        self.solves.record(0, "train", design, [None] * len(design))
        points = self.ledger.points("train")
        self._known.extend(self.solves.mus(points))
        self._due = [point for point in points if self.solves.is_due(point)]
        for round in range(self._round):  # an agent may be killed between saving and assessing a model
            if self.ledger.step_payload(round, "assess") is None:
                self.rounds.assess(round, validate=False)
        self.rounds.monitor.round_started(self._round, self.rounds.runs())

    def _is_idle(self) -> bool:
        """Whether nothing is running, and the newest model is trained on all solutions."""
        return not self.solves.n_running and self._training is None and not self._has_new_solutions()

    def _has_new_solutions(self) -> bool:
        newest = -1 if self.model is None else self.model
        return self.ledger.count("train", "solved", after_round=newest) > 0

    def _timeout_s(self) -> float:
        """How long to wait for results before checking again what can start."""
        return min(WAIT_S, max(self.proposals.max_idle_s, 0.02)) if self.proposals.is_choosing else WAIT_S

    # Solves

    def _choose(self) -> None:
        """Choose points for the free slots beyond those that are due, and request one more in advance."""
        free = self.config.sampling.batch - self.solves.n_running - len(self._due)
        runs_left = self._runs_left()
        known = self._known.array
        if self.model is None:  # Sobol points fill each slot once only; a model will choose better ones
            missing = 2 - self.ledger.count("train", "solved") - self.solves.n_running - len(self._due)
            n = min(free, max(self.config.sampling.batch - self._begun_since_model, missing), runs_left)
            chosen = self.proposals.sobol_points(n, known) if n > 0 else []
            self._known.extend(mu for mu, _ in chosen)
        else:
            left = self.rounds.budget.of_round(self._begun_since_model + runs_left, 0) - self._begun_since_model
            chosen = self.proposals.take(min(free, left), self.model, known) if min(free, left) > 0 else []
            n = min(max(free - len(chosen), 1), left - len(chosen))
            self._known.extend(mu for mu, _ in chosen)
            self._tasks += self.proposals.request(self.model, n, self._known.array, self._failed_mus)
        if chosen:
            self._begun_since_model += len(chosen)
            scores = [score for _, score in chosen]
            ids = self.solves.record(self._round, "train", np.array([mu for mu, _ in chosen]), scores)
            self._due += [self.ledger.point(point_id) for point_id in ids]

    def _runs_left(self) -> int:
        """Solver runs left in the budget, if running and due solves are all charged."""
        return self.rounds.budget.remaining_runs(self.rounds.runs() + self.solves.n_running + len(self._due))

    def _failed_mus(self) -> np.ndarray:
        return self.solves.mus(self.ledger.points("train", status="failed"))

    def _begin_solves(self) -> None:
        """Begin solves until `sampling.batch` are running."""
        free = max(self.config.sampling.batch - self.solves.n_running, 0)
        begun, self._due = self._due[:free], self._due[free:]
        if begun:
            self._tasks += self.solves.begin("train", begun)

    # Training

    def _begin_training(self, *, is_last: bool) -> None:
        """Begin a training on all solutions, if there are new ones and no training is running."""
        if self._training is not None or (self.solves.n_running and self._failed_trainings):
            return
        if self.ledger.step_payload(self._round, "solve") is None:  # else an agent was killed during this training
            if not self._has_new_solutions() or (self.model is None and not self._is_enough(is_last)):
                return
            if is_last and self.solves.n_running:  # the last training waits for all solves
                return
            self.ledger.close_round(self._round)
        checkpoints = self.rounds.checkpoints
        before = None if self.model is None else checkpoints.share(self.model)
        task = self.solves.training_task(self._round, checkpoints.for_workers(self._round), before)
        self._training = self.ledger.activity_log.begin("train", worker="unknown", cores=self.config.cluster.train_cpus)
        self._tasks.append(task)

    def _is_enough(self, is_last: bool) -> bool:
        """Whether to train the first model: with as many solutions as the initial design has points, if possible."""
        n_solved = self.ledger.count("train", "solved")
        no_more_solves = not self.solves.n_running and not self._due
        return n_solved >= 2 and (n_solved >= self.n_initial or no_more_solves or is_last)

    # Results

    def _record_results(self, results: Sequence[Result]) -> None:
        for result in results:
            if isinstance(result, SolveResult):
                self._record_solve(result)
            elif isinstance(result, ProposeResult):
                self.proposals.record_result(result)

    def _record_solve(self, result: SolveResult) -> None:
        point = self.solves.record_result(result)
        if result.failure is None:
            self.proposals.note_solve(result.ended_at - result.started_at)
        elif result.failure.kind in TRANSIENT:
            again = self.ledger.point(point.id)
            self._due += [again] if self.solves.is_due(again) else []

    def _record_model(self, result: TrainResult) -> None:
        assert self._training is not None
        worker = result.worker or "unknown"
        self.ledger.activity_log.end_of_worker(self._training, worker, result.started_at, result.ended_at)
        self._training = None
        if result.failure is not None:
            self._handle_failure(result.failure)
            return
        for warning in result.warnings:
            self.rounds.monitor.warning(warning)
        round = result.task_id
        self.rounds.checkpoints.import_from_worker(round)
        self.ledger.complete_step(round, "train", {"folder": self.rounds.checkpoints.model_folder(round).name})
        self.model, self._failed_trainings, self._begun_since_model = round, 0, 0
        self.rounds.assess(round, validate=False)
        self.delivery.publish_pending()
        self.rounds.monitor.round_started(self._round, self.rounds.runs())

    def _handle_failure(self, failure: TaskFailure) -> None:
        """Solve damaged solutions again, and repeat the training if the failure may be transient; else raise.

        Raises:
            SolvesError: the training will not be repeated.
        """
        if failure.kind == DAMAGED_SNAPSHOT:
            self._resolve_damaged()
        self._failed_trainings += 1
        is_transient = failure.kind in (*TRANSIENT, DAMAGED_SNAPSHOT)
        if not is_transient or self._failed_trainings > 1 + self.config.cluster.retries:
            helps = ": free disk space, then rerun the same command to resume" if failure.kind == DISK_FULL else ""
            raise SolvesError(f"the training of round {self._round} failed: {failure.message}{helps}")
        self.rounds.monitor.warning(f"the training of round {self._round} is repeated: {failure.message}")

    def _resolve_damaged(self) -> None:
        """Set all damaged solutions aside, and solve their points again."""
        for point in self.ledger.points("train", status="solved"):
            try:
                self.solves.store.open(point.address)
            except DamagedSnapshot as damage:
                self.solves.set_aside(damage.path)
                self._tasks += self.solves.begin("train", [point])
