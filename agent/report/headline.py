"""The answer at the top of the HTML report: error, where, how sure, cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from mlasdi.agent.report.data import ReportData
from mlasdi.agent.text import percent, point, seconds


@dataclass(frozen=True)
class Card:
    """One thing that a reader wants to know first.

    Attributes:
        figure: the answer in a word.
        remark: what the figure is, and what goes with it.
    """

    title: str
    figure: str
    remark: str


def answer(data: ReportData, spent: Mapping[str, float]) -> list[Card]:
    """Error, where, how sure and cost; error and cost alone before there is a model.

    Args:
        spent: seconds by activity, with a `total` at the end of a campaign.
    """
    if data.report is None:
        return [Card("Error", "not known yet", "no model has been trained"), _cost(data, spent)]
    return [_error(data), _where(data), _how_sure(data), _cost(data, spent)]


def _error(data: ReportData) -> Card:
    assert data.report is not None
    estimate, target = data.report["error_estimate"], data.config.budget.target_error
    if data.assessment is None:
        figure = percent(estimate)
        remark = "largest error over the box as the model estimates it; no validation measured it"
    else:
        largest, mean = data.report["max_relative_error"], data.report["mean_relative_error"]
        figure = "not finite" if largest is None else percent(largest)
        remark = f"largest at {len(data.assessment.mu)} validation points; mean {percent(mean)}. "
        remark += f"Expected without them: {percent(estimate)}"
    if target is not None and estimate is not None:
        reached = "reached" if estimate <= target else "not reached"
        remark += f". Target {percent(target)}, which the estimate has {reached}"
    return Card("Error", figure, remark)


def _where(data: ReportData) -> Card:
    worst = data.worst()
    if worst is not None:
        mu, error = worst
        found = (
            f"the largest error, {percent(error)}, as measured" if isfinite(error) else "the prediction diverges here"
        )
        return Card("Where", point(mu), found)
    unsure = data.least_sure()
    if unsure is None:
        return Card("Where", "unknown", "the model expects no finite error anywhere")
    return Card("Where", point(unsure), "where the model is least sure")


def _how_sure(data: ReportData) -> Card:
    assert data.report is not None
    assert data.surrogate is not None
    coverage, n = data.report["coverage"], len(data.surrogate.model.latent.x)
    if coverage is not None:
        remark = "of the values at validation points lie in the 90 % band; 90 % would be right"
        return Card("How sure", percent(coverage), remark)
    estimate = "unknown" if data.surrogate.error_estimate is None else f"by leaving out each of {n} points in turn"
    return Card("How sure", "not validated", f"the estimate is {estimate}; validation solves would measure the error")


def _cost(data: ReportData, spent: Mapping[str, float]) -> Card:
    failed = data.ledger.failures("train")
    remark = "solver runs"
    if failed:
        remark += f", {failed} of them failed"
    if spent:
        remark += f"; {seconds(spent.get('total', sum(spent.values())))} altogether"
    has_ended = data.report is not None and data.report["stop_reason"] is not None
    return Card("Cost" if has_ended else "Cost so far", str(data.ledger.solver_runs("train")), remark)
