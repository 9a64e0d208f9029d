"""Executors: their common behaviour, and that of worker processes only."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import torch

from mlasdi.agent.choosing import PointSets, SamplingSettings, propose
from mlasdi.agent.execution import (
    TRANSIENT,
    ClusterSettings,
    ProposeTask,
    Solution,
    SolverSpec,
    SolveTask,
    TrainTask,
    make_executor,
)
from mlasdi.agent.execution.executor import SerialExecutor
from mlasdi.agent.execution.ray_executor import RayExecutor
from mlasdi.agent.execution.ray_executor import _failure_of as failure_of
from mlasdi.agent.execution.solve_task import THREAD_VARIABLES
from mlasdi.solvers import Parameter, ParameterSpace, catalog
from mlasdi.solvers.storage import SnapshotStore, address
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings

BURGERS = SolverSpec("burgers1d", {"n_x": 101, "n_t": 51})


def faulty(fault="", **options):
    return SolverSpec("faulty_solvers:Faulty", {"fault": fault, **options})


def solve_task(task_id, solver, mu, folder, n_time=None):
    where = address(solver.build().identity(), mu, n_time)
    return SolveTask(task_id, solver, mu, where, str(folder / "store"), n_time)


@pytest.fixture(scope="module", autouse=True)
def environment():
    """Test solvers that workers can import, and a RAY_ADDRESS that local runs must ignore."""
    here = str(Path(__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
        yield


@pytest.fixture(scope="module")
def ray_executor(environment):
    with RayExecutor(ClusterSettings(cpus=2, train_gpus=1)) as executor:
        yield executor


@pytest.fixture(params=["serial", "ray"])
def executor(request):
    return SerialExecutor() if request.param == "serial" else request.getfixturevalue("ray_executor")


# Both executors


def test_a_solution_is_stored_as_the_solver_gives_it(executor, tmp_path):
    mu = {"a": 0.8, "w": 1.0}
    before = time.time()
    (result,) = executor.run([solve_task(7, BURGERS, mu, tmp_path)])
    assert (result.ok, result.failure, result.cached, result.task_id) == (True, None, False, 7)
    assert before <= result.started_at <= result.ended_at <= time.time()
    assert 0 < result.solve_s <= result.ended_at - result.started_at
    stored, truth = SnapshotStore(tmp_path / "store").get(result.address), BURGERS.build().solve(mu)
    np.testing.assert_array_equal(stored.t, truth.t)
    np.testing.assert_array_equal(stored.u, truth.u)


def test_times_are_thinned(executor, tmp_path):
    mu = {"a": 0.8, "w": 1.0}
    (result,) = executor.run([solve_task(0, BURGERS, mu, tmp_path, n_time=6)])
    stored, truth = SnapshotStore(tmp_path / "store").get(result.address), BURGERS.build().solve(mu)
    np.testing.assert_array_equal(stored.t, truth.t[::10])
    np.testing.assert_array_equal(stored.u, truth.u[::10])


def test_each_of_many_tasks_gives_one_result(executor, tmp_path):
    tasks = [solve_task(i, faulty(log=str(tmp_path / "log")), {"a": float(i)}, tmp_path) for i in range(20)]
    results = {result.task_id: result for result in executor.run(tasks)}
    assert sorted(results) == list(range(20))
    store = SnapshotStore(tmp_path / "store")
    for task in tasks:
        assert results[task.task_id].address == task.address
        assert store.get(task.address).u[-1, -1] == task.mu["a"]
    assert sorted(map(float, (tmp_path / "log").read_text().split())) == [float(i) for i in range(20)]


def test_a_stored_solution_is_not_computed_again(executor, tmp_path):
    task = solve_task(0, faulty(log=str(tmp_path / "log")), {"a": 2.0}, tmp_path)
    first, again = (next(executor.run([task])) for _ in range(2))
    assert (first.cached, again.cached, again.ok, again.solve_s) == (False, True, True, 0)
    assert (tmp_path / "log").read_text() == "2.0\n"


LEAVING = {
    "sys.exit": "the code called sys.exit(0) at ",
    "os._exit": "the code called os._exit(0) at ",
    "BaseException": "the code raised BaseException: out of it at ",
}


@pytest.mark.parametrize("fault", LEAVING)
def test_a_solver_that_leaves_is_one_failed_point(executor, tmp_path, fault):
    log = tmp_path / "log"
    tasks = [solve_task(0, faulty(fault, log=str(log)), {"a": 1.0}, tmp_path)]
    tasks += [solve_task(1, faulty(), {"a": 2.0}, tmp_path)]
    results = {result.task_id: result for result in executor.run(tasks)}
    failure = results[0].failure
    assert failure.kind == "exception"
    assert failure.kind not in TRANSIENT
    assert failure.message.startswith(LEAVING[fault])
    assert log.read_text() == "1.0\n"
    assert results[1].ok


@pytest.mark.parametrize("fault", ["chdir", "close", "print", "fork"])
def test_what_a_solver_does_to_its_process_does_not_matter(executor, tmp_path, fault, capfd):
    """The solutions of this solver and of the next one lie where they should, and each is there once."""
    folder, log = os.getcwd(), tmp_path / "log"
    tasks = [solve_task(0, faulty(fault, log=str(log)), {"a": 1.0}, tmp_path)]
    tasks += [solve_task(1, faulty(), {"a": 2.0}, tmp_path)]
    results = {result.task_id: result for result in executor.run(tasks)}
    assert [results[i].failure for i in range(2)] == [None, None]
    assert len(SnapshotStore(tmp_path / "store").addresses()) == 2
    assert log.read_text() == "1.0\n"
    assert os.getcwd() == folder
    print("result")
    assert capfd.readouterr().out == "result\n"


def test_a_solve_has_as_many_threads_as_cores(tmp_path):
    """In its process and in programs that it starts, whatever the environment says; afterwards all is as before."""
    settings = ClusterSettings(executor="serial", solve_cpus=2)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    task = solve_task(0, SolverSpec("faulty_solvers:Threads", {}), {"a": 1.0}, tmp_path)
    with make_executor(settings) as serial:
        (result,) = serial.run([task])
    assert result.failure is None
    assert SnapshotStore(tmp_path / "store").get(task.address).u[0].tolist() == [2, 2, 2]
    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before


def test_a_solve_in_a_worker_has_as_many_threads_as_cores(ray_executor, tmp_path):
    task = solve_task(0, SolverSpec("faulty_solvers:Threads", {}), {"a": 1.0}, tmp_path)
    (result,) = ray_executor.run([task])
    assert result.failure is None
    assert SnapshotStore(tmp_path / "store").get(task.address).u[0].tolist() == [1, 1, 1]


def test_a_damaged_solution_is_set_aside_and_computed_again(executor, tmp_path):
    task = solve_task(0, faulty(), {"a": 2.0}, tmp_path)
    next(executor.run([task]))
    path = SnapshotStore(tmp_path / "store").path(task.address)
    path.write_bytes(path.read_bytes()[:-100])
    (result,) = executor.run([task])
    assert (result.ok, result.cached) == (True, False)
    assert SnapshotStore(tmp_path / "store").get(task.address).u[-1, -1] == 2.0
    assert len(list(path.parent.glob("*.damaged"))) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        ("exception", "exception", "ZeroDivisionError: division by zero (at "),
        ("solver-error", "not-converged", "try a smaller step"),
        ("memory", "out-of-memory", "a coarser grid or a larger machine"),
        ("nan", "not-finite", "states are not finite from time index 6"),
        ("shape", "wrong-shape", "states have shape (11, 4); expected [time, state] = (11, 5)"),
        ("type", "bad-output", "solve returned dict; expected Snapshots"),
    ],
)
def test_failures_are_data_and_leave_nothing_in_the_store(executor, tmp_path, fault, kind, told):
    good, bad = solve_task(0, faulty(), {"a": 1.0}, tmp_path), solve_task(1, faulty(fault), {"a": 1.0}, tmp_path)
    results = {result.task_id: result for result in executor.run([bad, good])}
    assert results[0].ok
    assert not results[1].ok
    assert results[1].failure.kind == kind
    assert told in results[1].failure.message
    assert "\n" not in results[1].failure.message
    assert SnapshotStore(tmp_path / "store").addresses() == [good.address]


def test_an_exception_names_the_line_of_the_solver(executor, tmp_path):
    (result,) = executor.run([solve_task(0, faulty("exception"), {"a": 1.0}, tmp_path)])
    assert f"{Path(__file__).parents[1] / 'faulty_solvers.py'}:" in result.failure.message


def test_a_solver_that_cannot_be_built_is_a_failure(executor, tmp_path):
    task = SolveTask(0, SolverSpec("burger1d", {}), {"a": 1.0}, "0" * 32, str(tmp_path / "store"))
    (result,) = executor.run([task])
    assert result.failure.kind == "exception"
    assert "did you mean 'burgers1d'?" in result.failure.message


def test_a_solver_other_than_the_addressed_one_is_not_run(executor, tmp_path):
    """As if a machine of the cluster had another version, whose solution must not be used."""
    meant = solve_task(0, faulty(), {"a": 1.0}, tmp_path)
    log = tmp_path / "log"
    task = SolveTask(0, faulty(log=str(log)), meant.mu, meant.address, meant.store_root)
    (result,) = executor.run([task])
    assert "install the same versions" in result.failure.message
    assert not log.exists()
    assert SnapshotStore(tmp_path / "store").addresses() == []


def test_an_abandoned_run_leaves_the_executor_usable(executor, tmp_path):
    tasks = [solve_task(i, faulty(), {"a": float(i)}, tmp_path) for i in range(6)]
    run = executor.run(tasks)
    next(run)
    run.close()
    assert {result.task_id for result in executor.run(tasks)} == set(range(6))


def test_no_tasks_give_no_results(executor):
    assert list(executor.run([])) == []
    assert executor.wait() == []


def test_what_is_submitted_comes_from_wait(executor, tmp_path):
    for number in range(3):
        executor.submit(solve_task(number, faulty(), {"a": float(number)}, tmp_path))
    found = []
    while results := executor.wait():
        found += results
    assert sorted(result.task_id for result in found) == [0, 1, 2]
    assert all(result.ok for result in found)
    assert executor.wait() == []


def test_what_is_cancelled_does_not_come(executor, tmp_path):
    executor.submit(solve_task(0, faulty(), {"a": 1.0}, tmp_path))
    executor.cancel()
    assert executor.wait() == []
    assert next(executor.run([solve_task(1, faulty(), {"a": 2.0}, tmp_path)])).task_id == 1


def training(tmp_path, model, **changes):
    """A training on three solutions of burgers1d."""
    store, fom = SnapshotStore(tmp_path / "store"), BURGERS.build()
    solutions = []
    for a in (0.7, 0.8, 0.9):
        mu = {"a": a, "w": 1.0}
        where = address(fom.identity(), mu)
        store.put(where, fom.solve(mu), identity=fom.identity(), mu=mu, solve_s=0.0)
        solutions.append(Solution(mu, where))
    space = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
    task = TrainTask(
        5, BURGERS, space, tuple(solutions), str(store.root), str(tmp_path / "model"),
        ModelSettings.model_validate({"kind": "snapshot-gp", "n_time": 6, **model}), 0, {"round": 5},
    )  # fmt: skip
    return replace(task, **changes)


@pytest.mark.slow
def test_a_training_does_without_a_gpu_where_there_is_none(executor, tmp_path):
    """With Ray it would wait for ever, if it went on asking for one."""
    executor.submit(training(tmp_path, {}, gpus=1.0))
    (result,) = executor.wait()
    assert result.ok
    assert torch.cuda.is_available() or [w for w in result.warnings if "cluster.train_gpus 1: no GPU is available" in w]


def test_a_training_leaves_a_surrogate(executor, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "half").touch()  # left by a worker that died
    task = training(tmp_path, {})
    executor.submit(task)
    (result,) = executor.wait()
    assert (result.ok, result.task_id, result.warnings) == (True, 5, ())
    surrogate = Surrogate.load(task.place)
    assert surrogate.info["round"] == 5
    np.testing.assert_allclose(surrogate.space.from_unit(surrogate.model.latent.x)[:, 0], [0.7, 0.8, 0.9])
    space = surrogate.space
    known = space.from_unit(surrogate.model.latent.x)
    wanted = ProposeTask(5, task.place, SamplingSettings(candidates=8), PointSets(known), 2, 0)
    executor.submit(wanted)
    (chosen,) = executor.wait()
    assert chosen.failure is None
    assert (chosen.task_id, chosen.mus.shape, len(chosen.scores)) == (5, (2, 2), 2)
    expected, _ = propose(surrogate, wanted.sampling, PointSets(known), 2, 0)
    np.testing.assert_allclose(chosen.mus, expected, rtol=1e-5)


def test_trainings_and_choices_fail_as_data(executor, tmp_path):
    task = training(tmp_path, {})
    executor.submit(replace(task, solutions=task.solutions[:1]))
    (result,) = executor.wait()
    assert result.failure.kind == "exception"
    assert "at least 2 different training points" in result.failure.message
    store = SnapshotStore(Path(task.store_root))
    path = store.path(task.solutions[1].address)
    path.write_bytes(path.read_bytes()[:-9])
    executor.submit(task)
    (result,) = executor.wait()
    assert result.failure.kind == "damaged-snapshot"
    path.unlink()
    executor.submit(task)
    (result,) = executor.wait()
    assert result.failure.kind == "solutions"
    assert "is missing" in result.failure.message
    known = np.ones((1, 2))
    executor.submit(ProposeTask(0, str(tmp_path / "nothing"), SamplingSettings(), PointSets(known), 1, 0))
    (chosen,) = executor.wait()
    assert "no surrogate there" in chosen.failure.message
    assert len(chosen.mus) == 0


# Worker processes


def test_solves_run_at_the_same_time(ray_executor, tmp_path):
    (tmp_path / "meeting").mkdir()
    solver = SolverSpec("faulty_solvers:Meeting", {"folder": str(tmp_path / "meeting")})
    results = list(ray_executor.run([solve_task(i, solver, {"a": float(i)}, tmp_path) for i in range(2)]))
    assert [result.failure for result in results] == [None, None]
    assert len({result.worker for result in results} | {f"{os.uname().nodename}:{os.getpid()}"}) == 3


def test_a_lost_worker_is_a_failure_of_its_task_alone(ray_executor, tmp_path):
    log = tmp_path / "log"
    tasks = [solve_task(i, faulty(), {"a": float(i)}, tmp_path) for i in range(4)]
    tasks.insert(1, solve_task(9, faulty("kill", log=str(log)), {"a": 9.0}, tmp_path))
    results = {result.task_id: result for result in ray_executor.run(tasks)}
    lost = results.pop(9)
    assert lost.failure.kind == "worker-lost"
    assert "the worker died during the task" in lost.failure.message
    assert (lost.worker, lost.solve_s, lost.cached) == ("", 0, False)
    assert lost.started_at <= lost.ended_at <= time.time()
    assert log.read_text() == "9.0\n"  # the agent, not Ray, decides whether to try again
    assert all(result.ok for result in results.values())
    assert len(results) == 4


def test_a_lost_worker_does_not_write_on_standard_output(ray_executor, tmp_path, capfd, monkeypatch):
    """Ray announces the loss from a thread, which may be after the result."""
    announced, announce = queue.SimpleQueue(), ray._private.worker.print_to_stdstream

    def announce_and_tell(data, **options):
        announce(data, **options)
        announced.put(" ".join(data["lines"]))

    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", announce_and_tell)
    # Otherwise an announcement like an earlier one is held back for seconds.
    monkeypatch.setattr(ray._private.ray_logging, "RAY_DEDUP_LOGS", False)
    noted = tmp_path / "pid"
    killed = SolverSpec("faulty_solvers:Killed", {"log": str(noted)})
    list(ray_executor.run([solve_task(0, killed, {"a": 1.0}, tmp_path)]))
    while f"PID: {noted.read_text()} " not in announced.get(timeout=60):
        pass  # of a worker that was lost before
    assert capfd.readouterr().out == ""


def test_abandoning_a_run_stops_its_solves(ray_executor, tmp_path):
    tasks = [solve_task(0, faulty(), {"a": 0.0}, tmp_path)]
    tasks += [solve_task(i, faulty("sleep"), {"a": float(i)}, tmp_path) for i in range(1, 5)]
    run = ray_executor.run(tasks)
    assert next(run).task_id == 0
    run.close()
    # Solves that continued would occupy both cores for ten minutes.
    assert all(result.ok for result in ray_executor.run([solve_task(9, faulty(), {"a": 9.0}, tmp_path)]))


def test_a_solve_that_hangs_is_ended_at_its_time_limit(ray_executor, tmp_path):
    """Even in a library, where no signal handler of Python runs; and the failure says where it hung."""
    hanging = replace(solve_task(0, faulty("sleep"), {"a": 0.0}, tmp_path), time_limit_s=1.0)
    within = replace(solve_task(1, faulty(), {"a": 1.0}, tmp_path), time_limit_s=60.0)
    results = {result.task_id: result for result in ray_executor.run([hanging, within])}
    assert results[1].ok
    failure = results[0].failure
    assert failure.kind == "time-out"
    assert "longer than cluster.solve_time_limit_s 1 " in failure.message
    assert "faulty_solvers.py" in failure.message
    assert list((tmp_path / "store").glob(".*.time-out")) == []


def test_a_worker_lost_within_its_time_limit_is_no_time_out(ray_executor, tmp_path):
    task = replace(solve_task(0, faulty("kill"), {"a": 0.0}, tmp_path), time_limit_s=60.0)
    (result,) = ray_executor.run([task])
    assert result.failure.kind == "worker-lost"


# Starts a program with a child that leaves its parent's session, and waits for it.
FAMILY = "# {a}\n(setsid sh -c 'sleep 86400 & wait' &)\ntouch started\nsleep 86400\n"


@pytest.fixture
def program(tmp_path):
    """A task whose program never ends, and a list of the processes that work in the folder of its run."""
    options = {"argv": ["sh", "in"], "files": {"in": FAMILY}, "parameters": ["a"], "output": "u.csv",
               "runs": str(tmp_path / "runs")}  # fmt: skip

    def working():
        found = []
        for process in psutil.process_iter(["cwd", "status"]):
            if str(tmp_path / "runs") in (process.info["cwd"] or "") and process.info["status"] != "zombie":
                found.append(process)
        return found

    return solve_task(0, SolverSpec("command", options), {"a": 1.0}, tmp_path), working


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_abandoning_a_run_ends_its_programs(ray_executor, tmp_path, program):
    task, working = program
    run = ray_executor.run([solve_task(1, faulty(), {"a": 0.0}, tmp_path), task])
    assert next(run).task_id == 1
    wait_until(lambda: list((tmp_path / "runs").glob("*/started")))
    assert len(working()) >= 3
    run.close()
    wait_until(lambda: not working())


def test_a_killed_worker_takes_its_programs_along(ray_executor, tmp_path, program):
    task, working = program
    killer = threading.Thread(target=lambda: (wait_until(lambda: list((tmp_path / "runs").glob("*/started"))), kill()))

    def kill():
        above = [parent for process in working() for parent in process.parents()]  # other workers may be idle
        next(p for p in above if "ray::execute" in p.name() + _title(p)).kill()

    killer.start()
    (result,) = ray_executor.run([task])
    killer.join()
    assert result.failure.kind == "worker-lost"
    wait_until(lambda: not working())


def _title(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_task_that_a_worker_cannot_read_is_a_failure(ray_executor, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("class Option(str):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from only_here import Option

    task = SolveTask(0, SolverSpec("burgers1d", {"n_x": Option()}), {"a": 1.0}, "0" * 32, str(tmp_path))
    (result,) = ray_executor.run([task])
    assert result.failure.kind == "exception"
    assert "only_here" in result.failure.message
    assert "\n" not in result.failure.message


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (ray.exceptions.OutOfMemoryError("node is\nshort"), "out-of-memory", "(node is short); set cluster.solve_mem"),
        (ray.exceptions.NodeDiedError("node is gone"), "worker-lost", "(node is gone)"),
        (ray.exceptions.LocalRayletDiedError(), "worker-lost", "raylet"),
    ],
)
def test_losses_that_cannot_be_staged_here(error, kind, told):
    failure = failure_of(error)
    assert failure.kind == kind
    assert told in failure.message


def test_what_does_not_fit_the_machine_is_refused_instead_of_waiting(ray_executor, tmp_path):
    task = solve_task(0, faulty(), {"a": 1.0}, tmp_path)
    assert next(ray_executor.run([task])).ok
    for needs in ({"solve_cpus": 1000}, {"solve_memory_mb": 10**9}, {"solve_gpus": 64}):
        with pytest.raises(ValueError, match=rf"cluster\.{next(iter(needs))} {next(iter(needs.values()))}\b"):
            next(RayExecutor(ClusterSettings(**needs)).run([task]))
    with pytest.raises(ValueError, match=r"cluster\.solve_resources\.licence 2\b"):
        next(RayExecutor(ClusterSettings(solve_resources={"licence": 2})).run([task]))


def test_a_connection_made_by_others_is_used_and_left_open(ray_executor, tmp_path):
    tasks = [solve_task(i, faulty(), {"a": float(i)}, tmp_path) for i in range(3)]
    assert next(ray_executor.run(tasks[:1])).ok
    with RayExecutor(ClusterSettings(solve_memory_mb=10)) as guest:
        assert next(guest.run(tasks[1:2])).ok
    assert ray.is_initialized()
    assert next(ray_executor.run(tasks[2:])).ok


# Starting and closing Ray, in processes of their own


def run_script(script, **variables):
    """Standard output of a Python script, which must end well; `variables` extend the environment."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


