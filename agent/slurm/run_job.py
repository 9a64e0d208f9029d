"""What a job runs: `python -m mlasdi.agent.slurm.run_job FOLDER ADDRESS` solves one task and writes its result."""

import sys
from pathlib import Path

from mlasdi.agent.execution import execute
from mlasdi.agent.slurm.job_files import JobFiles


def run_job(files: JobFiles) -> None:
    """Solve the task of a job, and write how it ended."""
    files.write_result(execute(*files.read_task()))


if __name__ == "__main__":
    run_job(JobFiles(Path(sys.argv[1]), sys.argv[2]))
