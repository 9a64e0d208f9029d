"""The agent killed with SIGKILL at random moments, again and again, and a cluster that loses workers and a node."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from quick_campaign import quick_config

from mlasdi.agent.config import Config
from mlasdi.agent.records import Ledger
from mlasdi.agent.report import read_report
from mlasdi.solvers.storage import SnapshotStore

HERE = Path(__file__).parent
SYNCHRONOUS = {"executor": "serial", "mode": "synchronous"}
N_POINTS = 16 + 4  # for training and for validation
ASYNCHRONOUS = {"executor": "serial", "mode": "asynchronous"}

# Runs the campaign again and again in processes of its own, forked when everything is imported, and kills each after
# the delay that it reads; a delay of "end" lets it end. Answers with the exit code.
SERVER = """
import os, signal, sys, threading, time
sys.path.insert(0, {here!r})
import mlasdi.agent.campaign.campaign, torch, unpublished
from mlasdi.agent.config import load_config
from mlasdi.solvers.builtin.burgers1d import Burgers1D
torch.set_num_threads(1)
mlasdi.agent.campaign.campaign.Publisher = unpublished.Unpublished
solve = Burgers1D.solve
solve(Burgers1D(n_x=41, n_t=21), {{"a": 0.8, "w": 1.0}})  # compiles

def noted(self, mu):
    with open({log!r}, "a") as log:
        log.write(f"{{mu['a']!r}} {{mu['w']!r}}\\n")
    time.sleep(0.1)
    return solve(self, mu)

Burgers1D.solve = noted
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.dup2(2, 1)
        code = 1
        try:
            mlasdi.agent.campaign.campaign.run_campaign(load_config({config!r}))
            code = 0
        finally:
            os._exit(code)
    if line.strip() != "end":
        time.sleep(float(line))
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Killer:
    """The client of `SERVER`."""

    def __init__(self, config: Config) -> None:
        self.config, self.log = config, config.root.parent / "solves.log"
        script = SERVER.format(here=str(HERE), config=str(config.root.parent / "quick.yaml"), log=str(self.log))
        self._process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == "ready"

    def __enter__(self) -> "Killer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)

    def run(self, delay_s: float | None = None) -> int:
        """Run the campaign, and kill it after a delay; returns its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.write("end\n" if delay_s is None else f"{delay_s}\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def n_solves(self) -> int:
        """How often the solver was called."""
        return len(self.log.read_text().splitlines())


def config_in(folder: Path, cluster: dict[str, str]) -> Config:
    folder.mkdir()
    sections = {"budget": {"solver_runs": 16}, "validation": {"grid": 2, "n_time": 6}, "sampling": {"batch": 2}}
    return quick_config(folder, cluster=cluster, **sections)


def undisturbed(folder: Path, cluster: dict[str, str]) -> tuple[Config, float]:
    """A campaign that runs from beginning to end, and its seconds."""
    config = config_in(folder, cluster)
    with Killer(config) as server:
        start = time.monotonic()
        assert server.run() == 0
        return config, time.monotonic() - start


def killed(folder: Path, cluster: dict[str, str], n_kills: int, most_s: float, seed: int) -> tuple[Config, int]:
    """A campaign that is killed so many times, then left alone; and how many solves it repeated.

    On a machine that has become faster meanwhile it may end before; more than half of the kills must meet it at work.
    """
    config, rng = config_in(folder, cluster), random.Random(seed)
    with Killer(config) as server:
        codes = [server.run(rng.uniform(0.02, most_s)) for _ in range(n_kills)]
        assert set(codes) <= {-signal.SIGKILL, 0}
        assert codes.count(-signal.SIGKILL) > n_kills / 2
        assert server.run() == 0
        return config, server.n_solves() - N_POINTS


def assert_sound(config: Config, n_kills: int, n_repeated: int) -> None:
    """Every finished solve is there exactly once, and the report is complete."""
    report = read_report(config.folder)
    assert (report["solver_runs"], len(report["points"]), report["validation_runs"]) == (16, 16, 4)
    with Ledger(config.folder / "ledger.db", read_only=True) as ledger:
        points, attempts = ledger.points(), ledger.attempts()
        assert {point.status for point in points} == {"solved"}
        solved = Counter(attempt.point_id for attempt in attempts if attempt.status == "solved")
        assert solved == dict.fromkeys((point.id for point in points), 1)
        assert {attempt.status for attempt in attempts} <= {"solved", "interrupted"}
        assert not [one for one in ledger.activity_log.activities() if one.is_open]
    store = SnapshotStore(Path(config.snapshot_root))
    assert sorted(store.addresses()) == sorted({point.address for point in points})
    assert all(store.get(name) is not None for name in store.addresses())
    # A kill can cost only the running solve: one that is stored is never repeated.
    assert 0 <= n_repeated <= n_kills
    left = [path for path in config.folder.rglob("*") if "partial" in path.name or path.name.startswith(".round")]
    assert not left


def assert_equal(config: Config, expected: Config) -> None:
    """Two synchronous campaigns chose the same points, and found the same errors."""
    report, other = read_report(config.folder), read_report(expected.folder)
    assert report["points"] == other["points"]
    for key in ("rounds", "stop_reason", "stages", "error_estimate", "leave_one_out", "max_relative_error", "coverage"):
        assert report[key] == other[key], key


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, float]:
    return undisturbed(tmp_path_factory.mktemp("reference") / "undisturbed", SYNCHRONOUS)


@pytest.mark.slow
def test_killed_twice_it_ends_as_if_undisturbed(tmp_path: Path, reference: tuple[Config, float]) -> None:
    expected, seconds = reference
    config, n_repeated = killed(tmp_path / "killed", SYNCHRONOUS, 2, 0.4 * seconds, seed=1)
    assert_sound(config, 2, n_repeated)
    assert_equal(config, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_twenty_times_it_ends_as_if_undisturbed(
    tmp_path: Path, reference: tuple[Config, float], seed: int
) -> None:
    expected, seconds = reference
    config, n_repeated = killed(tmp_path / "killed", SYNCHRONOUS, 20, 0.1 * seconds, seed=10 + seed)
    assert_sound(config, 20, n_repeated)
    assert_equal(config, expected)


@pytest.mark.slow
def test_killed_twenty_times_asynchronously_it_loses_nothing(tmp_path: Path, reference: tuple[Config, float]) -> None:
    config, n_repeated = killed(tmp_path / "killed", ASYNCHRONOUS, 20, 0.1 * reference[1], seed=20)
    assert_sound(config, 20, n_repeated)


# A cluster that loses workers and a node

# Runs a campaign on the cluster of RAY_ADDRESS; every solve takes a while and leaves its worker's process id.
ON_CLUSTER = """
import json, sys
sys.path.insert(0, {here!r})
import mlasdi.agent.campaign.campaign, unpublished
from mlasdi.agent.config import load_config
mlasdi.agent.campaign.campaign.Publisher = unpublished.Unpublished
print(json.dumps(mlasdi.agent.campaign.campaign.run_campaign(load_config({config!r}))))
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Three nodes of one core each, one of them the head; all state in a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="rays-", dir="/tmp"))  # socket paths must be short
    (folder / "ray").mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])))
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100 * 2**20}
    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **memory})
    try:
        for _ in range(2):
            running.add_node(num_cpus=1, **memory)
        yield running
    finally:
        running.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_workers_and_a_node_may_die(tmp_path: Path, cluster: object, mode: str) -> None:
    workers = tmp_path / "workers"
    workers.mkdir()
    problem = {
        "solver": "lingering_solver:Lingering",
        "options": {"folder": str(workers), "seconds": 0.5},
        "parameters": {"a": [0.5, 1.0]},
    }
    config = quick_config(
        tmp_path, problem=problem, budget={"solver_runs": 12, "max_failures": 5}, sampling={"batch": 3},
        cluster={"executor": "ray", "mode": mode, "address": "auto", "retries": 3},
    )  # fmt: skip
    script = ON_CLUSTER.format(here=str(HERE), config=str(tmp_path / "quick.yaml"))
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}  # type: ignore[attr-defined]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as agent:
        for _ in range(2):  # workers, in the middle of a solve
            os.kill(_a_solving_worker(workers), signal.SIGKILL)
        _a_solving_worker(workers)
        cluster.remove_node(sorted(cluster.worker_nodes, key=id)[0], allow_graceful=False)  # type: ignore[attr-defined]
        output, _ = agent.communicate(timeout=400)
    assert agent.returncode == 0
    report = json.loads(output.splitlines()[-1])
    assert report["stop_reason"] == "solver-runs"
    assert report["failed_runs"] >= 2
    assert {failure["kind"] for failure in report["failures"]} == {"worker-lost"}
    with Ledger(config.folder / "ledger.db", read_only=True) as ledger:
        solved = Counter(a.point_id for a in ledger.attempts() if a.status == "solved")
        assert solved == dict.fromkeys((point.id for point in ledger.points(status="solved")), 1)
        assert len(ledger.points("train")) == 12  # the budget is charged by the point
    assert np.isfinite(report["error_estimate"])