UNUSED = """
import sys
from mlasdi.agent.execution import ClusterSettings
from mlasdi.agent.execution.ray_executor import RayExecutor
with RayExecutor(ClusterSettings()) as executor:
    assert list(executor.run([])) == []
print("ray" in sys.modules)
"""


@pytest.mark.slow
def test_ray_is_not_even_imported_without_a_task():
    assert run_script(UNUSED) == "False\n"


# Uses the executor twice, the second time with an exception in the body, and reports what is left after each.
CLEAN = """
import json, os, sys
import psutil
from mlasdi.agent.execution import ClusterSettings, SolverSpec, SolveTask
from mlasdi.agent.execution.ray_executor import RayExecutor
from mlasdi.solvers.storage import address

solver = SolverSpec("faulty_solvers:Faulty", {})
sleeper = SolverSpec("faulty_solvers:Faulty", {"fault": "sleep"})
def task(solver, a):
    return SolveTask(0, solver, {"a": a}, address(solver.build().identity(), {"a": a}), sys.argv[1])

def processes():
    return psutil.Process().children(recursive=True)

reports, executor = [], RayExecutor(ClusterSettings(cpus=2))
for a in (1.0, 2.0):
    try:
        with executor:
            run = executor.run([task(solver, a), task(sleeper, a)])
            assert next(run).ok
            started, folder = processes(), executor._folder.name
            assert os.path.isdir(folder)
            if a == 2.0:
                raise KeyError
    except KeyError:
        pass
    alive = [p.name() for p in started if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    reports.append([len(started), alive, [p.name() for p in processes()], os.path.exists(folder)])
    del run
print(json.dumps(reports))
"""


