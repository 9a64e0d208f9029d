"""How busy a campaign keeps the workers of a cluster, and what the agent itself costs.

`python utilisation.py FOLDER KEY=VALUE ...` runs one campaign with the sleeping solver on the cluster that RAY_ADDRESS
names, and prints what was measured as JSON. With `--small-models` before the settings, models learn from the first
solutions alone, for where only the agent is of interest.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
import yaml
from sleeping_solver import execute_small_training

import mlasdi.agent.execution.ray_executor
from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.config import load_config
from mlasdi.agent.execution import Result, SolveResult
from mlasdi.agent.execution.ray_executor import RayExecutor
from mlasdi.agent.records import SOLVE, TRAIN, Ledger, Monitor, Span, spans

N_WORKERS = 16
SETTINGS = {
    "name": "sleeping",
    "problem": {"solver": "sleeping_solver:Sleeping", "parameters": {"a": [0.5, 1.0], "w": [0.2, 0.3]}},
    "budget": {"solver_runs": 300},
    "sampling": {"batch": N_WORKERS, "candidates": 64, "acquisition": "field-std"},
    "model": {"kind": "snapshot-gp", "n_time": 11},
    "cluster": {"address": "auto", "solve_cpus": 1},
}


@dataclass(frozen=True)
class Measured:
    """One campaign.

    Attributes:
        busy: share of the workers' time in which they were at work, from start-up to the begin of the last solve.
            Start-up ends when there is a model and, for the first time with one, every worker is at work.
        wall_s: from the first solve to the end of the last.
        overhead_ms: for each solve, what the agent spent on anything but waiting while solves were under way.
        cpu_ms: for each solve, processor time of the agent, figures and report included.
        solving_cpu_ms: for each solve, processor time of the agent from the first result to the last.
        memory_mb: (solves taken in, resident memory of the agent) over the campaign.
    """

    n_solves: int
    n_models: int
    busy: float
    wall_s: float
    overhead_ms: float
    cpu_ms: float
    solving_cpu_ms: float
    memory_mb: list[tuple[int, float]]


class Watch(Monitor):
    """Notes the agent's memory and processor time as solves come in."""

    def __init__(self) -> None:
        self.memory_mb: list[tuple[int, float]] = []
        self._n, self._me = 0, psutil.Process()
        self._began_s: float | None = None
        self.cpu_s = 0.0  # processor time since the first result

    def solved(self, purpose: str, mu: Mapping[str, float], result: SolveResult) -> None:
        self._n += 1
        self._began_s = time.process_time() if self._began_s is None else self._began_s
        self.cpu_s = time.process_time() - self._began_s
        if self._n % 10 == 0:
            self.memory_mb.append((self._n, self._me.memory_info().rss / 2**20))


def busy_share(done: list[Span], from_s: float, to_s: float, n_workers: int) -> float:
    """Share of the workers' time in which they were at work."""
    inside = [max(min(one.end_s, to_s) - max(one.start_s, from_s), 0.0) for one in done]
    return float(np.sum(inside) / (n_workers * (to_s - from_s)))


def end_of_start_up_s(done: list[Span], n_workers: int) -> float:
    """When all workers are at work for the first time after the first model, or at all if that comes last."""
    last_start_s = max(one.start_s for one in done if one.activity == SOLVE)
    models = (one.end_s for one in done if one.activity == TRAIN and one.end_s < last_start_s)
    first_model_s = min(models, default=0.0)
    for one in done:
        at_work = sum(other.start_s <= one.start_s < other.end_s for other in done)
        if one.start_s > first_model_s and at_work >= n_workers:
            return one.start_s
    return first_model_s


def _timed(wait: Callable[..., list[Result]], waits: list[float]) -> Callable[..., list[Result]]:
    def timed(self: RayExecutor, timeout_s: float | None = None) -> list[Result]:
        start = time.monotonic()
        try:
            return wait(self, timeout_s)
        finally:
            waits.append(time.monotonic() - start)

    return timed


def measure(folder: Path, overrides: list[str], n_workers: int = N_WORKERS) -> Measured:
    """Run a campaign in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sleeping.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "root": str(folder / "mlruns")}))
    config = load_config(path, overrides)
    watch, waits = Watch(), list[float]()
    RayExecutor.wait = _timed(RayExecutor.wait, waits)  # type: ignore[method-assign]
    ray.init(address="auto", log_to_driver=False)  # else the executor would, with its first task
    cpu = time.process_time()
    run_campaign(config, watch)
    cpu_s = time.process_time() - cpu
    with Ledger(config.folder / "ledger.db", read_only=True) as ledger:
        done, spent = spans(ledger), ledger.seconds()
        n_models = ledger.last_round("train") + 1
    solves = [one for one in done if one.activity == SOLVE]
    last_start_s = max(one.start_s for one in solves)
    return Measured(
        n_solves=len(solves),
        n_models=n_models,
        busy=busy_share(done, end_of_start_up_s(done, n_workers), last_start_s, n_workers),
        wall_s=max(one.end_s for one in solves) - min(one.start_s for one in solves),
        overhead_ms=1e3 * (spent["solve"] - sum(waits)) / len(solves),
        cpu_ms=1e3 * cpu_s / len(solves),
        solving_cpu_ms=1e3 * watch.cpu_s / len(solves),
        memory_mb=watch.memory_mb,
    )


def with_small_models(overrides: list[str]) -> list[str]:
    """The settings without `--small-models`, which is obeyed."""
    if overrides[0] != "--small-models":
        return overrides
    mlasdi.agent.execution.ray_executor.execute_training = execute_small_training
    return overrides[1:]


def main() -> None:
    result: dict[str, Any] = asdict(measure(Path(sys.argv[1]), with_small_models(sys.argv[2:])))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
