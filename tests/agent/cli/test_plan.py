"""The plan of a campaign: the cost of its solves on this machine, and warnings."""

from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mlasdi.agent.cli import plan as planning
from mlasdi.agent.cli.plan import Plan, concerns, trial_point
from mlasdi.agent.cli.tables import show_check, show_plan
from mlasdi.agent.config import Config
from mlasdi.validation import Finding

PROGRAM = {"argv": ["solve", "{a}", "{w}"], "parameters": ["a", "w"], "output": "u.csv", "time_limit_s": 60}


def config(tmp_path: Path, **sections: Any) -> Config:
    problem = {"solver": "burgers1d", "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]}}
    given = {"name": "pulse", "root": tmp_path / "state", "problem": problem, "budget": {"solver_runs": 9}}
    return Config.model_validate({**given, **sections})


def plan(settings: Config, n_time: int = 11, n_state: int = 50, solve_s: float = 2.0) -> Plan:
    return Plan.of(settings, n_time=n_time, n_state=n_state, solve_s=solve_s)


def kinds(found: list[Finding]) -> list[str]:
    assert all(finding.message and finding.remedy for finding in found)
    return [finding.kind for finding in found]


@pytest.mark.parametrize(
    ("cluster", "at_once"),
    [
        ({"executor": "serial"}, 1),
        ({"cpus": 2}, 2),
        ({"cpus": 8, "solve_cpus": 4}, 2),
        ({"cpus": 3, "solve_cpus": 0.5}, 6),
        ({"cpus": 1000}, 25),  # no more than there are in the largest group, the validation set
        ({"address": "auto"}, 25),
        ({"cpus": 8, "solve_memory_mb": 10**9}, 1),
    ],
)
def test_solves_run_in_parallel_as_far_as_resources_allow(tmp_path: Path, cluster: dict, at_once: int) -> None:
    settings = config(tmp_path, cluster=cluster, sampling={"batch": 2}, validation={"grid": 5})
    found = plan(settings)
    assert (found.parallel_solves, found.rounds) == (at_once, 4)
    # Four corners; two points in each of two rounds, and one in the last; 25 points of validation.
    turns = ceil(4 / at_once) + 3 * ceil(2 / at_once) + ceil(25 / at_once)
    assert found.wall_s == pytest.approx(2.0 * turns)
    assert found.training_solves_s == 18.0
    assert found.validation_solves_s == 50.0


def test_asynchronous_solves_wait_for_no_batch(tmp_path: Path) -> None:
    cluster = {"cpus": 8, "mode": "asynchronous"}
    found = plan(config(tmp_path, cluster=cluster, sampling={"batch": 3}, validation={"grid": 4}))
    assert found.wall_s == pytest.approx(2.0 * (ceil(9 / 3) + ceil(16 / 8)))


def test_solves_of_a_round_may_be_fewer_than_a_batch(tmp_path: Path) -> None:
    settings = config(tmp_path, budget={"solver_runs": 10, "solver_runs_per_round": 2}, sampling={"batch": 4})
    assert plan(settings).rounds == 4


def test_core_hours_are_those_of_all_solves(tmp_path: Path) -> None:
    budget = {"solver_runs": 9, "core_hours": 0.05}
    settings = config(tmp_path, budget=budget, cluster={"cpus": 8, "solve_cpus": 4}, validation={"grid": 3})
    assert plan(settings, solve_s=3.6).core_hours == pytest.approx(0.001 * (9 + 9) * 4)
    (found,) = concerns(settings, plan(settings, solve_s=3.6))
    assert found.kind == "core-hours"
    assert "0.072 core-hours, and the budget has 0.05" in found.message
    assert concerns(settings, plan(settings, solve_s=2.0)) == []


def test_a_small_campaign_raises_no_concern(tmp_path: Path) -> None:
    settings = config(tmp_path, validation={"grid": 21})
    assert concerns(settings, plan(settings, solve_s=0.01)) == []


def test_a_wall_time_that_the_solves_alone_exceed(tmp_path: Path) -> None:
    settings = config(tmp_path, budget={"solver_runs": 9, "wall_time_s": 17}, cluster={"executor": "serial"})
    (found,) = concerns(settings, plan(settings))
    assert found.kind == "wall-time"
    assert "18 s" in found.message
    assert "17 s" in found.message
    assert "budget.wall_time_s" in found.remedy
    assert concerns(settings, plan(settings, solve_s=1.0)) == []


def test_a_program_close_to_its_time_limit(tmp_path: Path) -> None:
    problem = {"solver": "command", "options": PROGRAM, "parameters": {"a": [0, 1], "w": [0, 1]}}
    settings = config(tmp_path, problem=problem)
    assert kinds(concerns(settings, plan(settings, solve_s=31.0))) == ["time-limit"]
    assert concerns(settings, plan(settings, solve_s=29.0)) == []


def test_validation_that_costs_more_than_training(tmp_path: Path) -> None:
    settings = config(tmp_path, validation={"grid": 4})
    assert kinds(concerns(settings, plan(settings, solve_s=11.0))) == ["validation"]
    assert concerns(settings, plan(settings, solve_s=9.0)) == []


def test_snapshots_that_do_not_fit(tmp_path: Path) -> None:
    """Of 1e15 values no machine has room, neither in memory nor on disk."""
    settings = config(tmp_path)
    huge = plan(settings, n_time=10**6, n_state=10**9)
    assert huge.trajectory_bytes == 8 * 10**15
    assert kinds(concerns(settings, huge)) == ["memory", "disk"]
    assert not settings.root.exists()


def test_memory_is_compared_with_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path)
    found = plan(settings)
    monkeypatch.setattr(planning, "_memory_bytes", lambda: 2 * found.memory_bytes)
    assert concerns(settings, found) == []
    monkeypatch.setattr(planning, "_memory_bytes", lambda: 2 * found.memory_bytes - 1)
    assert kinds(concerns(settings, found)) == ["memory"]


