"""The asynchronous schedule: solves go on while models are trained beside them, and nobody waits for the slowest.

A round is one trained model. Training begins again when the last one has ended and something new is solved, on all that
is solved by then. A new point is proposed as soon as a place for a solve is free, by the newest model, with the points
under way counted as known; before there is a model, a spare point of the Sobol sequence is.
"""

from collections.abc import Sequence

from agent.acquisition import initial_design
from agent.budget import StopReason
from agent.delivery import Delivery
from agent.execution import Executor, Result
from agent.ledger import Point
from agent.rounds import Rounds
from agent.tasks import DISK_FULL, TRANSIENT, SolveResult, TaskFailure
from agent.training_data import SolvesError
from agent.training_task import DAMAGED_SNAPSHOT, TrainResult
from solvers.store import DamagedSnapshot

# A request to stop is noticed after this time at the latest.
WAIT_S = 1.0


class Asynchronous:
    """Solves, trainings and proposals of a campaign that keeps `sampling.batch` solves under way."""

    def __init__(self, rounds: Rounds, delivery: Delivery, executor: Executor) -> None:
        self.rounds, self.delivery, self.executor = rounds, delivery, executor
        self.config, self.ledger, self.solves = rounds.config, rounds.ledger, rounds.solves
        self.n_initial = 0
        self._due: list[Point] = []  # recorded, and to be solved before anything new is chosen
        self._training: int | None = None  # id of the activity in the ledger
        self._failed_trainings = 0
        self._begun_since_model = 0
        self._is_sated = False  # the newest model wants no further point

    # The state of the campaign, as the ledger knows it

    @property
    def model(self) -> int | None:
        """The round of the newest model."""
        newest = self.ledger.last_round("train")
        return newest if newest >= 0 else None

    @property
    def _round(self) -> int:
        """The round that is being trained or, between two trainings, the next one."""
        newest = -1 if self.model is None else self.model
        return newest + 1

    def run(self) -> tuple[int, StopReason]:
        """Work until there is a reason to stop, and all that was under way is in the last model.

        Returns:
            The last round, and the reason.

        Raises:
            SolvesError: too few solves succeed for a model, or a solution is lost.
        """
        self._go_on()
        while True:
            reason = self._reason()
            if reason is None:
                self._choose()
            with self.rounds.clock("solve"):
                self._submit()
                self._begin_training(is_last=reason is not None)
            if not self.solves.n_under_way and self._training is None:
                if self.model is None:
                    self.solves.solutions(0)  # raises, and says why there is no model
                reason = reason or (StopReason.NO_NEW_POINT if self._is_sated else None)
                if reason is not None and self.model is not None and not self._has_news():
                    return self.model, reason
            with self.rounds.clock("solve"):
                results = self.executor.wait(WAIT_S)
            self._take_in(results)

    def _go_on(self) -> None:
        """Record the initial design, and take up what an agent before this one had begun."""
        design = initial_design(self.rounds.space, self.config.sampling, self.config.seed, self.solves.available)
        self.n_initial = len(design)
        self.solves.record(0, "train", design, [None] * len(design))
        self._due = [point for point in self.ledger.points("train") if self.solves.is_due(point)]
        for round in range(self._round):  # a model that was saved, and not judged any more
            if self.ledger.step_payload(round, "assess") is None:
                self.rounds.judge(round, validated=False)
        if self._round and self._has_settled():
            return
        self.rounds.monitor.round_started(self._round, self.rounds.runs())

    # Reasons to stop

    def _reason(self) -> StopReason | None:
        """Why nothing new is begun; None to go on. What is under way counts as spent."""
        reason = self.rounds.stop_reason(self.model)
        if reason is None and not self._places_in_budget() and not self._due and not self.solves.n_under_way:
            return StopReason.SOLVER_RUNS
        return reason

    def _places_in_budget(self) -> int:
        under_way = self.solves.n_under_way + len(self._due)
        return self.rounds.budget.remaining_runs(self.rounds.runs() + under_way)

    def _has_news(self) -> bool:
        """Whether something is solved that the newest model does not know."""
        newest = -1 if self.model is None else self.model
        return self.ledger.count("train", "solved", after_round=newest) > 0

    # Solves

    def _choose(self) -> None:
        """Choose new points for the places that are free, beside those that are due anyway."""
        free = self.config.sampling.batch - self.solves.n_under_way - len(self._due)
        if free <= 0 or self._is_sated:
            return
        if self.model is None:  # spare points fill each place once: more would spend on chance what a model can direct
            n = min(free, self.config.sampling.batch - self._begun_since_model, self._places_in_budget())
        else:
            n = self.rounds.budget.of_round(self._begun_since_model + free, 0) - self._begun_since_model
            n = min(n, self._places_in_budget())
        if n > 0:
            self._due += self._propose(n)

    def _submit(self) -> None:
        """Begin solves until `sampling.batch` are under way."""
        free = max(self.config.sampling.batch - self.solves.n_under_way, 0)
        begun, self._due = self._due[:free], self._due[free:]
        if begun:
            self.solves.submit("train", begun)

    def _propose(self, n: int) -> list[Point]:
        """Choose and record `n` further points, or as many as are worth a solve."""
        with self.rounds.clock("acquire"):
            model, before = self.model, {point.id for point in self.ledger.points("train")}
            if model is None:
                for _ in range(n):
                    if not self.solves.record_spare(0, self.config.seed):
                        break
            else:
                mus, scores = self.rounds.choose(model, n)
                self.solves.record(self._round, "train", mus, scores)
            chosen = [point for point in self.ledger.points("train") if point.id not in before]
        self._begun_since_model += len(chosen)
        self._is_sated = model is not None and len(chosen) < n
        return chosen

    # Training

    def _has_settled(self) -> bool:
        """Whether what the next model is trained on is settled: an agent was killed during its training."""
        return self.ledger.step_payload(self._round, "solve") is not None

    def _begin_training(self, *, is_last: bool) -> None:
        """Train on all that is solved, if that is anything new, and no training is under way."""
        if self._training is not None or (self.solves.n_under_way and self._failed_trainings):
            return
        if not self._has_settled():
            if not self._has_news() or (self.model is None and not self._is_enough(is_last)):
                return
            if is_last and self.solves.n_under_way:  # one more training, when all is in, instead of two
                return
            self.ledger.close_round(self._round)
        folder = self.solves.store.root / f".model-round-{self._round:03d}"
        task = self.solves.training_task(self._round, folder)
        self._training = self.ledger.times.begin("train", worker="?", cores=self.config.cluster.train_cpus)
        self.executor.submit(task)

    def _is_enough(self, is_last: bool) -> bool:
        """Whether a first model is worth training: from as many solutions as the initial design has, if they come."""
        n_solved = self.ledger.count("train", "solved")
        nothing_comes = not self.solves.n_under_way and not self._due
        return n_solved >= 2 and (n_solved >= self.n_initial or nothing_comes or is_last)

    # Results

    def _take_in(self, results: Sequence[Result]) -> None:
        for result in results:
            if isinstance(result, SolveResult):
                point = self.solves.take_in(result)
                if result.failure is not None and result.failure.kind in TRANSIENT:
                    (now,) = [p for p in self.ledger.points("train", status="failed") if p.id == point.id]
                    self._due += [now] if self.solves.is_due(now) else []
            else:
                self._take_model(result)

    def _take_model(self, result: TrainResult) -> None:
        assert self._training is not None  # by which the result was asked for
        self.ledger.times.end(self._training, seconds=result.ended_at - result.started_at, worker=result.worker)
        self._training = None
        if result.failure is not None:
            self._cope_with(result.failure)
            return
        for warning in result.warnings:
            self.rounds.monitor.warning(warning)
        self._failed_trainings = self._begun_since_model = 0
        self._is_sated = False
        self.rounds.checkpoints.adopt(result.task_id, self.solves.store.root / f".model-round-{result.task_id:03d}")
        self.ledger.complete_step(result.task_id, "train", {"folder": f"round-{result.task_id:03d}"})
        self.rounds.judge(result.task_id, validated=False)
        with self.rounds.clock("publish"):
            self.delivery.offer()
        self.rounds.monitor.round_started(self._round, self.rounds.runs())

    def _cope_with(self, failure: TaskFailure) -> None:
        """Solve again what was damaged, try again what may have been the machine's fault; else give up.

        Raises:
            SolvesError: the training fails for good.
        """
        if failure.kind == DAMAGED_SNAPSHOT:
            for point in self.ledger.points("train", status="solved"):
                try:
                    self.solves.store.get(point.address)
                except DamagedSnapshot as damage:
                    self.solves.set_aside(damage.path)
                    self.solves.submit("train", [point])
        self._failed_trainings += 1
        is_transient = failure.kind in (*TRANSIENT, DAMAGED_SNAPSHOT)
        if not is_transient or self._failed_trainings > 1 + self.config.cluster.retries:
            helps = ": free some room, and the same command goes on" if failure.kind == DISK_FULL else ""
            raise SolvesError(f"the training of round {self._round} failed: {failure.message}{helps}")
        self.rounds.monitor.warning(f"the training of round {self._round} is begun again: {failure.message}")
