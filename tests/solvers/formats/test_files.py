"""Files of meshes, MATLAB, Zarr and raw binary, as their own libraries write them; series of files; damaged files."""

import h5py
import meshio
import numpy as np
import pytest
import scipy.io
import xarray

from mlasdi.solvers import Mesh, SolverError, StateLayout
from mlasdi.solvers.adapters.file_arrays import FileArrays
from mlasdi.solvers.formats import RawFormat, grid_mesh, write_vtu

T = np.array([0.0, 0.5, 1.5])
POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0.0]])
# Blocks of one type before and after another: values at cells are reordered with their cells.
CELLS = [("triangle", [[0, 1, 2]]), ("quad", [[0, 1, 2, 3]]), ("triangle", [[1, 4, 2]])]
U = np.random.default_rng(0).normal(size=(3, 5))
V = np.random.default_rng(1).normal(size=(3, 5, 3))
AT_CELLS = np.random.default_rng(2).normal(size=(3, 3))


def mesh_of(k, points=POINTS):
    blocks = [AT_CELLS[k, :1], AT_CELLS[k, 1:2], AT_CELLS[k, 2:]]
    return meshio.Mesh(points, CELLS, point_data={"T": U[k], "U": V[k]}, cell_data={"q": blocks})


def read(folder, name, **options):
    arrays = FileArrays(**options)
    arrays.check_reader(name)
    return arrays.snapshots(arrays.read_files(folder, name))


def write_series(folder, suffix="vtu"):
    for k in range(3):
        # Without leading zeros, so that the order of the alphabet would be 1, 10, 2.
        mesh_of(k).write(folder / f"u_{(1, 2, 10)[k]}.{suffix}")


def write_pvd(folder):
    write_series(folder)
    names = "".join(f'<DataSet timestep="{t}" file="u_{n}.vtu"/>' for t, n in [(1.5, 10), (0.0, 1), (0.5, 2)])
    (folder / "u.pvd").write_text(f'<VTKFile type="Collection"><Collection>{names}</Collection></VTKFile>')


def write_xdmf(folder):
    with meshio.xdmf.TimeSeriesWriter(folder / "u.xdmf", data_format="XML") as file:
        file.write_points_cells(POINTS, {"triangle": np.array([[0, 1, 2], [1, 4, 2]])})
        for k, t in enumerate(T):
            file.write_data(t, point_data={"T": U[k], "U": V[k]})


@pytest.mark.parametrize("write", [write_pvd, write_xdmf])
def test_fields_and_times_of_mesh_files(tmp_path, write):
    write(tmp_path)
    name = "u.pvd" if write is write_pvd else "u.xdmf"
    found = read(tmp_path, name, fields=("T", "U"))
    np.testing.assert_array_equal(found.t, T)
    assert found.layout.fields == ("T", "U_x", "U_y", "U_z")
    np.testing.assert_array_equal(found.u[:, :5], U)
    np.testing.assert_array_equal(found.layout.split(found.u)["U_y"], V[..., 1])
    # The third coordinate is the same everywhere: the mesh is flat.
    assert list(found.layout.coordinates) == ["x", "y"]
    np.testing.assert_array_equal(found.layout.mesh.points, POINTS)


@pytest.mark.parametrize("suffix", ["vtu", "vtk"])
def test_a_series_is_read_in_natural_order(tmp_path, suffix):
    write_series(tmp_path, suffix)
    found = read(tmp_path, f"u_*.{suffix}", fields=("T",), times="names")
    np.testing.assert_array_equal(found.t, [1, 2, 10])
    np.testing.assert_array_equal(found.u, U)


def test_values_at_cells_follow_their_cells(tmp_path):
    write_series(tmp_path)
    found = read(tmp_path, "u_*.vtu", fields=("q",), times="names")
    assert found.layout.mesh.centred
    np.testing.assert_array_equal(found.u, AT_CELLS[:, [0, 2, 1]])  # both triangles, then the quadrilateral
    np.testing.assert_allclose(found.layout.coordinates["x"], [2 / 3, 4 / 3, 0.5])


def test_a_component_may_be_named(tmp_path):
    write_series(tmp_path)
    found = read(tmp_path, "u_*.vtu", fields=("U_y",), times="names", units={"U": "m/s"})
    np.testing.assert_array_equal(found.u, V[..., 1])
    assert found.layout.field_units == {"U_y": "m/s"}


