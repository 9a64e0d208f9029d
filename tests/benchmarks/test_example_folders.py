"""The examples with solvers of others: small enough, sound, and run where their code is installed."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from examples_page import write_page
from examples_study import EXAMPLES, FOLDER, Example, judged, lines_of, unseen_runs

from mlasdi.agent.config import Config, load_config
from mlasdi.arrays import fit
from mlasdi.solvers import build_solver

MOST_LINES = 40
# Stand for programs of OpenFOAM: cells of the unit square, and fields that depend on the parameters, as text.
BLOCK_MESH = """#!/bin/sh
test -f system/blockMeshDict && test -f constant/transportProperties && grep -q 'lid' parameters
"""
ICO_FOAM = """#!/usr/bin/env python3
import os, re
lid, nu = (float(re.search(name + r" (\\S+);", open("parameters").read()).group(1)) for name in ("lid", "viscosity"))
points = [((i + 0.5) / 3, (j + 0.5) / 2) for j in range(2) for i in range(3)]
def write(time, name, kind, values):
    os.makedirs(time, exist_ok=True)
    with open(f"{time}/{name}", "w") as file:
        file.write(f"FoamFile {{ class vol{kind.title()}Field; }}\\ninternalField   nonuniform List<{kind}>\\n")
        file.write(f"{len(values)}\\n(\\n" + "\\n".join(values) + "\\n)\\n;\\n")
        file.write("boundaryField { a { value uniform (1 0 0); } }\\n")
for time in ("0.1", "0.2", "1", "10"):
    write(time, "U", "vector", [f"({lid * float(time) * x} {nu * y} 0)" for x, y in points])
    write(time, "p", "scalar", [f"{lid**2 * x * float(time)}" for x, y in points])
    write(time, "C", "vector", [f"({x} {y} 0.005)" for x, y in points])
