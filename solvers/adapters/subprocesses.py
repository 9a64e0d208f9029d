"""Runs a command and guarantees that all its processes end: at its time limit, and when the caller dies.

`run` starts this file as a separate process, the supervisor, which starts the command. The supervisor holds one end of
a pipe. The operating system closes the other end when the caller dies, even by SIGKILL, and then the supervisor kills
all descendants of the command. As a "child subreaper" (Linux) it adopts descendants whose parents have ended.

The file imports the standard library only, so that the supervisor starts quickly.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# Launchers such as mpirun and srun need time after SIGTERM to stop the processes that they started on other machines.
GRACE_S = 2.0
# A process that SIGKILL does not end hangs in the kernel, for example on a lost file system; it cannot be ended.
_GIVE_UP_S = 10.0
# Files in the working folder that receive the output of a command.
STDOUT, STDERR = "stdout.txt", "stderr.txt"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        how: `exit`, `signal`, `time-out`, `not-started` (the command cannot be run) or `lost` (the supervisor was
            killed).
        code: exit code or signal number; else 0.
        reason: why the command was `not-started`.
    """

    how: Literal["exit", "signal", "time-out", "not-started", "lost"]
    code: int = 0
    reason: str = ""


def run(
    argv: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    time_limit_s: float | None = None,
    memory_limit_mb: int | None = None,
) -> Ending:
    """Run a command in a folder and wait for its end; when this returns or raises, all its processes have ended.

    Args:
        folder: working directory; receives the output as `STDOUT` and `STDERR`.
        environment: variables in addition to those of this process.
        time_limit_s: seconds after which the command and all its descendants are ended.
        memory_limit_mb: address space of each process of the command.
    """
    order = {
        "argv": list(argv),
        "folder": str(folder),
        "environment": {**os.environ, **(environment or {})},
        "time_limit_s": time_limit_s,
        "memory_limit_mb": memory_limit_mb,
        "outputs": [str(folder / STDOUT), str(folder / STDERR)],
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must reach only the agent, which then closes the pipe
    )
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.write(json.dumps(order).encode() + b"\n")
            supervisor.stdin.flush()
        answer = supervisor.stdout.readline()
    finally:
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.close()
        supervisor.stdout.close()
        supervisor.wait()
    return Ending(**json.loads(answer)) if answer else Ending("lost")


def _supervise() -> None:
    """The supervisor: read the order from standard input, run it, write the ending to standard output."""
    # Ray kills the children of a worker. The supervisor must survive that to end the command, so it is a grandchild.
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    libc = _libc()
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    line = b""
    while not line.endswith(b"\n"):
        received = os.read(0, 65536)
        if not received:  # the caller died before it sent the order
            return
        line += received
    ending = _carry_out(json.loads(line), libc)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(ending).encode() + b"\n")


def _carry_out(order: dict[str, Any], libc: Any) -> dict[str, Any]:
    def limit() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # ends the command if the supervisor is killed
        if order["memory_limit_mb"] is not None:
            import resource

            limit_bytes = order["memory_limit_mb"] * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))

    try:
        with open(order["outputs"][0], "wb") as stdout, open(order["outputs"][1], "wb") as stderr:
            command = subprocess.Popen(
                order["argv"],
                cwd=order["folder"],
                env=order["environment"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=limit,
            )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"how": "not-started", "reason": str(error)}
    exits = os.pidfd_open(command.pid)
    ready, _, _ = select.select([0, exits], [], [], order["time_limit_s"])
    if exits in ready:
        code = command.wait()
        ending = {"how": "exit", "code": code} if code >= 0 else {"how": "signal", "code": -code}
    else:
        ending = {"how": "lost" if ready else "time-out"}
    _end_descendants()
    return ending


def _end_descendants() -> None:
    """Send SIGTERM to all descendants of this process, after `GRACE_S` SIGKILL, until there are none."""
    start = time.monotonic()
    terminated: set[int] = set()
    while _reap() and time.monotonic() < start + GRACE_S + _GIVE_UP_S:
        in_grace = time.monotonic() < start + GRACE_S
        for pid in _descendants(os.getpid()):
            if in_grace and pid in terminated:
                continue
            terminated.add(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM if in_grace else signal.SIGKILL)
        time.sleep(0.01)


def _reap() -> bool:
    """Collect the exit codes of ended children; returns whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def _descendants(ancestor: int) -> list[int]:
    """All descendants of a process, by the parents in /proc."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{entry}/stat", "rb") as stat:
            parent = int(stat.read().rpartition(b")")[2].split()[1])  # the program's name may contain ")"
            children.setdefault(parent, []).append(int(entry))
    found, waiting = [], [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None)


if __name__ == "__main__":
    _supervise()
