"""The campaign: propose, solve, train, assess, publish, until a budget is used up or the target error is reached.

Every step of a round is recorded in the ledger when it is finished, and skipped when it is found there: a campaign that
was killed goes on where it stopped, with the same points and models as if nothing had happened.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.acquisition import propose
from agent.assessment import Assessment, assess
from agent.budget import Budget, StopReason
from agent.config import Config
from agent.executor import Executor, make_executor
from agent.ledger import CampaignLock, Ledger
from agent.monitor import Monitor
from agent.publication import Publisher
from agent.report import build_report, read_report, write_report
from agent.sampling import initial_design
from agent.solves import Solves, SolvesError
from mlasdi.diagnostics import diagnose
from mlasdi.error_split import ErrorSplit, error_split, mean_split
from mlasdi.surrogate import Surrogate
from mlasdi.training import fit
from solvers.store import DamagedSnapshot

# Settings that may change between two runs of one campaign; all others decide its points and models.
MAY_CHANGE = ("budget", "cluster", "root")

# The error is split at this many validation points: each takes two small least-squares problems.
SPLIT_POINTS = 25


class CampaignError(Exception):
    """A campaign that cannot go on; the message says why and what helps."""


def run_campaign(config: Config, monitor: Monitor | None = None) -> dict[str, Any]:
    """Run a campaign to its end, or resume it, and return its report (also written to `report.json`).

    Raises:
        CampaignError: too few solves succeed, a solution is lost, or the folder holds a campaign of other settings.
        LedgerError: another agent is at work on the campaign, or its ledger is damaged.
    """
    with CampaignLock(config.folder), Ledger(config.folder / "ledger.db") as ledger:
        try:
            with make_executor(config.cluster) as executor:
                return Campaign(config, ledger, executor, monitor or Monitor()).run()
        except (SolvesError, DamagedSnapshot) as error:
            raise CampaignError(str(error)) from error


class Campaign:
    """One campaign: its ledger, its solves, and the models and assessments in its folder."""

    def __init__(self, config: Config, ledger: Ledger, executor: Executor, monitor: Monitor) -> None:
        self.config, self.ledger, self.monitor = config, ledger, monitor
        self.space = config.problem.space
        self._claim_folder()
        self.solves = Solves(config, ledger, executor, monitor)
        self.budget = Budget(config.budget)
        self.publisher = Publisher(config, ledger.get_meta("campaign_id"))
        self._spent_before = sum(ledger.seconds().values())
        self._started = time.monotonic()

    def run(self) -> dict[str, Any]:
        """All rounds, then the report."""
        if self.ledger.get_meta("finished") == self._digest(self.config.model_dump(mode="json")):
            return self._repeat_report()
        self.monitor.started(self.config.name, self.config.folder, self.config.budget.solver_runs, self._runs())
        with self._clock("publish"):
            self.publisher.start()
        try:
            return self._rounds()
        except BaseException as error:
            self.publisher.abort("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise

    def _rounds(self) -> dict[str, Any]:
        round = self._current_round()
        while True:
            self.monitor.round_started(round, self._runs())
            if not self._propose(round):
                return self._finish(round - 1, StopReason.NO_NEW_POINT)
            self._solve(round)
            self._train(round)
            self._assess(round)
            self._publish(round)
            reason = self.budget.stop_reason(
                self._runs(), self._elapsed_s(), self._surrogate(round).error_estimate, self._failed()
            )
            if reason is not None:
                return self._finish(round, reason)
            round += 1

    # The steps of a round

    def _propose(self, round: int) -> bool:
        """Choose the points of the round; False where no point is worth a solve."""
        if self.ledger.step_payload(round, "propose") is None:
            with self._clock("acquire"):
                if not self.ledger.points("train", round=round):  # else recorded, and killed before the step was
                    self.solves.record(round, "train", *self._choose(round))
                n_points = len(self.ledger.points("train", round=round))
                self.ledger.complete_step(round, "propose", {"n_points": n_points})
        return self.ledger.step_payload(round, "propose") != {"n_points": 0}

    def _choose(self, round: int) -> tuple[np.ndarray, list[float | None]]:
        """Points of a round and their scores: the initial design, then what the acquisition function wants."""
        if round == 0:
            design = initial_design(self.space, self.config.sampling, self.config.seed, self.solves.available)
            return design, [None] * len(design)
        n = min(self.config.sampling.batch, self.budget.remaining_runs(self._runs()))
        known = self.solves.mus(self.ledger.points("train"))
        failed = self.solves.mus(self.ledger.points("train", status="failed"))
        mus, scores = propose(
            self._surrogate(round - 1), self.config.sampling, known, n, self.config.seed,
            failed=failed, available=self.solves.available,
        )  # fmt: skip
        return mus, scores.tolist()

    def _solve(self, round: int) -> None:
        if self.ledger.step_payload(round, "solve") is None:
            with self._clock("solve"):
                self.solves.run("train", self.ledger.points("train", round=round))
                while self._needs_more() and self.solves.record_spare(round, self.config.seed):
                    self.solves.run("train", self.ledger.points("train", round=round))
            self.ledger.complete_step(round, "solve", {})

    def _needs_more(self) -> bool:
        """Whether there are too few solutions for a surrogate, while the budget and the failures still allow more."""
        few = len(self.ledger.points("train", status="solved")) < 2
        return few and self.budget.stop_reason(self._runs(), self._elapsed_s(), None, self._failed()) is None

    def _train(self, round: int) -> None:
        """Fit the surrogate of all solves so far, and save it."""
        if self.ledger.step_payload(round, "train") is None:
            with self._clock("train"):
                folder = self._model_folder(round)
                if not folder.exists():  # else it was saved, and the agent killed before the ledger knew
                    seed = int(np.random.SeedSequence([self.config.seed, round]).generate_state(1)[0])
                    data = self.solves.training_data(round)
                    info = {"problem": self.config.problem.solver, "campaign": self.config.name, "round": round}
                    info["time_interpolation_error"] = self.solves.time_error
                    fit(data, self.config.model, seed=seed, report=self.monitor.training, info=info).save(folder)
            self.ledger.complete_step(round, "train", {"folder": folder.name})

    def _assess(self, round: int) -> None:
        """Compare with the validation set, where there is one."""
        surrogate = self._surrogate(round)
        if self.ledger.step_payload(round, "assess") is None:
            if self.config.validation.wanted:
                with self._clock("validate"):
                    wanted = self.solves.validation_set()
                    self.solves.record(0, "validate", wanted, [None] * len(wanted))
                    self.solves.run("validate", self.ledger.points("validate"))
                with self._clock("assess"):
                    points = self.solves.validated()
                    mus = self.solves.mus(points)
                    truths = (
                        (mu, self.solves.truth(point, surrogate.t)) for mu, point in zip(mus, points, strict=True)
                    )
                    if points:  # else they all failed, and there is nothing to compare with
                        assess(surrogate, truths, len(points)).save(self._assessment_path(round))
            found = [asdict(finding) for finding in diagnose(surrogate, self.config.budget.target_error)]
            judgement = {"error_estimate": surrogate.error_estimate, "diagnostics": found}
            self.ledger.complete_step(round, "assess", judgement)
        assessment = self._assessment(round)
        errors = surrogate.record.stage_errors if assessment is None else assessment.errors.max(axis=1).tolist()
        stages = dict(zip(surrogate.record.stage_names, errors or [None] * surrogate.n_stages, strict=True))
        worst = None if assessment is None else float(assessment.final.max())
        self.monitor.assessed(round, self._runs(), surrogate.error_estimate, worst, stages)

    def _publish(self, round: int) -> None:
        """Maps, a nested run, and a version in the registry."""
        if self.ledger.step_payload(round, "publish") is None:
            with self._clock("publish"):
                version = self.publisher.publish_round(
                    round, self._surrogate(round), self._model_folder(round), self._assessment(round),
                    self.ledger.points("train"), self._runs(),
                )  # fmt: skip
            self.ledger.complete_step(round, "publish", {"version": version})
            self.monitor.published(round, version)

    def _finish(self, round: int, reason: StopReason) -> dict[str, Any]:
        """Figures and report of the whole campaign."""
        surrogate, assessment = self._surrogate(round), self._assessment(round)
        with self._clock("assess"):
            split = self._error_split(surrogate)
        with self._clock("publish"):
            worst = None
            if assessment is not None:
                worst = self.solves.truth(self.solves.validated()[int(np.argmax(assessment.final))], surrogate.t)
            history = [(self._surrogate(k), self._assessment(k)) for k in range(round + 1)]
            figures = self.publisher.draw(history, self.ledger.points("train", status="solved"), worst, split)
        report = build_report(self.config, self.ledger, reason, round, surrogate, assessment, split)
        report |= self.publisher.identity(self._version(round))
        report["figures"] = [str(path) for path in figures]
        report["seconds"]["total"] = self._elapsed_s()
        path = write_report(self.config.folder, report)
        self.publisher.finish(report, [*figures, path])
        self.ledger.set_meta("finished", self._digest(self.config.model_dump(mode="json")))
        self.monitor.finished(report)
        return report

    def _error_split(self, surrogate: Surrogate) -> ErrorSplit | None:
        """Where the error comes from, on average over validation points, evenly spread; None without any."""
        solved = self.solves.validated()
        if not solved:
            return None
        keep = np.unique(np.linspace(0, len(solved) - 1, min(SPLIT_POINTS, len(solved))).round().astype(int))
        truths = ((solved[i].mu, self.solves.truth(solved[i], surrogate.t)) for i in keep)
        try:
            return mean_split([error_split(surrogate, mu, truth.t, truth.u) for mu, truth in truths])
        except (ValueError, np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:
            # A diverged surrogate cannot be split, and must not cost the report of the solves that were paid for.
            self.monitor.warning(f"the error cannot be split into its parts: {error}")
            return None

    def _repeat_report(self) -> dict[str, Any]:
        report = read_report(self.config.folder)
        self.monitor.finished(report)
        return report

    # State

    def _claim_folder(self) -> None:
        """Give a new campaign its identity, and refuse to go on with one of other settings."""
        settings = self.config.model_dump(mode="json", exclude=set(MAY_CHANGE))
        begun = self.ledger.get_meta("settings")
        if begun is None:
            self.ledger.set_meta("campaign_id", uuid.uuid4().hex)
            self.ledger.set_meta("settings", settings)
        elif begun != settings:
            changed = ", ".join(_differences(begun, settings))
            raise CampaignError(
                f"campaign '{self.config.name}' was begun with other settings ({changed}): give this one another name, "
                f"or delete {self.config.folder}"
            )

    def _current_round(self) -> int:
        """The last round that was begun."""
        round = 0
        while self.ledger.step_payload(round + 1, "propose") is not None:
            round += 1
        return round

    def _runs(self) -> int:
        """Solver runs that the budget is charged with."""
        return self.budget.charged(len(self.ledger.points("train", status="solved")), self._failed())

    def _failed(self) -> int:
        return len(self.ledger.points("train", status="failed"))

    def _surrogate(self, round: int) -> Surrogate:
        return Surrogate.load(self._model_folder(round))

    def _assessment(self, round: int) -> Assessment | None:
        path = self._assessment_path(round)
        return Assessment.load(path) if path.exists() else None

    def _model_folder(self, round: int) -> Path:
        return self.config.folder / "models" / f"round-{round:03d}"

    def _assessment_path(self, round: int) -> Path:
        return self.config.folder / "assessments" / f"round-{round:03d}.npz"

    def _version(self, round: int) -> str:
        published = self.ledger.step_payload(round, "publish")
        assert published is not None  # a round is finished after it is published
        return published["version"]

    def _elapsed_s(self) -> float:
        """Seconds spent on the campaign, earlier runs of it included."""
        return self._spent_before + time.monotonic() - self._started

    @contextmanager
    def _clock(self, activity: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.ledger.add_seconds(activity, time.monotonic() - start)

    @staticmethod
    def _digest(settings: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".removeprefix("."))
    elif old != new:
        yield f"{key}: {old}, now {new}"
