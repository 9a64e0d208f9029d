"""The asynchronous schedule, with executors that finish its tasks in any order, lose them, and are killed."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_campaign import Shuffled, quick_config, run_quick, solves_of, trainings_of

from mlasdi.agent.campaign import CampaignError
from mlasdi.agent.config import Config
from mlasdi.agent.execution import ProposeTask, Result, SolveTask, Task, TaskFailure, TrainTask
from mlasdi.agent.records import Ledger, Monitor
from mlasdi.preprocessing import SAME_POINT
from mlasdi.solvers.storage import SnapshotStore
from mlasdi.surrogate import Surrogate


class Listener(Monitor):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


class Watch:
    """Records the running tasks before each result."""

    def __init__(self) -> None:
        self.seen: list[Sequence[Task]] = []

    def __call__(self, tasks: Sequence[Task]) -> Result | None:
        self.seen.append(tasks)
        return None


def ledger_of(config: Config) -> Ledger:
    return Ledger(config.folder / "ledger.db", read_only=True)


def last_model(config: Config, report: dict[str, Any]) -> Surrogate:
    return Surrogate.load(config.folder / "models" / f"round-{report['rounds'] - 1:03d}")


def assert_complete(config: Config, report: dict[str, Any], n: int = 10) -> None:
    """Every point was solved once, and the last model is trained on all of them."""
    with ledger_of(config) as ledger:
        points = ledger.points("train")
        solved = [attempt.point_id for attempt in ledger.attempts() if attempt.status == "solved"]
        assert [point.status for point in points] == ["solved"] * n
        assert sorted(solved) == sorted({point.id for point in points})
        assert not [one for one in ledger.activity_log.activities() if one.is_open]
        assert ledger.last_round("assess") == report["rounds"] - 1
    assert (report["solver_runs"] - report["failed_runs"], len(report["points"])) == (n, n)
    assert len(last_model(config, report).model.latent.x) == n
    assert not list(Path(config.snapshot_root).glob(".*.partial"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_whatever_the_order_all_is_solved_once_and_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    config, watch = quick_config(tmp_path), Watch()
    report = run_quick(config, monkeypatch, Shuffled(seed, watch))
    assert report["stop_reason"] == "solver-runs"
    assert_complete(config, report)
    assert max(len(solves_of(tasks)) for tasks in watch.seen) == 3
    assert max(len(trainings_of(tasks)) for tasks in watch.seen) == 1
    # Solves continue while a model is trained.
    assert any(solves_of(tasks) and trainings_of(tasks) for tasks in watch.seen)


@pytest.mark.slow
def test_places_are_filled_before_there_is_a_model_and_by_the_model_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config(tmp_path, sampling={"acquisition": "coefficient-std"}, budget={"solver_runs": 9})
    run_quick(config, monkeypatch, Shuffled(1))
    with ledger_of(config) as ledger:
        points = ledger.points("train")
    chosen = [point for point in points if point.score is not None]
    assert 4 <= len(points) - len(chosen) <= 4 + 3  # the corners, and at most one Sobol point for each slot
    assert len(chosen) >= 2
    x = config.problem.space.to_unit([[point.mu["a"], point.mu["w"]] for point in points])
    apart = np.abs(x[:, None] - x).max(axis=-1)[np.triu_indices(len(x), 1)]
    assert apart.min() > SAME_POINT  # running points count as known


@pytest.mark.slow
def test_a_round_is_a_model_trained_on_what_was_solved_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config(tmp_path)
    report = run_quick(config, monkeypatch, Shuffled(2))
    assert report["rounds"] > 2
    with ledger_of(config) as ledger:
        for round in range(report["rounds"]):
            known = [p.mu for p in ledger.points("train", status="solved") if p.round <= round]
            model = Surrogate.load(config.folder / "models" / f"round-{round:03d}")
            trained_at = [model.space.as_dict(mu) for mu in model.space.from_unit(model.model.latent.x)]
            assert len(trained_at) == len(known)
            for mu, expected in zip(trained_at, known, strict=True):
                assert mu == pytest.approx(expected)


@pytest.mark.slow
def test_solves_of_a_round_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One new solve for each model: between two trainings the other slots stay free."""
    config, watch = quick_config(tmp_path, budget={"solver_runs_per_round": 1}), Watch()
    report = run_quick(config, monkeypatch, Shuffled(0, watch))
    assert_complete(config, report)
    with ledger_of(config) as ledger:
        chosen = [point for point in ledger.points("train") if point.score is not None]
    assert report["rounds"] >= len(chosen)


@pytest.mark.slow
def test_validation_comes_last_and_judges_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = quick_config(tmp_path, validation={"grid": 2, "n_time": 6})
    report = run_quick(config, monkeypatch, Shuffled(0))
    assert report["validation_runs"] == 4
    assert report["max_relative_error"] < 0.05
    assert len(list((config.folder / "assessments").iterdir())) == report["rounds"]


