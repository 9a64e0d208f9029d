"""Data sets: the same runs in every form they may have, and what is wrong with one that cannot be used."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

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


def series_in_folders(root: Path) -> dict:
    rows = ["file, a, b"]
    for i, (a, b) in enumerate(POINTS):
        (root / f"run{i}").mkdir()
        for k, t in enumerate(T):
            np.savez(root / f"run{i}" / f"{k}.npz", t=t, u=solution(a, b)[k])
        rows.append(f"run{i}/*.npz, {a}, {b}")
    (root / "parameters.csv").write_text("\n".join(rows))
    return {"path": str(root)}


def matlab_arrays_over_runs(root: Path) -> dict:
    u = np.stack([solution(a, b) for a, b in POINTS])
    savemat(root / "all.mat", {"a": POINTS[:, 0], "b": POINTS[:, 1], "t": T, "u": u, "x": X})
    return {"path": str(root / "all.mat"), "coordinates": {"x": "x"}, "fields": ["u"]}


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
    series_in_folders,
    matlab_arrays_over_runs,
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
        ({"parameters.csv": "run,a,b\nx,1,2"}, {}, "column 'file' is missing; it has run, a, b"),
        ({"parameters.csv": "file,a\nx.npz,1"}, {}, "column 'b' is missing; it has file, a"),
        ({"parameters.csv": "file,a,b\nx.npz,1,one"}, {}, "parameters.csv, row 2, column 'b': 'one' is not a number"),
        ({"parameters.csv": "file;a;b\nx.npz;1;2\nx.npz;1;"}, {}, "csv, row 3, column 'b': the cell is empty"),
        ({"parameters.csv": "file\ta\tb\nx.npz\t1\tnan"}, {}, "csv, row 2, column 'b': 'nan' must be finite"),
        ({"parameters.csv": "\ufefffile,a,b\n,1,2"}, {}, "parameters.csv, row 2, column 'file': the cell is empty"),
        ({"parameters.csv": "file,a,b\ngone.npz,1,2"}, {}, "row 2, column 'file': there is no file "),
        ({"parameters.json": '{"file": 3}'}, {}, "must be a table"),
        ({"parameters.json": '[{"file": "x.npz", "a": 1}]'}, {}, "column 'b' is missing; it has file, a"),
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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [";", "\t"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, encoding: str, mark: str) -> None:
    options = folder_with_csv_table(tmp_path)
    table = tmp_path / "parameters.csv"
    table.write_text(table.read_text().replace(", ", mark), encoding=encoding)
    np.testing.assert_array_equal(build_solver("data-set", {"parameters": ["a", "b"], **options}).available(), POINTS)


def test_a_parameter_in_a_file_must_be_finite(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", a=[1.0, np.nan], t=T, u=np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"all\.npz, run 1: parameter 'a' = nan must be finite"):
        build_solver("data-set", {"parameters": ["a"], "path": str(tmp_path / "all.npz")})


def with_another_run(root: Path, u: np.ndarray, t: np.ndarray = T) -> dict:
    """A fourth run at the parameters of the first, in row 5 of the table."""
    options = folder_with_csv_table(root)
    table = root / "parameters.csv"
    table.write_text(table.read_text() + "\nagain.npz, 10.0, 0.1")
    np.savez(root / "again.npz", t=t, u=u)
    return {"parameters": ["a", "b"], **options}


def test_runs_at_one_point_that_differ_by_white_noise_count_as_their_mean(tmp_path: Path) -> None:
    t, rough = np.linspace(0, 1, 30), 0.3 * np.random.default_rng(0).standard_normal((3, 30, 8))
    u = np.sin(t)[:, None] * np.ones(8) + rough
    np.savez(tmp_path / "all.npz", a=[0.1, 0.3, 0.1], t=t, u=u)
    fom = build_solver("data-set", {"parameters": ["a"], "path": str(tmp_path / "all.npz")})
    assert isinstance(fom, TabulatedModel)
    np.testing.assert_array_equal(fom.available(), [[0.1], [0.3]])
    np.testing.assert_array_equal(fom.solve({"a": 0.3}).u, u[1])
    np.testing.assert_allclose(fom.solve({"a": 0.1}).u, (u[0] + u[2]) / 2)


def test_equal_runs_at_one_point_count_once(tmp_path: Path) -> None:
    fom = build_solver("data-set", with_another_run(tmp_path, solution(0.1, 10.0)))
    np.testing.assert_allclose(fom.solve({"a": 0.1, "b": 10.0}).u, solution(0.1, 10.0))


def test_other_differences_of_runs_at_one_point_are_refused(tmp_path: Path) -> None:
    """The rows are named with what helps; with `mean_of_runs` the mean is wanted."""
    options = with_another_run(tmp_path, solution(0.1, 10.0) + 1)
    fom = build_solver("data-set", options)
    with pytest.raises(SolverError, match="differ by more than white noise") as caught:
        fom.solve({"a": 0.1, "b": 10.0})
    for told in ("{'a': 0.1, 'b': 10.0}", "run0.npz, row 2; ", "again.npz, row 5; ", "as a parameter", "model.noise"):
        assert told in caught.value.message
    np.testing.assert_array_equal(fom.solve({"a": 0.3, "b": 20.0}).u, solution(0.3, 20.0))
    agreed = build_solver("data-set", options | {"mean_of_runs": True})
    np.testing.assert_allclose(agreed.solve({"a": 0.1, "b": 10.0}).u, solution(0.1, 10.0) + 0.5)
    np.savez(tmp_path / "again.npz", t=2 * T, u=solution(0.1, 10.0))
    with pytest.raises(SolverError, match=r"different times or shapes: .*run0\.npz, row 2; .*again\.npz, row 5"):
        agreed.solve({"a": 0.1, "b": 10.0})


def test_runs_of_one_file_are_named_by_their_place(tmp_path: Path) -> None:
    u = np.stack([solution(0.1, 10.0), solution(0.3, 20.0), solution(0.1, 10.0) + np.outer(T, X)])
    np.savez(tmp_path / "all.npz", a=[0.1, 0.3, 0.1], t=T, u=u, x=X)
    fom = build_solver("data-set", {"parameters": ["a"], "path": str(tmp_path / "all.npz"), "coordinates": {"x": "x"}})
    with pytest.raises(SolverError, match=r"all\.npz, run 0; .*all\.npz, run 2; give"):
        fom.solve({"a": 0.1})
