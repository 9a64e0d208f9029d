"""An external program as a solver: a C program compiled here, its input, and its failures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlasdi.solvers import SolverError, verify
from mlasdi.solvers.catalog import build_solver

SOURCE = Path(__file__).parents[1] / "advection.c"
NAMELIST = "&advection\n  speed = {speed:.17g}\n  width = {width:.17g}\n  n_x = 64\n  n_t = 11\n/\n"
MU = {"speed": 1.0, "width": 0.2}
SHELL = {"argv": ["sh", "script"], "parameters": ["a"]}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled advection solver."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("bin") / "advection"
    subprocess.run([compiler, "-O1", "-o", path, SOURCE, "-lm"], check=True)
    return path


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shell(script: str, **options: object):
    """A solver that is a shell script with one parameter, `a`."""
    return build_solver("command", {**SHELL, "files": {"script": f"# {{a}}\n{script}\n"}, "output": "u.csv", **options})


def kept_runs() -> list[Path]:
    return sorted(Path("mlruns/runs").iterdir())


def test_a_compiled_program_with_an_input_file(program: Path) -> None:
    options = {
        "argv": [str(program), "input.nml", "u.csv"],
        "parameters": ["speed", "width"],
        "files": {"input.nml": NAMELIST},
        "output": "u.csv",
        "coordinates": {"x": [0, 63 / 64]},
        "units": {"u": "K"},
    }
    fom = build_solver("command", options)
    assert fom.parameter_names == ("speed", "width")
    assert verify(fom, MU).ok
    found = fom.solve({"speed": 0.5, "width": 0.2})
    assert found.layout.field_units == {"u": "K"}
    # Upwind differences smear a hump of this width; that they move it by speed * t = 0.5 is what the program is for.
    x = found.layout.coordinates["x"]
    np.testing.assert_allclose(found.u[0], np.exp(-(((x - 0.5) / 0.2) ** 2)), atol=1e-12)
    assert abs(x[np.argmax(found.u[-1])] - 0.0) < 2 / 64
    np.testing.assert_allclose(found.u.sum(axis=1), found.u[0].sum(), rtol=1e-12)
    assert kept_runs() == []


def test_paths_start_at_the_working_directory_of_the_agent(program: Path, tmp_path: Path) -> None:
    shutil.copy(program, "solver")
    Path("template.nml").write_text(NAMELIST)
    common = {"parameters": ["speed", "width"], "templates": {"in/input.nml": "template.nml"}, "output": "u.csv"}
    direct = build_solver("command", {**common, "argv": ["./solver", "in/input.nml", "u.csv"]})
    launched = build_solver("command", {**common, "argv": ["env", "{here}/solver", "in/input.nml", "u.csv"]})
    np.testing.assert_array_equal(direct.solve(MU).u, launched.solve(MU).u)
    assert str(tmp_path) not in json.dumps(launched.identity())


def test_parameters_in_arguments_and_environment() -> None:
    code = (
        "import os, sys, numpy; numpy.savez('u', t=[0, 1], u=[[float(sys.argv[1])] * 2, [float(os.environ['B'])] * 2])"
    )
    options = {"argv": [sys.executable, "-c", code, "{a}"], "parameters": ["a", "b"], "environment": {"B": "{b:.2f}"}}
    found = build_solver("command", {**options, "output": "u.npz"}).solve({"a": 1 / 3, "b": 1 / 3})
    np.testing.assert_array_equal(found.u, [[1 / 3] * 2, [0.33] * 2])


def test_runs_are_kept_as_asked() -> None:
    works, fails = "echo 0,1 > u.csv; echo 1,1 >> u.csv", "echo working; echo broken >&2; exit 3"
    shell(works, keep="all").solve({"a": 1.0})
    (kept,) = kept_runs()
    assert (kept / "script").read_text().startswith("# 1.0\n")
    with pytest.raises(SolverError):
        shell(fails, keep="none").solve({"a": 1.0})
    shell(works).solve({"a": 2.0})
    assert kept_runs() == [kept]
    with pytest.raises(SolverError) as caught:
        shell(fails).solve({"a": 2.5})
    (failed,) = set(kept_runs()) - {kept}
    assert failed.name.startswith("a=2.5_")
    assert (failed / "stdout.txt").read_text() == "working\n"
    assert str(failed) in caught.value.message


@pytest.mark.parametrize(
    ("script", "options", "kind", "told"),
    [
        ("echo first >&2; echo no mesh >&2; exit 3", {}, "exit-code", "code 3; end of stderr.txt: first | no mesh"),
        ("echo to stdout; exit 1", {}, "exit-code", "end of stdout.txt: to stdout"),
        ("kill -SEGV $$", {}, "signal", "sh was ended by SIGSEGV"),
        ("kill -KILL $$", {}, "signal", "SIGKILL, which may mean that the machine ran out of memory"),
        ("exec sleep 86400", {"time_limit_s": 0.2}, "time-out", "stopped after 0.2 s; option time_limit_s"),
        ("echo 'std::bad_alloc' >&2; kill -ABRT $$", {}, "out-of-memory", "ran out of memory"),
        ("exit 0", {}, "missing-output", "there is no output file"),
        ("touch u.csv", {}, "bad-output", "is empty"),
        ("echo 0,1,2 > u.csv; echo 1,2 >> u.csv", {}, "bad-output", "cannot be read"),
        ("echo 0,1 > u.csv; echo 0,1 >> u.csv", {}, "bad-times", "strictly increase"),
        ("echo 0,1 > u.csv; echo 1,nan >> u.csv", {}, "not-finite", "'u' is missing or not finite at index [1, 0]"),
        ("echo 0,1 > u.csv; echo 1,1 >> u.csv", {"coordinates": {"x": [0, 1], "y": [0, 1]}, "fields": ["u"],
          "times": [0, 1], "time_axis": 2}, "wrong-shape", "no axis 2"),
        ("exit 0", {"argv": ["no-such-program", "script"]}, "exception", "no-such-program cannot be started"),
    ],
)  # fmt: skip
def test_each_failure_has_its_kind_and_words(script: str, options: dict, kind: str, told: str) -> None:
    with pytest.raises(SolverError) as caught:
        shell(script, **options).solve({"a": 1.0})
    assert caught.value.kind == kind
    assert told in caught.value.message
    assert "\n" not in caught.value.message


def test_the_identity_is_what_decides_the_solution(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_text("a = {a}")
    options = {**SHELL, "templates": {"script": str(template)}, "output": "u.csv"}
    first = build_solver("command", options).identity()
    assert (
        build_solver("command", {**options, "time_limit_s": 3.0, "runs": "elsewhere", "keep": "all"}).identity()
        == first
    )
    changes = [{"version": "2"}, {"argv": ["bash", "script"]}, {"fields": ["v"]}, {"environment": {"A": "1"}}]
    others = [build_solver("command", {**options, **change}).identity() for change in changes]
    template.write_text("a = {a:.3f}")
    others.append(build_solver("command", options).identity())
    assert len({json.dumps(identity, sort_keys=True) for identity in (first, *others)}) == 6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"argv": []}, "must name at least one"),
        ({"argv": ["sh", "{b}"]}, "argv[1]: '{b}' is no parameter; allowed: a, here"),
        ({"argv": ["sh", "{a:x}"]}, "'x' is no number format"),
        ({"parameters": ["a", "b"]}, "parameters ['b'] appear in no argument"),
        ({"parameters": ["a", "here"]}, "'here' stands for the working directory"),
        ({"output": "u.odb"}, "allowed: .h5"),
        ({"output": "../u.csv"}, "'../u.csv' must be a path within the working folder"),
        ({"files": {"/etc/x": "{a}"}}, "'/etc/x' must be a path within"),
        ({"templates": {"x": "none"}}, "'none' cannot be read: No such file"),
        ({"time_limit_s": 0}, "option time_limit_s: 0.0 must be positive"),
        ({"keep": "some"}, "option keep = 'some': input should be 'failed', 'all' or 'none'"),
        ({"environment": {"A": "{c}"}}, "environment.A: '{c}' is no parameter"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options: dict, told: str) -> None:
    with pytest.raises(ValueError, match="solver 'command'") as caught:
        shell("true", **options)
    assert told in str(caught.value)
