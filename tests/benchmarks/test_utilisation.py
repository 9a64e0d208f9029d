"""How busy campaigns keep a simulated cluster, and what the agent costs: UTILISATION.md."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_page import circumstances, table
from simulated_cluster import simulated_cluster
from utilisation import N_WORKERS, SETTINGS

HERE = Path(__file__).parent
# Name -> settings. A fifth more solves under way than workers, so that none waits while the agent is busy. Batches are
# chosen by the Sobol sequence, which takes no time: what they lose, they lose to the slowest solve and the training.
CAMPAIGNS: Mapping[str, tuple[str, ...]] = {
    "asynchronous": ("cluster.mode=asynchronous", f"sampling.batch={N_WORKERS + 4}", "budget.solver_runs=240"),
    "synchronous": ("sampling.acquisition=sobol", "budget.solver_runs=116"),
    "1,000 short solves": (
        "--small-models",
        "cluster.mode=asynchronous",
        f"sampling.batch={N_WORKERS + 4}",
        "budget.solver_runs=1000",
        "sampling.acquisition=sobol",
        "problem.options={mean_s: 1.0}",
    ),
}


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a cluster with a node for each worker."""
    with simulated_cluster(N_WORKERS) as address:
        yield address


def measured(folder: Path, overrides: tuple[str, ...], address: str) -> dict[str, Any]:
    """One campaign in a process of its own."""
    done = subprocess.run(
        [sys.executable, HERE / "utilisation.py", folder, *overrides],
        capture_output=True, text=True, timeout=1500, env={**os.environ, "RAY_ADDRESS": address},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_workers_are_kept_busy(tmp_path: Path, cluster: str) -> None:
    found = {}
    for name, overrides in CAMPAIGNS.items():
        folder = tmp_path / name.split()[0].strip(",").replace(",", "")
        found[name] = measured(folder, overrides, cluster)
        print(name, {key: value for key, value in found[name].items() if key != "memory_mb"})
        figure = folder / "mlruns/campaigns/sleeping/figures/timeline.png"
        if name in ("asynchronous", "synchronous"):
            shutil.copyfile(figure, HERE / f"utilisation-{name}.png")
    (HERE / "UTILISATION.md").write_text(page(found))
    assert found["asynchronous"]["busy"] >= 0.9
    assert found["synchronous"]["busy"] < 0.7
    many = found["1,000 short solves"]
    assert many["overhead_ms"] < 50
    assert growth_mb(many["memory_mb"]) < 100


def growth_mb(memory: list[tuple[int, float]]) -> float:
    """What the agent's memory grew by from the first third of the solves to the last."""
    third = max(len(memory) // 3, 1)
    resident = np.array([mb for _, mb in memory])
    return float(np.median(resident[-third:]) - np.median(resident[:third]))


def page(found: Mapping[str, dict[str, Any]]) -> str:
    """The whole page, Markdown."""
    rows = [
        [
            name,
            str(one["n_solves"]),
            str(one["n_models"]),
            f"{100 * one['busy']:.0f} %",
            f"{one['wall_s']:.0f}",
            f"{one['n_solves'] / one['wall_s']:.1f}",
            f"{one['overhead_ms']:.0f}",
            f"{one['cpu_ms']:.0f}",
            f"{growth_mb(one['memory_mb']):+.0f}",
        ]
        for name, one in found.items()
    ]
    head = ["campaign", "solves", "models", "busy", "seconds", "solves a second", "agent, ms a solve",
            "its processor, ms a solve", "its memory, MB"]  # fmt: skip
    return "\n\n".join(
        [
            "# A simulated cluster, kept busy",
            "Written by `pytest -m bench tests/benchmarks/test_utilisation.py -s`; do not edit.",
            circumstances("for agent, trainings and all nodes", ("ray", "numpy", "torch")),
            f"{N_WORKERS} nodes of one core each (`ray.cluster_utils.Cluster`). A solve sleeps for a time that is "
            "log-normal over the points, with mean 2 s (1 s in the last row) and deviation 0.8 of its logarithm. "
            f"Models are of the kind `{SETTINGS['model']['kind']}`. Solves under way: {N_WORKERS + 4}, and "
            f"{N_WORKERS} in a synchronous batch. The first campaign chooses points by `field-std`, the others by "
            "the Sobol sequence, which takes no time. In the last row models learn from the first sixteen solutions "
            "alone: it is about the agent, and not about trainings on a thousand.",
            table(head, rows),
            "`busy` is the share of the workers' time in which they solve, train or choose points, from the moment "
            "at which there is a model and all of them are at work, to the begin of the last solve. `agent` is what "
            "the agent does besides waiting while solves are under way, most of it writing the ledger to the disk. "
            "`memory` is the growth of the agent from the first third of the solves to the last.",
            "![Work of each worker over time, asynchronous](utilisation-asynchronous.png)",
            "*Asynchronous: places are filled again at once, while models are trained beside the solves.*",
            "![Work of each worker over time, synchronous](utilisation-synchronous.png)",
            "*Synchronous: everybody waits for the slowest solve, and then for the training.*",
        ]
    ) + "\n"  # fmt: skip
