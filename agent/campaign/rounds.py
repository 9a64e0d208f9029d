"""The steps of a round; each is recorded in the ledger when it is finished, and skipped if it is found there."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from mlasdi.agent.campaign.interrupts import StopRequest
from mlasdi.agent.campaign.solves import Solves
from mlasdi.agent.choosing import Costs, PointSets, points_of_round, propose
from mlasdi.agent.config import Budget, Config, StopReason
from mlasdi.agent.execution import SolvesError, train
from mlasdi.agent.records import SOLVE, Checkpoints, Ledger, Monitor, Point, spans
from mlasdi.solvers import evenly_spread, nearest
from mlasdi.surrogate import Surrogate
from mlasdi.validation import Assessment, ErrorSplit, assess, diagnose, error_split, mean_split

# Activities of a round other than solves, by their names in the ledger.
NON_SOLVE_ACTIVITIES = ("train", "assess", "publish", "acquire")
# Largest number of validation points at which the error is split: each takes two small least-squares problems.
SPLIT_POINTS = 25


class Rounds:
    """The steps of one campaign's rounds, which a schedule calls."""

    def __init__(
        self, config: Config, ledger: Ledger, solves: Solves, checkpoints: Checkpoints, monitor: Monitor,
        stop: StopRequest,
    ) -> None:  # fmt: skip
        self.config, self.ledger, self.solves, self.checkpoints = config, ledger, solves, checkpoints
        self.monitor, self.stop = monitor, stop
        self.space = config.problem.space
        self.budget = Budget(config.budget)
        self.timed = ledger.activity_log.timed

    # Budget

    def runs(self) -> int:
        """Solver runs that the budget is charged with."""
        return self.budget.charged(self.ledger.count("train", "solved"), self.failed())

    def failed(self) -> int:
        """Number of failed training points."""
        return self.ledger.count("train", "failed")

    def stop_reason(self, round: int | None) -> StopReason | None:
        """Why to stop after the round of a model, or before the first model (`round` None); None to continue."""
        surrogate = None if round is None else self.surrogate(round)
        record = None if surrogate is None else surrogate.record
        used = (
            self.runs(),
            self.ledger.activity_log.elapsed_s(),
            None if surrogate is None else surrogate.largest_estimate,
            self.failed(),
            self.ledger.core_seconds() / 3600,
            () if record is None else record.prequential.errors,
            surrogate is not None and self._outputs_reached(surrogate),
        )
        reached = self.budget.stop_reason(*used)
        return reached or (StopReason.INTERRUPTED if self.stop.requested else None)

    def _outputs_reached(self, surrogate: Surrogate) -> bool:
        targets, tested = self.config.budget.output_targets, surrogate.record.prequential
        for name in targets:
            if name not in surrogate.error_estimates:
                known = nearest(name, surrogate.error_estimates)
                raise SolvesError(f"budget.target_error: there is no output '{name}'; {known}")
        found = {name: tested.of_field(name) for name in targets}
        return self.budget.reaches_targets(surrogate.error_estimates, found)

    # Choosing

    def greedy_size(self) -> int:
        """How many points to solve in the next round, from the durations of solves and trainings until now."""
        found = [span.end_s - span.start_s for span in spans(self.ledger) if span.activity == SOLVE]
        spent = self.ledger.seconds()
        by_round = np.bincount([point.round for point in self.ledger.points("train", status="solved")])
        costs = Costs.measured(
            trained=np.cumsum(by_round).tolist(),
            training_s=sum(spent.get(activity, 0.0) for activity in NON_SOLVE_ACTIVITIES),
            solve_s=float(np.mean(found)) if found else 0.0,
            n_slots=self.config.sampling.batch,
        )
        limit = self.config.budget.wall_time_s
        left = None if limit is None else limit - self.ledger.activity_log.elapsed_s()
        return points_of_round(costs, self.budget.remaining_runs(self.runs()), left)

    def choose(self, round: int, n: int) -> tuple[np.ndarray, list[float | None]]:
        """At most `n` points, chosen with the model of a round, and their scores."""
        points = self.ledger.points("train")
        failed = [point for point in points if point.status == "failed"]
        sets = PointSets(self.solves.mus(points), self.solves.mus(failed), self.solves.available)
        targets = self.config.budget.output_targets
        mus, scores = propose(self.surrogate(round), self.config.sampling, sets, n, self.config.seed, targets)
        return mus, scores.tolist()

    # Models

    def train(self, round: int) -> None:
        """Fit the model of a round in this process, and save it."""
        if self.ledger.step_payload(round, "train") is None:
            with self.timed("train"):
                folder = self.checkpoints.model_folder(round)
                if self.checkpoints.surrogate(round) is None:  # else the agent was killed between saving and recording
                    self._train(round)
            self.ledger.complete_step(round, "train", {"folder": folder.name})

    def surrogate(self, round: int) -> Surrogate:
        """The model of a round; if it is damaged, it is trained again with the same solutions and seed."""
        found = self.checkpoints.surrogate(round)
        if found is None:
            with self.timed("train"):
                self._train(round)
            found = self.checkpoints.surrogate(round)
            assert found is not None  # it has just been saved
        return found

    def _train(self, round: int) -> None:
        before = None
        if round > 0:
            self.surrogate(round - 1)  # trained again if it is damaged
            before = str(self.checkpoints.model_folder(round - 1))
        task = self.solves.training_task(round, str(self.checkpoints.model_folder(round)), before)
        self.solves.resolving_damaged(lambda: train(task, self.monitor.training, self.monitor.warning))

    # Assessment

    def assess(self, round: int, *, validate: bool) -> None:
        """Diagnose the model of a round and, if `validate` and there is a validation set, compute its errors there."""
        surrogate = self.surrogate(round)
        if self.ledger.step_payload(round, "assess") is None:
            if validate:
                self.validate([round])
            found = [asdict(finding) for finding in diagnose(surrogate, self.config.budget.overall_target)]
            payload = {
                "error_estimate": surrogate.error_estimate,
                "prequential": surrogate.record.prequential.newest.described(self.space),
                "diagnostics": found,
            }
            self.ledger.complete_step(round, "assess", payload)
        assessment = self.checkpoints.assessment(round)
        errors = surrogate.record.stage_errors if assessment is None else assessment.errors.max(axis=1).tolist()
        stages = dict(zip(surrogate.record.stage_names, errors or [None] * surrogate.n_stages, strict=True))
        worst = None if assessment is None else float(assessment.final.max())
        newest = surrogate.record.prequential.newest
        pairs = list(zip(newest.expected, newest.errors, strict=True))
        self.monitor.assessed(round, self.runs(), surrogate.error_estimate, worst, stages, pairs)

    def validate(self, rounds: Sequence[int]) -> None:
        """Compute errors of models on the validation set, if there is one, unless they are known already."""
        if not self.config.validation.wanted:
            return
        with self.timed("validate"):
            wanted = self.solves.validation_set()
            self.solves.record(0, "validate", wanted, [None] * len(wanted))
            self.solves.run("validate", self.ledger.points("validate"))
        with self.timed("assess"):
            for round in rounds:
                if self.checkpoints.assessment(round) is None:
                    self.solves.resolving_damaged(lambda round=round: self._assess(round))  # type: ignore[misc]

    def _assess(self, round: int) -> None:
        surrogate, points = self.surrogate(round), self.solves.validated()
        mus = self.solves.mus(points)
        truths = ((mu, self.solves.truth(point, surrogate)) for mu, point in zip(mus, points, strict=True))
        if points:  # else all validation solves failed
            assess(surrogate, truths, len(points)).save(self.checkpoints.assessment_path(round))

    def assessment(self, round: int) -> Assessment | None:
        """The assessment of a round's model on the validation set, repeated if it is damaged; None without one."""
        found = self.checkpoints.assessment(round)
        if found is None and self.solves.validated():
            self.solves.resolving_damaged(lambda: self._assess(round))
            found = self.checkpoints.assessment(round)
        return found

    def split(self, surrogate: Surrogate) -> ErrorSplit | None:
        """Parts of the error, mean over at most `SPLIT_POINTS` validation points; None without these, or if steady."""
        solved = self.solves.validated()
        if not solved or len(surrogate.t) == 1:
            return None
        keep = evenly_spread(len(solved), SPLIT_POINTS)
        try:
            return self.solves.resolving_damaged(lambda: self._mean_split(surrogate, [solved[i] for i in keep]))
        except (ValueError, np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:
            # The error of a diverged surrogate cannot be split; the report is written without this.
            self.monitor.warning(f"the error cannot be split into its parts: {error}")
            return None

    def _mean_split(self, surrogate: Surrogate, points: Sequence[Point]) -> ErrorSplit:
        truths = ((point.mu, self.solves.truth(point, surrogate)) for point in points)
        return mean_split([error_split(surrogate, mu, truth.t, truth.u) for mu, truth in truths])

    def worst_truth(self, surrogate: Surrogate, assessment: Assessment | None) -> Any:
        """The solution at the validation point with the largest error; None without validation."""
        if assessment is None:
            return None
        point = self.solves.validated()[int(np.argmax(assessment.final))]
        return self.solves.resolving_damaged(lambda: self.solves.truth(point, surrogate))
