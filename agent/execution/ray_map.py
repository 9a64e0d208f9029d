"""Pieces of a training, such as leave-one-out folds, as Ray tasks of their own beside it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from mlasdi.validation import serial_map

Item = TypeVar("Item")
Found = TypeVar("Found")


class TrainingWorkers:
    """Works on pieces of a training with all cores that it has; in a process without Ray, in turn.

    The training takes a share itself, and Ray tasks on the same machine the others. They ask for no cores, since those
    of the training are meant for them: where solves wait for room, they would stand in line behind these.

    Args:
        n: cores of the training.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._work_on: Any = None

    def __call__(self, work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        n = min(self.n, len(items))
        if n < 2 or not self._is_connected():
            return serial_map(work, items)
        import ray

        shares = [[items[k] for k in share] for share in np.array_split(np.arange(len(items)), n)]
        shared = ray.put(work)
        references = [self._work_on.remote(shared, share) for share in shares[1:]]
        own = serial_map(work, shares[0])
        try:
            return own + [found for share in ray.get(references) for found in share]
        except ray.exceptions.RayError:  # a worker was lost, or the work itself fails: here it says how
            return own + [found for share in shares[1:] for found in serial_map(work, share)]

    def _is_connected(self) -> bool:
        import ray

        if not ray.is_initialized():
            return False
        if self._work_on is None:
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            self._work_on = ray.remote(serial_map).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
        return True
