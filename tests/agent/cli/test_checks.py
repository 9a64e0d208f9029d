"""Checks of a solver at corners, and of the model on what was solved there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mlasdi.agent.cli.checks import Check, check_solver
from mlasdi.agent.cli.main import app
from mlasdi.agent.config import Config, dump_config
from mlasdi.training import ModelSettings

SOLVERS = """
import sys
import numpy as np

def solved(k, c, end=1.0, n_x=9, length=1.0, n_t=11):
    t, x = np.linspace(0, end, n_t), np.linspace(0, length, n_x)
    return t, {"u": np.exp(-c * k * t)[:, None] * np.cos(k * x), "x": x}

def sound(k, c): return solved(k, c)
def other_lengths(k, c): return solved(k, c, end=k)
def other_intervals(k, c):
    t, u = solved(k, c)
    return t + 5 * (k > 1.9), u
def other_grid(k, c): return solved(k, c, n_x=9 + (k > 1.9))
def moving_grid(k, c): return solved(k, c, length=k)
def few_times(k, c): return solved(50 * k, c, n_t=11 + (k > 1.9))
def leaves(k, c): return sys.exit(3) if k > 1.9 else solved(k, c)
def overflows(k, c):
    t, found = solved(k, c)
    found["u"][3:] *= np.inf if k > 1.9 else 1
    return t, found
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cornered.py").write_text(SOLVERS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def config(here: Path, function: str, **sections: Any) -> Config:
    sections = {**sections, "problem": {**problem_of(function), **sections.get("problem", {})}}
    given = {"name": "cornered", "root": here / "state", "budget": {"solver_runs": 50}}
    return Config.model_validate({**given, "model": {"kind": "snapshot-gp"}, **sections})


def problem_of(function: str) -> dict[str, Any]:
    return {
        "solver": "callable",
        "options": {"function": f"cornered:{function}", "coordinates": {"x": "x"}},
        "parameters": {"k": [1.0, 2.0], "c": [0.9, 1.1]},
    }


def kinds(check: Check) -> tuple[list[str], list[str]]:
    assert all(finding.message and finding.remedy for finding in (*check.problems, *check.concerns))
    return [one.kind for one in check.problems], [one.kind for one in check.concerns]


def test_a_sound_solver_is_solved_at_opposite_corners_and_trained_on(here: Path) -> None:
    found = check_solver(config(here, "sound"), 2)
    assert kinds(found) == ([], [])
    assert [corner["mu"] for corner in found.corners] == [{"k": 1.0, "c": 0.9}, {"k": 2.0, "c": 1.1}]
    assert [(corner["n_time"], corner["times"]) for corner in found.corners] == [(11, [0.0, 1.0])] * 2
    assert found.train_s is not None
    assert found.facts()["trial training"].startswith("3 points, ")
    assert not (here / "state").exists()


@pytest.mark.parametrize(
    ("function", "problems", "concerns", "said"),
    [
        ("other_intervals", ["unlike-solutions"], [], "share no time at all"),
        ("other_grid", ["unlike-solutions"], [], "another grid (u on 10 points)"),
        ("moving_grid", ["unlike-solutions"], [], "{'k': 1.0, 'c': 0.9} has other fields or another grid"),
        ("few_times", [], ["unequal-times"], "interpolation to common ones errs by"),
        ("leaves", [], ["corner-fails"], "{'k': 2.0, 'c': 1.1}: SolverError: the code called sys.exit(3)"),
        ("overflows", [], ["corner-fails"], "{'k': 2.0, 'c': 1.1}: states are not finite from time index 3"),
    ],
)
def test_what_differs_between_points_is_told_before_it_is_paid_for(
    here: Path, function: str, problems: list[str], concerns: list[str], said: str
) -> None:
    found = check_solver(config(here, function), 2)
    assert kinds(found) == (problems, concerns)
    assert said in (*found.problems, *found.concerns)[0].message


