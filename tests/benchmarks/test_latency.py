"""How fast surrogates answer and the registry is searched, on one core; writes LATENCY.md, then checks it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import latency
import pytest
from crowded_registry import fill
from latency import SpeedUp
from latency_page import page

from agent.registry import find

pytestmark = pytest.mark.bench
PAGE = Path(__file__).with_name("LATENCY.md")
N_VERSIONS = 500
LIMITS_MS = {
    "one trajectory at 1001 times": 5.0,
    "its latent part": 1.0,
    "1000 random probes in space-time": 2.0,
}


@dataclass(frozen=True)
class Measured:
    """What was found, and what it must be at most: milliseconds, and seconds for the query."""

    parts: dict[str, float]
    limits: dict[str, float]
    query_s: float
    speed_ups: list[SpeedUp]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    # In a process of its own, where no annotation is checked at run time.
    done = subprocess.run([sys.executable, latency.__file__], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    parts = found["parts"]
    limits = LIMITS_MS | {"decoding that trajectory": 2 * parts["a matrix product of that size in torch"]}
    query_s = _best_s(_crowded_query(tmp_path_factory.mktemp("registry")))
    measured = Measured(parts, limits, query_s, [SpeedUp(**one) for one in found["speed_ups"]])
    PAGE.write_text(page(measured.parts, measured.limits, measured.query_s, measured.speed_ups))
    print(f"\nwritten: {PAGE}")
    return measured


def _crowded_query(root: Path) -> Callable[[], object]:
    fill(root, N_VERSIONS)
    assert len(find(root=root)) == N_VERSIONS
    return lambda: find(max_error=0.1, covers={"a": 100.0}, root=root)


def _best_s(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def test_predictions_are_fast_enough_to_drag_a_slider(measured: Measured) -> None:
    assert {name: ms for name, ms in measured.parts.items() if ms > measured.limits.get(name, ms)} == {}


def test_five_hundred_versions_are_searched_at_once(measured: Measured) -> None:
    assert measured.query_s < 2


def test_surrogates_of_solvers_in_two_dimensions_are_faster_than_they(measured: Measured) -> None:
    """Compiled as they are; in one dimension a trajectory takes a few milliseconds either way."""
    planes = {one.problem: one for one in measured.speed_ups if one.problem in ("burgers2d", "vlasov")}
    assert len(planes) == 2
    assert all(one.speed_up > 1.5 and one.probe_speed_up > 5 for one in planes.values())
