"""Files that solvers write: each format as its own library writes it, and damaged files."""

import h5py
import numpy as np
import pytest
from scipy.io import netcdf_file

from mlasdi.solvers import SolverError
from mlasdi.solvers.adapters.array_files import read_arrays, read_snapshot_arrays
from mlasdi.solvers.adapters.file_arrays import FileArrays
from mlasdi.solvers.outputs import NamedArrays

T, X = np.linspace(0, 1, 6), np.linspace(-1, 1, 4)
U = np.random.default_rng(0).normal(size=(6, 4))
NAMED = NamedArrays(time="time", fields=("u",), coordinates={"x": "x"})


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.attrs["nu"] = 0.5
        for name, values in {"time": T, "u": U, "x": X, "group/u": 2 * U}.items():
            file[name] = values


def write_npz(path):
    np.savez(path, time=T, u=U, x=X, unwanted=np.zeros(3))


def write_classic_netcdf(path):
    with netcdf_file(path, "w") as file:
        file.nu = 0.5
        for name, values, dimensions in (("time", T, ("time",)), ("x", X, ("x",)), ("u", U, ("time", "x"))):
            if name in dimensions:
                file.createDimension(name, len(values))
            file.createVariable(name, "f8", dimensions)[:] = values


WRITERS = {"u.h5": write_hdf5, "u.npz": write_npz, "classic.nc": write_classic_netcdf, "four.nc": write_hdf5}


def read(path, naming=NAMED):
    return naming.snapshots(read_snapshot_arrays(path, naming))


@pytest.mark.parametrize("name", WRITERS)
def test_arrays_by_name(tmp_path, name):
    WRITERS[name](tmp_path / name)
    found = read(tmp_path / name)
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_array_equal(found.u, U)
    np.testing.assert_array_equal(found.layout.coordinates["x"], X)


def test_groups_and_attributes(tmp_path):
    write_hdf5(tmp_path / "u.h5")
    np.testing.assert_array_equal(read(tmp_path / "u.h5", NamedArrays(time="time", fields=("group/u",))).u, 2 * U)
    write_classic_netcdf(tmp_path / "u.nc")
    for name in ("u.h5", "u.nc"):
        arrays, attributes = read_arrays(tmp_path / name)
        assert set(arrays) == {"time", "u", "x"}
        assert attributes["nu"] == 0.5


def table(*columns):
    return np.column_stack([T, *columns])


def test_npy_is_a_table_with_the_times_in_front(tmp_path):
    np.save(tmp_path / "u.npy", table(U))
    found = read(tmp_path / "u.npy", NamedArrays())
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_array_equal(found.u, U)


def test_npy_is_one_field_where_the_times_are_given(tmp_path):
    np.save(tmp_path / "u.npy", U.reshape(6, 2, 2).astype("f4"))
    found = read(tmp_path / "u.npy", NamedArrays(times=(0.0, 1.0), fields=("p",)))
    np.testing.assert_array_equal(found.t, T)
    assert (found.layout.fields, found.layout.shape) == (("p",), (2, 2))


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("", ","),
        ("t,u_0,u_1,u_2,u_3\n", ","),
        ("# written by a solver\n# t u\n", " "),
        ("t;a;b;c;d\n", ";"),
        ("", "\t"),
    ],
)
def test_csv_with_and_without_header(tmp_path, header, delimiter):
    rows = "\n".join(delimiter.join(map(repr, row)) for row in table(U).tolist())
    (tmp_path / "u.csv").write_text(f"{header}{rows}\n\n")
    found = read(tmp_path / "u.csv", NamedArrays())
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_array_equal(found.u, U)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_time(tmp_path, encoding):
    rows = "\n".join(",".join(map(repr, row)) for row in table(U).tolist())
    (tmp_path / "u.csv").write_text(rows, encoding=encoding)
    found = read(tmp_path / "u.csv", NamedArrays())
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_array_equal(found.u, U)


def test_csv_columns_belong_to_fields_by_their_names(tmp_path):
    rows = "\n".join(",".join(map(repr, row)) for row in np.column_stack([U[:, :2], T, U[:, 2:]]).tolist())
    (tmp_path / "u.csv").write_text(f"v_0,v_1,t,u_0,u_1\n{rows}")
    found = read(tmp_path / "u.csv", NamedArrays(fields=("u", "v")))
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_array_equal(found.u, np.column_stack([U[:, 2:], U[:, :2]]))


def test_csv_columns_may_be_called_by_their_place(tmp_path):
    rows = "\n".join(",".join(map(repr, row)) for row in table(U).tolist())
    (tmp_path / "u.csv").write_text(f"t,{','.join(map(repr, X.tolist()))}\n{rows}")
    naming = NamedArrays(coordinates={"x": "x"})
    np.testing.assert_array_equal(read(tmp_path / "u.csv", naming).layout.coordinates["x"], X)
    assert read(tmp_path / "u.csv", NamedArrays()).layout.fields == ("u",)


@pytest.mark.parametrize("name", [*WRITERS, "u.npy", "u.csv"])
@pytest.mark.parametrize("spoilt", ["empty", "cut off", "garbage"])
def test_spoilt_files_are_failures(tmp_path, name, spoilt):
    path = tmp_path / name
    if name in WRITERS:
        WRITERS[name](path)
    elif name == "u.npy":
        np.save(path, table(U))
    else:
        np.savetxt(path, table(U), delimiter=",")
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "cut off": content[: len(content) // 2], "garbage": b"Segfault \xff\x00 at 0x0\n"}[spoilt]
    )
    naming = NAMED if name in WRITERS else NamedArrays()
    with pytest.raises(SolverError) as caught:
        read(path, naming)
    assert caught.value.kind == "bad-output"
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("u.csv", "t,u\n", "no rows of numbers"),
        ("u.csv", "0,1,2\n1,2\n", "row 2 has 2 cells, the first row of numbers 3"),
        ("u.csv", "0,1\n1,**\n", "row 2, column 2: '**' is not a number"),
        ("u.dat", "0,1\n1,2\n", "its format is unknown; allowed: .h5, "),
    ],
)
def test_texts_that_are_no_tables(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(SolverError) as caught:
        read(tmp_path / name, NamedArrays())
    assert caught.value.kind == "bad-output"
    assert told in caught.value.message


def test_a_missing_file_and_missing_names(tmp_path):
    with pytest.raises(SolverError) as caught:
        read(tmp_path / "u.h5")
    assert caught.value.kind == "missing-output"
    write_npz(tmp_path / "u.npz")
    with pytest.raises(SolverError, match="no array 'v'"):
        read(tmp_path / "u.npz", NamedArrays(time="time", fields=("v",)))


def test_no_pickle_is_loaded(tmp_path):
    np.save(tmp_path / "u.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(SolverError, match="cannot be read"):
        read(tmp_path / "u.npy", NamedArrays())


def test_the_suffix_is_checked():
    FileArrays().check_reader("out/U.H5")
    with pytest.raises(ValueError, match=r"'u\.odb': the format follows from the suffix; allowed: \.h5"):
        FileArrays().check_reader("u.odb")
