"""Independent pieces of a training, such as leave-one-out folds: one after the other, or in parallel on workers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Map(Protocol):
    """Applies a function to each item, and returns the results in the order of the items."""

    def __call__(self, function: Callable[[Item], Result], items: Sequence[Item], /) -> list[Result]: ...


def serial_map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """One item after the other, in this thread."""
    return [function(item) for item in items]


_current: ContextVar[Map] = ContextVar("map", default=serial_map)


def parallel_map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results of `function` for each item, in their order, computed by the map of `use_workers`; serially by default.

    Args:
        function: independent of what it does for other items; it can be pickled.
    """
    return _current.get()(function, items)


@contextmanager
def use_workers(workers: Map) -> Iterator[None]:
    """Have `parallel_map` use `workers` in the body."""
    token = _current.set(workers)
    try:
        yield
    finally:
        _current.reset(token)
