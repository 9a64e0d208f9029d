"""The size of a round: against a search over all plans, and in the limits in which it is known."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick_campaign import quick_config, run_quick

from mlasdi.agent.choosing import Costs, points_of_round
from mlasdi.agent.choosing.batch_size import MARGIN
from mlasdi.agent.config import ConfigError


def test_the_expected_training_time_per_point_is_the_measured_one() -> None:
    costs = Costs.measured([4, 6, 10], training_s=40.0, solve_s=1.0, n_slots=3)
    assert costs == Costs(n_points=10, train_s=pytest.approx(MARGIN * 20.0), solve_s=1.0, n_slots=3)


def test_a_dear_solve_is_chosen_by_all_that_can_be_known() -> None:
    assert points_of_round(Costs(n_points=9, train_s=10.0, solve_s=3600.0, n_slots=1), 50) == 1
    assert points_of_round(Costs(n_points=9, train_s=10.0, solve_s=3600.0, n_slots=6), 50) == 6


def test_solves_that_cost_nothing_multiply_the_points_by_e() -> None:
    """The maximum of log(r) / r over r = (n + q) / n is at e."""
    n = 1000
    found = points_of_round(Costs(n_points=n, train_s=10.0, solve_s=0.0, n_slots=1), 10 * n)
    assert (n + found) / n == pytest.approx(math.e, rel=1e-3)


@given(
    n=st.integers(1, 100), train_s=st.floats(0, 1e4), solve_s=st.floats(0, 1e4), n_slots=st.integers(1, 20),
    most=st.integers(1, 60),
)  # fmt: skip
def test_no_other_size_is_faster(n: int, train_s: float, solve_s: float, n_slots: int, most: int) -> None:
    costs = Costs(n, train_s, solve_s, n_slots)
    best = points_of_round(costs, most)
    assert 1 <= best <= most
    assert all(costs.rate(size) <= costs.rate(best) for size in range(1, most + 1))


def test_a_round_fits_into_what_is_left_of_the_time() -> None:
    costs = Costs(n_points=10, train_s=10.0, solve_s=1.0, n_slots=1)
    free = points_of_round(costs, 100)
    limited = points_of_round(costs, 100, seconds_left=costs.round_s(3) + 0.1)
    assert limited == 3 < free
    # With time for the best round and no other, more is solved in it.
    assert points_of_round(costs, 100, seconds_left=costs.round_s(free + 2) + 0.1) == free + 2
    assert points_of_round(costs, 100, seconds_left=100 * costs.round_s(free)) == free
    assert points_of_round(costs, 100, seconds_left=0.0) == 1  # the budget ends the campaign, not the policy


def most_points(costs: Costs, most: int, seconds_left: float) -> int:
    """The most new points in time, over all sequences of rounds that multiply the points by at most e each."""
    reached = 0
    for size in range(1, min(most, math.floor((math.e - 1) * costs.n_points)) + 1):
        left = seconds_left - costs.round_s(size)
        if left >= 0:
            reached = max(reached, size + most_points(costs.after(size), most - size, left))
    return reached


@given(
    n=st.integers(1, 12), train_s=st.floats(0.1, 10), solve_s=st.floats(0.1, 10), n_slots=st.integers(1, 4),
    most=st.integers(1, 9), seconds=st.floats(0, 200),
)  # fmt: skip
@settings(deadline=None)
def test_no_rounds_lead_to_more_points_in_time(
    n: int, train_s: float, solve_s: float, n_slots: int, most: int, seconds: float
) -> None:
    costs, left, known = Costs(n, train_s, solve_s, n_slots), seconds, 0
    while known < most:
        size = points_of_round(costs, most - known, left)
        if costs.round_s(size) > left:
            break
        left, known, costs = left - costs.round_s(size), known + size, costs.after(size)
    assert known == most_points(Costs(n, train_s, solve_s, n_slots), most, seconds)


@pytest.mark.slow
def test_rounds_grow_where_solves_are_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver takes milliseconds; a training takes ten seconds, according to the record."""
    measured = Costs.measured
    monkeypatch.setattr(Costs, "measured", lambda **found: replace(measured(**found), train_s=10.0))
    config = quick_config(
        tmp_path, budget={"solver_runs": 24}, cluster={"mode": "synchronous"}, sampling={"rounds": "greedy", "batch": 1}
    )
    report = run_quick(config, monkeypatch)
    assert report["solver_runs"] == 24
    assert report["rounds"] == 3  # of 4, 7 and 13 points, but for what rounding makes of it


def test_greedy_rounds_are_for_campaigns_that_wait(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampling.rounds: 'greedy' is for .* use 'fixed'"):
        quick_config(tmp_path, sampling={"rounds": "greedy"})
