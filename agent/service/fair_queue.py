"""Work in small steps, one at a time, whose turn goes round the clients."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlasdi.agent.service.background import BackgroundTask
from mlasdi.agent.service.batching import Busy

Runner = Callable[[Callable[[], Any]], Awaitable[Any]]
_END = object()


class Gone(Exception):
    """The client has left."""


@dataclass(eq=False)
class _Job:
    steps: Iterator[str]
    is_gone: Callable[[], Awaitable[bool]]
    finished: asyncio.Future[str]
    pieces: list[str] = field(default_factory=list)


class FairQueue(BackgroundTask):
    """Runs the steps of all jobs in one thread. After each step, it is the turn of the next client.

    So a client waits for one step of each other client, whatever they have asked for. The jobs of one client take turns
    too.

    Args:
        run: runs a function in the thread.
        waiting: largest number of jobs.
    """

    def __init__(self, run: Runner, waiting: int) -> None:
        super().__init__()
        self._run, self._waiting = run, waiting
        self._clients: dict[str, deque[_Job]] = {}  # in the order of their turns
        self._is_filled = asyncio.Event()

    def _close(self) -> None:
        for jobs in self._clients.values():
            for job in jobs:
                job.finished.cancel()

    async def finished(self, client: str, steps: Iterator[str], is_gone: Callable[[], Awaitable[bool]]) -> str:
        """The pieces of text that the steps give, joined, when all are done.

        Args:
            client: whose turn it is.
            is_gone: whether the client has left, which is asked before each step.

        Raises:
            Busy: too many jobs are waiting.
            Gone: the client has left; further steps are not done.
            Exception: whatever a step raises.
        """
        if sum(map(len, self._clients.values())) >= self._waiting:
            raise Busy(f"{self._waiting} requests are waiting; try again later")
        job = _Job(steps, is_gone, asyncio.get_running_loop().create_future())
        self._clients.setdefault(client, deque()).append(job)
        self._is_filled.set()
        return await job.finished

    async def _serve(self) -> None:
        while True:
            await self._is_filled.wait()
            client = next(iter(self._clients))
            jobs = self._clients.pop(client)
            job = jobs.popleft()
            if await self._is_continued(job):
                jobs.append(job)
            arrived = self._clients.pop(client, deque[_Job]())  # while the step was done
            if jobs or arrived:
                self._clients[client] = deque([*jobs, *arrived])  # the last in the order of turns
            if not self._clients:
                self._is_filled.clear()

    async def _is_continued(self, job: _Job) -> bool:
        """Do one step of a job; returns whether there are more."""
        try:
            if job.finished.done() or await job.is_gone():
                raise Gone
            piece = await self._run(lambda: next(job.steps, _END))
        except asyncio.CancelledError:  # the service ends
            job.finished.cancel()
            raise
        except Exception as error:
            if not job.finished.done():
                job.finished.set_exception(error)
            return False
        if piece is _END:
            if not job.finished.done():
                job.finished.set_result("".join(job.pieces))
            return False
        job.pieces.append(piece)
        return True
