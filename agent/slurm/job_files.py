"""The files of a job: its task and its result as JSON, the id that SLURM gave it, and what it printed."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mlasdi.agent.execution import SolveResult, SolverSpec, SolveTask, TaskFailure
from mlasdi.agent.slurm.commands import SCRIPT
from mlasdi.solvers.storage import atomic_write


@dataclass(frozen=True)
class JobFiles:
    """Files `<address>.*` of one solve, in a folder that the agent and the nodes of the cluster share.

    Attributes:
        folder: of the jobs of a campaign.
        address: of the solution.
    """

    folder: Path
    address: str

    @classmethod
    def of(cls, task: SolveTask) -> "JobFiles":
        """In the folder `jobs` beside the store of solutions."""
        return cls(Path(task.store_root).parent / "jobs", task.address)

    @property
    def name(self) -> str:
        """Name of the job: other campaigns have other ones."""
        return f"mlasdi-{hashlib.sha256(os.fsencode(self.task.absolute())).hexdigest()[:16]}"

    @property
    def script(self) -> Path:
        """The script of all jobs."""
        return self.folder / "job.sh"

    @property
    def task(self) -> Path:
        return self._file("task.json")

    @property
    def output(self) -> Path:
        """What the job prints."""
        return self._file("out")

    @property
    def _id(self) -> Path:
        return self._file("id")

    @property
    def _result(self) -> Path:
        return self._file("result.json")

    def _file(self, ending: str) -> Path:
        return self.folder / f"{self.address}.{ending}"

    @property
    def has_task(self) -> bool:
        """Whether a job for this solve was submitted, or was about to be."""
        return self.task.exists()

    def write_task(self, task: SolveTask, threads: int) -> None:
        """Prepare a job; what an earlier one has left is removed."""
        self.remove()
        _write(self.script, SCRIPT)
        _write(self.task, json.dumps({"task": asdict(task), "threads": threads}))

    def read_task(self) -> tuple[SolveTask, int]:
        """The task, and the number of threads for it."""
        given = json.loads(self.task.read_text())
        task = given["task"]
        return SolveTask(**{**task, "solver": SolverSpec(**task["solver"])}), given["threads"]

    def write_id(self, job_id: str) -> None:
        """Keep the id of the submitted job."""
        _write(self._id, job_id)

    def read_id(self) -> str | None:
        """The id of the submitted job; None if it is not known."""
        return self._id.read_text().strip() if self._id.exists() else None

    def write_result(self, result: SolveResult) -> None:
        """Keep how the solve ended; the last thing that a job does."""
        _write(self._result, json.dumps(asdict(result)))

    def read_result(self, task_id: int) -> SolveResult | None:
        """How the solve ended, as the result of this task; None before the end."""
        # Network file systems remember for a while that a file was missing, but list their folders anew.
        if not self.folder.is_dir() or self._result.name not in os.listdir(self.folder):
            return None
        given = json.loads(self._result.read_text())
        failure = None if given["failure"] is None else TaskFailure(**given["failure"])
        return SolveResult(**{**given, "failure": failure, "task_id": task_id})

    def last_line(self) -> str:
        """The last line that the job printed; empty if there is none."""
        try:
            lines = self.output.read_text(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def remove(self, keep_output: bool = False) -> None:
        """Remove these files, the task first: without it the others mean nothing."""
        for path in (self.task, self._id, self._result, *(() if keep_output else (self.output,))):
            path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text)