def test_runs_of_other_lengths_are_no_concern_unless_they_are_cut(here: Path) -> None:
    assert kinds(check_solver(config(here, "other_lengths"), 2)) == ([], [])
    cut = check_solver(config(here, "other_lengths", model={"kind": "snapshot-gp", "run_length": "shortest"}), 2)
    assert kinds(cut) == ([], ["unequal-runs"])
    assert "50 % of the longest run is not used" in cut.concerns[0].message


def test_without_corners_there_is_no_training(here: Path) -> None:
    found = check_solver(config(here, "leaves"), 0)
    assert (kinds(found), found.corners, found.train_s) == (([], []), (), None)


@pytest.mark.slow
def test_corners_stand_apart_and_are_no_more_than_there_are(here: Path) -> None:
    found = check_solver(config(here, "sound"), 100)
    assert [tuple(corner["mu"].values()) for corner in found.corners] == [(1, 0.9), (2, 1.1), (1, 1.1), (2, 0.9)]
    limited = check_solver(config(here, "sound", problem={"constraints": [{"k": 1, "c": 1, "max": 2.8}]}), 4)
    assert len(limited.corners) == 4
    assert all(sum(corner["mu"].values()) <= 2.8 for corner in limited.corners)


@pytest.mark.slow
def test_corners_of_a_box_of_many_parameters(here: Path) -> None:
    names = [f"p{k}" for k in range(12)]
    (here / "many.py").write_text(
        "import numpy as np\ndef solve(**p):\n    t = np.linspace(0, 1, 9)\n"
        "    return t, np.outer(np.exp(-t * sum(p.values())), [1.0, 2.0])\n"
    )
    options = {"function": "many:solve", "parameters": names}
    problem = {"options": options, "parameters": {name: [0, 1] for name in names}}
    found = check_solver(config(here, "", problem=problem), 5)
    mus = np.array([list(corner["mu"].values()) for corner in found.corners])
    assert (mus[0].max(), mus[1].min(), len(np.unique(mus, axis=0))) == (0, 1, 5)


def test_the_runs_of_a_data_set_next_to_the_corners_are_compared(here: Path) -> None:
    rng = np.random.default_rng(0)
    k, t = rng.uniform(1, 2, 12), np.linspace(0, 1, 9)
    np.savez(here / "runs.npz", k=k, t=t, u=np.exp(-k[:, None, None] * t[:, None]) * np.ones(3))
    options = {"path": str(here / "runs.npz"), "parameters": ["k"], "fields": ["u"]}
    problem = {"solver": "data-set", "options": options, "parameters": {"k": [1.0, 2.0]}}
    found = check_solver(config(here, "", problem=problem, budget={"solver_runs": 5}), 2)
    assert sorted(corner["mu"]["k"] for corner in found.corners) == [k.min(), k.max()]


def test_a_model_that_cannot_be_trained_is_a_problem(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def failing(data: object, settings: ModelSettings, **more: object) -> None:
        steps.append(settings.first_stage.steps)  # type: ignore[union-attr]
        raise ValueError("a stage does not fit")

    monkeypatch.setattr("mlasdi.agent.cli.checks.fit", failing)
    found = check_solver(config(here, "sound", model={"kind": "mlasdi-paper"}), 2)
    assert kinds(found) == (["training-fails"], [])
    assert "on 3 solutions: ValueError: a stage does not fit" in found.problems[0].message
    assert max(steps) <= 20


def test_the_command_takes_the_number_of_corners(here: Path) -> None:
    (here / "cornered.yaml").write_text(dump_config(config(here, "other_grid")))
    results = [
        CliRunner().invoke(app, ["check", str(here / "cornered.yaml"), "--corners", n, "--json"]) for n in ("0", "2")
    ]
    assert [result.exit_code for result in results] == [0, 1]
    whole, differing = (json.loads(result.stdout) for result in results)
    assert (whole["ok"], whole["corners"], whole["train_s"]) == (True, [], None)
    assert (differing["ok"], len(differing["corners"])) == (False, 2)
    assert CliRunner().invoke(app, ["check", str(here / "cornered.yaml"), "--corners", "-1"]).exit_code == 2
