"""Campaigns of thousands of solves on a simulated cluster of many nodes: what the agent costs.

`python many_solves.py FOLDER N_SOLVES N_NODES MEAN_S` starts the nodes, runs a campaign whose solves sleep for `MEAN_S`
on average, 0 for solves that return at once, and prints what was measured as JSON.
All points are an initial design of Sobol points, and the one model learns from the first sixteen solutions: this is
about the agent, its ledger and Ray.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import utilisation
from simulated_cluster import simulated_cluster

from mlasdi.agent.execution import SolveResult
from mlasdi.agent.records import Ledger

# Entries at which queries are timed, and how often each is repeated.
LENGTHS, REPEATS = (100, 1_000, 10_000), 200


def measure(folder: Path, n_solves: int, n_nodes: int, mean_s: float) -> dict[str, Any]:
    """One campaign."""
    overrides = [
        "--small-models",
        "cluster.mode=asynchronous",
        f"sampling.batch={n_nodes + n_nodes // 5}",
        "sampling.initial=sobol",
        f"sampling.initial_sobol={n_solves}",
        f"budget.solver_runs={n_solves}",
        f"problem.options={{mean_s: {max(mean_s, 1e-9):.9f}}}",
    ]
    found = asdict(utilisation.measure(folder, utilisation.with_small_models(overrides), n_nodes))
    return {"n_nodes": n_nodes, **found}


def query_times(folder: Path) -> dict[str, list[float]]:
    """Microseconds of each query of a step of the campaign, by the number of solved points in the ledger."""
    times: dict[str, list[float]] = {}
    with Ledger(folder / "ledger.db") as ledger:
        n = 0
        for length in LENGTHS:
            with ledger.transaction():
                mus = [{"a": float(k)} for k in range(n, length)]
                ids = ledger.add_points(0, "train", mus, [f"{k:064x}" for k in range(n, length)])
                for attempt, point in zip(ledger.start_attempts(ids), ids, strict=True):
                    ledger.finish_attempt(attempt, SolveResult(point, "", 1.0, 0.0, 1.0, "host:1", False, None))
            n = length
            for name, query in _queries(ledger, ids[-1]).items():
                times.setdefault(name, []).append(_median_us(query))
    return times


def _queries(ledger: Ledger, point_id: int) -> dict[str, Callable[[], object]]:
    return {
        "solved points": lambda: ledger.count("train", "solved"),
        "solved since a round": lambda: ledger.count("train", "solved", after_round=0),
        "core-seconds": ledger.core_seconds,
        "elapsed seconds": ledger.activity_log.elapsed_s,
        "a point by its id": lambda: ledger.point(point_id),
        "attempts at a point": lambda: ledger.attempts(point_id),
        "failed points": lambda: ledger.points("train", status="failed"),
        "last trained round": lambda: ledger.last_round("train"),
    }


def _median_us(query: Callable[[], object]) -> float:
    spent = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        query()
        spent.append(time.perf_counter() - start)
    return 1e6 * sorted(spent)[REPEATS // 2]


def main() -> None:
    folder, n_solves, n_nodes, mean_s = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    with simulated_cluster(n_nodes) as address:
        os.environ["RAY_ADDRESS"] = address
        print(json.dumps(measure(folder, n_solves, n_nodes, mean_s)))


if __name__ == "__main__":
    main()
