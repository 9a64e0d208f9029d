"""A solver that only takes its time, and a training that takes none; worker processes can import this module."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from mlasdi.agent.execution import TrainResult, TrainTask
from mlasdi.agent.execution.training_task import execute_training
from mlasdi.solvers import Json, Snapshots, StateLayout


@dataclass(frozen=True)
class Sleeping:
    """A wave of speed `a` and width `w`, after a sleep whose length is log-normal over the points.

    Attributes:
        mean_s: mean of the sleeps, in seconds.
        spread: standard deviation of their logarithm.
        seed: of the sleeps; equal points sleep equally long.
    """

    mean_s: float = 2.0
    spread: float = 0.8
    seed: int = 0
    parameter_names = ("a", "w")

    @property
    def layout(self) -> StateLayout:
        return StateLayout(("u",), {"x": np.linspace(0, 1, 41)})

    def identity(self) -> Json:
        return {"solver": "sleeping", **asdict(self)}

    def duration_s(self, mu: Mapping[str, float]) -> float:
        """How long the solve at a point sleeps."""
        bits = [int(np.float64(mu[name]).view(np.uint64)) for name in self.parameter_names]
        rng = np.random.default_rng([self.seed, *bits])
        return float(rng.lognormal(np.log(self.mean_s) - self.spread**2 / 2, self.spread))

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        time.sleep(self.duration_s(mu))
        t, x = np.linspace(0, 1, 21), self.layout.coordinates["x"]
        return Snapshots(t, np.exp(-(((x - 0.2 - 0.5 * mu["a"] * t[:, None]) / mu["w"]) ** 2)))


def execute_small_training(task: TrainTask) -> TrainResult:
    """Train on the first solutions alone, where only the agent is of interest."""
    return execute_training(replace(task, solutions=task.solutions[:16]))
