"""The solves of a campaign: what the ledger knows and when, failures, and how solutions are found again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from faulty_solvers import Faulty

from agent.config import Config, load_config
from agent.executor import SerialExecutor
from agent.ledger import Ledger
from agent.monitor import Monitor
from agent.solves import Solves, SolvesError
from agent.tasks import SolveResult, SolveTask
from solvers.contract import Snapshots, SolverError
from solvers.store import DamagedSnapshot

MUS = np.array([[1.0], [2.0], [3.0]])
NO_SCORES = [None, None, None]


class Recorder(Monitor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def solving(self, purpose: str, n: int) -> None:
        self.heard.append((purpose, n))

    def solved(self, purpose: str, mu: Mapping[str, float], result: SolveResult) -> None:
        self.heard.append((purpose, mu["a"], result.ok))


class Interrupted(SerialExecutor):
    """Stops the agent after the first solve."""

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        yield from super().run(tasks[:1])
        raise KeyboardInterrupt


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The solver u = a t x, which notes each of its calls in the file `log`."""
    problem = {
        "solver": "faulty_solvers:Faulty",
        "options": {"log": str(tmp_path / "log")},
        "parameters": {"a": [0.0, 4.0]},
    }
    settings = {"root": str(tmp_path), "problem": problem, "budget": {"solver_runs": 4}, "validation": {"n_time": 3}}
    (tmp_path / "line.yaml").write_text(yaml.safe_dump(settings))
    return load_config(tmp_path / "line.yaml")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def solves(config: Config, ledger: Ledger) -> Solves:
    return Solves(config, ledger, SerialExecutor(), Recorder())


def run(solves: Solves, round: int = 0, mus: np.ndarray = MUS) -> None:
    """Record points for training, and solve them."""
    solves.record(round, "train", mus, [None] * len(mus))
    solves.run("train", solves.ledger.points("train", round=round))


def calls(config: Config) -> list[float]:
    """The values of `a` for which the solver ran, in order."""
    log = Path(config.problem.options["log"])
    return [float(line) for line in log.read_text().split()] if log.exists() else []


