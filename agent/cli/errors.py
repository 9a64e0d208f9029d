"""How a command ends: with one answer, as text or as JSON, or with a complaint and an exit code."""

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
"""Takes what `--json` prints, and the function that shows the same to people."""


class BadInput(Exception):
    """Something that the user gave cannot be used; the message says what, and what is allowed."""


class WorkFailed(Exception):
    """The input was right, and the work failed; the message names the remedy."""


@contextmanager
def command_errors(as_json: bool, debug: bool, *, interrupted: str = "interrupted") -> Iterator[Answer]:
    """The frame of every command: shows the answer it gets, and errors as lines and an exit code.

    Args:
        interrupted: what to say when the user stops the command.

    Raises:
        typer.Exit: always, with the exit code.
    """
    answers: list[tuple[dict[str, Any], Callable[[], None]]] = []
    code, complaint = DONE, None
    try:
        with _stdout_to_stderr(as_json):
            yield lambda data, show: answers.append((data, show))
    except typer.Exit as exit_:
        code = exit_.exit_code
    except KeyboardInterrupt:
        code, complaint = INTERRUPTED, interrupted
    except Exception as error:
        if debug:
            typer.echo(redacted(traceback.format_exc()), err=True, nl=False)
        code = BAD_INPUT if isinstance(error, BadInput) else FAILED
        is_known = isinstance(error, (BadInput, WorkFailed))
        complaint = redacted(str(error) if is_known else f"{described(error)}; --debug shows where")
    if complaint is not None:
        print_error(complaint)
        answers = [({"error": complaint, "exit_code": code}, lambda: None)]
    for data, show in answers:
        if as_json:
            typer.echo(json.dumps(data, allow_nan=False))
        else:
            show()
    raise typer.Exit(code)


@contextmanager
def _stdout_to_stderr(wanted: bool) -> Iterator[None]:
    """Keep standard output free of whatever solvers and libraries print, compiled code and child processes included."""
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
    """An error as one line on standard error."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)


def described(error: Exception) -> str:
    """Kind and message of an exception that nobody foresaw, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
