"""Runs tasks with Ray, on this machine or on a cluster; every outcome, lost workers included, is returned as data."""

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from mlasdi.agent.execution.cluster_settings import ClusterSettings
from mlasdi.agent.execution.executor import Executor, Result, SerialExecutor, Task, run_all
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.execution.proposal_task import ProposeTask, execute_proposal
from mlasdi.agent.execution.solve_task import SolveResult, SolveTask, execute, time_out_of
from mlasdi.agent.execution.training_task import TrainTask, execute_training

_log = logging.getLogger(__name__)

# Snapshots are exchanged as files, not through Ray, whose object store holds only tasks and results of a few hundred
# bytes.
_OBJECT_STORE_BYTES = 200 * 2**20
# Paths of sockets are limited to 107 bytes, and TMPDIR may be too long.
_TEMPORARY = Path("/tmp")
_PREFIX = "mlasdi-"


def make_executor(settings: ClusterSettings) -> Executor:
    """The executor that the settings name; it starts nothing before the first task."""
    return SerialExecutor(settings) if settings.executor == "serial" else RayExecutor(settings)


class RayExecutor:
    """Runs tasks in parallel in worker processes, on this machine or on a cluster; a worker may die.

    Ray is started with the first task. Its own retries are switched off, because the agent counts attempts. If this
    process is already connected to Ray, that connection is used and left open.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self._remote: dict[type, Any] = {}  # kind of task -> Ray's remote function; empty without a connection
        self._pending: dict[Any, tuple[Task, float]] = {}  # Ray's reference -> task, and when it was submitted
        self._connected_here = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def submit(self, task: Task) -> None:
        """As `Executor.submit`; a worker that dies gives a failure `worker-lost`, or `time-out` at its time limit.

        Raises:
            ConnectionError: the cluster at `address` cannot be joined.
            ValueError: this machine does not have the resources that one solve needs.
        """
        if not self._remote:
            self._start()
        threads = (self.settings.solve_threads,) if isinstance(task, SolveTask) else ()
        self._pending[self._remote[type(task)].remote(task, *threads)] = (task, time.time())

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        if not self._pending:
            return []
        import ray

        finished, rest = ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        if finished and rest:  # collect all others that have finished as well
            finished += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [_collect(reference, *self._pending.pop(reference)) for reference in finished]

    def run(self, tasks: Sequence[SolveTask]) -> Iterator[SolveResult]:
        yield from run_all(self, tasks)

    def cancel(self) -> None:
        references, self._pending = list(self._pending), {}
        if self._remote:  # else the executor is closed
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
            self._check_resources(self.settings.solve_needs)
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
            # Ray replaces the handler of this signal on import; the agent needs its own.
            if threading.current_thread() is threading.main_thread() and kept is not None:
                signal.signal(signal.SIGTERM, kept)

    def _connect(self) -> None:
        import ray

        # Ray reports lost workers on standard output, where the command prints its result, even with
        # log_to_driver=False; this is the only switch. The user sees the loss as a failure.
        ray._private.worker._worker_logs_enabled = False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.settings.address == "local":
            _sweep()
            self._folder = tempfile.TemporaryDirectory(
                prefix=f"{_PREFIX}{os.getpid()}-", dir=_TEMPORARY, ignore_cleanup_errors=True
            )
            with _sessions_of_their_own():
                # An explicit "local" takes precedence over RAY_ADDRESS in the environment.
                ray.init(
                    address="local",
                    num_cpus=self.settings.cpus or n_cores(),
                    num_gpus=None if self.settings.solve_gpus or self.settings.train_gpus else 0,  # takes time to find
                    resources=self.settings.solve_resources or None,  # assume that this machine has what a solve needs
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

    def _check_resources(self, needs: dict[str, float]) -> None:
        """Check that some machine can run a solve; a solve that fits on none would wait for ever.

        On a cluster this is only a warning, because a larger machine may join later.
        """
        offers = _offers()
        if any(all(offer.get(name, 0) >= amount for name, amount in needs.items()) for offer in offers):
            return
        most = {name: max((offer.get(name, 0) for offer in offers), default=0) for name in needs}
        reason = f"one solve needs {_described(needs)}; no machine has all of that, the largest have {_described(most)}"
        if self.settings.address == "local":
            raise ValueError(reason)
        _log.warning("%s: solves wait until a larger machine joins", reason)

    def _gpus_of_training(self) -> float | None:
        """GPUs that a training requests; none if no machine has them, because it can run without."""
        wanted = self.settings.train_gpus
        return wanted if wanted and any(offer.get("GPU", 0) >= wanted for offer in _offers()) else None

    def close(self) -> None:
        """Shut down Ray if this executor started it, or disconnect from the cluster that it joined."""
        if self._pending:
            with suppress(Exception):  # the connection may be broken
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
    """Number of cores that this process may use; on a shared machine, fewer than it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _offers() -> list[dict[str, float]]:
    """Resources of each machine of the cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def _sessions_of_their_own() -> Iterator[None]:
    """Ray's processes that are started in the body begin sessions of their own.

    Batch systems and `timeout` send SIGTERM to the whole process group of the agent. Ray's control store would end at
    once, and with it the solves that a graceful stop waits for. Ray has no option for this.
    """
    import ray

    services: Any = ray._private.services
    popen = services.ConsolePopen
    services.ConsolePopen = partial(popen, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = popen


def _sweep() -> None:
    """Remove temporary folders of killed agents, whose Ray has ended with them."""
    for folder in _TEMPORARY.glob(f"{_PREFIX}[0-9]*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _described(resources: dict[str, float]) -> str:
    """Amounts of resources, with the configuration keys that request them."""
    keys = {"CPU": "cluster.solve_cpus", "GPU": "cluster.solve_gpus", "memory": "cluster.solve_memory_mb"}
    scaled = {name: amount / 2**20 if name == "memory" else amount for name, amount in resources.items()}
    return ", ".join(f"{keys.get(name, f'cluster.solve_resources.{name}')} {x:.10g}" for name, x in scaled.items())


def _collect(reference: Any, task: Task, submitted_at: float) -> Result:
    """The result of a finished Ray task; a failure if Ray reports an error."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        failure = _failure_of(error)
        if isinstance(task, SolveTask) and failure.kind == "worker-lost":
            failure = time_out_of(task) or failure
        return task.lost(failure, submitted_at)


def _failure_of(error: Exception) -> TaskFailure:
    import ray

    reason = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return TaskFailure(
            "out-of-memory",
            f"Ray stopped the task because the machine ran out of memory ({reason}); "
            "set cluster.solve_memory_mb so that fewer solves run at once",
        )
    if isinstance(error, ray.exceptions.RayTaskError):  # tasks catch all exceptions, so the task could not be called
        return TaskFailure("exception", f"the worker cannot run the task ({reason}); is mlasdi installed there?")
    return TaskFailure(
        "worker-lost",
        f"the worker died during the task ({reason}): it crashed in compiled code, or was killed for lack of memory; "
        "set cluster.solve_memory_mb so that fewer solves run at once",
    )
