"""Budget: each limit alone, their order, and what the settings accept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlasdi.agent.config import Budget, StopReason
from mlasdi.agent.config.budget import BudgetSettings

FULL = Budget(BudgetSettings(solver_runs=9, wall_time_s=60, target_error="0.3%", max_failures=2))


def test_goes_on_below_every_limit():
    assert FULL.stop_reason(8, 59.9, 0.0031, 1) is None


@pytest.mark.parametrize(
    ("used", "reason"),
    [
        ((9, 0.0, None, 0), StopReason.SOLVER_RUNS),
        ((10, 0.0, None, 0), StopReason.SOLVER_RUNS),
        ((0, 60.0, None, 0), StopReason.WALL_TIME),
        ((4, 0.0, 0.003, 0, 0.0, [0.1, 0.003, 0.003]), StopReason.TARGET_ERROR),
        ((4, 0.0, None, 2), StopReason.MAX_FAILURES),
    ],
)
def test_each_limit_alone(used, reason):
    assert FULL.stop_reason(*used) is reason


@pytest.mark.parametrize(
    ("n", "estimate", "found", "reached"),
    [
        (2, 0.002, [], False),  # nothing has tested the estimate
        (2, 0.002, [0.001], False),
        (2, 0.002, [0.004, 0.001], False),
        (2, 0.002, [0.004, 0.003, 0.001], True),
        (2, 0.004, [0.001, 0.001], False),
        (1, 0.002, [0.004, 0.001], True),
        (0, 0.002, [0.4], True),
        (0, None, [], False),
    ],
)
def test_a_target_counts_as_reached_once_the_newest_solves_confirm_the_estimate(n, estimate, found, reached):
    budget = Budget(BudgetSettings(solver_runs=9, target_error="0.3%", check_solves=n))
    assert budget.reaches_target(estimate, found) is reached


def test_core_hours_end_it_too_and_are_named_last():
    budget = Budget(BudgetSettings(solver_runs=9, wall_time_s=60, core_hours=2))
    assert budget.stop_reason(8, 59.0, None, 0, core_hours=1.99) is None
    assert budget.stop_reason(8, 59.0, None, 0, core_hours=2.0) is StopReason.CORE_HOURS
    assert budget.stop_reason(8, 60.0, None, 0, core_hours=2.0) is StopReason.WALL_TIME


@pytest.mark.parametrize(("most", "used", "begun"), [(None, 0, 6), (4, 0, 4), (8, 0, 6), (4, 6, 3), (4, 9, 0)])
def test_a_round_begins_what_it_wants_within_its_limit_and_the_total(most, used, begun):
    budget = Budget(BudgetSettings(solver_runs=9, solver_runs_per_round=most))
    assert budget.of_round(6, used) == begun


def test_success_is_named_before_exhaustion():
    assert FULL.stop_reason(9, 60.0, 0.001, 2, found_errors=[0.003, 0.001]) is StopReason.TARGET_ERROR
    assert FULL.stop_reason(9, 60.0, 0.1, 2) is StopReason.MAX_FAILURES
    assert FULL.stop_reason(9, 60.0, 0.1, 0) is StopReason.SOLVER_RUNS


def test_absent_limits_do_not_stop():
    budget = Budget(BudgetSettings(solver_runs=9))
    assert budget.stop_reason(8, 1e9, 0.0, 4) is None
    assert budget.stop_reason(8, 0.0, math.nan, 0) is None


def test_an_undefined_error_is_not_a_success():
    assert FULL.stop_reason(4, 0.0, math.nan, 0) is None


@given(n=st.integers(1, 1000), used=st.integers(0, 2000))
def test_remaining_runs_and_stop_agree(n, used):
    budget = Budget(BudgetSettings(solver_runs=n))
    stopped = budget.stop_reason(used, 0.0, None, 0) is StopReason.SOLVER_RUNS
    assert stopped == (budget.remaining_runs(used) == 0)
    assert budget.remaining_runs(used) in (0, n - used)


def test_failed_points_are_charged_as_configured():
    assert FULL.charged(solved=3, failed=2) == 5
    assert Budget(BudgetSettings(solver_runs=9, charge_failures=False)).charged(solved=3, failed=2) == 3


@pytest.mark.parametrize(
    ("given", "fraction"), [("0.3%", 0.003), (" 5 % ", 0.05), ("0.01", 0.01), (0.01, 0.01), ("1e-2%", 1e-4)]
)
def test_target_error_forms(given, fraction):
    assert BudgetSettings(solver_runs=1, target_error=given).target_error == pytest.approx(fraction, rel=1e-12)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("solver_runs", 0, "greater than or equal to 1"),
        ("solver_runs", "many", "integer"),
        ("wall_time_s", -5, "greater than 0"),
        ("wall_time_s", math.inf, "finite"),
        ("core_hours", 0, "greater than 0"),
        ("core_hours", math.inf, "finite"),
        ("solver_runs_per_round", 0, "greater than or equal to 1"),
        ("target_error", 0, "greater than 0"),
        ("target_error", "-1%", "greater than 0"),
        ("target_error", "150%", "fraction below 1"),
        ("target_error", 30, "write '30%'"),
        ("target_error", "30", "write '30%'"),
        ("target_error", "x%", "not a percentage"),
        ("target_error", "small", "number"),
        ("target_error", math.nan, "finite"),
        ("target_error", {"peak": "150%"}, "peak: must be a fraction below 1"),
        ("target_error", {"peak": "low"}, "peak: 'low' is not a number"),
        ("check_solves", -1, "greater than or equal to 0"),
        ("max_failures", 0, "greater than or equal to 1"),
        ("max_solves", 3, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused_with_the_key(key, value, told):
    with pytest.raises(ValidationError) as caught:
        BudgetSettings(**{"solver_runs": 9, key: value})
    (error,) = caught.value.errors()
    assert error["loc"] == (key,)
    assert told in error["msg"]


def test_targets_of_outputs_must_all_be_reached():
    settings = BudgetSettings(solver_runs=9, target_error={"peak": "1%", "T": 0.05}, check_solves=2)
    assert settings.output_targets == {"peak": 0.01, "T": 0.05}
    assert settings.overall_target is None
    assert BudgetSettings(solver_runs=9, target_error="2%").overall_target == 0.02
    budget, found = Budget(settings), {"peak": [0.5, 0.01, 0.002], "T": [0.04, 0.03]}
    assert budget.reaches_targets({"peak": 0.009, "T": 0.05}, found)
    assert not budget.reaches_targets({"peak": 0.011, "T": 0.05}, found)
    assert not budget.reaches_targets({"peak": 0.009, "T": None}, found)
    assert not budget.reaches_targets({"peak": 0.009, "T": 0.05}, {**found, "T": [0.03]})
    assert not budget.reaches_targets({"peak": 0.009, "T": 0.05}, {**found, "peak": [0.02, 0.001]})
    assert not Budget(BudgetSettings(solver_runs=9)).reaches_targets({"peak": 0.0}, {})
    assert budget.stop_reason(3, 0.0, None, 0, outputs_reached=True) is StopReason.TARGET_ERROR
    assert budget.stop_reason(3, 0.0, 1e-9, 0, found_errors=[0.0, 0.0]) is None


def test_settings_are_frozen():
    settings = BudgetSettings(solver_runs=9)
    with pytest.raises(ValidationError, match="frozen"):
        settings.solver_runs = 10
