"""One full-order solve as a task that any process can do, and its outcome as data."""

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

from mlasdi.agent.execution.failures import DISK_FULL, SolveFailure, described, is_disk_full
from mlasdi.solvers import Continuable, FullOrderModel, Snapshots, SolverError, build_solver
from mlasdi.solvers.storage import DamagedSnapshot, SnapshotStore, address, open_store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SolverSpec:
    """Which solver, with which options (JSON); built anew in each worker, so that no solver object travels."""

    name: str
    options: Mapping[str, Any]

    def build(self) -> FullOrderModel:
        """The solver.

        Raises:
            ValueError: there is no such solver or option, or a value is not allowed.
        """
        return build_solver(self.name, self.options)


@dataclass(frozen=True)
class SolveTask:
    """One solve to be done.

    Attributes:
        task_id: chosen by the caller, who finds it in the result.
        address: where the snapshots go in the store; must be that of the solver, `mu` and `n_time`.
        store_root: folder of the snapshot store, as the worker sees it, or its URL.
        n_time: how many of the times are kept; None for all.
        time_limit_s: seconds after which the process that solves is ended, so only a worker may have a limit.
    """

    task_id: int
    solver: SolverSpec
    mu: dict[str, float]
    address: str
    store_root: str
    n_time: int | None = None
    time_limit_s: float | None = None

    def lost(self, failure: SolveFailure, submitted_at: float) -> "SolveResult":
        """The result where the worker is gone."""
        return SolveResult(self.task_id, self.address, 0.0, submitted_at, time.time(), "", False, failure)

    @property
    def timeout_traceback(self) -> Path:
        """Where a process that is ended for its time limit leaves the place at which it hung."""
        return Path(self.store_root) / f".{self.address}.time-out"


@dataclass(frozen=True)
class SolveResult:
    """How a solve ended.

    Attributes:
        solve_s: seconds inside the solver; 0 for a solution found in the store and for a failed solve.
        started_at, ended_at: unix seconds by the worker's clock; where the worker was lost, those of submission and
            of the loss by the agent's.
        worker: host and process, `host:pid`; empty where the worker was lost.
        cached: whether the store had a sound solution, so that the solver did not run.
        failure: None after success; then the snapshots are in the store.
    """

    task_id: int
    address: str
    solve_s: float
    started_at: float
    ended_at: float
    worker: str
    cached: bool
    failure: SolveFailure | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def execute(task: SolveTask) -> SolveResult:
    """Solve, check and store, unless the store has the solution; runs in the worker.

    A damaged file at the address is set aside. Every exception becomes a failure; only requests to stop the process
    (KeyboardInterrupt, SystemExit) pass through.
    """
    started_at, solve_s, cached = time.time(), 0.0, False
    failure: SolveFailure | None = None
    try:
        store = open_store(task.store_root)
        cached = _holds(store, task.address)
        if not cached:
            with _limited(task):
                solve_s = _solve_into(store, task)
    except SolverError as error:
        failure = SolveFailure(error.kind, str(error))
    except MemoryError as error:
        reason = f"the solver ran out of memory ({described(error)}); use a coarser grid or a larger machine"
        failure = SolveFailure("out-of-memory", reason)
    except Exception as error:
        failure = SolveFailure(DISK_FULL if is_disk_full(error) else "exception", described(error))
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return SolveResult(task.task_id, task.address, solve_s, started_at, time.time(), worker, cached, failure)


@contextmanager
def _limited(task: SolveTask) -> Iterator[None]:
    """End this process when the body takes longer than the task may.

    A thread of the interpreter's own does it, which needs no lock of Python's: code that hangs in a library is ended,
    too. It writes down where that was, by which the agent knows a time-out from any other loss of a worker.
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


def _holds(store: SnapshotStore, name: str) -> bool:
    try:
        return store.get(name) is not None
    except DamagedSnapshot as damage:
        _log.warning("%s; kept as %s", damage, store.set_aside(name))
        return False


def _solve_into(store: SnapshotStore, task: SolveTask) -> float:
    """Solve and store; returns the seconds that the solver took.

    Raises:
        SolverError: the solve failed, or its output breaks the contract.
        ValueError: the solver cannot be built, or is not the one that the task's address was made for.
    """
    fom = task.solver.build()
    identity = fom.identity()
    if address(identity, task.mu, task.n_time) != task.address:
        raise ValueError(
            f"solver '{task.solver.name}' is {identity} on {socket.gethostname()}, and another one where the task was "
            "made: install the same versions on every machine"
        )
    start = time.perf_counter()
    snapshots = _solution(fom, task.mu, store)
    solve_s = time.perf_counter() - start
    if not isinstance(snapshots, Snapshots):
        raise SolverError("bad-output", f"solve returned {type(snapshots).__name__}; expected Snapshots")
    snapshots.check(fom.layout)
    store.put(task.address, snapshots.thinned(task.n_time), identity=identity, mu=task.mu, solve_s=solve_s)
    return solve_s


def _solution(fom: FullOrderModel, mu: Mapping[str, float], store: SnapshotStore) -> Snapshots:
    """Solve, where the solver can from an earlier solution."""
    if isinstance(fom, Continuable):
        return fom.solve_from(mu, store.starts(fom.identity()))
    return fom.solve(mu)
