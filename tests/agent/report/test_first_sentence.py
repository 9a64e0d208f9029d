"""The sentence with which a report begins."""

from typing import Any

import pytest

from mlasdi.agent.report import answer

REPORT: dict[str, Any] = {
    "solver_runs": 9,
    "validation_runs": 25,
    "coverage": 0.9,
    "max_relative_error": 0.011,
    "mean_relative_error": 0.008,
    "error_estimate": 0.02,
    "predicted_before": [{"found": 0.03}, {"found": 0.015}],
}
ERRS, ESTIMATED = "the surrogate errs by", "the surrogate is estimated to err by"
NOT_VALIDATED = {"coverage": None, "max_relative_error": None, "mean_relative_error": None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, f"{ERRS} at most 1.1 % at 25 points that were solved to validate it, and by 0.8 % on average"),
        ({"max_relative_error": None}, "the surrogate diverges at a validation point"),
        (NOT_VALIDATED, f"{ESTIMATED} at most 2 %; 1.5 % was found at the last point that was solved"),
        (NOT_VALIDATED | {"predicted_before": []}, f"{ESTIMATED} at most 2 %"),
        (NOT_VALIDATED | {"error_estimate": None}, "it is not known yet how good the surrogate is"),
    ],
)
def test_it_says_what_is_known(changes: dict[str, Any], expected: str) -> None:
    assert answer(REPORT | changes) == f"With 9 solver runs, {expected}."


def test_one_run_is_singular() -> None:
    assert answer(REPORT | {"solver_runs": 1}).startswith("With 1 solver run, ")
