"""What the results of all tasks have in common: the worker that ran the task, and why it failed."""

import errno
import os
import socket
import traceback
from dataclasses import dataclass

# Kinds of failures that may be due to the machine and not to the point, so that the task is tried again: lost workers,
# and memory, which depends on what else runs. A solve that exceeds its time limit would most likely do so again, at its
# full cost; other failures are deterministic.
TRANSIENT = ("worker-lost", "out-of-memory")

# The disk where solutions are stored is full: not a failure of the point, but the campaign cannot continue.
DISK_FULL = "disk-full"

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class TaskFailure:
    """Why a task failed.

    Attributes:
        kind: one of `FAILURE_KINDS`, `DISK_FULL`, or the kind of a `SolverError`.
        message: one line for people.
    """

    kind: str
    message: str


def this_worker() -> str:
    """Host and process, `host:pid`, by which records name a worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that there is no space left to write to."""
    while error is not None:
        # safetensors, which writes models, reports the error number in its text only.
        number = error.errno if isinstance(error, OSError) else None
        if number in _NO_SPACE or any(f"(os error {n})" in str(error) for n in _NO_SPACE):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def described(error: BaseException) -> str:
    """Type, message and place of an exception on one line."""
    summary = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = traceback.extract_tb(error.__traceback__)
    return f"{summary} (at {frames[-1].filename}:{frames[-1].lineno})" if frames else summary
