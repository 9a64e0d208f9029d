"""One full-order solve as a task that any process can do, and its outcome as data."""

import errno
import faulthandler
import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solvers import catalog
from solvers.contract import Continuable, FullOrderModel, Snapshots, SolverError
from solvers.object_store import open_store
from solvers.store import DamagedSnapshot, SnapshotStore, address

_log = logging.getLogger(__name__)

# Failures that may be the machine's and not the point's, so that trying again makes sense: a lost worker, and memory,
# which depends on what else was running. A run that meets its time limit hangs, most often, and would again, at the
# full price; all other kinds repeat themselves.
TRANSIENT = ("worker-lost", "out-of-memory")

# No room where the solutions are stored: not a failure of the point, but the end of the campaign until there is room.
DISK_FULL = "disk-full"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        return catalog.build(self.name, self.options)


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

    def lost(self, failure: "TaskFailure", submitted_at: float) -> "SolveResult":
        """The result where the worker is gone."""
        return SolveResult(self.task_id, self.address, 0.0, submitted_at, time.time(), "", False, failure)

    @property
    def last_words(self) -> Path:
        """Where a process that is ended for its time limit leaves the place at which it hung."""
        return Path(self.store_root) / f".{self.address}.time-out"


@dataclass(frozen=True)
class TaskFailure:
    """Why a task failed.

    Attributes:
        kind: one of `FAILURE_KINDS`, `DISK_FULL`, or a `SolverError`'s own.
        message: for people, on one line.
    """

    kind: str
    message: str


SolveFailure = TaskFailure


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
    task.last_words.parent.mkdir(parents=True, exist_ok=True)
    with task.last_words.open("w") as last_words:
        faulthandler.dump_traceback_later(task.time_limit_s, exit=True, file=last_words)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    task.last_words.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that there is no room for what was to be written."""
    while error is not None:
        # The library that writes models reports the number in its text alone.
        number = error.errno if isinstance(error, OSError) else None
        if number in _NO_ROOM or any(f"(os error {n})" in str(error) for n in _NO_ROOM):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


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


def described(error: BaseException) -> str:
    """Type, message and place of an exception on one line."""
    summary = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = traceback.extract_tb(error.__traceback__)
    return f"{summary} (at {frames[-1].filename}:{frames[-1].lineno})" if frames else summary
