"""Data sets: the same runs in every form they may have, and what is wrong with one that cannot be used."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlasdi.solvers import SolverError, TabulatedModel, verify
from mlasdi.solvers.catalog import build_solver

T, X = np.linspace(0, 1, 5), np.linspace(0, 1, 3)
POINTS = np.array([[0.1, 10.0], [0.3, 20.0], [0.2, 30.0]])


def solution(a: float, b: float) -> np.ndarray:
    return a * np.outer(T, X) + b


def folder_with_csv_table(root: Path) -> dict:
    rows = ["file, b, a"]
    for i, (a, b) in enumerate(POINTS):
        np.savez(root / f"run{i}.npz", t=T, u=solution(a, b))
        rows.append(f"run{i}.npz, {b}, {a}")
    (root / "parameters.csv").write_text("\n".join(rows))
    return {"path": str(root)}


def folder_with_json_table(root: Path) -> dict:
    options = folder_with_csv_table(root)
    (root / "parameters.csv").unlink()
    rows = [{"file": f"run{i}.npz", "a": a, "b": b} for i, (a, b) in enumerate(POINTS)]
    (root / "mine.json").write_text(json.dumps(rows))
    return options | {"table": str(root / "mine.json")}


def folder_of_tables(root: Path) -> dict:
    options = folder_with_csv_table(root)
    table = root / "parameters.csv"
    table.write_text(table.read_text().replace(".npz", ".csv"))
    for i, point in enumerate(POINTS):
        np.savetxt(root / f"run{i}.csv", np.column_stack([T, solution(*point)]), delimiter=",")
    return options


def folder_with_attributes(root: Path) -> dict:
    for i, (a, b) in enumerate(POINTS):
        with h5py.File(root / f"run{i}.h5", "w") as file:
            file.attrs.update({"a": a, "b": b})
            file["t"], file["u"] = T, solution(a, b)
    return {"path": str(root)}


def folder_with_numbers_in_the_files(root: Path) -> dict:
    for i, (a, b) in enumerate(POINTS):
        np.savez(root / f"run{i}.npz", t=T, u=solution(a, b), a=a, b=[b])
    return {"path": str(root)}


def groups_of_one_file(root: Path) -> dict:
    with h5py.File(root / "all.h5", "w") as file:
        for i, (a, b) in enumerate(POINTS):
            group = file.create_group(f"run{i}")
            group.attrs["a"] = a
            group["b"], group["t"], group["u"] = b, T, solution(a, b)
    return {"path": str(root / "all.h5")}


def arrays_over_runs(root: Path) -> dict:
    u = np.stack([solution(a, b) for a, b in POINTS])
    np.savez(root / "all.npz", a=POINTS[:, 0], b=POINTS[:, 1], t=T, u=u, x=X)
    return {"path": str(root / "all.npz"), "coordinates": {"x": "x"}}


def arrays_over_runs_with_their_own_times(root: Path) -> dict:
    with h5py.File(root / "all.h5", "w") as file:
        file["a"], file["b"] = POINTS.T
        file["t"] = np.tile(T, (3, 1))
        file["u"] = np.stack([solution(a, b) for a, b in POINTS])
    return {"path": str(root / "all.h5"), "fields": ["u"]}


FORMS = [
    folder_with_csv_table,
    folder_with_json_table,
    folder_of_tables,
    folder_with_attributes,
    folder_with_numbers_in_the_files,
    groups_of_one_file,
    arrays_over_runs,
    arrays_over_runs_with_their_own_times,
]


@pytest.fixture(params=FORMS, ids=lambda form: form.__name__)
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict:
    return {"parameters": ["a", "b"], **request.param(tmp_path)}


def test_every_form_gives_the_same_runs(options: dict) -> None:
    fom = build_solver("data-set", options)
    assert isinstance(fom, TabulatedModel)
    np.testing.assert_array_equal(fom.available(), POINTS)
    for a, b in POINTS:
        found = fom.solve({"b": b, "a": a * (1 + 1e-13)})
        np.testing.assert_allclose(found.t, T)
        np.testing.assert_allclose(found.u, solution(a, b))
        assert found.layout.fields == ("u",)
    assert verify(fom, {"a": 0.3, "b": 20.0}).ok


def test_a_point_without_a_run_names_the_nearest_one(options: dict) -> None:
    with pytest.raises(SolverError) as caught:
        build_solver("data-set", options).solve({"a": 0.29, "b": 20.0})
    assert caught.value.kind == "bad-parameters"
    assert "the nearest is at {'a': 0.3, 'b': 20.0}" in caught.value.message


def test_the_identity_follows_the_runs(tmp_path: Path) -> None:
    options = {"parameters": ["a", "b"], **folder_with_numbers_in_the_files(tmp_path)}
    first = build_solver("data-set", options).identity()
    assert str(tmp_path) not in json.dumps(first)  # a data set may be moved
    assert build_solver("data-set", {**options, "version": "2"}).identity() != first
    np.savez(tmp_path / "run9.npz", t=T, u=solution(0.0, 0.0), a=0.0, b=0.0)
    assert build_solver("data-set", options).identity() != first


def test_a_damaged_run_is_a_failure_of_its_point(tmp_path: Path) -> None:
    fom = build_solver("data-set", {"parameters": ["a", "b"], **folder_with_csv_table(tmp_path)})
    (tmp_path / "run1.npz").write_bytes(b"PK nothing")
    (tmp_path / "run2.npz").unlink()
    assert fom.solve({"a": 0.1, "b": 10.0}).u.shape == (5, 3)
    kinds = []
    for a, b in POINTS[1:]:
        with pytest.raises(SolverError) as caught:
            fom.solve({"a": a, "b": b})
        kinds.append(caught.value.kind)
    assert kinds == ["bad-output", "missing-output"]


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        ({}, {}, "there are no runs; formats: .h5"),
        ({}, {"path": "nowhere"}, "nowhere: no such file or folder"),
        ({}, {"parameters": []}, "must name at least one"),
        ({"parameters.csv": "run,a,b\nx,1,2"}, {}, "with a column `file`"),
        ({"parameters.csv": "file,a\nx.npz,1"}, {}, "has no parameter b; it has file, a"),
        ({"parameters.csv": "file,a,b\nx.npz,1,one"}, {}, "could not convert string to float"),
        ({"parameters.json": '{"file": 3}'}, {}, "must be a table"),
        ({"run.csv": "0,1\n1,2"}, {}, "run.csv cannot contain its parameters: add parameters.csv"),
        ({"all.csv": "0,1"}, {"path": "all.csv"}, "all.csv"),
    ],
)  # fmt: skip
def test_unusable_data_sets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict, options: dict, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="solver 'data-set'") as caught:
        build_solver("data-set", {"path": str(tmp_path), "parameters": ["a", "b"], **options})
    assert told in str(caught.value)


def test_several_runs_at_one_point_count_as_their_mean(tmp_path: Path) -> None:
    options = folder_with_csv_table(tmp_path)
    table = tmp_path / "parameters.csv"
    table.write_text(table.read_text() + "\nagain.npz, 10.0, 0.1")
    np.savez(tmp_path / "again.npz", t=T, u=solution(0.1, 10.0) + 1)
    fom = build_solver("data-set", {"parameters": ["a", "b"], **options})
    assert isinstance(fom, TabulatedModel)
    np.testing.assert_array_equal(fom.available(), POINTS)
    np.testing.assert_allclose(fom.solve({"a": 0.1, "b": 10.0}).u, solution(0.1, 10.0) + 0.5)
    np.testing.assert_array_equal(fom.solve({"a": 0.3, "b": 20.0}).u, solution(0.3, 20.0))
    np.savez(tmp_path / "again.npz", t=2 * T, u=solution(0.1, 10.0))
    with pytest.raises(SolverError, match="different times or shapes"):
        fom.solve({"a": 0.1, "b": 10.0})
