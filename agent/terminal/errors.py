"""How a command ends: it shows its result, as text or as JSON, or an error message, and returns an exit code."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer

from mlasdi.agent.text import redacted

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
        is_known = isinstance(error, (BadInput, WorkFailed))
        message = redacted(str(error) if is_known else f"{described(error)}; --debug shows where")
    if message is not None:
        print_error(message)
        answers = [({"error": message, "exit_code": code}, lambda: None)]
    for data, show in answers:
        if as_json:
            typer.echo(json.dumps(data, allow_nan=False))
        else:
            show()
    raise typer.Exit(code)


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
    """Type and message of an unexpected exception, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
