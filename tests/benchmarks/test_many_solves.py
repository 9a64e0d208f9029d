"""Ten thousand solves on many nodes: what the agent costs, and queries of a long ledger; writes MANY_SOLVES.md."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import many_solves
import psutil
import pytest
from markdown_page import circumstances, table
from test_utilisation import growth_mb

HERE = Path(__file__).parent
MOST_MS, MOST_GROWTH_MB, LEAST_BUSY, MOST_RATIO = 10.0, 50.0, 0.95, 3.0
NODES, NODE_MB = 64, 350  # a node: its daemons, and a worker
# Name -> solves of each campaign, as a number or for each node, and the seconds that one sleeps on average.
CAMPAIGNS: Mapping[str, tuple[int, int, float]] = {"at once": (10_000, 0, 0.0), "of 20 s": (0, 12, 20.0)}


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_ten_thousand_solves(tmp_path: Path) -> None:
    n_nodes = min(NODES, int(0.7 * psutil.virtual_memory().available / 2**20 / NODE_MB))
    found = {}
    for name, (n_solves, for_each_node, mean_s) in CAMPAIGNS.items():
        words = [tmp_path / name, n_solves + for_each_node * n_nodes, n_nodes, mean_s]
        found[name] = measured([str(word) for word in words])
    queries = many_solves.query_times(tmp_path)
    (HERE / "MANY_SOLVES.md").write_text(page(found, queries))
    print(f"\nwritten: {HERE / 'MANY_SOLVES.md'}")
    assert found["at once"]["solving_cpu_ms"] < MOST_MS
    assert growth_mb(found["at once"]["memory_mb"]) < MOST_GROWTH_MB
    assert found["of 20 s"]["busy"] > LEAST_BUSY
    assert {name: us for name, us in queries.items() if us[-1] > MOST_RATIO * us[0]} == {}


def measured(words: Sequence[str]) -> dict[str, Any]:
    """One campaign in a process of its own, with a cluster of its own."""
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, many_solves.__file__, *words],
        capture_output=True, text=True, timeout=3600, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def page(found: Mapping[str, dict[str, Any]], queries: Mapping[str, Sequence[float]]) -> str:
    """The whole page, Markdown."""
    rows = [
        [
            name,
            f"{one['n_solves']:,}",
            str(one["n_nodes"]),
            f"{one['wall_s']:.0f}",
            f"{one['solving_cpu_ms']:.1f}",
            f"{one['cpu_ms']:.1f}",
            f"{one['memory_mb'][0][1]:.0f}",
            f"{one['memory_mb'][-1][1]:.0f}",
            f"{100 * one['busy']:.0f} %" if one["wall_s"] and name != "at once" else "",
        ]
        for name, one in found.items()
    ]
    head = ["solves", "number", "nodes", "seconds", "driver, ms a solve", "with all else, ms", "MB at the start",
            "MB at the end", "busy"]  # fmt: skip
    timed = [[name, *(f"{one:.0f}" for one in us)] for name, us in queries.items()]
    return "\n\n".join(
        [
            "# Thousands of solves",
            "Written by `pytest -m bench tests/benchmarks/test_many_solves.py -s`; do not edit.",
            circumstances("for agent and all nodes", ("ray", "numpy", "torch")),
            f"Nodes of one core each (`ray.cluster_utils.Cluster`): {NODES}, or as many as {NODE_MB} MB for each leave "
            "room for. All points are an initial design, and the one model learns from sixteen solutions.",
            table(head, rows),
            "`driver` is processor time of the agent while solves are under way, Ray's part in it included; at most "
            f"{MOST_MS:g} ms. `all else` is the start, the training and the figures and reports at the end. Memory is "
            f"resident; it may grow by {MOST_GROWTH_MB:g} MB. `busy` is the share of the workers' time in "
            f"which they solve, after all have begun; at least {100 * LEAST_BUSY:.0f} %.",
            "## The ledger",
            "Microseconds of the queries that each step makes, by the number of solved points, median of "
            f"{many_solves.REPEATS}; the longest ledger may take {MOST_RATIO:g} times as long as the shortest.",
            table(["query", *(f"{n:,}" for n in many_solves.LENGTHS)], timed),
        ]
    ) + "\n"  # fmt: skip
