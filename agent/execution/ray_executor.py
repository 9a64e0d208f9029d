"""Runs tasks on a Ray cluster, of this machine alone or of many; every outcome, a lost worker included, is data."""

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from mlasdi.agent.execution.cluster_settings import ClusterSettings
from mlasdi.agent.execution.executor import Executor, Result, SerialExecutor, Task, run_all
from mlasdi.agent.execution.failures import SolveFailure
from mlasdi.agent.execution.proposal_task import ProposeTask, execute_proposal
from mlasdi.agent.execution.solve_task import SolveResult, SolverSpec, SolveTask, execute
from mlasdi.agent.execution.training_task import TrainResult, TrainTask, execute_training

__all__ = [
    "ClusterSettings",
    "Executor",
    "RayExecutor",
    "Result",
    "SerialExecutor",
    "SolveFailure",
    "SolveResult",
    "SolveTask",
    "SolverSpec",
    "Task",
    "TrainResult",
    "TrainTask",
    "execute",
    "make_executor",
]

_log = logging.getLogger(__name__)

# Snapshots travel as files, not through Ray: its store of objects holds tasks and results of a few hundred bytes.
_OBJECT_STORE_BYTES = 200 * 2**20
# Paths of sockets are limited to 107 bytes, so TMPDIR cannot be trusted to be short enough.
_TEMPORARY = Path("/tmp")
_PREFIX = "mlasdi-"


def make_executor(settings: ClusterSettings) -> Executor:
    """The executor that the settings ask for; nothing is started before the first task."""
    return SerialExecutor() if settings.executor == "serial" else RayExecutor(settings)


