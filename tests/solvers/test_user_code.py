"""User code that leaves, moves, closes, prints or forks: the caller goes on as before."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlasdi.solvers import Constraint, SolverError, contained, imported, parse_constraint


def exits() -> None:
    sys.exit(0)


def leaves() -> None:
    os._exit(0)


def stops() -> None:
    raise GeneratorExit


LEAVING = {"sys.exit(0)": exits, "os._exit(0)": leaves, "GeneratorExit": stops}


@pytest.mark.parametrize("what", LEAVING)
def test_leaving_is_a_failure_that_names_its_line(what: str) -> None:
    with pytest.raises(SolverError) as caught, contained():
        LEAVING[what]()
    assert caught.value.kind == "exception"
    assert what in str(caught.value)
    line = LEAVING[what].__code__.co_firstlineno + 1
    if what != "os._exit(0)":  # whose frames are covered by those of the checker of shapes
        assert f"test_user_code.py:{line}" in str(caught.value)


def test_exceptions_and_interrupts_pass_through() -> None:
    for error in (ValueError, SolverError("bad-output", ""), KeyboardInterrupt):
        with pytest.raises(type(error) if isinstance(error, Exception) else error), contained():
            raise error


def test_a_function_imported_meanwhile_still_ends_forked_processes() -> None:
    with contained():
        from os import _exit
    child = os.fork()
    if not child:
        _exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_the_folder_is_as_before(tmp_path: Path) -> None:
    before = os.getcwd()
    with contained():
        os.chdir(tmp_path)
    assert os.getcwd() == before


def closes_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


def closes_files() -> None:
    os.close(1)
    os.close(2)


def replaces_streams() -> None:
    sys.stdout = sys.stderr = io.StringIO()


def redirects_files() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def has_no_streams() -> None:
    sys.stdout = sys.stderr = None


CLOSING = [closes_streams, closes_files, replaces_streams, redirects_files, has_no_streams]


@pytest.mark.parametrize("close", CLOSING)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_output_is_as_before(close: Callable[[], None], capfd: pytest.CaptureFixture[str]) -> None:
    with contained():
        close()
    print("result")
    os.write(1, b"of the file\n")
    print("progress", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    assert capfd.readouterr() == ("result\nof the file\n", "progress\n")


def test_closed_streams_of_the_caller_are_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
    kept, sys.stdout = sys.stdout, stream
    try:
        with contained():
            stream.close()
        print("result", flush=True)
    finally:
        sys.stdout = kept
    assert capfd.readouterr().out == "result\n"


def test_prints_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with contained():
        print("stray")
        sys.stdout.flush()
        os.system("echo child")
    assert capfd.readouterr() == ("", "stray\nchild\n")


@pytest.mark.parametrize("ends", [lambda: None, exits, lambda: 1 / 0])
def test_a_fork_that_comes_back_ends(ends: Callable[[], object], tmp_path: Path) -> None:
    """Else it would write the results of the caller twice."""
    log, child, home = tmp_path / "log", 1, os.getpid()
    try:
        with contained():
            child = os.fork()
            if not child:
                ends()
    finally:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
    os.waitpid(child, 0)
    assert log.read_text() == f"{home}\n"


MODULES = {
    "exits": "import sys\nsys.exit(0)",
    "leaves": "import os\nos._exit(0)",
    "stops": "raise GeneratorExit",
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_leaves_cannot_be_loaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"module_that_{name}.py").write_text(MODULES[name])
    with pytest.raises(ValueError, match=rf"'module_that_{name}:solve' cannot be loaded: the code (called|raised)"):
        imported(f"module_that_{name}:solve")


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)"])
def test_a_predicate_that_leaves_is_an_error(leave: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "leaving_predicate", raising=False)
    (tmp_path / "leaving_predicate.py").write_text(f"import os, sys\ndef allowed(a):\n    {leave}\n")
    constraint: Constraint = parse_constraint("leaving_predicate:allowed")
    with pytest.raises(ValueError, match=r"constraint 'leaving_predicate:allowed' fails: the code called"):
        constraint.holds({"a": np.ones(3)})
