"""Why a task failed, as data."""

import errno
import traceback
from dataclasses import dataclass

# Failures that may be the machine's and not the point's, so that trying again makes sense: a lost worker, and memory,
# which depends on what else was running. A run that meets its time limit hangs, most often, and would again, at the
# full price; all other kinds repeat themselves.
TRANSIENT = ("worker-lost", "out-of-memory")


# No room where the solutions are stored: not a failure of the point, but the end of the campaign until there is room.
DISK_FULL = "disk-full"


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that there is no room for what was to be written."""
    while error is not None:
        # The library that writes models reports the number in its text alone.
        number = error.errno if isinstance(error, OSError) else None
        if number in _NO_ROOM or any(f"(os error {n})" in str(error) for n in _NO_ROOM):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def described(error: BaseException) -> str:
    """Type, message and place of an exception on one line."""
    summary = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = traceback.extract_tb(error.__traceback__)
    return f"{summary} (at {frames[-1].filename}:{frames[-1].lineno})" if frames else summary
