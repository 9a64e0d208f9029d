"""Turns of clients, and what becomes of the jobs of those who leave."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from mlasdi.agent.service.batching import Busy
from mlasdi.agent.service.fair_queue import FairQueue, Gone


async def here() -> bool:
    return False


async def run(work: Callable[[], Any]) -> Any:
    await asyncio.sleep(0)
    return work()


def steps(name: str, n: int, done: list[str]) -> Iterator[str]:
    for k in range(n):
        done.append(name)
        yield f"{name}{k} "


def asked(*jobs: Callable[[FairQueue], Awaitable[Any]], waiting: int = 100) -> list[Any]:
    """The results of jobs that are asked for at once."""

    async def all_at_once() -> list[Any]:
        async with FairQueue(run, waiting) as queue:
            return await asyncio.wait_for(
                asyncio.gather(*(job(queue) for job in jobs), return_exceptions=True), timeout=60
            )

    return asyncio.run(all_at_once())


def job(client: str, n: int, done: list[str], name: str = "", is_gone: Any = here) -> Callable[[FairQueue], Any]:
    return lambda queue: queue.finished(client, steps(name or client, n, done), is_gone)


def test_clients_take_turns_whatever_they_ask_for() -> None:
    done: list[str] = []
    found = asked(job("a", 50, done), job("b", 3, done), job("c", 1, done))
    assert found[1:] == ["b0 b1 b2 ", "c0 "]
    assert found[0].startswith("a0 a1 ")
    assert done[:6] == ["a", "b", "c", "a", "b", "a"]  # c needs a turn more to end
    assert done.count("a") == 50


def test_a_client_with_many_jobs_has_no_more_turns() -> None:
    done: list[str] = []
    asked(*(job("a", 5, done, f"a{k}") for k in range(10)), job("b", 5, done, "b"))
    last = len(done) - done[::-1].index("b")
    assert sum(name.startswith("a") for name in done[:last]) <= 6
    assert {"a0", "a1", "a2", "a3"} <= set(done[:last])  # its own jobs take turns as well


def test_the_job_of_a_client_who_leaves_is_not_finished() -> None:
    done: list[str] = []

    async def is_gone() -> bool:
        return len(done) >= 3

    (found,) = asked(job("a", 10**6, done, is_gone=is_gone))
    assert isinstance(found, Gone)
    assert len(done) == 3


def test_an_error_is_that_of_its_job_alone() -> None:
    def failing() -> Iterator[str]:
        yield "x"
        raise ValueError("not finite")

    failed, found = asked(lambda queue: queue.finished("a", failing(), here), job("b", 3, []))
    assert str(failed) == "not finite"
    assert found == "b0 b1 b2 "


def test_too_many_are_sent_away() -> None:
    found = asked(*(job("a", 2, []) for _ in range(3)), waiting=2)
    assert isinstance(found[2], Busy)
    assert found[:2] == ["a0 a1 "] * 2


def test_what_waits_when_the_service_ends_is_cancelled() -> None:
    async def ended() -> bool:
        async with FairQueue(run, 10) as queue:
            waiting = asyncio.ensure_future(queue.finished("a", steps("a", 10**9, []), here))
            await asyncio.sleep(0.01)
        await asyncio.wait([waiting], timeout=60)
        return waiting.cancelled()

    assert asyncio.run(ended())


@pytest.mark.parametrize("n", [1, 5])
def test_a_queue_that_was_empty_goes_on(n: int) -> None:
    async def one_after_the_other() -> list[str]:
        async with FairQueue(run, 10) as queue:
            return [await queue.finished("a", steps("a", 2, []), here) for _ in range(n)]

    assert asyncio.run(one_after_the_other()) == ["a0 a1 "] * n
