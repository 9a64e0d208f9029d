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
NOT_VALIDATED = {"coverage": None, "max_relative_error": None, "mean_relative_error": None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "is within 2 % everywhere in the box (checked at 25 points: 1.1 %)"),
        ({"validation_runs": 1}, "is within 2 % everywhere in the box (checked at 1 point: 1.1 %)"),
        (
            {"error_estimate": 0.004},
            "is within 1.1 % at 25 points that were solved to check it; its own estimate, 0.4 %, is smaller",
        ),
        ({"error_estimate": None}, "is within 1.1 % at 25 points that were solved to check it"),
        ({"max_relative_error": None}, "diverges at a validation point"),
        (
            NOT_VALIDATED,
            "is estimated to be within 2 % everywhere in the box "
            "(the model before was off by 1.5 % at the newest solve)",
        ),
        (
            {"diagnostics": [{"kind": "validated-where-trained"}], "predicted_before": []},
            "is estimated to be within 2 % everywhere in the box",
        ),
        (NOT_VALIDATED | {"predicted_before": []}, "is estimated to be within 2 % everywhere in the box"),
        (NOT_VALIDATED | {"error_estimate": None}, "cannot say yet how good it is"),
    ],
)
def test_it_says_what_is_known(changes: dict[str, Any], expected: str) -> None:
    assert answer(REPORT | changes) == f"With 9 runs the surrogate {expected}."


@pytest.mark.parametrize(
    ("solve_s", "predict_s", "said"),
    [(2.83, 1e-3, "; it answers 2,800 times faster than the solver."), (1e-3, 9e-4, "1.1 %)."), (None, 1.0, "1.1 %).")],
)
def test_it_says_how_much_faster_the_surrogate_is(solve_s: float | None, predict_s: float, said: str) -> None:
    assert answer(REPORT | {"solve_s": solve_s, "predict_s": predict_s}).endswith(said)


def test_one_run_is_singular() -> None:
    assert answer(REPORT | {"solver_runs": 1}).startswith("With 1 run the ")
