"""One full-order solve as a task for a worker, and its result as data."""

import faulthandler
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlasdi.agent.execution.outcomes import DISK_FULL, TaskFailure, described, is_disk_full, this_worker
from mlasdi.preprocessing import limited_threads
from mlasdi.solvers import Continuable, FullOrderModel, Snapshots, SolverError, build_solver, contained
from mlasdi.solvers.storage import DamagedSnapshot, SharedSolutions, SnapshotStore, address, open_store

_log = logging.getLogger(__name__)

# Which programs read their number of threads from these: OpenMP and the libraries of linear algebra.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class SolverSpec:
    """A solver by its name and options (JSON), from which each worker builds it."""

    name: str
    options: Mapping[str, Any]

    def build(self) -> FullOrderModel:
        """The solver.

        Raises:
            ValueError: the solver or an option is unknown, or a value is not allowed.
        """
        return build_solver(self.name, self.options)


@dataclass(frozen=True)
class SolveTask:
    """One solve to be done.

    Attributes:
        task_id: identifies the result.
        address: of the snapshots in the store; must match the solver, `mu` and `n_time`.
        store_root: folder of the snapshot store, as the worker accesses it, or its URL.
        n_time: number of times that are kept; None for all.
        time_limit_s: seconds after which the process of the solve is ended, so only for worker processes.
        shared: folder of the solutions that campaigns share; None without.
    """

    task_id: int
    solver: SolverSpec
    mu: dict[str, float]
    address: str
    store_root: str
    n_time: int | None = None
    time_limit_s: float | None = None
    shared: str | None = None

    def lost(self, failure: TaskFailure, submitted_at: float) -> "SolveResult":
        """The result if the worker was lost."""
        return SolveResult(self.task_id, self.address, 0.0, submitted_at, time.time(), "", False, failure)

    @property
    def timeout_traceback(self) -> Path:
        """File to which a worker writes its traceback when the time limit ends it."""
        return Path(self.store_root) / f".{self.address}.time-out"


@dataclass(frozen=True)
class SolveResult:
    """How a solve ended.

    Attributes:
        task_id, address: of the task.
        solve_s: seconds inside the solver; 0 for a solution found in the store and for a failed solve.
        started_at, ended_at: unix seconds by the worker's clock; if the worker was lost, submission and loss by the
            agent's clock.
        worker: `host:pid`; empty if the worker was lost.
        cached: whether the solution was found in the store, so that the solver did not run.
        failure: None after success; then the snapshots are in the store.
    """

    task_id: int
    address: str
    solve_s: float
    started_at: float
    ended_at: float
    worker: str
    cached: bool
    failure: TaskFailure | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def execute(task: SolveTask, threads: int = 1) -> SolveResult:
    """Solve, check and store in a worker, unless the solution is stored already.

    A damaged file at the address is set aside. Every exception becomes a failure, and so does the attempt to end this
    process (`contained`); only KeyboardInterrupt passes through.

    Args:
        threads: number of threads of the solver and of programs that it starts.
    """
    started_at, solve_s, cached = time.time(), 0.0, False
    failure: TaskFailure | None = None
    try:
        store = open_store(task.store_root)
        cached = is_stored(store, task.address)
        if not cached:
            with _limited(task), limited_threads(threads), _environment_of_programs(threads):
                solve_s, cached = _solve_into(store, task)
    except SolverError as error:
        failure = TaskFailure(error.kind, str(error))
    except MemoryError as error:
        reason = f"the solver ran out of memory ({described(error)}); use a coarser grid or a larger machine"
        failure = TaskFailure("out-of-memory", reason)
    except Exception as error:
        failure = TaskFailure(DISK_FULL if is_disk_full(error) else "exception", described(error))
    return SolveResult(task.task_id, task.address, solve_s, started_at, time.time(), this_worker(), cached, failure)


@contextmanager
def _limited(task: SolveTask) -> Iterator[None]:
    """End this process if the body exceeds the time limit of the task.

    A watchdog thread of the interpreter does it without Python's global lock, so that code that hangs in a library is
    ended too. It writes a traceback, by which the agent distinguishes a time-out from other losses of a worker.
    """
    if task.time_limit_s is None:
        yield
        return
    task.timeout_traceback.parent.mkdir(parents=True, exist_ok=True)
    with task.timeout_traceback.open("w") as timeout_traceback:
        faulthandler.dump_traceback_later(task.time_limit_s, exit=True, file=timeout_traceback)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    task.timeout_traceback.unlink(missing_ok=True)


@contextmanager
def _environment_of_programs(threads: int) -> Iterator[None]:
    """Programs that the body starts use this number of threads, unless the solver's options say otherwise."""
    kept = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def is_stored(store: SnapshotStore, name: str) -> bool:
    """Whether a store has a solution; a damaged one is set aside."""
    try:
        return store.open(name) is not None
    except DamagedSnapshot as damage:
        _log.warning("%s; kept as %s", damage, store.set_aside(name))
        return False


def _solve_into(store: SnapshotStore, task: SolveTask) -> tuple[float, bool]:
    """Solve and store; returns the seconds that the solver took, and whether another campaign had solved it.

    Raises:
        SolverError: the solve failed, or its output breaks the contract.
        ValueError: the solver cannot be built, or differs from the one for which the task was made.
    """
    with contained():
        fom = task.solver.build()
        identity = fom.identity()
    if address(identity, task.mu, task.n_time) != task.address:
        raise ValueError(
            f"solver '{task.solver.name}' is {identity} on {socket.gethostname()} and differs where the task was made: "
            "install the same versions on every machine"
        )
    shared = SharedSolutions.of(task.shared, fom)
    if shared is not None and shared.fetch(store, task.address):
        return 0.0, True
    start = time.perf_counter()
    with contained():
        snapshots = _solution(fom, task.mu, store)
    solve_s = time.perf_counter() - start
    if not isinstance(snapshots, Snapshots):
        raise SolverError("bad-output", f"solve returned {type(snapshots).__name__}; expected Snapshots")
    snapshots.check(fom.layout)
    store.put(task.address, snapshots.thinned(task.n_time), identity=identity, mu=task.mu, solve_s=solve_s)
    if shared is not None:
        shared.add(store, task.address)
    return solve_s, False


def _solution(fom: FullOrderModel, mu: Mapping[str, float], store: SnapshotStore) -> Snapshots:
    """Solve, starting from an earlier solution if the solver can."""
    if isinstance(fom, Continuable):
        return fom.solve_from(mu, store.starts(fom.identity()))
    return fom.solve(mu)


def time_out_of(task: SolveTask) -> TaskFailure | None:
    """The failure if a worker ended because the solve exceeded its time limit; else None."""
    if task.time_limit_s is None:
        return None
    try:
        timeout_traceback = task.timeout_traceback.read_text().splitlines()
        task.timeout_traceback.unlink()
    except OSError:
        return None
    threads = [number for number, line in enumerate(timeout_traceback) if "most recent call first" in line]
    # The main thread, which runs the solver, comes last.
    of_main = timeout_traceback[threads[-1] :] if threads else []
    place = next((line.strip() for line in of_main if line.startswith("  File ")), "")
    if not timeout_traceback:
        return None
    return TaskFailure(
        "time-out",
        f"the solve took longer than cluster.solve_time_limit_s {task.time_limit_s:g} and was stopped"
        + (f", at {place}" if place else ""),
    )
