"""A task that serves requests as long as its context lasts."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

Own = TypeVar("Own", bound="BackgroundTask")


class BackgroundTask(ABC):
    """Runs `_serve` in the event loop from the entry of its context on; the exit cancels it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self: Own) -> Own:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close()

    @abstractmethod
    async def _serve(self) -> None:
        """Answer requests for ever."""

    @abstractmethod
    def _close(self) -> None:
        """Release what the task used, after its end."""