class RayExecutor:
    """Tasks side by side in worker processes, of this machine or of a cluster, which may die without harm.

    Ray starts with the first task. Ray's own retries are off: the agent counts attempts. Where this process is
    connected to Ray already, that connection is used and left open.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self._remote: dict[type, Any] = {}  # what does each kind of task, as Ray has it; empty without a connection
        self._pending: dict[Any, tuple[Task, float]] = {}  # reference -> task, and when it was submitted
        self._connected_here = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def submit(self, task: Task) -> None:
        """As `Executor.submit`; a worker that dies gives a failure `worker-lost`, or `time-out` at its time limit.

        Raises:
            ConnectionError: the cluster at `address` cannot be joined.
            ValueError: this machine cannot offer what one solve needs.
        """
        if not self._remote:
            self._start()
        self._pending[self._remote[type(task)].remote(task)] = (task, time.time())

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        if not self._pending:
            return []
        import ray

        finished, rest = ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        if finished and rest:  # what has finished beside it costs no further look
            finished += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [_collect(reference, *self._pending.pop(reference)) for reference in finished]

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        yield from run_all(self, tasks)

    def cancel(self) -> None:
        references, self._pending = list(self._pending), {}
        if self._remote:  # a closed executor has nothing left to cancel
            import ray

            for reference in references:
                ray.cancel(reference, force=True)

    def _start(self) -> None:
        kept = signal.getsignal(signal.SIGTERM)
        import ray

        try:
            if not ray.is_initialized():
                self._connected_here = True
                self._connect()
            self._check_room(self.settings.solve_needs)
            needs = dict(self.settings.solve_needs)
            cpus, gpus, memory = needs.pop("CPU"), needs.pop("GPU", None), needs.pop("memory", None)
            solve = ray.remote(execute).options(
                num_cpus=int(cpus) if cpus.is_integer() else cpus,
                num_gpus=gpus,
                memory=None if memory is None else int(memory),
                resources=needs or None,
                max_retries=0,
            )
            train = ray.remote(execute_training).options(
                num_cpus=self.settings.train_cpus, num_gpus=self._gpus_of_training(), max_retries=0
            )
            choose = ray.remote(execute_proposal).options(num_cpus=1, max_retries=0)
            self._remote = {SolveTask: solve, TrainTask: train, ProposeTask: choose}
        except BaseException:
            self.close()
            raise
        finally:
            # Ray takes over this signal when it is imported; the agent wants to end in its own way.
            if threading.current_thread() is threading.main_thread() and kept is not None:
                signal.signal(signal.SIGTERM, kept)

    def _connect(self) -> None:
        import ray

        # Ray announces lost workers on standard output, which belongs to the command's own output, even with
        # log_to_driver=False; this is the only switch. The loss reaches the user as a failure.
        ray._private.worker._worker_logs_enabled = False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.settings.address == "local":
            _sweep()
            self._folder = tempfile.TemporaryDirectory(
                prefix=f"{_PREFIX}{os.getpid()}-", dir=_TEMPORARY, ignore_cleanup_errors=True
            )
            # Said explicitly, "local" holds against a RAY_ADDRESS in the environment.
            ray.init(
                address="local",
                num_cpus=self.settings.cpus or n_cores(),
                num_gpus=None if self.settings.solve_gpus or self.settings.train_gpus else 0,  # a look takes time
                resources=self.settings.solve_resources or None,  # of this machine we know only what is asked for
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=self._folder.name,
                **quiet,
            )
            return
        try:
            ray.init(address=self.settings.address, runtime_env=self.settings.runtime_env or None, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:  # ValueError: ray:// needs the extra ray[client]
            reason = " ".join(str(error).split())
            raise ConnectionError(
                f"cannot join a Ray cluster at cluster.address '{self.settings.address}' ({reason}): "
                "start one with `ray start --head`, or use cluster.address: local"
            ) from error

    def _check_room(self, needs: dict[str, float]) -> None:
        """A task that fits on no node would wait for ever; on a cluster, though, a larger node may yet join."""
        offers = _offers()
        if any(all(offer.get(name, 0) >= amount for name, amount in needs.items()) for offer in offers):
            return
        most = {name: max((offer.get(name, 0) for offer in offers), default=0) for name in needs}
        reason = (
            f"one solve needs {_described(needs)}; no machine offers all of that, one or another {_described(most)}"
        )
        if self.settings.address == "local":
            raise ValueError(reason)
        _log.warning("%s: solves wait until a larger one joins", reason)

    def _gpus_of_training(self) -> float | None:
        """What a training asks for; none where no machine has as much, since it can do without."""
        wanted = self.settings.train_gpus
        return wanted if wanted and any(offer.get("GPU", 0) >= wanted for offer in _offers()) else None

    def close(self) -> None:
        """Shut down the Ray that this executor started, or leave the cluster that it joined."""
        if self._pending:
            with suppress(Exception):  # the connection may be what is broken
                self.cancel()
        self._remote, self._pending = {}, {}
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


def _offers() -> list[dict[str, float]]:
    """The resources of each machine of the cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _sweep() -> None:
    """Remove temporary folders of agents that were killed; their Ray has ended with them."""
    for folder in _TEMPORARY.glob(f"{_PREFIX}[0-9]*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _described(resources: dict[str, float]) -> str:
    """Amounts of resources, by the keys that ask for them."""
    keys = {"CPU": "cluster.solve_cpus", "GPU": "cluster.solve_gpus", "memory": "cluster.solve_memory_mb"}
    scaled = {name: amount / 2**20 if name == "memory" else amount for name, amount in resources.items()}
    return ", ".join(f"{keys.get(name, f'cluster.solve_resources.{name}')} {x:.10g}" for name, x in scaled.items())


def _collect(reference: Any, task: Task, submitted_at: float) -> Result:
    """The result of a finished Ray task, or what became of it instead."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        failure = _failure_of(error)
        if isinstance(task, SolveTask) and failure.kind == "worker-lost":
            failure = _time_out_of(task) or failure
        return task.lost(failure, submitted_at)


def _time_out_of(task: SolveTask) -> SolveFailure | None:
    """The failure of a worker that was lost because the solve met its time limit; None where it was not."""
    if task.time_limit_s is None:
        return None
    try:
        timeout_traceback = task.timeout_traceback.read_text().splitlines()
        task.timeout_traceback.unlink()
    except OSError:
        return None
    threads = [number for number, line in enumerate(timeout_traceback) if "most recent call first" in line]
    # The main thread, which solves, comes last.
    of_main = timeout_traceback[threads[-1] :] if threads else []
    place = next((line.strip() for line in of_main if line.startswith("  File ")), "")
    if not timeout_traceback:
        return None
    return SolveFailure(
        "time-out",
        f"the solve took longer than cluster.solve_time_limit_s {task.time_limit_s:g} and was ended"
        + (f", at {place}" if place else ""),
    )


def _failure_of(error: Exception) -> SolveFailure:
    import ray

    reason = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return SolveFailure(
            "out-of-memory",
            f"Ray stopped the work because the machine ran out of memory ({reason}); "
            "set cluster.solve_memory_mb so that fewer solves run at once",
        )
    if isinstance(error, ray.exceptions.RayTaskError):  # the tasks raise nothing, so it could not be called
        return SolveFailure("exception", f"the worker cannot run the task ({reason}); is mlasdi installed there?")
    return SolveFailure(
        "worker-lost",
        f"the worker died during the work ({reason}): a crash in compiled code, or killed for want of memory; "
        "cluster.solve_memory_mb makes fewer solves run at once",
    )
