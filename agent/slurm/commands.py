"""The commands of SLURM, which are started without a shell."""

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from mlasdi.agent.execution import ClusterSettings

_log = logging.getLogger(__name__)

COMMAND_LIMIT_S = 120.0  # a controller that does not answer for so long is taken to be away
# The script of every job runs its arguments as a command; nothing of the configuration is part of it.
SCRIPT = '#!/bin/sh\nexec "$@"\n'
# A solve with a time limit ends itself, which tells where it hung; SLURM ends the job some minutes later.
SPARE_MINUTES = 2
# States of jobs that will not run again; all others may still become one of these.
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
}


class SlurmError(Exception):
    """A command of SLURM failed; the message has its own words."""


def submitted(settings: ClusterSettings, script: Path, name: str, output: Path, command: Sequence[str]) -> str:
    """Submit a command as a job that needs what one solve needs; returns the id of the job.

    Args:
        script: file with the contents `SCRIPT`.
        name: of the job, by which `found` finds it.
        output: file for what the command prints.

    Raises:
        SlurmError: `sbatch` is missing, or refuses the job.
    """
    options = ["--parsable", f"--job-name={name}", f"--output={output}", f"--chdir={Path.cwd()}", "--ntasks=1"]
    options.append(f"--cpus-per-task={settings.solve_threads}")
    if settings.solve_memory_mb is not None:
        options.append(f"--mem={settings.solve_memory_mb}M")
    if settings.solve_gpus:
        options.append(f"--gpus={settings.solve_gpus:g}")
    if settings.solve_time_limit_s is not None:
        options.append(f"--time={ceil(settings.solve_time_limit_s / 60) + SPARE_MINUTES}")
    if settings.slurm.partition is not None:
        options.append(f"--partition={settings.slurm.partition}")
    told = _run(["sbatch", *options, *settings.slurm.arguments, str(script), *command])
    job_id = told.strip().splitlines()[-1].partition(";")[0] if told.strip() else ""
    if not job_id.isdigit():
        raise SlurmError(f"sbatch printed {told!r} in place of the id of a job")
    return job_id


def job_command(*arguments: str) -> list[str]:
    """The command that a job runs: `run_job` with the agent's own Python, which files of the folder cannot disturb."""
    return [sys.executable, "-P", "-m", "mlasdi.agent.slurm.run_job", *arguments]


def found(name: str) -> str | None:
    """The id of the newest job with this name that waits or runs; None if there is none.

    Raises:
        SlurmError: `squeue` cannot tell.
    """
    ids = _run(["squeue", "--me", "--noheader", f"--name={name}", "--format=%i"]).split()
    return max(ids, key=int) if ids and all(one.isdigit() for one in ids) else None


def states(ids: Sequence[str]) -> Mapping[str, str]:
    """The states of jobs, in SLURM's words; without those of which SLURM knows nothing.

    Jobs that ended a while ago are asked for in the accounting of SLURM, which not every cluster has.

    Raises:
        SlurmError: `squeue` cannot tell.
    """
    known = _parsed(_run(["squeue", "--me", "--noheader", "--states=all", "--format=%i|%T"]))
    gone = [one for one in ids if one not in known]
    if gone:
        listing = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
        try:
            known |= _parsed(_run([*listing, f"--jobs={','.join(gone)}"]))
        except SlurmError as error:
            _log.debug("%s", error)
    return {one: known[one] for one in ids if one in known}


def _parsed(listing: str) -> dict[str, str]:
    """Lines `id|state`, of which the state may be followed by more words, as in `CANCELLED by 1000`."""
    pairs = [line.split("|") for line in listing.splitlines() if line.count("|") == 1]
    return {job.strip(): state.split()[0].rstrip("+") for job, state in pairs if state.split()}


def _run(command: Sequence[str]) -> str:
    """The standard output of a command.

    Raises:
        SlurmError: it is missing, ends with an error, or takes longer than `COMMAND_LIMIT_S`.
    """
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=COMMAND_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer within {COMMAND_LIMIT_S:g} s") from None
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be started: {error.strerror}") from None
    if ended.returncode:
        reason = " ".join(ended.stderr.split()) or f"exit code {ended.returncode}"
        raise SlurmError(f"{command[0]}: {reason.removeprefix(f'{command[0]}: ')}")
    return ended.stdout