def fail_at(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    solve = Faulty.solve

    def failing(self: Faulty, mu: Mapping[str, float]) -> Snapshots:
        if mu["a"] in values:
            raise SolverError("not-converged", f"stuck at a = {mu['a']}")
        return solve(self, mu)

    monkeypatch.setattr(Faulty, "solve", failing)


def test_points_and_attempts_are_on_record_before_a_solve(
    config: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process would read them while the solver runs."""
    solves, solve, seen = Solves(config, ledger, SerialExecutor(), Monitor()), Faulty.solve, []

    def watched(self: Faulty, mu: Mapping[str, float]) -> Snapshots:
        with Ledger(ledger.path, read_only=True) as record:
            (point,) = (p for p in record.points("train") if p.mu == mu)
            seen.append((point.status, [attempt.status for attempt in record.attempts(point.id)]))
        return solve(self, mu)

    monkeypatch.setattr(Faulty, "solve", watched)
    run(solves)
    assert seen == [("proposed", ["running"])] * 3


def test_solutions_are_found_again(solves: Solves) -> None:
    run(solves)
    points = solves.ledger.points("train")
    assert [p.status for p in points] == ["solved"] * 3
    np.testing.assert_array_equal(solves.mus(points), MUS)
    for point, (a,) in zip(points, MUS, strict=True):
        found = solves.snapshots(point)
        np.testing.assert_array_equal(found.u, a * np.outer(np.linspace(0, 1, 11), np.linspace(0, 1, 5)))
    assert solves.mus([]).shape == (0, 1)


def test_validation_solves_keep_some_times_and_stand_apart(solves: Solves, config: Config) -> None:
    run(solves)
    solves.record(0, "validate", MUS, NO_SCORES)
    solves.run("validate", solves.ledger.points("validate"))
    assert calls(config) == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    (point, *_) = solves.ledger.points("validate")
    np.testing.assert_array_equal(solves.snapshots(point).t, [0, 0.5, 1])
    assert len(solves.snapshots(solves.ledger.points("train")[0]).t) == 11
    assert solves.training_data(0).mu.shape == (3, 1)  # of the points for training alone


def test_what_is_solved_is_not_solved_again(solves: Solves, config: Config) -> None:
    run(solves)
    run(solves)
    assert calls(config) == [1.0, 2.0, 3.0]
    assert len(solves.ledger.points()) == len(solves.ledger.attempts()) == 3


def test_an_interrupted_batch_goes_on_with_the_rest(solves: Solves, config: Config) -> None:
    interrupted = Solves(config, solves.ledger, Interrupted(), Monitor())
    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    assert [p.status for p in solves.ledger.points("train")] == ["solved", "proposed", "proposed"]
    solves.ledger.recover()
    run(solves)
    assert calls(config) == [1.0, 2.0, 3.0]
    statuses = sorted(attempt.status for attempt in solves.ledger.attempts())
    assert statuses == ["interrupted", "interrupted", "solved", "solved", "solved"]
    assert solves.ledger.solver_runs("train") == 3


def test_a_failed_solve_is_recorded_and_the_others_go_on(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, 2.0)
    run(solves)
    assert [p.status for p in solves.ledger.points("train")] == ["solved", "failed", "solved"]
    (failed,) = (attempt for attempt in solves.ledger.attempts() if attempt.status == "failed")
    assert (failed.failure_kind, failed.failure_message) == ("not-converged", "stuck at a = 2.0")
    assert solves.monitor.heard == [("train", 3), ("train", 1.0, True), ("train", 2.0, False), ("train", 3.0, True)]
    np.testing.assert_array_equal(solves.training_data(0).mu, [[1.0], [3.0]])


# Training data


def test_training_data_are_those_up_to_a_round(solves: Solves) -> None:
    run(solves, 0, MUS[:2])
    run(solves, 1, MUS[2:])
    first, both = solves.training_data(0), solves.training_data(1)
    np.testing.assert_array_equal(first.mu, MUS[:2])
    np.testing.assert_array_equal(both.mu, MUS)
    np.testing.assert_array_equal(both.t, np.linspace(0, 1, 11))
    np.testing.assert_array_equal(both.u[:, -1, -1], [1, 2, 3])
    assert both.layout == Faulty().layout
    assert both.space.names == ("a",)


def test_too_few_solutions_name_the_last_failure(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, 2.0, 3.0)
    run(solves)
    with pytest.raises(SolvesError, match=r"only 1 solves succeeded.*2.*not-converged: stuck at a = 3\.0"):
        solves.training_data(0)


def test_a_missing_solution_is_named(solves: Solves) -> None:
    run(solves)
    path = solves.store.path(solves.ledger.points("train")[1].address)
    path.unlink()
    with pytest.raises(SolvesError, match=r"\{'a': 2\.0\} is missing") as raised:
        solves.training_data(0)
    assert str(path) in str(raised.value)


def test_a_damaged_solution_is_not_used(solves: Solves) -> None:
    run(solves)
    path = solves.store.path(solves.ledger.points("train")[1].address)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedSnapshot, match=path.name):
        solves.training_data(0)


def test_solutions_at_different_times_are_refused(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a solver that chooses its own time steps, as many but not the same."""
    solve = Faulty.solve

    def adaptive(self: Faulty, mu: Mapping[str, float]) -> Snapshots:
        solved = solve(self, mu)
        return Snapshots(solved.t ** (1 if mu["a"] < 3 else 2), solved.u)

    monkeypatch.setattr(Faulty, "solve", adaptive)
    run(solves)
    with pytest.raises(SolvesError, match=r"\{'a': 3\.0\} has other times than that at \{'a': 1\.0\}"):
        solves.training_data(0)
