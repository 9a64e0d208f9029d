"""Memory and time by the size of a state: solves, training, a sensor, validation, each in a process of its own.

    python tests/benchmarks/scale.py [VALUES ...]

solves nine runs one after the other into a temporary folder, trains on them, and prints the measurements as JSON.
Beside that stand the basis from blocks against that of everything at once and, for `CAMPAIGNS`, a whole campaign.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from plume import Plume

from mlasdi.agent.execution import SolverSpec, SolveTask, TrainTask
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.storage import SnapshotStore, address

SIZES = (1_000, 10_000, 100_000, 1_000_000)
COMPARED = 100_000  # largest state of which the exact basis is computed, too
CAMPAIGNS = (10_000, 100_000, 1_000_000)  # sizes of which a whole campaign is run
N_TIME = 101
SPACE = ParameterSpace((Parameter("D", 5e-4, 2e-3, scale="log"), Parameter("w", 1.0, 1.5)))
TESTED = np.array([[7e-4, 1.1], [1.3e-3, 1.4]])  # validation points
SENSOR = {"x": 0.65, "y": 0.6}
MEMORY_MB = 100  # of the basis that is compared with the exact one


def tasks(folder: Path, n_state: int) -> tuple[list[SolveTask], list[SolveTask]]:
    """Training solves on a 3 x 3 grid, and validation solves."""
    options = {"n_state": n_state, "n_time": N_TIME}
    solver, store = SolverSpec("plume:Plume", options), str(folder / "store")

    def task(k: int, row: np.ndarray) -> SolveTask:
        mu = SPACE.as_dict(row)
        return SolveTask(k, solver, mu, address(Plume(**options).identity(), mu), store)

    rows = [task(k, row) for k, row in enumerate([*SPACE.grid(3), *TESTED])]
    return rows[: -len(TESTED)], rows[-len(TESTED) :]


def solve(folder: Path, n_state: int) -> dict[str, Any]:
    """All runs, one after the other, by the task of a worker."""
    from mlasdi.agent.execution.solve_task import execute

    found = [execute(task) for group in tasks(folder, n_state) for task in group]
    assert all(one.ok for one in found), found
    return {}


def train(folder: Path, n_state: int) -> dict[str, Any]:
    """The default model, by the task of a worker."""
    from mlasdi.agent.execution.training_data import Solution
    from mlasdi.agent.execution.training_task import execute_training
    from mlasdi.surrogate import Surrogate
    from mlasdi.training import ModelSettings

    wanted = tasks(folder, n_state)[0]
    solutions = tuple(Solution(one.mu, one.address) for one in wanted)
    place, settings = str(folder / "model"), ModelSettings()
    task = TrainTask(0, wanted[0].solver, SPACE, solutions, wanted[0].store_root, place, settings, 0, {})
    done = execute_training(task)
    assert done.ok, done
    found = {"peak_mb": peak_mb()}  # without what is loaded here
    model = Surrogate.load(folder / "model")
    return found | {"rank": model.basis.rank, "truncation": model.basis.truncation_error}


def sensor(folder: Path, n_state: int) -> dict[str, Any]:
    """One sensor at all times, with its standard deviation, from loading the model on."""
    from mlasdi import load
    from mlasdi.surrogate import Probes

    model = load(folder / "model")
    found = model.predict(TESTED[:1], probes=Probes.at_points(model.layout, SENSOR))
    assert np.isfinite(found.mean).all()
    return {}


def validate(folder: Path, n_state: int) -> dict[str, Any]:
    """Errors and coverage of bands at the validation points."""
    from mlasdi.surrogate import Surrogate
    from mlasdi.validation import assess

    model, store = Surrogate.load(folder / "model"), SnapshotStore(folder / "store")
    wanted = tasks(folder, n_state)[1]
    truths = ((SPACE.as_array(one.mu)[0], store.open(one.address)) for one in wanted)
    return {"error": float(assess(model, truths, len(wanted)).final.max())}


def compare(folder: Path, n_state: int) -> dict[str, Any]:
    """The error of the basis from blocks over that of the basis from all snapshots at once."""
    from mlasdi.preprocessing import BasisSettings, PodBasis, streamed_pod
    from mlasdi.solvers.storage import StackedRuns

    store = SnapshotStore(folder / "store")
    runs = StackedRuns.of([store.open(one.address).u for one in tasks(folder, n_state)[0]])  # type: ignore[union-attr]
    exact = PodBasis.fit(runs.loaded(), BasisSettings())
    streamed, _ = streamed_pod(runs, BasisSettings(), 1, MEMORY_MB)
    assert streamed.rank == exact.rank
    return {"ratio": streamed.truncation_error / exact.truncation_error}


def campaign(folder: Path, n_state: int) -> dict[str, Any]:
    """A campaign of nine solves with validation, figures and reports; workers are processes of their own."""
    from mlasdi.agent.campaign import run_campaign
    from mlasdi.agent.config import Config

    settings = {
        "name": "scale",
        "root": str(folder / "campaign"),
        "problem": {
            "solver": "plume:Plume",
            "options": {"n_state": n_state, "n_time": N_TIME},
            "parameters": {p.name: {"low": p.low, "high": p.high, "scale": p.scale} for p in SPACE.parameters},
        },
        "budget": {"solver_runs": 9},
        "sampling": {"batch": 5},
        "validation": {"sobol": 2},
        "cluster": {"cpus": 1},
    }
    largest, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            for child in psutil.Process().children(recursive=True):
                try:
                    if "ray::" in child.name():
                        largest[0] = max(largest[0], child.memory_info().rss / 2**20)
                except psutil.Error:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run_campaign(Config.model_validate(settings))
    finally:
        ended.set()
        watcher.join()
    return {"worker_mb": largest[0]}


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "solve": solve,
    "train": train,
    "sensor": sensor,
    "validate": validate,
    "compare": compare,
    "campaign": campaign,
}


def steps_of(n_state: int) -> list[list[str]]:
    """The steps for states of this size, in groups that share their runs."""
    of_runs = ["solve", "train", "sensor", "validate", *(["compare"] if n_state <= COMPARED else [])]
    return [of_runs, ["campaign"]] if n_state in CAMPAIGNS else [of_runs]


def peak_mb() -> float:
    """Largest resident memory of this process so far, files that it has mapped included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def step(name: str, folder: Path, n_state: int) -> dict[str, Any]:
    """One step in this process."""
    start = time.perf_counter()
    found = STEPS[name](folder, n_state)
    return {"step": name, "n_state": n_state, "seconds": time.perf_counter() - start, "peak_mb": peak_mb()} | found


def measured(n_state: int) -> list[dict[str, Any]]:
    """All steps, each in a process of its own; runs go with the last step that needs them."""
    found = []
    for names in steps_of(n_state):
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                words = [sys.executable, __file__, "--step", name, folder, str(n_state)]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{name} of {n_state} values failed: {done.stderr[-2000:]}")
                found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        sizes = [int(word) for word in sys.argv[1:]] or SIZES
        print(json.dumps([row for n_state in sizes for row in measured(n_state)]))