@pytest.mark.slow
def test_sigterm_to_the_process_group_stops_gracefully(tmp_path: Path) -> None:
    """Batch systems and `timeout` signal the whole group, which Ray's processes must survive."""
    workers = tmp_path / "workers"
    workers.mkdir()
    options = {"folder": str(workers), "seconds": 2.0}
    problem = {"solver": "lingering_solver:Lingering", "options": options, "parameters": {"a": [0.5, 1.0]}}
    config = quick_config(tmp_path, problem=problem, budget={"solver_runs": 12}, cluster={"executor": "ray"})
    begin = "from mlasdi.agent.cli.main import main; main()"
    command = [sys.executable, "-c", begin, "run", str(tmp_path / "quick.yaml"), "--json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as agent:  # fmt: skip
        _a_solving_worker(workers)
        os.killpg(agent.pid, signal.SIGTERM)
        output, _ = agent.communicate(timeout=400)
    assert agent.returncode == 130
    assert json.loads(output)["stop_reason"] == "interrupted"
    with Ledger(config.folder / "ledger.db", read_only=True) as ledger:
        assert [attempt.status for attempt in ledger.attempts()].count("solved") >= 1
        assert all(attempt.status == "solved" for attempt in ledger.attempts())


def _a_solving_worker(folder: Path) -> int:
    """A process that is in the middle of a solve, and was not asked for before."""
    deadline = time.monotonic() + 120
    while True:
        for path in folder.glob("*.solving"):
            path.unlink(missing_ok=True)
            return int(path.stem)
        assert time.monotonic() < deadline, "no process solves"
        time.sleep(0.01)