@pytest.mark.slow
def test_close_leaves_no_process_and_no_folder(tmp_path):
    script = CLEAN.replace("sys.argv[1]", repr(str(tmp_path)))
    for n_started, *left in json.loads(run_script(script)):
        assert n_started >= 3  # the servers of Ray and a worker
        assert left == [[], [], False]


JOIN = """
import sys
from mlasdi.agent.execution import ClusterSettings, SolverSpec, SolveTask
from mlasdi.agent.execution.ray_executor import RayExecutor
from mlasdi.solvers.storage import address
solver = SolverSpec("faulty_solvers:Faulty", {})
with RayExecutor(ClusterSettings(address="auto")) as executor:
    task = SolveTask(0, solver, {"a": 1.0}, address(solver.build().identity(), {"a": 1.0}), STORE)
    (result,) = executor.run([task])
    import ray
    print(result.ok, ray.get_runtime_context().gcs_address, executor._folder)
"""


@pytest.mark.slow
def test_a_cluster_is_joined_and_left_running(ray_executor, tmp_path):
    assert next(ray_executor.run([solve_task(0, faulty(), {"a": 1.0}, tmp_path)])).ok
    cluster = ray.get_runtime_context().gcs_address
    script = JOIN.replace("STORE", repr(str(tmp_path / "other")))
    assert run_script(script, RAY_ADDRESS=cluster) == f"True {cluster} None\n"
    assert next(ray_executor.run([solve_task(0, faulty(), {"a": 2.0}, tmp_path)])).ok


