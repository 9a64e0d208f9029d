"""Runs full-order solves, in this process or on a Ray cluster; every outcome, a lost worker included, is data."""

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.tasks import SolveFailure, SolveResult, SolverSpec, SolveTask, execute

__all__ = [
    "ClusterSettings",
    "Executor",
    "RayExecutor",
    "SerialExecutor",
    "SolveFailure",
    "SolveResult",
    "SolveTask",
    "SolverSpec",
    "execute",
    "make_executor",
]

_log = logging.getLogger(__name__)

# Snapshots travel as files, not through Ray: its store of objects holds tasks and results of a few hundred bytes.
_OBJECT_STORE_BYTES = 200 * 2**20


class ClusterSettings(BaseModel):
    """Where solves run, and what one of them needs.

    Attributes:
        executor: `ray` for solves side by side, `serial` for one after the other in the agent's process.
        address: `local` starts Ray on this machine; `auto` joins the cluster that this machine belongs to, or the one
            that RAY_ADDRESS names; `ray://host:port` joins a distant one.
        cpus: cores for solves on this machine; None for all. A cluster knows its own.
        solve_cpus: cores that one solve uses; a fraction lets several share a core.
        solve_memory_mb: memory that one solve needs, in MB: limits how many run at once, not what they take.
        retries: how often a point is tried again after a failure of a kind in `agent.tasks.TRANSIENT`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["ray", "serial"] = "ray"
    address: str = Field(default="local", pattern=r"^(local|auto|ray://.+)$")
    cpus: int | None = Field(default=None, ge=1)
    solve_cpus: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    solve_memory_mb: int | None = Field(default=None, ge=1)
    retries: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cpus is not None and self.address != "local":
            raise ValueError(f"cpus is for address 'local'; the cluster at '{self.address}' knows its own: remove cpus")
        if self.solve_cpus > 1 and not self.solve_cpus.is_integer():
            raise ValueError(f"solve_cpus {self.solve_cpus} must be a whole number, or at most 1")
        if self.cpus is not None and self.solve_cpus > self.cpus:
            raise ValueError(f"solve_cpus {self.solve_cpus:g} is more than cpus {self.cpus}: no solve could start")
        return self


class Executor(Protocol):
    """Runs solves; used as a context manager, which closes it whatever happens."""

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        """Yield one result for each task, as they finish. To abandon the iterator is to abandon the rest."""
        ...

    def close(self) -> None:
        """Give back everything that was started; the executor may be used again afterwards."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def make_executor(settings: ClusterSettings) -> Executor:
    """The executor that the settings ask for; nothing is started before the first task."""
    return SerialExecutor() if settings.executor == "serial" else RayExecutor(settings)


class SerialExecutor:
    """Solves one after the other in this process; a solver that crashes the process takes the agent with it."""

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        yield from map(execute, tasks)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class RayExecutor:
    """Solves side by side in worker processes, of this machine or of a cluster, which may die without harm.

    Ray starts with the first task. Ray's own retries are off: the agent counts attempts. Where this process is
    connected to Ray already, that connection is used and left open.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self._remote: Any = None  # `execute` as a Ray task; None while there is no connection
        self._connected_here = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        """As `Executor.run`; a worker that dies gives a failure `worker-lost`.

        Raises:
            ConnectionError: the cluster at `address` cannot be joined.
            ValueError: this machine cannot offer what one solve needs.
        """
        if not tasks:
            return
        if self._remote is None:
            self._start()
        import ray

        pending: dict[Any, tuple[SolveTask, float]] = {}
        try:
            for task in tasks:
                pending[self._remote.remote(task)] = (task, time.time())
            while pending:
                finished, _ = ray.wait(list(pending), num_returns=1)
                for reference in finished:
                    yield _collect(reference, *pending.pop(reference))
        finally:
            if self._remote is not None:  # a closed executor has nothing left to cancel
                for reference in pending:
                    ray.cancel(reference, force=True)

    def _start(self) -> None:
        import ray

        try:
            if not ray.is_initialized():
                self._connected_here = True
                self._connect()
            cpus, memory_mb = self.settings.solve_cpus, self.settings.solve_memory_mb
            self._check_room(cpus, (memory_mb or 0) * 2**20)
            self._remote = ray.remote(execute).options(
                num_cpus=int(cpus) if cpus.is_integer() else cpus,
                memory=None if memory_mb is None else memory_mb * 2**20,
                max_retries=0,
            )
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        import ray

        # Ray announces lost workers on standard output, which belongs to the command's own output, even with
        # log_to_driver=False; this is the only switch. The loss reaches the user as a failure.
        ray._private.worker._worker_logs_enabled = False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.settings.address == "local":
            # Paths of sockets are limited to 107 bytes, so TMPDIR cannot be trusted to be short enough.
            self._folder = tempfile.TemporaryDirectory(prefix="mlasdi-", dir="/tmp", ignore_cleanup_errors=True)
            # Said explicitly, "local" holds against a RAY_ADDRESS in the environment.
            ray.init(
                address="local",
                num_cpus=self.settings.cpus or n_cores(),
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=self._folder.name,
                **quiet,
            )
            return
        try:
            ray.init(address=self.settings.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:  # ValueError: ray:// needs the extra ray[client]
            reason = " ".join(str(error).split())
            raise ConnectionError(
                f"cannot join a Ray cluster at cluster.address '{self.settings.address}' ({reason}): "
                "start one with `ray start --head`, or use cluster.address: local"
            ) from error

    def _check_room(self, cpus: float, memory: int) -> None:
        """A task that fits on no node would wait for ever; on a cluster, though, a larger node may yet join."""
        import ray

        offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(offer.get("CPU", 0) >= cpus and offer.get("memory", 0) >= memory for offer in offers):
            return
        most = {name: max((offer.get(name, 0) for offer in offers), default=0) for name in ("CPU", "memory")}
        reason = (
            f"one solve needs cluster.solve_cpus {cpus:g} and cluster.solve_memory_mb {memory // 2**20}; "
            f"no machine offers both, at most {most['CPU']:g} cores and {most['memory'] / 2**20:.0f} MB"
        )
        if self.settings.address == "local":
            raise ValueError(reason)
        _log.warning("%s: solves wait until a larger one joins", reason)

    def close(self) -> None:
        """Shut down the Ray that this executor started, or leave the cluster that it joined."""
        self._remote = None
        if self._connected_here:
            import ray

            self._connected_here = False
            try:
                ray.shutdown(wait_for_processes=True)
            finally:
                ray._private.worker._worker_logs_enabled = True
                if self._folder is not None:
                    self._folder.cleanup()
                    self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def n_cores() -> int:
    """Cores that this process may use, which on a shared machine are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(reference: Any, task: SolveTask, submitted_at: float) -> SolveResult:
    """The result of a finished Ray task, or what became of it instead."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        failure = _failure_of(error)
        return SolveResult(task.task_id, task.address, 0.0, submitted_at, time.time(), "", False, failure)


def _failure_of(error: Exception) -> SolveFailure:
    import ray

    reason = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return SolveFailure(
            "out-of-memory",
            f"Ray stopped the solve because the machine ran out of memory ({reason}); "
            "set cluster.solve_memory_mb so that fewer solves run at once",
        )
    if isinstance(error, ray.exceptions.RayTaskError):  # `execute` raises nothing, so it could not be called
        return SolveFailure("exception", f"the worker cannot run the task ({reason}); is mlasdi installed there?")
    return SolveFailure(
        "worker-lost",
        f"the worker died during the solve ({reason}): a crash in compiled code, or killed for want of memory; "
        "cluster.solve_memory_mb makes fewer solves run at once",
    )
