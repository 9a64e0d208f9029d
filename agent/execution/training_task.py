"""One training as a task for a worker, which reads solutions from the store and saves a surrogate."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mlasdi.agent.execution.model_exchange import download_from, upload_to
from mlasdi.agent.execution.outcomes import DISK_FULL, TaskFailure, described, is_disk_full, this_worker
from mlasdi.agent.execution.ray_map import TrainingWorkers
from mlasdi.agent.execution.solve_task import SolverSpec
from mlasdi.agent.execution.training_data import Solution, SolvesError, initial_states, read_training_data
from mlasdi.preprocessing import MEMORY_MB, limited_threads
from mlasdi.solvers import ParameterSpace
from mlasdi.solvers.storage import DamagedSnapshot, open_store
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, Progress, fit, with_given_starts
from mlasdi.validation import use_workers

DAMAGED_SNAPSHOT = "damaged-snapshot"


@dataclass(frozen=True)
class TrainTask:
    """One training to be done.

    Attributes:
        task_id: the round; identifies the result.
        solutions: what to train on.
        store_root: folder or URL of the snapshot store, as the worker accesses it.
        place: folder or URL where the surrogate is saved, in place of what is there.
        seed: of all random numbers.
        info: JSON that is saved with the surrogate.
        cpus: number of cores.
        gpus: number of GPUs, if the machine has any.
        memory_mb: memory for arrays of the size of the solutions.
        before: folder or URL of the model of the round before, which the new solutions test; None for the first one.
        quantities: quantities of interest that the surrogate is to know: name -> how it is computed.
    """

    task_id: int
    solver: SolverSpec
    space: ParameterSpace
    solutions: tuple[Solution, ...]
    store_root: str
    place: str
    model: ModelSettings
    seed: int
    info: Mapping[str, Any]
    cpus: int = 1
    gpus: float = 0.0
    memory_mb: int = MEMORY_MB
    before: str | None = None
    quantities: Mapping[str, str] = field(default_factory=dict)

    def lost(self, failure: TaskFailure, submitted_at: float) -> "TrainResult":
        """The result if the worker was lost."""
        return TrainResult(self.task_id, submitted_at, time.time(), "", (), failure)


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes:
        task_id: of the task.
        started_at, ended_at: unix seconds by the worker's clock, or by the agent's if the worker was lost.
        worker: `host:pid`; empty if the worker was lost.
        warnings: messages for the user.
        failure: None after success; then the surrogate is saved at the task's `place`.
    """

    task_id: int
    started_at: float
    ended_at: float
    worker: str
    warnings: tuple[str, ...]
    failure: TaskFailure | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def train(task: TrainTask, report: Callable[[Progress], None], warn: Callable[[str], None]) -> None:
    """Fit a surrogate to the task's solutions, and save it.

    Args:
        report: called with the progress of the training.
        warn: called with messages for the user.

    Raises:
        SolvesError: solutions are missing or do not match.
        DamagedSnapshot: one is damaged.
        ValueError: the settings do not suit the solutions.
    """
    store = open_store(task.store_root)
    fom, model = task.solver.build(), task.model
    states = initial_states(fom, task.space, [solution.mu for solution in task.solutions])
    if states is not None:
        model = with_given_starts(model)
    data, facts = read_training_data(store, fom, task.space, task.solutions, warn, task.memory_mb, model.run_length)
    info = {**task.info, **facts}
    device = _device(task.gpus, warn)
    before = None if task.before is None else _load(task.before)
    with limited_threads(task.cpus):
        surrogate = fit(
            data,
            model,
            seed=task.seed,
            report=report,
            info=info,
            device=device,
            before=before,
            memory_mb=task.memory_mb,
            quantities=task.quantities,
        )
    if states is not None and surrogate.model.uses_initial_states:
        surrogate = surrogate.starting_from(*states, between=True)
    with upload_to(task.place) as folder:
        surrogate.save(folder)


def _load(place: str) -> Surrogate:
    with download_from(place) as folder:
        return Surrogate.load(folder)


def _device(gpus: float, warn: Callable[[str], None]) -> str:
    if gpus and not torch.cuda.is_available():
        warn(f"cluster.train_gpus {gpus:g}: no GPU is available, so the training runs on the CPU")
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def execute_training(task: TrainTask) -> TrainResult:
    """`train` in a worker; every exception becomes a failure."""
    started_at, warnings = time.time(), list[str]()
    failure: TaskFailure | None = None
    try:
        with use_workers(TrainingWorkers(task.cpus)):
            train(task, lambda progress: None, warnings.append)
    except DamagedSnapshot as damage:
        failure = TaskFailure(DAMAGED_SNAPSHOT, str(damage))
    except SolvesError as error:
        failure = TaskFailure("solutions", str(error))
    except MemoryError as error:
        failure = TaskFailure("out-of-memory", f"the training ran out of memory ({described(error)})")
    except Exception as error:
        failure = TaskFailure(DISK_FULL if is_disk_full(error) else "exception", described(error))
    return TrainResult(task.task_id, started_at, time.time(), this_worker(), tuple(warnings), failure)
