"""Runs each solve as a job of SLURM; trainings and choices of points run in the agent's process."""

import logging
import time
from dataclasses import dataclass

from mlasdi.agent.execution import (
    ClusterSettings,
    Result,
    SerialExecutor,
    SolveResult,
    SolvesError,
    SolveTask,
    Task,
    TaskFailure,
    is_stored,
    time_out_of,
)
from mlasdi.agent.slurm.commands import ENDED, SlurmError, found, job_command, states, submitted
from mlasdi.agent.slurm.job_files import JobFiles
from mlasdi.solvers.storage import open_store

_log = logging.getLogger(__name__)

# A job that has ended has this many chances to show its result: network file systems may show it late.
CHANCES = 3


@dataclass
class _Job:
    """A solve in the queue.

    Attributes:
        since: unix seconds when the job was submitted or, after the agent was stopped, taken over.
        chances: how often its result may still be missing after its end.
    """

    task: SolveTask
    files: JobFiles
    job_id: str
    since: float
    chances: int = CHANCES


class SlurmExecutor(SerialExecutor):
    """Submits a job for each solve and looks for the results in the folder `jobs` beside the solutions.

    Jobs are not cancelled when the agent ends. It finds them by their files when the same solves are submitted again,
    so that none is repeated that waits, runs or has ended. A job keeps the resources with which it was submitted.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        super().__init__(settings)
        self.settings = settings
        self._unsent: list[SolveTask] = []
        self._jobs: list[_Job] = []
        self._taken: list[tuple[JobFiles, bool]] = []  # results that were returned, and whether they are failures
        self._asked_at = float("-inf")  # by the monotonic clock, when SLURM was asked last

    def submit(self, task: Task) -> None:
        """As `Executor.submit`.

        Raises:
            SolvesError: SLURM refuses the job, and none is in the queue after which it may accept it.
        """
        self._remove_taken()
        if isinstance(task, SolveTask) and (JobFiles.of(task).has_task or not _is_solved(task)):
            self._unsent.append(task)
            self._send()
        else:
            super().submit(task)

    def wait(self, timeout_s: float | None = None) -> list[Result]:
        self._remove_taken()
        end = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while self._jobs or self._unsent:
            results = self._finished()
            if results:
                return results
            if self._waiting:
                break
            left = end - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(self.settings.slurm.poll_s, left))
        return super().wait(timeout_s)

    def cancel(self) -> None:
        """Forget all tasks; their jobs go on, and are found again."""
        super().cancel()
        self._remove_taken()
        self._unsent, self._jobs = [], []

    def _send(self) -> None:
        """Submit the jobs of new tasks, as many as SLURM accepts."""
        while self._unsent:
            task = self._unsent[0]
            try:
                job = self._job_of(task)
            except SlurmError as error:
                if not self._jobs:
                    raise SolvesError(
                        f"cluster.executor slurm: the job for {task.mu} is not accepted: {error}"
                    ) from error
                _log.info("%s; tried again when SLURM is asked next", error)
                return
            self._jobs.append(job)
            del self._unsent[0]

    def _job_of(self, task: SolveTask) -> _Job:
        """The job for a task: one that was submitted before, or a new one."""
        files = JobFiles.of(task)
        job_id = None
        if files.has_task:  # else the agent may have ended between submitting the job and keeping its id
            is_over = files.read_result(task.task_id) is not None
            job_id = files.read_id() or ("unknown" if is_over else found(files.name))
        if job_id is None:
            files.write_task(task, self.settings.solve_threads)
            command = job_command(str(files.folder.absolute()), files.address)
            job_id = submitted(self.settings, files.script.absolute(), files.name, files.output.absolute(), command)
        files.write_id(job_id)
        return _Job(task, files, job_id, time.time())

    def _finished(self) -> list[Result]:
        """Results of jobs that have ended."""
        results = self._results()
        if not results and time.monotonic() - self._asked_at >= self.settings.slurm.poll_s:
            try:
                results = self._lost()
            except SlurmError as error:  # the controller may come back
                _log.warning("the state of %d jobs is not known: %s", len(self._jobs), error)
            self._asked_at = time.monotonic()
            self._send()
        return results

    def _results(self) -> list[Result]:
        found_results = [(job, job.files.read_result(job.task.task_id)) for job in self._jobs]
        return [self._take(job, result) for job, result in found_results if result is not None]

    def _lost(self) -> list[Result]:
        """Results of jobs that have ended without one."""
        if not self._jobs:
            return []
        known = states([job.job_id for job in self._jobs])
        lost = list[Result]()
        for job in list(self._jobs):
            state = known.get(job.job_id)
            if state is not None and state not in ENDED:
                job.chances = CHANCES
                continue
            job.chances -= 1
            if not job.chances:
                late = job.files.read_result(job.task.task_id)
                lost.append(self._take(job, late or job.task.lost(_failure(job, state), job.since)))
        return lost

    def _take(self, job: _Job, result: SolveResult) -> SolveResult:
        self._jobs.remove(job)
        self._taken.append((job.files, not result.ok))
        return result

    def _remove_taken(self) -> None:
        """Remove the files of results that were returned; the caller has recorded them since."""
        for files, has_failed in self._taken:
            files.remove(keep_output=has_failed)
        self._taken = []


def _is_solved(task: SolveTask) -> bool:
    return is_stored(open_store(task.store_root), task.address)


def _failure(job: _Job, state: str | None) -> TaskFailure:
    """Why a job has ended without a result."""
    own = time_out_of(job.task)
    if own is not None:
        return own
    line = job.files.last_line()
    printed = f"; its last line in {job.files.output}: {line}" if line else ""
    if state == "TIMEOUT":
        helps = "raise cluster.solve_time_limit_s, or --time in cluster.slurm.arguments"
        return TaskFailure("time-out", f"SLURM ended job {job.job_id} at its time limit: {helps}{printed}")
    if state == "OUT_OF_MEMORY":
        helps = "raise cluster.solve_memory_mb"
        return TaskFailure("out-of-memory", f"SLURM ended job {job.job_id}, which ran out of memory: {helps}{printed}")
    how = "SLURM no longer knows it" if state is None else f"its state is {state}"
    return TaskFailure("worker-lost", f"SLURM job {job.job_id} ended without a result: {how}{printed}")
