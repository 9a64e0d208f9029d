"""The asynchronous schedule: solves go on while models are trained beside them, and nobody waits for the slowest.

A round is one trained model. Training begins again when the last one has ended and something new is solved, on all that
is solved by then. Places for solves are filled as soon as they are free, with what the newest model wants, points under
way counted as known; before there is a model, with the next points of the Sobol sequence.
"""

from collections.abc import Sequence

import numpy as np

from mlasdi.agent.campaign.delivery import Delivery
from mlasdi.agent.campaign.proposal_queue import Proposals
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

# A request to stop is noticed after this time at the latest.
WAIT_S = 1.0


class Asynchronous:
    """Solves, trainings and choices of a campaign that keeps `sampling.batch` solves under way."""

    def __init__(self, rounds: Rounds, delivery: Delivery) -> None:
        self.rounds, self.delivery = rounds, delivery
        self.config, self.ledger, self.solves = rounds.config, rounds.ledger, rounds.solves
        self.executor: Executor = self.solves.executor
        waits_for_choice = self.config.cluster.executor == "serial"
        self.proposals = Proposals(rounds, waits_for_choice=waits_for_choice)
        self.model: int | None = None  # the round of the newest one
        self.n_initial = 0
        self._known: list[np.ndarray] = []  # all points for training that are on record
        self._due: list[Point] = []  # recorded, and to be solved before anything new is chosen
        self._tasks: list[Task] = []  # on record as begun, and to be submitted
        self._training: int | None = None  # id of the activity in the ledger
        self._failed_trainings = 0
        self._begun_since_model = 0

    @property
    def _round(self) -> int:
        """The round that is being trained or, between two trainings, the next one."""
        return 0 if self.model is None else self.model + 1

    def run(self) -> tuple[int, StopReason]:
        """Work until there is a reason to stop, and all that was under way is in the last model.

        Returns:
            The last round, and the reason.

        Raises:
            SolvesError: too few solves succeed for a model, or a solution is lost.
        """
        with self.rounds.timed("solve"):  # all that an agent does which only hands out work and waits for it
            self._go_on()
            results: list[Result] = []
            while True:
                for result in results:
                    if isinstance(result, TrainResult):
                        self._take_model(result)
                with self.ledger.together():  # one write to the disk for a result and what follows from it
                    self._take_in(results)
                    reason = self._begin_what_is_due()
                if self._is_idle():
                    if self.model is None:
                        self.solves.solutions(0)  # raises, and says why there is no model
                    elif reason is not None or self.proposals.is_exhausted(self.model):
                        return self.model, reason or StopReason.NO_NEW_POINT
                for task in self._tasks:
                    self.executor.submit(task)
                self._tasks = []
                results = self.executor.wait(self._patience_s())

    def _begin_what_is_due(self) -> StopReason | None:
        """Begin all that can be begun now, on record; returns why nothing new is, or None."""
        reason = self.rounds.stop_reason(self.model)
        if reason is None:
            self._choose()
            self._begin_solves()
        self._begin_training(is_last=reason is not None or not self._in_budget())
        return reason

    def _go_on(self) -> None:
        """Record the initial design, and take up what an agent before this one had begun."""
        newest = self.ledger.last_round("train")
        self.model = newest if newest >= 0 else None
        design = initial_design(self.rounds.space, self.config.sampling, self.config.seed, self.solves.available)
        self.n_initial = len(design)
        self.solves.record(0, "train", design, [None] * len(design))
        points = self.ledger.points("train")
        self._known = list(self.solves.mus(points))
        self._due = [point for point in points if self.solves.is_due(point)]
        for round in range(self._round):  # a model that was saved, and not judged any more
            if self.ledger.step_payload(round, "assess") is None:
                self.rounds.judge(round, validated=False)
        self.rounds.monitor.round_started(self._round, self.rounds.runs())

    def _is_idle(self) -> bool:
        """Whether nothing is under way, and nothing solved that the newest model does not know."""
        return not self.solves.n_under_way and self._training is None and not self._has_new_solutions()

    def _has_new_solutions(self) -> bool:
        newest = -1 if self.model is None else self.model
        return self.ledger.count("train", "solved", after_round=newest) > 0

    def _patience_s(self) -> float:
        """How long to wait for results before looking around again."""
        return min(WAIT_S, max(self.proposals.patience_s, 0.02)) if self.proposals.is_under_way else WAIT_S

    # Solves

    def _choose(self) -> None:
        """Choose new points for the places that are free, beside those that are due anyway, and one ahead."""
        free = self.config.sampling.batch - self.solves.n_under_way - len(self._due)
        in_budget = self._in_budget()
        known = np.array(self._known)
        if self.model is None:  # spare points fill each place once: more would spend on chance what a model can direct
            missing = 2 - self.ledger.count("train", "solved") - self.solves.n_under_way - len(self._due)
            n = min(free, max(self.config.sampling.batch - self._begun_since_model, missing), in_budget)
            chosen = self.proposals.spare(n, known) if n > 0 else []
        else:
            left = self.rounds.budget.of_round(self._begun_since_model + in_budget, 0) - self._begun_since_model
            chosen = self.proposals.take(min(free, left), self.model, known) if min(free, left) > 0 else []
            n = min(max(free - len(chosen), 1), left - len(chosen))
            known = np.vstack([known, *(mu for mu, _ in chosen)])
            self._tasks += self.proposals.request(self.model, n, known, self._failed_mus)
        if chosen:
            self._known += [mu for mu, _ in chosen]
            self._begun_since_model += len(chosen)
            scores = [score for _, score in chosen]
            ids = self.solves.record(self._round, "train", np.array([mu for mu, _ in chosen]), scores)
            self._due += [self.ledger.point(point_id) for point_id in ids]

    def _in_budget(self) -> int:
        """Solver runs that are left, if none of those under way fails free of charge."""
        return self.rounds.budget.remaining_runs(self.rounds.runs() + self.solves.n_under_way + len(self._due))

    def _failed_mus(self) -> np.ndarray:
        return self.solves.mus(self.ledger.points("train", status="failed"))

    def _begin_solves(self) -> None:
        """Begin solves until `sampling.batch` are under way."""
        free = max(self.config.sampling.batch - self.solves.n_under_way, 0)
        begun, self._due = self._due[:free], self._due[free:]
        if begun:
            self._tasks += self.solves.begin("train", begun)

    # Training

    def _begin_training(self, *, is_last: bool) -> None:
        """Train on all that is solved, if that is anything new, and no training is under way."""
        if self._training is not None or (self.solves.n_under_way and self._failed_trainings):
            return
        if self.ledger.step_payload(self._round, "solve") is None:  # else an agent was killed during this training
            if not self._has_new_solutions() or (self.model is None and not self._is_enough(is_last)):
                return
            if is_last and self.solves.n_under_way:  # one more training, when all is in, not two
                return
            self.ledger.close_round(self._round)
        task = self.solves.training_task(self._round, self.rounds.checkpoints.for_workers(self._round))
        self._training = self.ledger.times.begin("train", worker="unknown", cores=self.config.cluster.train_cpus)
        self._tasks.append(task)

    def _is_enough(self, is_last: bool) -> bool:
        """Whether a first model is worth training: from as many solutions as the initial design has, if they come."""
        n_solved = self.ledger.count("train", "solved")
        nothing_comes = not self.solves.n_under_way and not self._due
        return n_solved >= 2 and (n_solved >= self.n_initial or nothing_comes or is_last)

    # Results

    def _take_in(self, results: Sequence[Result]) -> None:
        for result in results:
            if isinstance(result, SolveResult):
                self._take_solve(result)
            elif isinstance(result, ProposeResult):
                self.proposals.record_result(result)

    def _take_solve(self, result: SolveResult) -> None:
        point = self.solves.record_result(result)
        if result.failure is None:
            self.proposals.note_solve(result.ended_at - result.started_at)
        elif result.failure.kind in TRANSIENT:
            again = self.ledger.point(point.id)
            self._due += [again] if self.solves.is_due(again) else []

    def _take_model(self, result: TrainResult) -> None:
        assert self._training is not None  # by which the result was asked for
        worker = result.worker or "unknown"
        self.ledger.times.end_elsewhere(self._training, worker, result.started_at, result.ended_at)
        self._training = None
        if result.failure is not None:
            self._cope_with(result.failure)
            return
        for warning in result.warnings:
            self.rounds.monitor.warning(warning)
        round = result.task_id
        self.rounds.checkpoints.import_from_worker(round)
        self.ledger.complete_step(round, "train", {"folder": self.rounds.checkpoints.model_folder(round).name})
        self.model, self._failed_trainings, self._begun_since_model = round, 0, 0
        self.rounds.judge(round, validated=False)
        self.delivery.publish_pending()
        self.rounds.monitor.round_started(self._round, self.rounds.runs())

    def _cope_with(self, failure: TaskFailure) -> None:
        """Solve again what was damaged, try again what may have been the machine's fault; else give up.

        Raises:
            SolvesError: the training fails for good.
        """
        if failure.kind == DAMAGED_SNAPSHOT:
            self._mend()
        self._failed_trainings += 1
        is_transient = failure.kind in (*TRANSIENT, DAMAGED_SNAPSHOT)
        if not is_transient or self._failed_trainings > 1 + self.config.cluster.retries:
            helps = ": free some room, and the same command goes on" if failure.kind == DISK_FULL else ""
            raise SolvesError(f"the training of round {self._round} failed: {failure.message}{helps}")
        self.rounds.monitor.warning(f"the training of round {self._round} is begun again: {failure.message}")

    def _mend(self) -> None:
        """Set all damaged solutions aside, and solve them again."""
        for point in self.ledger.points("train", status="solved"):
            try:
                self.solves.store.get(point.address)
            except DamagedSnapshot as damage:
                self.solves.set_aside(damage.path)
                self._tasks += self.solves.begin("train", [point])