def test_a_solver_is_tried_out_in_the_middle_of_the_box_in_each_parameters_scale(tmp_path: Path) -> None:
    options = {**PROGRAM, "time_limit_s": None}
    box = {"a": {"low": 0.01, "high": 1.0, "scale": "log"}, "w": [1, 3]}
    settings = config(tmp_path, problem={"solver": "command", "options": options, "parameters": box})
    assert trial_point(settings) == pytest.approx({"a": 0.1, "w": 2.0})


def test_constraints_leave_less_of_the_box_and_of_the_validation(tmp_path: Path) -> None:
    problem = {"solver": "burgers1d", "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]}}
    limited = config(
        tmp_path, problem={**problem, "constraints": [{"a": 1, "w": 1, "max": 1.75}]}, validation={"grid": 5}
    )
    found = plan(limited)
    assert found.feasible_share == pytest.approx(0.5 * 0.75**2, abs=0.01)
    assert found.validation_solves == 10  # of 25
    assert sum(trial_point(limited).values()) <= 1.75
    whole = plan(config(tmp_path, validation={"sobol": 7}))
    assert (whole.feasible_share, whole.validation_solves) == (1.0, 7)


def test_the_feasible_share_is_shown_where_it_is_not_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"solver": "burgers1d", "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]}}
    limited = config(tmp_path, problem={**problem, "constraints": [{"a": 1, "w": 1, "max": 1.8}]})
    for settings, is_shown in ((limited, True), (config(tmp_path), False)):
        for show in (show_plan, partial(show_check, mu={}, problems=[], facts={})):
            show(Console(), plan(settings), concerns=[])
            assert ("% of the box" in capsys.readouterr().out) == is_shown


def test_a_data_set_is_tried_out_where_it_has_a_run(tmp_path: Path) -> None:
    points = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.6, 0.3)]
    for i, (a, w) in enumerate(points):
        np.savez(tmp_path / f"{i}.npz", t=[0.0, 1.0], u=np.ones((2, 3)), a=a, w=w)
    options = {"path": str(tmp_path), "parameters": ["a", "w"]}
    problem = {"solver": "data-set", "options": options, "parameters": {"a": [0, 1], "w": [0, 1]}}
    settings = config(tmp_path, problem=problem, budget={"solver_runs": 4}, validation={"rest": True})
    assert trial_point(settings) == {"a": 0.6, "w": 0.3}
    assert plan(settings).validation_solves == 1
