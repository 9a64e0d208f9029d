"""The headline of the HTML report: error, its place, coverage and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from mlasdi.agent.config import Budget
from mlasdi.agent.report.data import ReportData
from mlasdi.formatting import percent, point, seconds


@dataclass(frozen=True)
class Card:
    """One card of the headline.

    Attributes:
        value: the main number, point or word.
        remark: what the value means, with details.
    """

    title: str
    value: str
    remark: str


def headline(data: ReportData, spent: Mapping[str, float]) -> list[Card]:
    """Cards for error, its place, coverage and cost; only error and cost before there is a model.

    Args:
        spent: seconds by activity, with a `total` at the end of a campaign.
    """
    if data.report is None:
        return [Card("Error", "not known yet", "no model has been trained"), _cost(data, spent)]
    return [_error(data), _where(data), _coverage(data), _cost(data, spent)]


def _error(data: ReportData) -> Card:
    assert data.report is not None
    estimate, target = data.report["error_estimate"], data.config.budget.overall_target
    if data.assessment is None:
        value = percent(estimate)
        remark = "largest error over the box, estimated by the model; not validated"
        remark += _found(data.report.get("predicted_before", ()))
    else:
        largest, mean = data.report["max_relative_error"], data.report["mean_relative_error"]
        value = "not finite" if largest is None else percent(largest)
        remark = f"largest at {len(data.assessment.mu)} validation points; mean {percent(mean)}. "
        remark += f"Estimate without validation: {percent(estimate)}"
    if target is not None:
        remark += f". Target {percent(target)}: {_reached(data, target, estimate)}"
    for name, limit in data.config.budget.output_targets.items():
        known = data.report.get("outputs", {}).get(name, {}).get("error_estimate")
        reached = "not known yet" if known is None else f"estimated {percent(known)}"
        remark += f". Target {percent(limit)} of {name}: {reached}"
    return Card("Error", value, remark)


def _found(predicted_before: Sequence[Mapping[str, Any]]) -> str:
    """Errors at the newest two points, before they were solved, in words."""
    newest = predicted_before[-2:]
    if not newest:
        return ""
    pairs = " and ".join(f"{percent(one['found'])} (expected {percent(one['expected'])})" for one in newest)
    return f". Found at the newest solves, by the model before them: {pairs}"


def _reached(data: ReportData, target: float, estimate: float | None) -> str:
    """Whether the target error is reached, and what says so."""
    assert data.report is not None
    n = data.config.budget.check_solves
    found = [one["found"] for one in data.report.get("predicted_before", ())]
    if estimate is None:
        return "not known yet whether it is reached"
    if estimate > target:
        return "the estimate has not reached it"
    if Budget(data.config.budget).reaches_target(estimate, found):
        return "reached by the estimate" + (f", and confirmed by the newest {n} solves" if n else "")
    return f"reached by the estimate, but the newest {n} solves do not confirm it"


def _where(data: ReportData) -> Card:
    worst = data.worst()
    if worst is not None:
        mu, error = worst
        found = f"validation point with the largest error, {percent(error)}"
        return Card("Where", point(mu), found if isfinite(error) else "the prediction diverges here")
    uncertain = data.most_uncertain()
    if uncertain is None:
        return Card("Where", "unknown", "the model's error estimate is not finite")
    return Card("Where", point(uncertain), "point with the largest estimated error")


def _coverage(data: ReportData) -> Card:
    assert data.report is not None
    assert data.surrogate is not None
    coverage, n = data.report["coverage"], len(data.surrogate.model.latent.x)
    if coverage is not None:
        remark = "of the values at validation points lie in the 90 % band; ideal is 90 %"
        return Card("Coverage", percent(coverage), remark)
    estimate = "unknown" if data.surrogate.error_estimate is None else f"from leaving out each of {n} points"
    return Card("Coverage", "not validated", f"the error estimate is {estimate}; validation solves would measure it")


def _cost(data: ReportData, spent: Mapping[str, float]) -> Card:
    failed = data.ledger.failures("train")
    remark = "solver runs"
    if failed:
        remark += f", {failed} of them failed"
    if spent:
        remark += f"; {seconds(spent.get('total', sum(spent.values())))} in total"
    has_ended = data.report is not None and data.report["stop_reason"] is not None
    return Card("Cost" if has_ended else "Cost so far", str(data.ledger.solver_runs("train")), remark)
