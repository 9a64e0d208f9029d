"""The answer of a campaign in a sentence, with which its reports begin."""

from collections.abc import Mapping
from typing import Any

from mlasdi.agent.text import percent


def answer(report: Mapping[str, Any]) -> str:
    """How good the surrogate is, in a sentence.

    Args:
        report: the contents of `report.json`.
    """
    n, tested = report["solver_runs"], report.get("predicted_before", ())
    begin = f"With {n} solver run{'s' * (n != 1)}"
    if report["coverage"] is not None:
        worst, n_points = report["max_relative_error"], report["validation_runs"]
        if worst is None:
            return f"{begin}, the surrogate diverges at a validation point."
        return (
            f"{begin}, the surrogate errs by at most {percent(worst)} at {n_points} points that were solved to "
            f"validate it, and by {percent(report['mean_relative_error'])} on average."
            + _worst_output(report, "max_error")
        )
    if report["error_estimate"] is None:
        return f"{begin}, it is not known yet how good the surrogate is."
    found = f"; {percent(tested[-1]['found'])} was found at the last point that was solved" if tested else ""
    estimated = f"{begin}, the surrogate is estimated to err by at most {percent(report['error_estimate'])}{found}."
    return estimated + _worst_output(report, "error_estimate")


def _worst_output(report: Mapping[str, Any], key: str) -> str:
    """A sentence on the output with the largest error relative to its own norm, where there are several."""
    errors = {name: one[key] for name, one in report.get("outputs", {}).items() if one[key] is not None}
    if len(errors) < 2:
        return ""
    worst = max(errors, key=lambda name: errors[name])
    return f" Of the outputs alone, {worst} has the largest error: {percent(errors[worst])}."