def test_a_layout_with_a_mesh_is_stored_with_it():
    layout = StateLayout(
        ("T",), {"x": POINTS[:, 0]}, scattered=True, mesh=Mesh(POINTS, {"triangle": np.array([[0, 1, 2]])})
    )
    assert StateLayout.from_parts(*layout.parts()) == layout
    other = Mesh(POINTS, {"triangle": np.array([[0, 1, 4]])})
    assert StateLayout(("T",), layout.coordinates, scattered=True, mesh=other) != layout
    with pytest.raises(ValueError, match="a node that is not among the 5 points"):
        Mesh(POINTS, {"triangle": np.array([[0, 1, 5]])})


def write_matlab_5(path):
    scipy.io.savemat(path, {"t": T, "u": U, "x": np.arange(5.0)})  # vectors become [1, n]


def write_matlab_73(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["t"], file["u"], file["x"] = T[:, None], U.T, np.arange(5.0)[None]


def write_zarr(path):
    times = xarray.DataArray(T * 2, dims="time", attrs={"units": "hours since 2000-01-01"})
    xarray.Dataset({"u": (("time", "x"), U), "x": np.arange(5.0), "t": times}).to_zarr(path)


@pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("name", "write", "seconds"),
    [("5.mat", write_matlab_5, 1), ("73.mat", write_matlab_73, 1), ("u.zarr", write_zarr, 7200)],
)
def test_arrays_by_name(tmp_path, name, write, seconds):
    write(tmp_path / name)
    found = read(tmp_path, name, fields=("u",), coordinates={"x": "x"})
    np.testing.assert_array_equal(found.t, T * seconds)
    np.testing.assert_array_equal(found.u, U)
    np.testing.assert_array_equal(found.layout.coordinates["x"], np.arange(5.0))


@pytest.mark.parametrize(("dtype", "order"), [("<f8", "C"), (">f4", "F"), ("<i2", "C")])
def test_raw_binary(tmp_path, dtype, order):
    values = np.round(100 * U).astype(dtype)
    (tmp_path / "u.bin").write_bytes(b"head" + values.tobytes(order))
    raw = {"dtype": dtype, "shape": (-1, 5) if order == "C" else (3, 5), "order": order, "header_bytes": 4}
    found = read(tmp_path, "u.bin", raw=RawFormat(**raw), times=(0.0, 1.0))
    np.testing.assert_array_equal(found.u, values.astype(float))
    np.testing.assert_array_equal(found.t, [0, 0.5, 1])


def test_tables_with_a_header_one_for_each_time(tmp_path):
    for k, t in enumerate(T):
        rows = np.column_stack([POINTS[:, :2], U[k], V[k]])
        np.savetxt(tmp_path / f"at_{t:.3f}.csv", rows, delimiter=",", header="x,y,T,a,b,c", comments="")
    found = read(tmp_path, "at_*.csv", fields=("T", "b"), coordinates={"x": "x", "y": "y"}, times="names")
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_allclose(found.u, np.concatenate([U, V[..., 1]], axis=1))
    assert found.layout.scattered


def test_files_with_their_own_times_and_points(tmp_path):
    for k, t in enumerate(T):
        np.savez(tmp_path / f"{k}.npz", t=t, w=V[k], points=POINTS)
    found = read(tmp_path, "*.npz")
    np.testing.assert_array_equal(found.t, T)
    assert found.layout.fields == ("w_x", "w_y", "w_z")
    np.testing.assert_array_equal(found.layout.coordinates["y"], POINTS[:, 1])


