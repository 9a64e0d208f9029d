"""One choice of points as a task that any process can do: it loads a saved surrogate, and returns a few numbers."""

import os
import socket
import time
from dataclasses import dataclass

import numpy as np

from mlasdi.agent.choosing import SamplingSettings, propose
from mlasdi.agent.execution.failures import TaskFailure, described
from mlasdi.agent.execution.model_exchange import download_from
from mlasdi.surrogate import Surrogate


@dataclass(frozen=True)
class ProposeTask:
    """Points to be chosen.

    Attributes:
        task_id: chosen by the caller, who finds it in the result: the round of the model.
        place: folder or URL of the saved surrogate, as the worker sees it.
        known, failed, available: as `mlasdi.agent.choosing.acquisition.propose` takes them.
        n: how many points.
    """

    task_id: int
    place: str
    sampling: SamplingSettings
    known: np.ndarray
    failed: np.ndarray
    available: np.ndarray | None
    n: int
    seed: int

    def lost(self, failure: TaskFailure, submitted_at: float) -> "ProposeResult":
        """The result where the worker is gone."""
        nothing = self.known[:0]
        return ProposeResult(self.task_id, nothing, [], submitted_at, time.time(), "", failure)


@dataclass(frozen=True)
class ProposeResult:
    """Points that were chosen.

    Attributes:
        mus: in physical units `[point, n_params]`; fewer than were asked for where no more are worth a solve.
        started_at, ended_at: unix seconds by the worker's clock, or the agent's where the worker was lost.
        worker: `host:pid`; empty where the worker was lost.
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
    """Choose points in a worker: every exception becomes a failure."""
    started_at, worker = time.time(), f"{socket.gethostname()}:{os.getpid()}"
    try:
        with download_from(task.place) as folder:
            surrogate = Surrogate.load(folder)
        mus, scores = propose(
            surrogate, task.sampling, task.known, task.n, task.seed, failed=task.failed, available=task.available
        )
    except Exception as error:
        failure = TaskFailure("exception", described(error))
        return ProposeResult(task.task_id, task.known[:0], [], started_at, time.time(), worker, failure)
    return ProposeResult(task.task_id, mus, scores.tolist(), started_at, time.time(), worker, None)
