"""A parallel map for parts of a training, such as leave-one-out folds, by Ray tasks."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from mlasdi.preprocessing import limited_threads
from mlasdi.validation import serial_map

Item = TypeVar("Item")
Found = TypeVar("Found")


def _map_in_one_thread(work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """One share of the items; the shares together use the cores, so each has one thread."""
    with limited_threads(1):
        return serial_map(work, items)


class TrainingWorkers:
    """A map over items with all cores of a training; serial in a process without Ray.

    The training process works on one share of the items, and Ray tasks on the same machine on the others. These request
    no cores, because they use those of the training; otherwise they would queue behind waiting solves.

    Args:
        n: number of cores of the training.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._remote_map: Any = None

    def __call__(self, work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        n = min(self.n, len(items))
        if n < 2 or not self._is_connected():
            return serial_map(work, items)
        import ray

        shares = [[items[k] for k in share] for share in np.array_split(np.arange(len(items)), n)]
        shared = ray.put(work)
        references = [self._remote_map.remote(shared, share) for share in shares[1:]]
        own = _map_in_one_thread(work, shares[0])
        try:
            return own + [found for share in ray.get(references) for found in share]
        except ray.exceptions.RayError:  # a worker was lost, or `work` fails: run it here, which shows its error
            return own + [found for share in shares[1:] for found in serial_map(work, share)]

    def _is_connected(self) -> bool:
        import ray

        if not ray.is_initialized():
            return False
        if self._remote_map is None:
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            self._remote_map = ray.remote(_map_in_one_thread).options(
                num_cpus=0, max_retries=0, scheduling_strategy=here
            )
        return True