def test_a_function_may_read(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savetxt(tmp_path / "u.odd", np.column_stack([T, U]))
    (tmp_path / "my_readers.py").write_text(
        "import numpy as np\n"
        "def read(path):\n"
        "    values = np.loadtxt(path)\n"
        "    return {'t': values[:, 0], 'u': values[:, 1:]}\n"
        "def broken(path):\n"
        "    raise KeyError('nothing of the kind')\n"
        "def wrong(path):\n"
        "    return 3\n"
    )
    np.testing.assert_allclose(read(tmp_path, "u.odd", reader="my_readers:read").u, U)
    for name, told in (("broken", "failed: KeyError: 'nothing of the kind'"), ("wrong", "returned int")):
        with pytest.raises(SolverError, match=told) as caught:
            read(tmp_path, "u.odd", reader=f"my_readers:{name}")
        assert "u.odd" in caught.value.message
    with pytest.raises(SolverError, match=r"there is no output file .*absent\.odd"):
        read(tmp_path, "absent.odd", reader="my_readers:read")


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_mesh(path):
    mesh_of(1, POINTS + 0.1).write(path)


def without_field(path):
    meshio.Mesh(POINTS, CELLS, point_data={"U": V[1]}).write(path)


def of_another_shape(path):
    meshio.Mesh(POINTS, CELLS, point_data={"T": V[1]}).write(path)


@pytest.mark.parametrize(
    ("spoil", "kind", "told"),
    [
        (truncate, "bad-output", r"u_2\.vtu cannot be read"),
        (lambda path: path.write_bytes(b""), "bad-output", r"u_2\.vtu is empty"),
        (other_mesh, "wrong-shape", r"u_2\.vtu: its mesh differs from that of .*u_1\.vtu"),
        (without_field, "bad-output", r"u_2\.vtu: there is no array 'T'"),
        (of_another_shape, "wrong-shape", r"u_2\.vtu: array 'T' has shape \(5, 3\)"),
    ],
)
def test_a_bad_file_of_a_series_is_named(tmp_path, spoil, kind, told):
    write_series(tmp_path)
    spoil(tmp_path / "u_2.vtu")
    with pytest.raises(SolverError, match=told) as caught:
        read(tmp_path, "u_*.vtu", fields=("T",), times="names")
    assert caught.value.kind == kind


def test_a_missing_step_is_named(tmp_path):
    for k in (1, 2, 4, 5):
        np.save(tmp_path / f"u_{k}.npy", U[0])
    with pytest.raises(SolverError, match=r"a file between u_2\.npy and u_4\.npy is missing") as caught:
        read(tmp_path, "u_*.npy", times=(0.0, 1.0))
    assert caught.value.kind == "missing-output"
    write_pvd(tmp_path)
    (tmp_path / "u_2.vtu").unlink()
    with pytest.raises(SolverError, match=r"u\.pvd: there is no file .*u_2\.vtu"):
        read(tmp_path, "u.pvd", fields=("T",))
    with pytest.raises(SolverError, match="there is no output file"):
        read(tmp_path, "nothing_*.vtu", times="names")


def test_damaged_and_unsuitable_files_are_named(tmp_path):
    np.asarray(U, dtype="<f4").tofile(tmp_path / "u.bin")
    with pytest.raises(SolverError, match=r"u\.bin cannot be read: it has 60 bytes .* \[3, 5\] of <f8 takes 120"):
        read(tmp_path, "u.bin", raw=RawFormat(dtype="<f8", shape=(3, 5)), times=(0.0, 1.0))
    for name, write in (("5.mat", write_matlab_5), ("73.mat", write_matlab_73)):
        write(tmp_path / name)
        truncate(tmp_path / name)
        with pytest.raises(SolverError, match="cannot be read"):
            read(tmp_path, name, fields=("u",))
    write_series(tmp_path)
    with pytest.raises(SolverError, match=r"lie at nodes and .* at cells"):
        read(tmp_path, "u_*.vtu", fields=("T", "q"), times="names")
    with pytest.raises(SolverError, match="there is no time 't'; give the option times"):
        read(tmp_path, "u_*.vtu", fields=("T",))


@pytest.mark.parametrize(
    ("options", "name", "told"),
    [
        ({}, "u.bin", "needs the option raw"),
        ({}, "u.odb", "the format follows from the suffix"),
        ({"times": "names"}, "u.npz", "is for a series of files"),
        ({"time_axis": 1}, "u_*.npz", "have no axis of time"),
        ({"reader": "nowhere:read"}, "u.odb", "cannot be loaded"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(options, name, told):
    with pytest.raises(ValueError, match=told):
        FileArrays(**options).check_reader(name)


@pytest.mark.parametrize(
    "options", [{"dtype": "text"}, {"dtype": "c16"}, {"shape": (-1, -1)}, {"shape": (0,)}, {"header_bytes": -1}]
)
def test_raw_options_are_checked(options):
    with pytest.raises(ValueError, match="option"):
        RawFormat(**{"dtype": "<f8", "shape": (3,), **options})


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_the_mesh_of_a_grid_fills_it(tmp_path, n_axes):
    axes = [np.linspace(0, k + 1, k + 3) for k in range(n_axes)]
    mesh = grid_mesh(axes)
    write_vtu(tmp_path / "u.vtu", mesh, {"T": np.arange(len(mesh.points), dtype=float)})
    found = meshio.read(tmp_path / "u.vtu")
    np.testing.assert_array_equal(found.point_data["T"], np.arange(len(mesh.points)))
    (block,) = found.cells
    corners = found.points[block.data]
    # Volume of a box from the corner opposite to the first, in VTK's order of the nodes.
    opposite = corners[:, {1: 1, 2: 2, 3: 6}[n_axes]] - corners[:, 0]
    assert np.prod(opposite[:, :n_axes], axis=1).sum() == pytest.approx(np.prod(np.arange(1, n_axes + 1)))
    with pytest.raises(ValueError, match="up to three"):
        grid_mesh([np.arange(2.0)] * 4)
