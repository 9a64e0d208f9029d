"""The HTTP service under load: 200 single probes a second, sent on time whether or not earlier ones are answered."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.training import ModelSettings, fit

pytestmark = pytest.mark.bench
RATE, SECONDS, CONNECTIONS = 200, 15, 20
Load = Callable[[str, int, bool], Coroutine[Any, Any, tuple[list[float], int]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fom, space = Burgers1D(), ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
    mu = space.grid(3)
    solved = [fom.solve(space.as_dict(row)) for row in mu]
    data = TrainingData(space, fom.layout, mu, solved[0].t, np.stack([one.u for one in solved]))
    return fit(data, ModelSettings(), seed=0).save(tmp_path_factory.mktemp("saved") / "model")


async def send(
    host: str, port: int, due: "asyncio.Queue[tuple[float, bytes]]", waits: list[float], path: str = "/probe"
) -> int:
    """Requests from a queue over one connection, each when it is due; returns how many were not answered by 200."""
    reader, writer = await asyncio.open_connection(host, port)
    failed = 0
    while not due.empty():
        moment, body = due.get_nowait()
        await asyncio.sleep(max(moment - time.perf_counter(), 0))
        head = f"POST {path} HTTP/1.1\nHost: {host}\nContent-Type: application/json\nContent-Length: {len(body)}\n\n"
        writer.write(head.replace("\n", "\r\n").encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(size.split(b":")[1]))
        failed += not answer.startswith(b"HTTP/1.1 200")
        waits.append(time.perf_counter() - moment)  # from when it was due: a late start counts
    writer.close()
    return failed


async def load(host: str, port: int, std: bool) -> tuple[list[float], int]:
    rng = np.random.default_rng(0)
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    start = time.perf_counter() + 0.5
    for k in range(RATE * SECONDS):
        a, w, t, x = rng.uniform([0.7, 0.9, 0, -3], [0.9, 1.1, 1, 3])
        body = {"point": {"a": a, "w": w}, "time": t, "place": {"x": x}, "std": std}
        due.put_nowait((start + k / RATE, json.dumps(body).encode()))
    waits: list[float] = []
    failed = await asyncio.gather(*(send(host, port, due, waits) for _ in range(CONNECTIONS)))
    return waits, sum(failed)


async def beside(host: str, port: int, ended: asyncio.Event) -> int:
    """A client that asks for 64 trajectories again and again; returns how often."""
    rng, n = np.random.default_rng(1), 0
    while not ended.is_set():
        points = [{"a": a, "w": w} for a, w in rng.uniform([0.7, 0.9], [0.9, 1.1], (64, 2))]
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        due.put_nowait((0.0, json.dumps({"points": points, "sensors": [{"x": 0.0}]}).encode()))
        assert await send(host, port, due, [], "/predict") == 0
        n += 1
    return n


async def load_beside(host: str, port: int, std: bool) -> tuple[list[float], int]:
    ended = asyncio.Event()
    other = asyncio.create_task(beside(host, port, ended))
    found = await load(host, port, std)
    ended.set()
    print(f"beside {await other} requests for 64 trajectories:")
    return found


@pytest.mark.parametrize(
    ("requests", "std", "limit_s"),
    [(load, False, 0.1), (load, True, 0.1), (load_beside, False, 0.3)],
    ids=["mean", "with std", "beside trajectories"],
)
def test_two_hundred_probes_a_second(model: Path, requests: Load, std: bool, limit_s: float) -> None:
    command = [
        sys.executable,
        "-c",
        "from mlasdi.agent.cli.main import main; main()",
        "serve",
        str(model),
        "--port",
        "0",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = json.loads(server.stdout.readline())["address"]
            host, port = address.removeprefix("http://").split(":")
            asyncio.run(load(host, int(port), std))  # the first second compiles and caches
            waits, failed = asyncio.run(requests(host, int(port), std))
        finally:
            server.kill()
    p50, p99 = np.percentile(waits, [50, 99])
    print(f"{len(waits)} requests at {RATE}/s: median {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms, {failed} failed")
    assert failed == 0
    assert p99 < limit_s
