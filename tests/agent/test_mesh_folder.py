"""A folder of VTU files, as codes for unstructured meshes leave them: from 30 runs to a registered model and back."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlasdi.agent.cli.main import app
from mlasdi.solvers import SolverError, build_solver

meshio = pytest.importorskip("meshio")
T = np.linspace(0, 1, 5)
POINTS = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [1, 1, 0], [2, 1, 0], [1, 2, 0]], dtype=float)
CELLS = [("triangle", np.array([[0, 1, 4], [0, 4, 3], [3, 4, 6]])), ("quad", np.array([[1, 2, 5, 4]]))]
CONFIG = """\
problem:
  solver: data-set
  options:
    path: runs
    parameters: [speed]
    fields: [T]
    times: [0, 1]
  parameters: {speed: [0.5, 1.5]}
budget: {solver_runs: 8}
validation: {rest: true}
"""


def temperature(speed, t):
    return 2 + np.sin(speed * t + POINTS[:, 0] - POINTS[:, 1] / 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs, with the working directory there."""
    rows = ["file,speed"]
    for i, speed in enumerate(np.linspace(0.5, 1.5, 30)):
        (tmp_path / f"runs/{i:02d}").mkdir(parents=True)
        for k, t in enumerate(T):
            one = meshio.Mesh(POINTS, CELLS, point_data={"T": temperature(speed, t)})
            one.write(tmp_path / f"runs/{i:02d}/u_{k}.vtu")
        rows.append(f"{i:02d}/u_*.vtu,{speed!r}".replace("np.float64(", "").replace(")", ""))
    (tmp_path / "runs/parameters.csv").write_text("\n".join(rows))
    (tmp_path / "hot.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_ten_lines_make_a_registered_model_whose_predictions_have_the_mesh(folder):
    assert len(CONFIG.splitlines()) == 10
    told("run", "hot.yaml", "cluster.executor=serial", "model.kind=snapshot-gp")
    report = json.loads((folder / "mlruns/campaigns/hot/report.json").read_text())
    assert report["max_relative_error"] < 0.01
    for name in ("u.pvd", "u.vtu"):
        at = ["--times", "0.5"] if name == "u.vtu" else []
        told("predict", "models:/hot@champion", "--at", "speed=0.77", *at, "--out", name)
    found = meshio.read(folder / "u.vtu")
    np.testing.assert_array_equal(found.points, POINTS)
    for (kind, nodes), block in zip(CELLS, found.cells, strict=True):
        assert block.type == kind
        np.testing.assert_array_equal(block.data, nodes)
    name = next(name for name in found.point_data if name.startswith("T"))
    np.testing.assert_allclose(found.point_data[name], temperature(0.77, 0.5), rtol=0.01)
    assert (folder / "u.pvd").read_text().count("<DataSet") == len(T)


def overwrite(path, values):
    meshio.Mesh(POINTS, CELLS, point_data={"T": values}).write(path)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), r"03/u_2\.vtu cannot be read"),
        (lambda path: path.unlink(), r"03: a file between u_1\.vtu and u_3\.vtu is missing"),
        (lambda path: overwrite(path, np.where(POINTS[:, 0] == 2, np.nan, 1.0)), r"03/u_2\.vtu: 'T' .* at index \[2\]"),
        (lambda path: overwrite(path, np.ones((7, 2))), r"03/u_2\.vtu: array 'T' has shape \(7, 2\)"),
        (lambda path: meshio.Mesh(2 * POINTS, CELLS, {"T": POINTS[:, 0]}).write(path), r"u_2\.vtu: its mesh differs"),
        (lambda path: meshio.Mesh(POINTS, CELLS, {"U": POINTS[:, 0]}).write(path), r"03/u_2\.vtu: .* no array 'T'"),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_the_array(folder, spoil, expected):
    spoil(folder / "runs/03/u_2.vtu")
    options = {"path": "runs", "parameters": ["speed"], "fields": ["T"], "times": [0, 1]}
    solver = build_solver("data-set", options)
    with pytest.raises(SolverError, match=expected):
        solver.solve({"speed": solver.available()[3, 0]})


def test_an_array_of_another_type_is_named(folder):
    np.savez(folder / "runs/words.npz", t=T, T=np.array(["a"] * 5))
    (folder / "runs/parameters.csv").write_text("file,speed\nwords.npz,1\n")
    with pytest.raises(SolverError, match=r"words\.npz.*: 'T' holds <U1, not real numbers"):
        build_solver("data-set", {"path": "runs", "parameters": ["speed"], "fields": ["T"]}).solve({"speed": 1.0})
