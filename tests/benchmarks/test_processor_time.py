"""Processor time of a fit whatever the environment says about threads, with idle cores and beside other work.

Threads of small matrix products wait for each other; a program that does not limit them pays for the waiting.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.bench
MOST = 1.2  # processor time with the threads that libraries would take, over that with one
FIT = """
import resource
import numpy as np
import mlasdi
from mlasdi.solvers import build_solver

box = {"a": (0.7, 0.9), "w": (0.9, 1.1)}
mu = np.array([[a, w] for a in (0.7, 0.8, 0.9) for w in (0.9, 1.0, 1.1)])
solver = build_solver("burgers1d", {"n_x": 201, "n_t": 101})
runs = [solver.solve(dict(zip(box, point))) for point in mu]
before = resource.getrusage(resource.RUSAGE_SELF)
mlasdi.fit(mu, runs[0].t, np.stack([run.u for run in runs]), parameters=box, effort="quick").predict(mu)
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""


def processor_seconds(threads: str | None) -> float:
    """Of a fit and its predictions, with so many threads in the environment; None: as many as libraries take."""
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    environment |= {} if threads is None else {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


@contextmanager
def neighbours(n: int) -> Iterator[None]:
    """So many processes that need a core each."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


@pytest.mark.parametrize("n_neighbours", [0, os.cpu_count() or 1])
def test_free_threads_cost_no_more_than_one(n_neighbours: int) -> None:
    with neighbours(n_neighbours):
        pinned, free, many = (min(processor_seconds(threads) for _ in range(2)) for threads in ("1", None, "8"))
    print(f"{n_neighbours} neighbours: {pinned:.1f} s with one thread, {free:.1f} s with all, {many:.1f} s with eight")
    assert max(free, many) <= MOST * pinned
