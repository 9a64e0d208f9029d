"""The contents of the HTML report, from the ledger, models, assessments and stored solutions of a campaign."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from mlasdi.agent.config import Config
from mlasdi.agent.records import Ledger, Point, spans
from mlasdi.agent.report import charts, maps
from mlasdi.agent.report.report import AssessedModel, build_report
from mlasdi.agent.report.trajectories import ShownTrajectory, trajectories
from mlasdi.preprocessing import places_among
from mlasdi.solvers.storage import DamagedSnapshot, open_store
from mlasdi.surrogate import Surrogate
from mlasdi.validation import Assessment, covered_part


class ReportData:
    """The contents of the HTML report of one campaign, which may still be running.

    Args:
        report: `report.json` of a finished campaign; None while it runs.

    Raises:
        SurrogateError: the last model is missing or damaged.
    """

    def __init__(self, config: Config, ledger: Ledger, report: Mapping[str, Any] | None) -> None:
        self.config, self.ledger, self.space = config, ledger, config.problem.space
        self.points = ledger.points("train")
        trained = [k for k in range(1 + self._last_round()) if ledger.step_payload(k, "train") is not None]
        self.round = trained[-1] if trained else None
        self.surrogate: Surrogate | None = None
        self.assessment: Assessment | None = None
        if self.round is not None:
            self.surrogate = Surrogate.load(config.folder / "models" / f"round-{self.round:03d}")
            self.assessment = self._assessment(self.round)
            report = report or build_report(
                config, ledger, None, AssessedModel(self.round, self.surrogate, self.assessment)
            )
        self.report = report

    def charts(self) -> dict[str, Any]:
        """The data of all charts; None for those that have no data yet."""
        report = self.report or {}
        stages = [stage["name"] for stage in report.get("stages", ())]
        shown, lost = self._shown_trajectories()
        return {
            "box": maps.box(self.space),
            "points": maps.training_points(self.space, self.points),
            "error_map": None if self.assessment is None else maps.error_map(self.assessment),
            "uncertainty_map": self.uncertainty,
            "ratio_map": self._ratios(),
            "trajectories": [] if self.surrogate is None else trajectories(self.surrogate, shown),
            "lost": lost,
            "convergence": charts.convergence(self._rounds(), self.config.budget.overall_target),
            "error_split": charts.error_split(stages, report.get("error_split")),
            "reliability": charts.reliability(report.get("reliability")),
            "cost": charts.cost(self.ledger.seconds()),
            "timeline": charts.timeline(spans(self.ledger, of_agent=True)),
        }

    def _ratios(self) -> dict[str, Any] | None:
        """Map of the error over its estimate; None without validation."""
        if self.surrogate is None or self.assessment is None:
            return None
        return maps.ratio_map(self.surrogate, self.assessment)

    def worst(self) -> tuple[dict[str, float], float] | None:
        """The validation point with the largest error, and that error; None without validation."""
        if self.assessment is None:
            return None
        i = _ranked(self.assessment.final)[-1]
        return self.space.as_dict(self.assessment.mu[i]), float(self.assessment.final[i])

    def most_uncertain(self) -> dict[str, float] | None:
        """The point with the largest estimated error; None without a model, or if no estimate is finite."""
        return None if self.uncertainty is None else maps.largest(self.uncertainty, self.space)

    def solves(self) -> list[dict[str, Any]]:
        """A row for each training point, and for each validation point whose solve failed."""
        failed = self.ledger.points("validate", status="failed")
        attempts: dict[int, list[Any]] = {}
        for attempt in self.ledger.attempts():
            attempts.setdefault(attempt.point_id, []).append(attempt)
        rows = []
        for number, point in enumerate([*self.points, *failed], start=1):
            own = attempts.get(point.id, [])
            rows.append(
                {
                    "number": number if point.purpose == "train" else None,
                    "round": point.round,
                    "mu": self.space.as_array(point.mu)[0].tolist(),
                    "score": point.score,
                    **self._predicted_before(point),
                    "status": point.status,
                    "attempts": len(own),
                    "solve_s": sum(attempt.solve_s or 0.0 for attempt in own),
                    "failures": [(a.failure_kind, a.failure_message) for a in own if a.status == "failed"],
                }
            )
        return rows

    def _predicted_before(self, point: Point) -> dict[str, float | None]:
        """Error at a point that was expected before its solve, and the one that was found; None where it was not."""
        place = self._tested.get(point.id, -1)
        if self.surrogate is None or place < 0:
            return {"expected": None, "found": None}
        record = self.surrogate.record.prequential
        return {"expected": record.expected[place], "found": record.errors[place]}

    @cached_property
    def _tested(self) -> dict[int, int]:
        """Id of each training point -> its place among the points that tested the model before, or -1."""
        record = None if self.surrogate is None else self.surrogate.record.prequential
        if not record or not self.points:
            return {}
        x = self.space.to_unit(self.space.as_array([point.mu for point in self.points]))
        places = places_among(x, np.array(record.x)).tolist()
        return {point.id: place for point, place in zip(self.points, places, strict=True)}

    @cached_property
    def uncertainty(self) -> dict[str, Any] | None:
        """The map of the last model's estimate of its error."""
        return None if self.surrogate is None else maps.uncertainty_map(self.surrogate)

    def _last_round(self) -> int:
        return max((point.round for point in self.points), default=-1)

    def _assessment(self, round: int) -> Assessment | None:
        path = self.config.folder / "assessments" / f"round-{round:03d}.npz"
        return Assessment.load(path) if path.exists() else None

    def _rounds(self) -> list[dict[str, Any]]:
        """Errors of each assessed round, with the number of solves that its model is trained on."""
        rounds = []
        for k in range(1 + self._last_round()):
            assessed = self.ledger.step_payload(k, "assess")
            if assessed is None:
                continue
            assessment = self._assessment(k)
            tested = (self.ledger.step_payload(k + 1, "assess") or {}).get("prequential", ())
            rounds.append(
                {
                    "solver_runs": sum(point.status == "solved" and point.round <= k for point in self.points),
                    "estimate": assessed.get("error_estimate"),
                    "found": max((one["found"] for one in tested), default=None),
                    "max_error": None if assessment is None else float(assessment.final.max()),
                    "mean_error": None if assessment is None else float(assessment.final.mean()),
                }
            )
        return rounds

    def _shown_trajectories(self) -> tuple[list[ShownTrajectory], list[str]]:
        """Trajectories to show, and labels of those whose solutions are missing or damaged."""
        shown, lost = [], []
        for label, point, error in self._shown_points():
            truth = None
            with suppress(DamagedSnapshot):
                truth = open_store(self.config.snapshot_root).open(point.address)
            if truth is None or self.surrogate is None:
                lost.append(label)
                continue
            shown.append(ShownTrajectory(label, point.mu, covered_part(self.surrogate, truth), error))
        return shown, lost

    def _shown_points(self) -> list[tuple[str, Point, float | None]]:
        """The worst and the median validation point and a training point; without validation, training points."""
        if self.surrogate is None or self.round is None:
            return []
        known = [point for point in self.points if point.status == "solved" and point.round <= self.round]
        left_out = self.surrogate.record.leave_one_out
        by_error = _ranked(left_out[-1]) if left_out else list(range(len(known)))
        hardest = ("hardest training point", known[by_error[-1]], None)
        if self.assessment is None:
            middle = ("median training point", known[by_error[len(by_error) // 2]], None)
            return [hardest, middle] if left_out else [("training point", known[-1], None)]
        validated = {tuple(self.space.as_array(p.mu)[0].tolist()): p for p in self.ledger.points("validate")}
        assessed = [validated[tuple(mu)] for mu in self.assessment.mu.tolist()]
        order, errors = _ranked(self.assessment.final), self.assessment.final.tolist()
        worst, median = order[-1], order[len(order) // 2]
        return [
            ("worst validation point", assessed[worst], errors[worst]),
            ("median validation point", assessed[median], errors[median]),
            hardest if left_out else ("training point", known[-1], None),
        ]


def _ranked(errors: Sequence[float] | np.ndarray) -> list[int]:
    """Indices from the smallest error to the largest; NaN counts as the largest."""
    return [int(i) for i in np.argsort(np.nan_to_num(np.asarray(errors), nan=np.inf), kind="stable")]
