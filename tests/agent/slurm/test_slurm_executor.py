"""Solves as jobs of SLURM. A script stands in for its commands: its queue is a folder, and the tests run the jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from quick_campaign import quick_config, run_quick

import mlasdi.agent.campaign.campaign
from mlasdi.agent.config import Config
from mlasdi.agent.execution import ClusterSettings, Result, SolverSpec, SolvesError, SolveTask
from mlasdi.agent.execution.executor import SerialExecutor
from mlasdi.agent.records import Ledger
from mlasdi.agent.slurm import SlurmExecutor
from mlasdi.agent.slurm.job_files import JobFiles
from mlasdi.agent.slurm.run_job import run_job
from mlasdi.solvers.storage import SnapshotStore, address

HERE = Path(__file__).parents[1]
BURGERS = SolverSpec("burgers1d", {"n_x": 41, "n_t": 21})

FAKE = """#!{python} -IS
import json, pathlib, sys
queue, command, given = pathlib.Path({queue!r}), pathlib.Path(sys.argv[0]).name, sys.argv[1:]
if (queue / f"{{command}}-fails").exists():
    sys.exit(f"{{command}}: error: " + (queue / f"{{command}}-fails").read_text())
options = dict(one.lstrip("-").partition("=")[::2] for one in given if one.startswith("--"))
jobs = {{int(path.stem): json.loads(path.read_text()) for path in queue.glob("*.json")}}
if command == "sbatch":
    number = len(jobs) + 1
    script = next(i for i, one in enumerate(given) if not one.startswith("--"))
    job = dict(options=given[:script], name=options["job-name"], output=options["output"],
               folder=options["chdir"], command=given[script:], state="PENDING")
    (queue / f"{{number}}.json").write_text(json.dumps(job))
    print(number)
elif command == "squeue":
    for number, job in jobs.items():
        if job.get("forgotten") or ("states" not in options and job["state"] not in ("PENDING", "RUNNING")):
            continue
        if options.get("name", job["name"]) == job["name"]:
            print(options["format"].replace("%i", str(number)).replace("%T", job["state"]))
else:
    for number in options["jobs"].split(","):
        if int(number) in jobs:
            print(f"{{number}}|{{jobs[int(number)]['state']}}")
"""


class Queue:
    """What the stand-ins keep: a file for each job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def jobs(self) -> dict[int, dict]:
        found = {int(path.stem): json.loads(path.read_text()) for path in self.folder.glob("*.json")}
        return dict(sorted(found.items()))

    def change(self, number: int, **values: object) -> None:
        job = self.jobs()[number] | values
        (self.folder / f"{number}.json").write_text(json.dumps(job))

    def fail(self, command: str, message: str) -> None:
        (self.folder / f"{command}-fails").write_text(message)

    def mend(self, command: str) -> None:
        (self.folder / f"{command}-fails").unlink()

    def run_pending(self, *numbers: int) -> None:
        """Run jobs as SLURM would, but in forked processes: a fresh one needs seconds to import everything."""
        for number, job in self.jobs().items():
            if job["state"] == "PENDING" and (not numbers or number in numbers):
                python, *options = job["command"][1:-2]
                assert (python, options) == (sys.executable, ["-P", "-m", "mlasdi.agent.slurm.run_job"])
                code = _forked(job["command"][-2:])
                self.change(number, state="FAILED" if code else "COMPLETED")


