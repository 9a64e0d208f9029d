"""Independent pieces of a training, such as leave-one-out folds: in turn, or side by side where there are workers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")
Found = TypeVar("Found")


@runtime_checkable
class Each(Protocol):
    """What works on all items, and returns what was found for each, in their order."""

    def __call__(self, work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]: ...


def serial_map(work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """One item after the other, in this thread."""
    return [work(item) for item in items]


_each: ContextVar[Each] = ContextVar("each", default=serial_map)


def parallel_map(work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """What `work` finds for each item, by whatever `working_with` names.

    The work has to depend on nothing that another item changes, and to be such that it can be sent to a process.
    """
    return _each.get()(work, items)


@contextmanager
def use_workers(workers: Each) -> Iterator[None]:
    """Have `workers` do what `each` is asked for in the body."""
    token = _each.set(workers)
    try:
        yield
    finally:
        _each.reset(token)
