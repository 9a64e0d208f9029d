"""Code that users have written: imported by name, and called so that the caller goes on whatever it does."""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from mlasdi.solvers.contract import SolverError

GIVEN = "given"  # stands in place of a module for functions of this process
_given: dict[str, Any] = {}
_STDOUT, _STDERR = 1, 2  # file descriptors


class _Left(BaseException):
    """`os._exit` was called."""


@contextmanager
def contained() -> Iterator[None]:
    """Call user code in the body: a solver, a predicate, or the import of their module.

    Afterwards the working directory, standard output and standard error are as before, even if they were closed. What
    the body prints goes to standard error, because standard output is for the result of a command. A forked process
    that returns from the body ends there; otherwise it would go on as a second caller.

    Compiled code can still end the process.

    Raises:
        SolverError: of kind `exception`, if the body calls `sys.exit` or `os._exit`, or raises another BaseException
            that is no Exception. Exceptions and KeyboardInterrupt pass through.
    """
    process = os.getpid()
    try:
        with _same_folder(), _same_streams(), _no_exit(process):
            try:
                yield
            finally:
                if os.getpid() != process:
                    os._exit(1)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        if hasattr(error, "ray_terminate_msg"):  # Ray ends its worker
            raise
        place = traceback.extract_tb(error.__traceback__)[-1 if not isinstance(error, _Left) else -2]
        raise SolverError("exception", f"{_what(error)} at {place.filename}:{place.lineno}") from error


def _what(error: BaseException) -> str:
    if isinstance(error, _Left):
        return f"the code called os._exit({error})"
    if isinstance(error, SystemExit):
        return f"the code called sys.exit({error.code!r})"
    return f"the code raised {type(error).__name__}: {error}".rstrip(": ")


@contextmanager
def _no_exit(process: int) -> Iterator[None]:
    """`os._exit` raises an exception in this process, and works in forked ones."""
    real, is_inside = os._exit, True

    def leave(status: int) -> NoReturn:
        if is_inside and os.getpid() == process:
            raise _Left(status)
        real(status)

    os._exit = leave
    try:
        yield
    finally:
        os._exit, is_inside = real, False


@contextmanager
def _same_folder() -> Iterator[None]:
    try:
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it was removed, or may not be read
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.fchdir(folder)
        os.close(folder)


@contextmanager
def _same_streams() -> Iterator[None]:
    """All output of the body goes to standard error; both streams are open and as before when it ends."""
    streams = sys.stdout, sys.stderr
    kept = {number: os.dup(number) for number in (_STDOUT, _STDERR) if _is_open(number)}
    _flush(streams[0])
    if len(kept) == 2:
        os.dup2(_STDERR, _STDOUT)
    sys.stdout = sys.stderr = _Shield(streams[1])
    try:
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        sys.stdout, sys.stderr = (_reopened(stream, n) for stream, n in zip(streams, (_STDOUT, _STDERR), strict=True))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _flush(stream: Any) -> None:
    with suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
        stream.flush()


def _reopened(stream: Any, number: int) -> Any:
    """The stream, or another one on the same file if the body has closed it."""
    if getattr(stream, "closed", False) and _is_open(number):
        return open(number, "w", closefd=False)
    return stream


class _Shield(io.TextIOBase):
    """Writes to a stream, which closing this one does not close."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        _flush(self._stream)

    def close(self) -> None:
        self.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def give(name: str, function: Any) -> str:
    """Make a function that no module has, such as a lambda, known to `imported` of this process; returns its name."""
    _given[name] = function
    return f"{GIVEN}:{name}"


def imported(name: str) -> Any:
    """What `package.module:name` stands for.

    A module is looked for where Python looks, and then in the working directory, which the command `mlasdi` would
    otherwise not search. Ray gives the agent's working directory to its workers.

    Raises:
        ValueError: there is no such module or name; the message is the importer's own.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ValueError(f"'{name}' must be package.module:name")
    if module == GIVEN and attribute in _given:
        return _given[attribute]
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that nothing installed is hidden by a file that happens to lie here
    try:
        with contained():
            return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's module may fail in its own ways
        raise ValueError(f"'{name}' cannot be loaded: {error}") from error
