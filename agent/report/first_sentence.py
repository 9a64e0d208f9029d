"""The answer of a campaign in a sentence, with which its reports begin."""

from collections.abc import Mapping
from typing import Any

from mlasdi.formatting import counted, percent

VALIDATED_WHERE_TRAINED = "validated-where-trained"  # the finding that all validation points are training points


def answer(report: Mapping[str, Any]) -> str:
    """How good the surrogate is, and how fast, in a sentence.

    Args:
        report: the contents of `report.json`.
    """
    begin = f"With {counted(report['solver_runs'], 'run')} the surrogate"
    tells_nothing = any(one["kind"] == VALIDATED_WHERE_TRAINED for one in report.get("diagnostics", ()))
    if report["coverage"] is not None and not tells_nothing:
        if report["max_relative_error"] is None:
            return f"{begin} diverges at a validation point."
        return f"{begin} {_validated(report)}{_speed(report)}." + _worst_output(report, "max_error")
    if report["error_estimate"] is None:
        return f"{begin} cannot say yet how good it is."
    tested = report.get("predicted_before", ())
    found = f" (the model before was off by {percent(tested[-1]['found'])} at the newest solve)" if tested else ""
    estimated = f"{begin} is estimated to be within {percent(report['error_estimate'])} everywhere in the box{found}"
    return f"{estimated}{_speed(report)}." + _worst_output(report, "error_estimate")


def _validated(report: Mapping[str, Any]) -> str:
    """The estimate over the box if validation confirms it; else what validation found."""
    estimate, worst = report["error_estimate"], report["max_relative_error"]
    points = counted(report["validation_runs"], "point")
    if estimate is not None and worst <= estimate:
        return f"is within {percent(estimate)} everywhere in the box (checked at {points}: {percent(worst)})"
    estimated = "" if estimate is None else f"; its own estimate, {percent(estimate)}, is smaller"
    return f"is within {percent(worst)} at {points} that were solved to check it{estimated}"


def _speed(report: Mapping[str, Any]) -> str:
    """How many times faster than the solver it answers, with two digits; nothing if that is not known, or below 2."""
    solve_s, predict_s = report.get("solve_s"), report.get("predict_s")  # absent in reports of earlier versions
    if not solve_s or not predict_s or solve_s < 2 * predict_s:
        return ""
    return f"; it answers {float(f'{solve_s / predict_s:.2g}'):,.0f} times faster than the solver"


def _worst_output(report: Mapping[str, Any], key: str) -> str:
    """A sentence on the output with the largest error relative to its own norm, where there are several."""
    errors = {name: one[key] for name, one in report.get("outputs", {}).items() if one[key] is not None}
    if len(errors) < 2:
        return ""
    worst = max(errors, key=lambda name: errors[name])
    return f" Of the outputs alone, {worst} has the largest error: {percent(errors[worst])}."