"""
HEAT = """#!/usr/bin/env python3
import re, sys
import numpy as np
assert sys.argv[1:3] == ["-n", "2"] and sys.argv[3].endswith("/heat")
(diffusivity, speed) = (float(x) for x in re.findall(r"= ([0-9.e+-]+)", open("input.nml").read()))
t, y, x = np.meshgrid(np.linspace(0, 1, 51), np.arange(64), np.arange(64), indexing="ij")
(diffusivity + speed * x + 100 * y + t).tofile("temperature.bin")
"""


def config_of(name: str, folder: Path) -> Config:
    """The configuration of an example, whose folder is copied and becomes the working directory."""
    shutil.copytree(FOLDER / name, folder, dirs_exist_ok=True)
    os.chdir(folder)
    (path,) = folder.glob("*.yaml")
    return load_config(path, [])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # and back


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_short(name: str) -> None:
    assert lines_of(FOLDER / name) <= MOST_LINES


def test_every_folder_is_measured() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and list(path.glob("*.yaml"))} == set(EXAMPLES)


@pytest.mark.parametrize("name", ["pybamm-discharge", "cantera-ignition", "scikit-fem-plate", "scalar-outputs"])
def test_its_configuration_is_valid_and_it_solves(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in EXAMPLES[name].modules:
        pytest.importorskip(module)
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of(name, tmp_path)
    space = config.problem.space
    solver = build_solver(config.problem.solver, config.problem.options)
    solver.solve(space.as_dict(space.from_unit(np.full(space.n_params, 0.9)))).check(None)


def test_openfoam_with_programs_that_write_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/blockMesh", BLOCK_MESH)
    program(tmp_path / "bin/icoFoam", ICO_FOAM)
    program(tmp_path / "bin/postProcess", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.syspath_prepend(tmp_path / "case")
    config = config_of("openfoam-cavity", tmp_path / "case")
    found = build_solver("command", config.problem.options).solve({"lid": 0.8, "nu": 0.01})
    x, y = (np.array([(i + 0.5) / 3 for i in range(3)] * 2), np.repeat([0.25, 0.75], 3))
    np.testing.assert_array_equal(found.t, [0.1, 0.2, 1, 10])
    fields = found.layout.split(found.u)
    np.testing.assert_allclose(fields["U_x"], 0.8 * np.outer(found.t, x), rtol=1e-9)
    np.testing.assert_allclose(fields["U_y"], np.tile(0.01 * y, (4, 1)), rtol=1e-9)
    np.testing.assert_allclose(fields["p"], 0.64 * np.outer(found.t, x), rtol=1e-9)
    np.testing.assert_allclose(found.layout.coordinates["y"], y)


def test_fortran_output_is_read_with_x_fastest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "mpirun", HEAT)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = config_of("fortran-mpi", tmp_path / "case")
    found = build_solver("command", config.problem.options).solve({"diffusivity": 0.004, "speed": 0.75})
    field = found.layout.split(found.u)["T"]
    assert found.layout.shape == (64, 64)
    np.testing.assert_allclose(field[50, 3, 2], 0.004 + 0.75 * 2 + 300 + 1)  # [time, y, x]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpif90") is None or shutil.which("mpirun") is None, reason="no Fortran with MPI")
def test_fortran_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):  # as in a container
        monkeypatch.setenv(name, "1")
    config = config_of("fortran-mpi", tmp_path)
    subprocess.run(EXAMPLES["fortran-mpi"].build, check=True)
    found = build_solver("command", config.problem.options).solve({"diffusivity": 0.01, "speed": 0.75})
    sums = found.u.sum(axis=1)
    np.testing.assert_allclose(sums, sums[0], rtol=1e-9)  # nothing leaves
    assert (np.diff(found.u.max(axis=1)) < 0).all()


@pytest.mark.slow
def test_a_model_is_judged_at_unseen_runs(tmp_path: Path) -> None:
    """With the files in the layout of The Well, and kriging."""
    shutil.copytree(FOLDER / "the-well", tmp_path, dirs_exist_ok=True)
    subprocess.run(EXAMPLES["the-well"].build, cwd=tmp_path, check=True)
    config = config_of("the-well", tmp_path)
    seen, unseen = (unseen_runs(config, Example("", {"*": 1}, unseen={"path": path})) for path in ("runs", "unseen"))
    assert len(unseen) == 20
    assert not {tuple(mu) for mu, _ in seen} & {tuple(mu) for mu, _ in unseen}
    mu, u = np.array([mu for mu, _ in seen[:9]]), np.stack([run.u for _, run in seen[:9]])
    model = fit(mu, seen[0][1].t, u, parameters={"a": (0.7, 0.9), "w": (0.9, 1.1)}, kind="snapshot-gp")
    (found,) = judged(model, unseen[:3], {"*": 0.01}).values()
    assert 0 < found["mean_error"] <= found["max_error"] < 0.5
    assert found["must"] == 0.01


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Example("", {"*": 1}, modules=("numpy", "no_such_module"), programs=("sh", "no-such-program"))
    assert absent.missing() == ["no_such_module", "no-such-program"]
    monkeypatch.setattr("examples_page.PAGE", tmp_path / "page.md")
    one = {"max_error": 0.02, "mean_error": 0.001, "error_estimate": None, "coverage": 0.914, "must": 0.01}
    entry = {"code": "C", "lines": 7, "solver_runs": 9, "stages": ["kriging"], "seconds": 3.2, "measured": "now"}
    write_page({"a": entry | {"outputs": {"u": one, "v": one | {"max_error": 0.01}}}}, {"b": ["icoFoam"], "a": []}, 20)
    text = (tmp_path / "page.md").read_text()
    assert "| a | C | 7 | 9 | u | 2 | 0.1 |  | 91 % | 1 % | **missed** |" in text
    assert "|  |  |  |  | v | 1 | 0.1 |  | 91 % | 1 % |  |" in text
    assert "- b: not measured, because icoFoam is missing." in text
