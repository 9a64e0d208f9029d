"""Meshes that differ between runs, or change during a run, and the error of mapping them to one."""

import numpy as np
import pytest

from mlasdi.solvers import Mesh, SolverError
from mlasdi.solvers.catalog import build_solver
from mlasdi.solvers.outputs import NamedArrays
from mlasdi.solvers.storage import SnapshotStore

meshio = pytest.importorskip("meshio")
T = np.linspace(0, 1, 3)
EDGE = 60
GRID = {"x": (0, 1, 6), "y": (0, 2, 5)}


def scattered(n, seed):
    """Points of the rectangle, `n` of them inside and 4 `EDGE` on its boundary."""
    s = np.arange(EDGE) / EDGE
    bottom, right = np.stack([s, 0 * s], axis=-1), np.stack([1 + 0 * s, 2 * s], axis=-1)
    return np.concatenate(
        [bottom, right, [1, 2] - bottom, [1, 2] - right, np.random.default_rng(seed).uniform([0, 0], [1, 2], (n, 2))]
    )


def linear(points):
    """`[time, point]`, which linear interpolation reproduces."""
    return 1 + T[:, None] + points[..., 0] - 3 * points[..., 1]


def mapped(arrays, **options):
    return NamedArrays(**{"common_mesh": GRID} | options).snapshots({"t": T, **arrays})


def test_linear_fields_are_exact_and_others_stay_as_they_are():
    points = scattered(40, 0)
    vector = np.stack([linear(points), -linear(points)], axis=-1)
    found = mapped({"points": points, "u": linear(points), "U": vector, "voltage": 2 * T, "loss": 7.0})
    fields = found.layout.split(found.u)
    assert found.layout.fields == ("u", "U_x", "U_y", "voltage", "loss")
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 2, 5), indexing="ij"), axis=-1)
    expected = linear(grid.reshape(-1, 2)).reshape(3, 6, 5)
    for name, sign in (("u", 1), ("U_x", 1), ("U_y", -1)):
        np.testing.assert_allclose(fields[name], sign * expected, atol=1e-12)
    np.testing.assert_array_equal(fields["voltage"], 2 * T)
    assert found.mesh_interpolation_error < 1e-12


def test_points_may_move():
    points = np.stack([scattered(40, seed) for seed in range(3)])
    found = mapped({"points": points, "u": linear(points)})
    assert found.layout.shape == (6, 5)
    assert found.mesh_interpolation_error < 1e-12
    np.testing.assert_allclose(found.u[:, 0], 1 + T, atol=1e-12)


def test_there_may_be_as_many_times_as_places():
    points = scattered(40, 0)
    t = np.linspace(0, 1, len(points)) ** 2
    found = mapped({"t": t, "points": points, "u": np.tile(linear(points)[0], (len(t), 1))})
    np.testing.assert_array_equal(found.t, t)
    assert found.layout.fields == ("u",)


def wave(x, y):
    return np.sin(5 * x) * np.cos(2 * y)


def test_the_error_is_of_second_order_and_not_below_that_of_the_mapping():
    errors = []
    for n in (6, 24):
        axes, points = {"x": (0, 1, n), "y": (0, 2, n)}, scattered(20 * n**2, 1)
        found = mapped({"points": points, "u": np.tile(wave(*points.T), (3, 1))}, common_mesh=axes)
        grid = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 2, n), indexing="ij")
        true = np.linalg.norm(found.u[0] - wave(*grid).ravel()) / np.linalg.norm(found.u[0])
        assert found.mesh_interpolation_error > true
        errors.append(found.mesh_interpolation_error)
    assert 8 < errors[0] / errors[1] < 32


def test_one_dimension_and_places_outside():
    x = np.sort(np.random.default_rng(0).random((20, 1)), axis=0)
    found = mapped({"points": x, "u": linear(np.hstack([x, 0 * x]))}, common_mesh={"x": (-0.5, 1.5, 5)})
    np.testing.assert_allclose(found.u[:, 0], 1 + T + x[0], atol=1e-12)  # that of the nearest
    np.testing.assert_allclose(found.u[:, 2], 1.5 + T, atol=1e-12)