def _forked(arguments: list[str]) -> int:
    pid = os.fork()
    if not pid:
        try:
            run_job(JobFiles(Path(arguments[0]), arguments[1]))
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The solver of most tests, for all processes that are forked."""
    BURGERS.build().solve({"a": 0.8, "w": 1.0})


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue, programs = Queue(tmp_path / "queue"), tmp_path / "programs"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct"):
        (programs / name).write_text(FAKE.format(python=sys.executable, queue=str(queue.folder)))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.syspath_prepend(str(HERE))
    return queue


def executor(**settings: object) -> SlurmExecutor:
    return SlurmExecutor(ClusterSettings(executor="slurm", slurm={"poll_s": 0.01}, **settings))


def task(folder: Path, number: int = 1, solver: SolverSpec = BURGERS, **changes: object) -> SolveTask:
    mu = {"a": 0.7 + 0.01 * number, "w": 1.0}
    place = address(solver.build().identity(), mu, None)
    return replace(SolveTask(number, solver, mu, place, str(folder / "snapshots")), **changes)


def left_files(folder: Path) -> set[str]:
    return {path.name.partition(".")[2] for path in (folder / "jobs").iterdir()} - {"sh"}


def test_a_solve_is_a_job_whose_result_is_taken_in(queue: Queue, tmp_path: Path) -> None:
    one, running = task(tmp_path), executor()
    running.submit(one)
    assert running.wait(timeout_s=0.0) == []
    queue.run_pending()
    (result,) = running.wait()
    assert (result.task_id, result.failure, result.cached) == (1, None, False)
    assert result.solve_s > 0
    assert one.address in SnapshotStore(tmp_path / "snapshots")
    assert running.wait() == []
    assert left_files(tmp_path) == set()


def test_the_job_is_a_command_that_a_fresh_process_runs(queue: Queue, tmp_path: Path) -> None:
    running = executor()
    running.submit(task(tmp_path))
    (job,) = queue.jobs().values()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run(["sh", *job["command"]], cwd=job["folder"], env=environment, check=True)
    (result,) = running.wait()
    assert result.failure is None


def test_resources_and_further_arguments_reach_sbatch(queue: Queue, tmp_path: Path) -> None:
    settings = ClusterSettings(
        executor="slurm",
        solve_cpus=4,
        solve_gpus=2,
        solve_memory_mb=500,
        solve_time_limit_s=3600,
        slurm={"partition": "long", "arguments": ["--account=a b; $(c)", "--exclusive"]},
    )
    SlurmExecutor(settings).submit(task(tmp_path))
    (job,) = queue.jobs().values()
    wanted = {"--cpus-per-task=4", "--gpus=2", "--mem=500M", "--time=62", "--partition=long", "--account=a b; $(c)"}
    assert wanted | {"--exclusive"} <= set(job["options"])


def test_a_failed_solve_is_a_failed_result(queue: Queue, tmp_path: Path) -> None:
    running = executor()
    running.submit(task(tmp_path, solver=SolverSpec("faulty_solvers:Faulty", {"fault": "raise"})))
    queue.run_pending()
    (result,) = running.wait()
    assert result.failure is not None
    assert result.failure.kind == "exception"


@pytest.mark.parametrize(
    ("state", "kind", "told"),
    [
        ("TIMEOUT", "time-out", "SLURM ended job 1 at its time limit: raise cluster.solve_time_limit_s"),
        ("OUT_OF_MEMORY", "out-of-memory", "raise cluster.solve_memory_mb"),
        ("CANCELLED", "worker-lost", "its state is CANCELLED"),
        ("NODE_FAIL", "worker-lost", "its state is NODE_FAIL"),
        ("COMPLETED", "worker-lost", "its state is COMPLETED"),
    ],
)
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_job_that_ends_without_a_result_has_failed(
    state: str, kind: str, told: str, forgotten: bool, queue: Queue, tmp_path: Path
) -> None:
    """Also if only the accounting still knows it."""
    running = executor()
    running.submit(task(tmp_path))
    Path(queue.jobs()[1]["output"]).write_text("reading the mesh\nslurmstepd: error: sorry\n\n")
    queue.change(1, state=state, forgotten=forgotten)
    (result,) = running.wait()
    assert result.failure is not None
    assert result.failure.kind == kind
    assert told in result.failure.message
    assert result.failure.message.endswith("slurmstepd: error: sorry")
    assert running.wait() == []
    assert left_files(tmp_path) == {"out"}  # to be read


def test_a_job_that_nobody_knows_has_failed(queue: Queue, tmp_path: Path) -> None:
    queue.fail("sacct", "accounting is disabled")
    running = executor()
    running.submit(task(tmp_path))
    queue.change(1, state="COMPLETED", forgotten=True)
    (result,) = running.wait()
    assert result.failure is not None
    assert "SLURM no longer knows it" in result.failure.message


def test_a_solve_that_exceeds_its_limit_tells_where_it_hung(queue: Queue, tmp_path: Path) -> None:
    solver = SolverSpec("lingering_solver:Lingering", {"folder": str(tmp_path), "seconds": 600.0})
    running = executor(solve_time_limit_s=0.5)
    running.submit(task(tmp_path, solver=solver, time_limit_s=0.5))
    queue.run_pending()
    (result,) = running.wait()
    assert result.failure is not None
    assert result.failure.kind == "time-out"
    assert "solve_time_limit_s 0.5" in result.failure.message


def test_a_stored_solution_needs_no_job(queue: Queue, tmp_path: Path) -> None:
    one, running = task(tmp_path), executor()
    serial = SerialExecutor()
    serial.submit(one)
    serial.wait()
    running.submit(one)
    (result,) = running.wait()
    assert result.cached
    assert not queue.jobs()


@pytest.mark.parametrize("ran", ["before", "after"])
def test_jobs_outlive_the_agent(ran: str, queue: Queue, tmp_path: Path) -> None:
    """Those that wait or have ended when it comes back are not submitted again."""
    with executor() as first:
        for number in (1, 2):
            first.submit(task(tmp_path, number))
        queue.run_pending(1)
    if ran == "before":
        queue.run_pending()
    again = executor()
    for number in (1, 2):
        again.submit(task(tmp_path, number, task_id=10 + number))
    queue.run_pending()
    results: list[Result] = []
    while len(results) < 2:
        results += again.wait()
    assert {result.task_id for result in results} == {11, 12}
    assert all(result.failure is None for result in results)
    assert len(queue.jobs()) == 2


def test_a_job_is_found_whose_id_was_not_kept(queue: Queue, tmp_path: Path) -> None:
    """The agent died between submitting it and writing down its id."""
    one = task(tmp_path)
    executor().submit(one)
    (tmp_path / "jobs" / f"{one.address}.id").unlink()
    again = executor()
    again.submit(one)
    assert len(queue.jobs()) == 1
    assert (tmp_path / "jobs" / f"{one.address}.id").read_text() == "1"


def test_a_full_queue_is_filled_when_it_has_room(queue: Queue, tmp_path: Path) -> None:
    running = executor()
    running.submit(task(tmp_path, 1))
    queue.fail("sbatch", "QOSMaxSubmitJobPerUserLimit")
    running.submit(task(tmp_path, 2))
    assert len(queue.jobs()) == 1
    queue.run_pending()
    assert [result.task_id for result in running.wait()] == [1]
    queue.mend("sbatch")
    assert running.wait(timeout_s=0.05) == []
    queue.run_pending()
    assert [result.task_id for result in running.wait()] == [2]


def test_a_refused_job_is_told_in_the_words_of_slurm(queue: Queue, tmp_path: Path) -> None:
    queue.fail("sbatch", "invalid partition specified: lang")
    with pytest.raises(SolvesError, match=r"cluster\.executor slurm: .* sbatch: error: invalid partition"):
        executor().submit(task(tmp_path))


def test_without_slurm_the_missing_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SolvesError, match="sbatch cannot be started: No such file"):
        executor().submit(task(tmp_path))


def test_a_controller_that_is_away_is_waited_for(queue: Queue, tmp_path: Path) -> None:
    running = executor()
    running.submit(task(tmp_path))
    queue.change(1, state="FAILED")
    queue.fail("squeue", "Unable to contact slurm controller")
    assert running.wait(timeout_s=0.1) == []
    queue.mend("squeue")
    (result,) = running.wait()
    assert result.failure is not None


class Killed(BaseException):
    """In place of SIGKILL in this process."""


class Worked(SlurmExecutor):
    """The cluster runs a job whenever the agent waits, until the agent is killed.

    Args:
        lives: number of waits before it is killed.
    """

    def __init__(self, queue: Queue, settings: ClusterSettings, lives: float = float("inf")) -> None:
        super().__init__(settings)
        self._queue, self._lives = queue, lives

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        self._lives -= 1
        if self._lives < 0:
            raise Killed
        pending = [number for number, job in self._queue.jobs().items() if job["state"] == "PENDING"]
        if pending:
            self._queue.run_pending(pending[0])
        return super().wait(timeout_s)


def run(config: Config, queue: Queue, monkeypatch: pytest.MonkeyPatch, lives: float = float("inf")) -> dict[str, Any]:
    monkeypatch.setattr(mlasdi.agent.campaign.campaign, "SlurmExecutor", lambda given: Worked(queue, given, lives))
    return run_quick(config, monkeypatch)


SMALL = {"budget": {"solver_runs": 6}}


@pytest.mark.parametrize("mode", ["synchronous", pytest.param("asynchronous", marks=pytest.mark.slow)])
def test_a_campaign_goes_on_with_the_jobs_of_a_stopped_agent(
    mode: str, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config(tmp_path, cluster={"executor": "slurm", "mode": mode, "slurm": {"poll_s": 0.01}}, **SMALL)
    with pytest.raises(Killed):
        run(config, queue, monkeypatch, lives=2)
    queue.run_pending()
    report = run(config, queue, monkeypatch)
    assert (report["solver_runs"], report["failed_runs"]) == (6, 0)
    assert len(queue.jobs()) == 6
    assert left_files(config.folder) == set()


AGENT = """
import sys
sys.path.insert(0, {here!r})
import mlasdi.agent.campaign.campaign, unpublished
from mlasdi.agent.config import load_config
mlasdi.agent.campaign.campaign.Publisher = unpublished.Unpublished
mlasdi.agent.campaign.campaign.run_campaign(load_config({config!r}))
"""


@pytest.mark.slow
def test_an_agent_killed_by_the_system_finds_its_jobs(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"executor": "slurm", "mode": "synchronous", "slurm": {"poll_s": 0.01}}
    config = quick_config(tmp_path, cluster=cluster, **SMALL)
    script = AGENT.format(here=str(HERE), config=str(tmp_path / "quick.yaml"))
    agent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    kept: Callable[[], int] = lambda: len(list((config.folder / "jobs").glob("*.id")))  # noqa: E731
    while agent.poll() is None and kept() < 2:
        time.sleep(0.02)
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    n_submitted = len(queue.jobs())
    queue.run_pending(1)
    report = run(config, queue, monkeypatch)
    assert n_submitted >= 2
    assert (report["solver_runs"], report["failed_runs"], len(queue.jobs())) == (6, 0, 6)
    with Ledger(config.folder / "ledger.db") as ledger:
        assert {attempt.status for attempt in ledger.attempts()} == {"solved", "interrupted"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cpus": 4}, "cpus 4 is for executor 'ray'"),
        ({"solve_resources": {"licence": 1}}, "SLURM has options of its own: slurm.arguments"),
        ({"solve_gpus": 0.5}, r"solve_gpus 0\.5 must be a whole number"),
        ({"storage": "memory://x"}, "storage memory://x: .* must be a folder that all machines share"),
        ({"runtime_env": {"pip": []}}, "runtime_env is for a cluster"),
        ({"slurm": {"arguments": ["-A physics"]}}, "'-A physics' must be written --name or --name=value"),
        ({"slurm": {"arguments": ["script.sh"]}}, "must be written --name or --name=value"),
        ({"slurm": {"arguments": ["--arr=1-3"]}}, "--array is not allowed here"),
        ({"slurm": {"arguments": ["--mem=3G"]}}, "solve_memory_mb"),
        ({"slurm": {"arguments": "--exclusive"}}, "valid tuple"),
        ({"slurm": {"partition": "a b"}}, "pattern"),
        ({"slurm": {"poll_s": 0}}, "greater than 0"),
        ({"slurm": {"queue": "a"}}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ClusterSettings(executor="slurm", **settings)
