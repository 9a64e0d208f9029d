"""The solves of a campaign: records in the ledger, failures, and how solutions are found again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from faulty_solvers import Faulty
from ledger_entries import start_attempt

from mlasdi.agent.campaign.solves import Solves, SolvesError
from mlasdi.agent.config import Config, load_config
from mlasdi.agent.config.config import ValidationSettings
from mlasdi.agent.execution import TRANSIENT, SolveResult, SolveTask
from mlasdi.agent.execution.executor import SerialExecutor
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.execution.solve_task import execute
from mlasdi.agent.execution.training_data import read_training_data
from mlasdi.agent.records import Ledger, Monitor
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Snapshots, SolverError, StateLayout
from mlasdi.solvers.contract import FAILURE_KINDS
from mlasdi.solvers.storage import DamagedSnapshot

MUS = np.array([[1.0], [2.0], [3.0]])
NO_SCORES = [None, None, None]


class Recorder(Monitor):
    """Records its events."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def solving(self, purpose: str, n: int) -> None:
        self.heard.append((purpose, n))

    def solved(self, purpose: str, mu: Mapping[str, float], result: SolveResult) -> None:
        self.heard.append((purpose, mu["a"], result.ok))

    def warning(self, message: str) -> None:
        self.heard.append(("warning", message))


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


def training_data(solves: Solves, round: int) -> tuple[TrainingData, dict[str, float]]:
    """What the model of a round is trained on, as its task reads it, and facts about its times."""
    found = solves.solutions(round)
    warn = solves.monitor.warning
    return read_training_data(solves.store, solves.fom, solves.space, found, warn, run_length="shortest")


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
    assert training_data(solves, 0)[0].mu.shape == (3, 1)  # of the points for training alone


def test_by_default_validation_sees_all_times_of_the_solver(config: Config, ledger: Ledger) -> None:
    """At some times alone, what a model does between them would remain unseen."""
    complete = config.model_copy(update={"validation": ValidationSettings(sobol=2)})
    solves = Solves(complete, ledger, SerialExecutor(), Recorder())
    solves.record(0, "validate", MUS, NO_SCORES)
    solves.run("validate", solves.ledger.points("validate"))
    assert {len(solves.snapshots(point).t) for point in solves.validated()} == {11}


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


def test_a_failed_solve_is_recorded_and_the_others_continue(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, 2.0)
    run(solves)
    assert [p.status for p in solves.ledger.points("train")] == ["solved", "failed", "solved"]
    (failed,) = (attempt for attempt in solves.ledger.attempts() if attempt.status == "failed")
    assert (failed.failure_kind, failed.failure_message) == ("not-converged", "stuck at a = 2.0")
    assert solves.monitor.heard == [("train", 3), ("train", 1.0, True), ("train", 2.0, False), ("train", 3.0, True)]
    np.testing.assert_array_equal(training_data(solves, 0)[0].mu, [[1.0], [3.0]])


# Training data


def test_training_data_are_those_up_to_a_round(solves: Solves) -> None:
    run(solves, 0, MUS[:2])
    run(solves, 1, MUS[2:])
    first, both = training_data(solves, 0)[0], training_data(solves, 1)[0]
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
        training_data(solves, 0)[0]


def test_a_missing_solution_is_named(solves: Solves) -> None:
    run(solves)
    path = solves.store.path(solves.ledger.points("train")[1].address)
    path.unlink()
    with pytest.raises(SolvesError, match=r"\{'a': 2\.0\} is missing") as raised:
        training_data(solves, 0)[0]
    assert str(path) in str(raised.value)


def test_a_damaged_solution_is_not_used(solves: Solves) -> None:
    run(solves)
    path = solves.store.path(solves.ledger.points("train")[1].address)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedSnapshot, match=path.name):
        training_data(solves, 0)[0]


def let_times_differ(monkeypatch: pytest.MonkeyPatch, times: Callable[[np.ndarray], np.ndarray]) -> None:
    """A solver that chooses its own times at a = 3, as many but not the same; u = sin(6 t) x."""

    def adaptive(self: Faulty, mu: Mapping[str, float]) -> Snapshots:
        t = np.linspace(0, 1, 41) if mu["a"] < 3 else times(np.linspace(0, 1, 41))
        return Snapshots(t, np.outer(np.sin(6 * t), np.linspace(0, 1, 5)))

    monkeypatch.setattr(Faulty, "solve", adaptive)


