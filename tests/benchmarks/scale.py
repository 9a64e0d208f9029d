"""Memory and time by the size of a state: solves, training, a sensor, validation, each in a process of its own.

    python tests/benchmarks/scale.py [VALUES ...]

solves nine runs one after the other into a temporary folder, and prints the measurements as JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plume import Plume

from mlasdi.agent.execution import SolverSpec, SolveTask, TrainTask
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.storage import address, open_store

SIZES = (1_000, 10_000, 100_000, 1_000_000)
N_TIME, MEMORY_MB = 101, 2000
SPACE = ParameterSpace((Parameter("D", 5e-4, 2e-3, scale="log"), Parameter("w", 1.0, 1.5)))
TESTED = np.array([[7e-4, 1.1], [1.3e-3, 1.4]])  # validation points
SENSOR = {"x": 0.65, "y": 0.6}


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
    from mlasdi.agent.execution.solve_task import execute

    found = [execute(task) for group in tasks(folder, n_state) for task in group]
    assert all(one.ok for one in found), found
    return {}


def train(folder: Path, n_state: int) -> dict[str, Any]:
    from mlasdi.agent.execution.training_data import Solution
    from mlasdi.agent.execution.training_task import execute_training
    from mlasdi.surrogate import Surrogate
    from mlasdi.training import ModelSettings

    wanted = tasks(folder, n_state)[0]
    solutions = tuple(Solution(one.mu, one.address) for one in wanted)
    task = TrainTask(
        0, wanted[0].solver, SPACE, solutions, wanted[0].store_root, str(folder / "model"), ModelSettings(), 0, {}
    )
    done = execute_training(task)
    assert done.ok, done
    peak = peak_mb()  # without what is loaded here
    model = Surrogate.load(folder / "model")
    return {"rank": model.basis.rank, "truncation": model.basis.truncation_error, "peak_mb": peak}


def sensor(folder: Path, n_state: int) -> dict[str, Any]:
    from mlasdi import load
    from mlasdi.surrogate import Probes

    model = load(folder / "model")
    found = model.predict(TESTED[:1], probes=Probes.at_points(model.layout, SENSOR))
    return {"std": float(found.std.max())}


def validate(folder: Path, n_state: int) -> dict[str, Any]:
    from mlasdi.surrogate import Surrogate
    from mlasdi.validation import assess

    model, store = Surrogate.load(folder / "model"), open_store(folder / "store")
    wanted = tasks(folder, n_state)[1]
    truths = ((SPACE.as_array(one.mu)[0], store.get(one.address)) for one in wanted)
    return {"error": float(assess(model, truths, len(wanted)).final.max())}


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "solve": solve,
    "train": train,
    "sensor": sensor,
    "validate": validate,
}


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
    """All steps, each in a process of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in STEPS:
            words = [sys.executable, __file__, "--step", name, folder, str(n_state)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{name} of {n_state} values failed: {done.stderr[-2000:]}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], file=sys.stderr)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        wanted = [int(word) for word in sys.argv[1:]] or SIZES
        print(json.dumps([row for n_state in wanted for row in measured(n_state)]))
