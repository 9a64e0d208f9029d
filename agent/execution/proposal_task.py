"""The choice of points as a task for a worker, which loads a saved surrogate."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mlasdi.agent.choosing import PointSets, SamplingSettings, propose
from mlasdi.agent.execution.model_exchange import download_from
from mlasdi.agent.execution.outcomes import TaskFailure, described, this_worker
from mlasdi.surrogate import Surrogate


@dataclass(frozen=True)
class ProposeTask:
    """Points to be chosen.

    Attributes:
        task_id: the round of the model; identifies the result.
        place: folder or URL of the saved surrogate, as the worker accesses it.
        points: known, failed and available points, as `propose` takes them.
        n: number of points to choose.
        seed: of the candidates.
        targets: output -> error that is to be reached, as `propose` takes them.
    """

    task_id: int
    place: str
    sampling: SamplingSettings
    points: PointSets
    n: int
    seed: int
    targets: Mapping[str, float] = field(default_factory=dict)

    def lost(self, failure: TaskFailure, submitted_at: float) -> "ProposeResult":
        """The result if the worker was lost."""
        nothing = self.points.known[:0]
        return ProposeResult(self.task_id, nothing, [], submitted_at, time.time(), "", failure)


@dataclass(frozen=True)
class ProposeResult:
    """Points that were chosen.

    Attributes:
        task_id: of the task.
        mus: points in physical units `[point, n_params]`; fewer than requested if no other point is uncertain.
        scores: their values of the acquisition function.
        started_at, ended_at: unix seconds by the worker's clock, or by the agent's if the worker was lost.
        worker: `host:pid`; empty if the worker was lost.
        failure: None after success.
    """

    task_id: int
    mus: np.ndarray
    scores: list[float | None]
    started_at: float
    ended_at: float
    worker: str
    failure: TaskFailure | None


def execute_proposal(task: ProposeTask) -> ProposeResult:
    """Choose points in a worker; every exception becomes a failure."""
    started_at, worker = time.time(), this_worker()
    try:
        with download_from(task.place) as folder:
            surrogate = Surrogate.load(folder)
        mus, scores = propose(surrogate, task.sampling, task.points, task.n, task.seed, task.targets)
    except Exception as error:
        failure = TaskFailure("exception", described(error))
        return ProposeResult(task.task_id, task.points.known[:0], [], started_at, time.time(), worker, failure)
    return ProposeResult(task.task_id, mus, scores.tolist(), started_at, time.time(), worker, None)
