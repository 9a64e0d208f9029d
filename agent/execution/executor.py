"""How tasks are run: what every executor offers, and the one that needs nothing but this process."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from mlasdi.agent.execution.proposal_task import ProposeResult, ProposeTask, execute_proposal
from mlasdi.agent.execution.solve_task import SolveResult, SolveTask, execute
from mlasdi.agent.execution.training_task import TrainResult, TrainTask, execute_training

Task = SolveTask | TrainTask | ProposeTask
Result = SolveResult | TrainResult | ProposeResult


class Executor(Protocol):
    """Runs tasks; used as a context manager, which closes it whatever happens."""

    def submit(self, task: Task) -> None:
        """Have a task done; its result comes from `wait`."""
        ...

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        """Results of tasks that have finished: at least one, or none when the time is over or nothing is under way."""
        ...

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        """Yield one result for each task, as they finish. To abandon the iterator is to abandon the rest.

        Nothing else may be under way.
        """
        ...

    def cancel(self) -> None:
        """Give up all that is under way."""
        ...

    def close(self) -> None:
        """Give back everything that was started; the executor may be used again afterwards."""
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
                assert isinstance(result, SolveResult)  # nothing else is under way
                left -= 1
                yield result
    finally:
        executor.cancel()


class SerialExecutor:
    """One task after the other in this process; a solver that crashes the process takes the agent with it."""

    def __init__(self) -> None:
        self._waiting = deque[Task]()

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        if not self._waiting:
            return []
        task = self._waiting.popleft()
        if isinstance(task, SolveTask):
            return [execute(task)]
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
