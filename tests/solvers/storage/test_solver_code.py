"""Whether the code of a solver is the same: the digest of its files."""

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlasdi.solvers import FullOrderModel
from mlasdi.solvers.adapters import Command
from mlasdi.solvers.adapters.python_function import PythonFunction
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.storage import code_digest

CODE = "import physics\ndef solve(a):\n    return physics.solve(a)\n"


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PythonFunction:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "shared_code_solver.py", CODE)
    write(tmp_path / "physics.py", "def solve(a): return [0], [[a]]\n")
    for name in ("shared_code_solver", "physics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return PythonFunction(function="shared_code_solver:solve")


def write(path: Path, text: str, age_s: float = 1e6) -> None:
    path.write_text(text)
    os.utime(path, (path.stat().st_mtime - age_s,) * 2)


def digest(fom: FullOrderModel) -> str | None:
    """As another process finds it."""
    sys.modules["mlasdi.solvers.storage.solver_code"]._digest.cache_clear()
    return code_digest(fom)


def test_a_change_of_any_file_beside_it_is_another_solver(function: PythonFunction, tmp_path: Path) -> None:
    first = digest(function)
    assert first is not None
    assert digest(function) == first
    write(tmp_path / "physics.py", "def solve(a): return [0], [[2 * a]]\n")
    assert digest(function) not in (first, None)


def test_code_that_was_changed_after_it_was_imported_is_not_known(function: PythonFunction, tmp_path: Path) -> None:
    write(tmp_path / "physics.py", "def solve(a): return [0], [[3 * a]]\n", age_s=-10)
    assert digest(function) is None


def test_all_files_of_a_package_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("__init__.py", "physics/__init__.py", "solvers/__init__.py", "physics/fluxes.py"):
        path = tmp_path / "shared_code_package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, "")
    write(tmp_path / "shared_code_package/solvers/own.py", "def solve(a): return [0], [[a]]\n")
    function = PythonFunction(function="shared_code_package.solvers.own:solve")
    first = digest(function)
    write(tmp_path / "shared_code_package/physics/fluxes.py", "FLUX = 2\n")
    assert digest(function) not in (first, None)


def test_a_program_is_known_by_its_version(tmp_path: Path) -> None:
    program = tmp_path / "solve.sh"
    write(program, "#!/bin/sh\n")
    command = Command(argv=("sh", str(program), "{a}"), output="out.npz", parameters=("a",))
    versioned = replace(command, version="1")
    assert digest(command) is None
    first = digest(versioned)
    assert first is not None
    write(program, "#!/bin/sh\ntrue\n")
    assert digest(versioned) not in (first, None)


def test_built_in_solvers_are_known() -> None:
    assert digest(Burgers1D(n_x=11, n_t=5))
