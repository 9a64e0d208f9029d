"""How a command ends: it shows its result, as text or as JSON, or an error message, and returns an exit code."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

import typer

from mlasdi.agent.execution import is_disk_full
from mlasdi.agent.text import redacted

_MAX_NAME = 200  # characters of a path in a message
DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
Answer = Callable[[dict[str, Any], Callable[[], None]], None]
"""Takes the data that `--json` prints, and a function that shows them to people."""


class BadInput(Exception):
    """Invalid input; the message says what was given and what is allowed."""


class WorkFailed(Exception):
    """The input was valid, but the work failed; the message names the remedy."""


@contextmanager
def command_errors(as_json: bool, debug: bool, *, interrupted: str = "interrupted") -> Iterator[Answer]:
    """The context of every command: shows its answer, and turns exceptions into an error message and an exit code.

    Args:
        as_json: print the answer or the error as JSON.
        debug: print the traceback of an error.
        interrupted: message if the user interrupts the command.

    Raises:
        typer.Exit: always, with the exit code.
    """
    answers: list[tuple[dict[str, Any], Callable[[], None]]] = []
    code, message = DONE, None
    try:
        with _stdout_to_stderr(as_json):
            yield lambda data, show: answers.append((data, show))
    except typer.Exit as exit_:
        code = exit_.exit_code
    except KeyboardInterrupt:
        code, message = INTERRUPTED, interrupted
    except Exception as error:
        if debug:
            typer.echo(redacted(traceback.format_exc()), err=True, nl=False)
        code = BAD_INPUT if isinstance(error, BadInput) else FAILED
        message = redacted(_message(error))
    if message is not None:
        print_error(message)
        answers = [({"error": message, "exit_code": code}, lambda: None)]
    with written_results():
        for data, show in answers:
            if as_json:
                typer.echo(json.dumps(data, allow_nan=False))
            else:
                show()
    raise typer.Exit(code)


@contextmanager
def written_results() -> Iterator[None]:
    """Write results to standard output in the body, as far as its reader wants them; if that fails, say so and exit.

    Raises:
        SystemExit: there is no room for them.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # Nothing more is written there, also not by the interpreter when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):  # then its reader has enough
            print_error(f"standard output cannot be written ({error.strerror}); what was done is kept")
            sys.exit(FAILED)


class _Messages:
    """Standard error of which a message that cannot be written is lost: that is no reason to end a campaign."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # a full disk, a terminal that is gone
            return int(self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secure_streams() -> None:
    """Open standard streams that are closed, so that no other file takes their place; and let no message end a command.

    A closed stream is the null device: whoever closes it wants nothing there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    sys.stderr = _Messages(sys.stderr)


def require_working_folder() -> None:
    """Check that the working directory exists: where it was removed, libraries end the process with their own words.

    Raises:
        SystemExit: it does not.
    """
    try:
        os.getcwd()
    except OSError as error:
        print_error(f"the working directory cannot be used ({error.strerror}): change to another one")
        sys.exit(FAILED)


def _message(error: Exception) -> str:
    """What to tell about an exception that ends a command."""
    if isinstance(error, (BadInput, WorkFailed)):
        return str(error)
    if is_disk_full(error):
        return f"the disk is full ({described(error)}); free disk space, then run the same command again"
    return f"{described(error)}; --debug shows where"


@contextmanager
def _stdout_to_stderr(wanted: bool) -> Iterator[None]:
    """Redirect all output of solvers and libraries, compiled code and child processes included, to standard error."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_error(message: str) -> None:
    """Print an error as one line on standard error."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)


def described(error: Exception) -> str:
    """Type and message of an unexpected exception, or what is wrong with a file, on one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        name = str(error.filename)
        name = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}..."
        return f"{name} cannot be used: {error.strerror[0].lower()}{error.strerror[1:]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