def test_when_it_has_ended_nothing_unfinished_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its own, nor what killed agents have left in the folder of shared solutions."""
    config = quick_config(tmp_path)
    left = tmp_path / "mlruns/solutions/.u.h5.0123.partial"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    monkeypatch.setattr("mlasdi.solvers.storage.atomic_files.STALE_S", 0)
    run_quick(config, monkeypatch, Shuffled(0))
    assert list((tmp_path / "mlruns").rglob(".*")) == []


def test_a_core_hour_limit_ends_it_with_what_runs_in_the_last_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config(tmp_path, budget={"core_hours": 1e-9})
    report = run_quick(config, monkeypatch, Shuffled(0))
    assert report["stop_reason"] == "core-hours"
    assert report["solver_runs"] < 10
    assert len(last_model(config, report).model.latent.x) == report["solver_runs"]
    assert sum(report["core_seconds"].values()) >= 3.6e-6


# Stopped, killed and resumed


def test_a_graceful_stop_finishes_running_work_and_the_next_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config(tmp_path)
    under_way: list[int] = []

    def interrupt(tasks: Sequence[Task]) -> None:
        if len(under_way) == 6:
            os.kill(os.getpid(), signal.SIGTERM)  # as batch systems do before they kill
        under_way.append(len(solves_of(tasks)))

    monitor = Listener()
    report = run_quick(config, monkeypatch, Shuffled(0, interrupt), monitor)
    assert report["stop_reason"] == "interrupted"
    assert any("stopping: running work" in warning for warning in monitor.warnings)
    assert under_way[6] > 0  # some were running, and are solved
    with ledger_of(config) as ledger:
        assert {attempt.status for attempt in ledger.attempts()} == {"solved"}
    assert len(last_model(config, report).model.latent.x) == report["solver_runs"] < 10
    again = run_quick(config, monkeypatch, Shuffled(1))
    assert again["stop_reason"] == "solver-runs"
    assert_complete(config, again)
    assert again["points"][: report["solver_runs"]] == report["points"]
    assert again["seconds"]["total"] > report["seconds"]["total"]


@pytest.mark.parametrize("n_results", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2, 8, 11))])
def test_cut_off_after_any_result_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_results: int) -> None:
    config, watch = quick_config(tmp_path), Watch()

    def cut_off(tasks: Sequence[Task]) -> None:
        if len(watch.seen) == n_results:
            raise KeyboardInterrupt
        watch(tasks)

    with pytest.raises(KeyboardInterrupt):
        run_quick(config, monkeypatch, Shuffled(3, cut_off))
    report = run_quick(config, monkeypatch, Shuffled(4))
    assert_complete(config, report)
    with ledger_of(config) as ledger:
        lost = [attempt for attempt in ledger.attempts() if attempt.status == "interrupted"]
    assert len(lost) <= 3
    repeated = run_quick(config, monkeypatch, Shuffled(5))
    assert repeated == report


# Losses


def losing(kind: type, failure: TaskFailure, times: int) -> Any:
    """Loses the first tasks of a kind."""
    left = [times]

    def watch(tasks: Sequence[Task]) -> Result | None:
        found = [task for task in tasks if isinstance(task, kind)]
        if found and left[0]:
            left[0] -= 1
            return found[0].lost(failure, 0.0)
        return None

    return watch


LOST = TaskFailure("worker-lost", "the worker died")


@pytest.mark.slow
def test_lost_solves_and_trainings_are_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    for number, kind in enumerate((SolveTask, TrainTask, ProposeTask)):
        (tmp_path / str(number)).mkdir()
        config = quick_config(tmp_path / str(number))
        report = run_quick(config, monkeypatch, Shuffled(0, losing(kind, LOST, 1)))
        assert_complete(config, report)
        assert report["failed_runs"] == (1 if kind is SolveTask else 0)


@pytest.mark.slow
def test_a_training_that_fails_for_good_ends_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    for failure, told in (
        (TaskFailure("exception", "latent_dim 9 exceeds the rank"), "latent_dim 9"),
        (TaskFailure("disk-full", "no space left"), "free disk space, then rerun the same command to resume"),
        (LOST, "the training of round 0 failed: the worker died"),
    ):
        config = quick_config(tmp_path, name=failure.kind)
        with pytest.raises(CampaignError, match=told):
            run_quick(config, monkeypatch, Shuffled(0, losing(TrainTask, failure, 99)))
        report = run_quick(config, monkeypatch, Shuffled(1))
        assert_complete(config, report)


def test_a_damaged_solution_is_set_aside_and_solved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, monitor, damaged = quick_config(tmp_path), Listener(), list[Path]()

    def damage(tasks: Sequence[Task]) -> None:
        trainings = trainings_of(tasks)
        if not damaged and trainings:  # which is about to read it
            damaged.append(SnapshotStore(Path(config.snapshot_root)).path(trainings[0].solutions[2].address))
            damaged[0].write_bytes(damaged[0].read_bytes()[:-100])

    report = run_quick(config, monkeypatch, Shuffled(0, damage), monitor)
    assert damaged[0].with_name(f"{damaged[0].name}.damaged").exists()
    assert any("is damaged and is solved again" in warning for warning in monitor.warnings)
    assert len(report["points"]) == 10
    assert len(last_model(config, report).model.latent.x) == 10
    assert SnapshotStore(Path(config.snapshot_root)).get(damaged[0].stem) is not None


def test_too_few_solutions_end_it_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    config = quick_config(tmp_path)
    failing = losing(SolveTask, TaskFailure("not-converged", "Newton stalls"), 99)
    with pytest.raises(CampaignError, match=r"only 0 solves succeeded.*Newton stalls"):
        run_quick(config, monkeypatch, Shuffled(0, failing))
    with ledger_of(config) as ledger:
        assert 5 <= ledger.failures("train") <= 5 + 2  # solves that were running at the limit of failures