@pytest.mark.parametrize(
    ("arrays", "kind", "told"),
    [
        ({"u": np.zeros((3, 240))}, "bad-output", "no mesh and no array 'points'"),
        ({"points": np.zeros((240, 3)), "u": np.zeros((3, 240))}, "wrong-shape", "0 coordinates that vary"),
        ({"points": scattered(0, 0)[:, :1], "u": np.zeros((3, 240))}, "wrong-shape", "the common mesh has 2"),
        ({"points": np.tile(T[:, None], (1, 2)), "u": np.zeros((2, 3))}, "wrong-shape", "cannot be triangulated"),
        ({"points": scattered(0, 0), "u": np.full((3, 240), np.nan)}, "not-finite", "'u' has missing values"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_told(arrays, kind, told):
    with pytest.raises(SolverError, match=told) as caught:
        mapped(arrays)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": (0, 1, 1)}, r"axis x = \[0, 1, 1\]; expected"),
        ({"x": (1, 0, 5)}, "axis x"),
        ("none.vtu", "none.vtu cannot be read"),
        ("mesh.csv", "the format is unknown; allowed: .vtu"),
    ],
)
def test_a_wrong_common_mesh_is_refused_at_once(tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    options = {"argv": ["solver", "{a}"], "parameters": ["a"], "output": "u.vtu", "common_mesh": given}
    with pytest.raises(ValueError, match=f"option common_mesh: .*{told}"):
        build_solver("command", options)


def triangles(n):
    """A mesh of the unit square that is finer for larger n."""
    x, y = (one.ravel() for one in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)))
    k = np.arange(n * n).reshape(n, n)
    corners = [k[:-1, :-1], k[:-1, 1:], k[1:, 1:], k[1:, :-1]]
    return np.stack([x, y, 0 * x], axis=-1), {"quad": np.stack([c.ravel() for c in corners], axis=-1)}


def written(path, n, t):
    points, cells = triangles(n)
    meshio.Mesh(points, cells, point_data={"u": t + points[:, 0]}).write(path)


@pytest.mark.parametrize("kind", ["series", "pvd"])
def test_meshes_that_change_during_a_run(tmp_path, kind):
    """An adaptive mesh: each file has another one; all runs are on that of a file, and differ in nothing else."""
    for i, meshes in enumerate(([5, 6, 7], [8, 5, 9])):
        folder = tmp_path / f"run_{i}"
        folder.mkdir()
        for k, n in enumerate(meshes):
            written(folder / f"u_{k}.vtu", n, T[k])
        files = "".join(f'<DataSet timestep="{t}" part="0" file="u_{k}.vtu"/>' for k, t in enumerate(T))
        (folder / "u.pvd").write_text(f'<VTKFile type="Collection"><Collection>{files}</Collection></VTKFile>')
    name = {"series": "u_*.vtu", "pvd": "u.pvd"}[kind]
    (tmp_path / "parameters.csv").write_text(f"file,a\nrun_0/{name},1\nrun_1/{name},2\n")
    written(tmp_path / "common.vtu", 4, 0)
    options = {"path": str(tmp_path), "parameters": ["a"], "common_mesh": str(tmp_path / "common.vtu"), "fields": ["u"]}
    options |= {"times": [0, 1]} if kind == "series" else {}
    solver = build_solver("data-set", options)
    first, second = (solver.solve({"a": a}) for a in (1, 2))
    assert isinstance(first.layout.mesh, Mesh)
    assert first.layout.mesh.points.shape == (16, 3)
    np.testing.assert_allclose(first.u, T[:, None] + triangles(4)[0][:, 0], atol=1e-12)
    np.testing.assert_allclose(first.u, second.u, atol=1e-12)
    without = build_solver("data-set", {key: one for key, one in options.items() if key != "common_mesh"})
    with pytest.raises(SolverError, match=r"u_1\.vtu: its mesh differs .*option common_mesh"):
        without.solve({"a": 1})


def test_the_error_is_stored(tmp_path):
    points = scattered(40, 0)
    found = mapped({"points": points, "u": np.tile(np.sin(9 * points[:, 0]), (3, 1))})
    assert found.mesh_interpolation_error > 0.01
    store = SnapshotStore(tmp_path)
    store.put("one", found, identity={}, mu={}, solve_s=0)
    for stored in (store.get("one"), store.open("one")):
        assert stored.mesh_interpolation_error == found.mesh_interpolation_error


def test_the_mesh_is_part_of_the_identity():
    keys = [NamedArrays(common_mesh=given).naming().get("common_mesh") for given in ("", GRID, {"x": (0, 1, 6)})]
    assert keys[0] is None
    assert len(set(keys)) == 3