# Stands in for an address without a cluster: Ray looks for one for minutes, and would find that of other tests.
NOBODY = """
import ray
from mlasdi.agent.execution import ClusterSettings, SolverSpec, SolveTask
from mlasdi.agent.execution.ray_executor import RayExecutor
def init(**settings):
    assert settings["address"] == "ray://head:10001"
    raise ConnectionError("nobody\\nanswers")
ray.init = init
try:
    next(RayExecutor(ClusterSettings(address="ray://head:10001")).run([SolveTask(0, SolverSpec("x", {}), {}, "", "")]))
except ConnectionError as error:
    print(error, ray.is_initialized())
"""


@pytest.mark.slow
def test_an_absent_cluster_is_reported_with_the_remedy():
    told = run_script(NOBODY)
    assert "cluster.address 'ray://head:10001' (nobody answers)" in told
    assert told.endswith("use cluster.address: local False\n")


# Settings of a Ray of its own: what is asked for, a signal handler that survives, and folders of the dead.
OWN = """
import os, signal, subprocess, sys
from pathlib import Path
from mlasdi.agent.execution import ClusterSettings, SolverSpec, SolveTask
from mlasdi.agent.execution.ray_executor import RayExecutor
from mlasdi.solvers.storage import address
solver = SolverSpec("faulty_solvers:Faulty", {})
def handler(number, frame):
    print("asked", flush=True)
signal.signal(signal.SIGTERM, handler)
dead = subprocess.Popen(["true"])
dead.wait()
folders = [Path(f"/tmp/mlasdi-{pid}-test") for pid in (dead.pid, os.getpid())]
for folder in folders:
    folder.mkdir()
    (folder / "session").touch()
with RayExecutor(ClusterSettings(cpus=1, solve_resources={"licence": 1})) as executor:
    task = SolveTask(0, solver, {"a": 1.0}, address(solver.build().identity(), {"a": 1.0}), STORE)
    (result,) = executor.run([task])
    print(result.ok, [folder.exists() for folder in folders])
    os.kill(os.getpid(), signal.SIGTERM)
(folders[1] / "session").unlink()
folders[1].rmdir()
"""


@pytest.mark.slow
def test_a_ray_of_its_own_offers_what_is_asked_for_sweeps_and_leaves_signals_alone(tmp_path):
    assert run_script(OWN.replace("STORE", repr(str(tmp_path)))) == "True [False, True]\nasked\n"


# Settings


def test_settings_choose_the_executor():
    assert isinstance(make_executor(ClusterSettings(executor="serial")), SerialExecutor)
    assert isinstance(make_executor(ClusterSettings()), RayExecutor)


@pytest.mark.slow
def test_a_solver_listed_in_the_catalog_can_be_used(tmp_path, monkeypatch):
    monkeypatch.setitem(catalog.SOLVERS, "mine", "faulty_solvers:Faulty")
    (result,) = SerialExecutor().run([solve_task(0, SolverSpec("mine", {}), {"a": 1.0}, tmp_path)])
    assert result.ok
