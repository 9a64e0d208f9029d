"""Campaigns that take a second: an analytic solver, the fastest model, no publication, and executors for tests."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from unpublished import Unpublished

import mlasdi.agent.campaign.campaign
from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.config import Config, load_config
from mlasdi.agent.execution import Executor, Result, SolveTask, Task, TrainTask
from mlasdi.agent.execution.executor import SerialExecutor
from mlasdi.agent.records import Monitor

SETTINGS: dict[str, Any] = {
    "name": "quick",
    "problem": {
        "solver": "burgers1d",
        "options": {"n_x": 41, "n_t": 21},
        "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]},
    },
    "budget": {"solver_runs": 10},
    "sampling": {"batch": 3, "candidates": 8, "acquisition": "sobol"},
    "model": {"kind": "snapshot-gp", "n_time": 6},
    "cluster": {"executor": "serial", "mode": "asynchronous"},
}


def quick_config(root: Path, **changes: Any) -> Config:
    """The configuration, as a file in `root`; sections are merged."""
    merged = {
        name: {**SETTINGS.get(name, {}), **change} if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    path = root / "quick.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "root": str(root / "mlruns"), **merged}))
    return load_config(path)


def run_quick(
    config: Config, monkeypatch: pytest.MonkeyPatch, executor: Executor | None = None, monitor: Monitor | None = None
) -> dict[str, Any]:
    """Run a campaign unpublished, with an executor of the test's own."""
    monkeypatch.setattr(mlasdi.agent.campaign.campaign, "Publisher", Unpublished)
    if executor is not None:
        monkeypatch.setattr(mlasdi.agent.campaign.campaign, "make_executor", lambda settings: executor)
    return run_campaign(config, monitor)


class Shuffled(SerialExecutor):
    """Finishes running tasks in a random order, as a cluster does.

    Args:
        seed: of the order.
        watch: called before each result with all running tasks, of which it may raise, or return one result of
            its own making in place of the work.
    """

    def __init__(self, seed: int = 0, watch: Callable[[Sequence[Task]], Result | None] = lambda tasks: None) -> None:
        super().__init__()
        self._rng, self._watch = random.Random(seed), watch

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        tasks = list(self._waiting)
        staged = self._watch(tasks)
        if staged is not None:
            (task,) = [
                t for t in tasks if t.task_id == staged.task_id and type(t).__name__[0] == type(staged).__name__[0]
            ]
            self._waiting.remove(task)
            return [staged]
        if tasks:
            self._waiting.rotate(-self._rng.randrange(len(tasks)))
        return super().wait(timeout_s)


def solves_of(tasks: Sequence[Task]) -> list[SolveTask]:
    return [task for task in tasks if isinstance(task, SolveTask)]


def trainings_of(tasks: Sequence[Task]) -> list[TrainTask]:
    return [task for task in tasks if isinstance(task, TrainTask)]