def test_solutions_at_different_times_are_interpolated(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    let_times_differ(monkeypatch, lambda t: 0.9 * t**1.2)
    run(solves)
    data, facts = training_data(solves, 0)
    time_error = facts["time_interpolation_error"]
    assert (data.t[0], data.t[-1]) == (0, pytest.approx(0.9))
    assert (np.diff(data.t) > 0).all()
    error = np.abs(data.u[:, :, -1] - np.sin(6 * data.t)).max()
    assert error / 5 < time_error < 10 * error < 1e-3
    (warning,) = (text for event, *text in solves.monitor.heard if event == "warning")
    assert "times from 0 to 0.9, which all have, and 10 % of the longest run is not used" in warning[0]
    assert facts["unused_time"] == pytest.approx(0.1)


def test_times_too_coarse_to_be_interpolated_are_told(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    let_times_differ(monkeypatch, lambda t: t[::8])
    run(solves)
    data, facts = training_data(solves, 0)
    time_error = facts["time_interpolation_error"]
    assert time_error > 1e-3
    assert np.abs(data.u[-1, :, -1] - np.sin(6 * data.t)).max() > 1e-3
    warnings = [text[0] for event, *text in solves.monitor.heard if event == "warning"]
    assert f"about {time_error:.1e}" in warnings[0]


def test_solutions_that_hardly_overlap_in_time_are_refused(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    let_times_differ(monkeypatch, lambda t: t + 0.9)
    run(solves)
    with pytest.raises(SolvesError, match=r"times from 0 to 1\.9 and share only \[0\.9, 1\]"):
        training_data(solves, 0)[0]


def test_solutions_on_different_grids_are_refused(solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    def remeshing(self: Faulty, mu: Mapping[str, float]) -> Snapshots:
        x = np.linspace(0, 1, 6 if mu["a"] == 2 else 5)
        return Snapshots(np.array([0.0, 1.0]), np.zeros((2, len(x))), StateLayout(("u",), {"x": x}))

    monkeypatch.setattr(Faulty, "solve", remeshing)
    monkeypatch.setattr(Faulty, "layout", None)
    run(solves)
    told = (
        r"\{'a': 2\.0\} has other fields or another grid \(u on 6 points\) than that at \{'a': 1\.0\} \(u on 5 points\)"
    )
    with pytest.raises(SolvesError, match=told):
        training_data(solves, 0)[0]


# Trying again


class Flaky(SerialExecutor):
    """Every first attempt at a point fails with `kind`."""

    def __init__(self, kind: str, n_failures: int = 1) -> None:
        super().__init__()
        self.kind, self.n_failures, self.tried = kind, n_failures, list[int]()

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        for result in super().run(tasks):
            self.tried.append(result.task_id)
            fails = self.tried.count(result.task_id) <= self.n_failures
            yield replace(result, failure=TaskFailure(self.kind, "bad luck")) if fails else result


@pytest.mark.parametrize("kind", TRANSIENT)
def test_what_may_be_the_machines_fault_is_tried_again(config: Config, ledger: Ledger, kind: str) -> None:
    solves = Solves(config, ledger, Flaky(kind), Monitor())
    run(solves)
    assert [p.status for p in ledger.points("train")] == ["solved"] * 3
    assert [a.failure_kind for a in ledger.attempts()] == [kind] * 3 + [None] * 3


@pytest.mark.parametrize("kind", sorted(FAILURE_KINDS.keys() - set(TRANSIENT)))
def test_what_would_fail_again_is_not_tried_again(config: Config, ledger: Ledger, kind: str) -> None:
    run(Solves(config, ledger, Flaky(kind), Monitor()))
    assert [p.status for p in ledger.points("train")] == ["failed"] * 3
    assert len(ledger.attempts()) == 3


@pytest.mark.parametrize("retries", [0, 2])
def test_trying_again_ends_after_so_many_retries(config: Config, ledger: Ledger, retries: int) -> None:
    config = config.model_copy(update={"cluster": config.cluster.model_copy(update={"retries": retries})})
    run(Solves(config, ledger, Flaky("worker-lost", n_failures=99), Monitor()))
    assert [p.status for p in ledger.points("train")] == ["failed"] * 3
    assert len(ledger.attempts()) == 3 * (retries + 1)


def test_an_agent_killed_between_two_attempts_makes_the_second_one(solves: Solves, config: Config) -> None:
    flaky = Flaky("worker-lost")
    solves.record(0, "train", MUS[:1], [None])
    (point,) = solves.ledger.points("train")
    attempt = start_attempt(solves.ledger, point.id)
    (result,) = flaky.run([solves._task("train", point)])
    solves.ledger.finish_attempt(attempt, result)
    assert solves.ledger.points("train")[0].status == "failed"
    solves.run("train", solves.ledger.points("train"))
    assert solves.ledger.points("train")[0].status == "solved"


def test_a_worker_with_another_cache_stores_solutions_where_the_agent_finds_them(
    config: Config, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = config.cluster.model_copy(update={"storage": (tmp_path / "bucket").as_uri()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "agent"))
    solves = Solves(config.model_copy(update={"cluster": cluster}), ledger, SerialExecutor(), Recorder())
    solves.record(0, "train", MUS, NO_SCORES)
    tasks = solves.begin("train", ledger.points("train"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_CACHE_HOME", str(tmp_path / "worker"))
        results = [execute(task) for task in tasks]
    for result in results:
        solves.record_result(result)
    assert [float(solves.snapshots(point).u.max()) for point in ledger.points("train")] == [1.0, 2.0, 3.0]


def test_another_campaign_finds_what_the_same_solver_has_solved(config: Config, tmp_path: Path) -> None:
    """Under another name; a damaged file is solved again, and other settings of the solver are another solver."""

    def solved(name: str, **options: Any) -> list[bool | None]:
        problem = config.problem.model_copy(update={"options": {**config.problem.options, **options}})
        other = config.model_copy(update={"name": name, "problem": problem})
        with Ledger(tmp_path / f"{name}.db") as ledger:
            solves = Solves(other, ledger, SerialExecutor(), Recorder())
            run(solves)
            assert all(solves.snapshots(point).u.max() == point.mu["a"] for point in ledger.points())
            return [attempt.cached for attempt in ledger.attempts()]

    assert solved("first") == [False] * 3
    assert solved("second") == [True] * 3
    assert len(calls(config)) == 3
    damaged, *_ = (tmp_path / "solutions").iterdir()
    damaged.unlink()
    damaged.write_bytes(b"no solution")
    assert sorted(map(bool, solved("third"))) == [False, True, True]
    assert solved("fourth") == [True] * 3
    assert solved("fifth", log=str(tmp_path / "other log")) == [False] * 3
    assert len(calls(config)) == 4
