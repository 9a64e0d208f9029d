"""Batches concurrent requests: one evaluation of the surrogate for many probes."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from mlasdi.agent.service.background import BackgroundTask
from mlasdi.preprocessing import limited_threads
from mlasdi.surrogate import ExtrapolationWarning, Probes, Surrogate

Result = TypeVar("Result")

# Largest number of probes in one evaluation, which predicts all pairs of points and times: its cost is quadratic.
MAX_BATCH = 64


class Busy(Exception):
    """Too many requests are waiting."""


@dataclass(frozen=True)
class Probe:
    """One value in space and time, at parameters `[n_params]`."""

    point: Float[np.ndarray, " n_params"]
    time: float
    probes: Probes
    std: bool


class Batcher(BackgroundTask):
    """Evaluates a surrogate in one thread; probes that arrive during an evaluation form the next batch.

    Args:
        waiting: largest number of waiting probes.
    """

    def __init__(self, surrogate: Surrogate, waiting: int) -> None:
        super().__init__()
        self.surrogate = surrogate
        self._queue: asyncio.Queue[tuple[Probe, asyncio.Future[tuple[float, float | None]]]] = asyncio.Queue(waiting)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="surrogate")

    def _close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run a function in the thread of the surrogate, which starts no others."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, limited_threads(1)(work))

    async def probe(self, probe: Probe) -> tuple[float, float | None]:
        """Mean and standard deviation at one probe.

        Raises:
            Busy: too many requests are waiting.
            ValueError: the prediction there is not finite.
        """
        future: asyncio.Future[tuple[float, float | None]] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((probe, future))
        except asyncio.QueueFull:
            raise Busy(f"{self._queue.maxsize} requests are waiting; try again later") from None
        return await future

    async def _serve(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            for std in (False, True):  # the standard deviation costs ten times the mean
                part = [(probe, future) for probe, future in batch if probe.std == std]
                if part:
                    await self._answer([probe for probe, _ in part], [future for _, future in part])

    async def _answer(self, probes: list[Probe], futures: list[asyncio.Future[tuple[float, float | None]]]) -> None:
        try:
            found = await self.run(lambda: evaluate(self.surrogate, probes))
        except Exception as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, one in zip(futures, found, strict=True):
            if future.done():  # the client has disconnected
                continue
            if np.isnan(one[0]) and self.surrogate.end_times is not None:
                future.set_exception(ValueError("the run has ended before this time; POST /predict says when"))
            elif np.isfinite(one[0]) and (one[1] is None or np.isfinite(one[1])):
                future.set_result(one)
            else:
                future.set_exception(ValueError("the prediction is not finite so far outside the trained ranges"))


@contextmanager
def tolerate_extrapolation() -> Iterator[None]:
    """Evaluate the surrogate outside the trained ranges without warnings: the answer contains one.

    Raises:
        ValueError: it cannot be evaluated there.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", ExtrapolationWarning)
            yield
    except (ArithmeticError, np.linalg.LinAlgError, RuntimeError, IndexError) as error:  # torch's are RuntimeErrors
        raise ValueError("the surrogate cannot be evaluated so far outside the trained ranges") from error


def evaluate(surrogate: Surrogate, probes: list[Probe]) -> list[tuple[float, float | None]]:
    """Mean and standard deviation at probes, which must have the same `std`."""
    together = Probes.joined([probe.probes for probe in probes])
    points, times = np.stack([probe.point for probe in probes]), np.array([probe.time for probe in probes])
    with tolerate_extrapolation():
        found = surrogate.probe(points, times, together, std=probes[0].std)
    std = [None] * len(probes) if found.std is None else np.diag(found.std).tolist()
    return list(zip(np.diag(found.mean).tolist(), std, strict=True))
