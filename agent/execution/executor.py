"""The interface of executors, which run tasks, and the serial executor."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from mlasdi.agent.execution.cluster_settings import ClusterSettings
from mlasdi.agent.execution.proposal_task import ProposeResult, ProposeTask, execute_proposal
from mlasdi.agent.execution.solve_task import SolveResult, SolveTask, execute, is_stored
from mlasdi.agent.execution.training_task import TrainResult, TrainTask, execute_training
from mlasdi.solvers.storage import open_store

Task = SolveTask | TrainTask | ProposeTask
Result = SolveResult | TrainResult | ProposeResult


class Executor(Protocol):
    """Runs tasks; a context manager that closes itself."""

    def submit(self, task: Task) -> None:
        """Submit a task, whose result `wait` will return."""
        ...

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        """Results of finished tasks: at least one, or none after the timeout or if no task is running."""
        ...

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        """Run tasks and yield their results as they finish; closing the iterator cancels the rest.

        No other task may be running.
        """
        ...

    def cancel(self) -> None:
        """Cancel all running and waiting tasks."""
        ...

    def close(self) -> None:
        """Cancel all tasks and release all resources; the executor may be used again afterwards."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def run_all(executor: Executor, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
    """`Executor.run` by `submit` and `wait`."""
    try:
        for task in tasks:
            executor.submit(task)
        left = len(tasks)
        while left:
            for result in executor.wait():
                assert isinstance(result, SolveResult)  # no other task is running
                left -= 1
                yield result
    finally:
        executor.cancel()


class SerialExecutor:
    """Runs one task after the other in this process.

    A solver that leaves by `sys.exit` or `os._exit` has failed; compiled code that ends the process ends the agent.

    Args:
        settings: of which `solve_cpus` counts.
    """

    def __init__(self, settings: ClusterSettings | None = None) -> None:
        self._solve_threads = (settings or ClusterSettings()).solve_threads
        self._waiting = deque[Task]()

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        if not self._waiting:
            return []
        task = self._waiting.popleft()
        if isinstance(task, SolveTask):
            return [execute(task, self._solve_threads)]
        return [execute_training(task) if isinstance(task, TrainTask) else execute_proposal(task)]

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        yield from run_all(self, tasks)

    def cancel(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class SolvesLeft(Exception):
    """Nothing can be done before the solutions of some tasks are stored.

    Attributes:
        tasks: these, in the order in which they were submitted.
    """

    def __init__(self, tasks: Sequence[SolveTask]) -> None:
        super().__init__(f"{len(tasks)} solves are left to the user")
        self.tasks = tuple(tasks)


class StoredSolves(SerialExecutor):
    """Trains and chooses points in this process, but runs no solver: users do, and put the solutions into the store.

    `wait` returns the results of solves that are stored. When only others are left, it raises `SolvesLeft`.
    """

    def __init__(self, settings: ClusterSettings | None = None) -> None:
        super().__init__(settings)
        self._left: list[SolveTask] = []

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        while self._waiting:
            task = self._waiting[0]
            if not isinstance(task, SolveTask) or is_stored(open_store(task.store_root), task.address):
                return super().wait(timeout_s)
            self._left.append(task)
            self._waiting.popleft()
        if self._left:
            raise SolvesLeft(self._left)
        return []

    def cancel(self) -> None:
        super().cancel()
        self._left = []
