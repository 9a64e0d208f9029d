"""The layouts of PDEBench and The Well, in small: read by a description, and what is guessed from a file."""

import h5py
import numpy as np
import pytest
import yaml

from mlasdi.solvers.catalog import build_solver
from mlasdi.solvers.formats import contents_of, guessed_options

T, X, Y = np.linspace(0, 2, 6), np.linspace(-1, 1, 4), np.linspace(0, 1, 3)
NU = [0.1, 0.2, 0.4]


def field(nu, k=0):
    """`[time, x]`; run k of several with the same parameter."""
    return np.exp(-nu * T[:, None]) * (X + k)


def pdebench_tensor(folder):
    """One tensor `[sample, time, x]`; the times are one longer, and the parameter is an attribute of the file."""
    for nu in NU:
        with h5py.File(folder / f"1D_nu{nu}.h5", "w") as file:
            file["tensor"] = np.stack([field(nu, k) for k in range(2)]).astype("f4")
            file["t-coordinate"], file["x-coordinate"] = np.append(T, 2.4), X
            file.attrs["Nu"] = nu
    return folder / "1D_nu0.1.h5"


def pdebench_groups(folder):
    """A group for each run, with its parameters in an attribute of YAML text."""
    with h5py.File(folder / "2D.h5", "w") as file:
        for k, nu in enumerate(NU):
            group = file.create_group(f"{k:04d}")
            group["data"] = np.stack([np.stack([field(nu), -field(nu)], -1)] * 3, axis=2)  # [time, x, y, component]
            group["grid/t"], group["grid/x"], group["grid/y"] = T, X, Y
            group.attrs["config"] = yaml.safe_dump({"sim": {"nu": nu, "n": 4, "name": "a"}, "seed": k})
    return folder / "2D.h5"


def the_well(folder):
    """Files with one set of parameters each, and several trajectories."""
    for nu in NU:
        with h5py.File(folder / f"flow_{nu}.hdf5", "w") as file:
            scalar = np.stack([np.stack([field(nu, k)] * 3, -1) for k in range(2)])  # [run, time, x, y]
            file["t0_fields/density"] = scalar.astype("f4")
            file["t1_fields/velocity"] = np.stack([scalar, 2 * scalar], -1).astype("f4")
            file["dimensions/time"], file["dimensions/x"], file["dimensions/y"] = T, X, Y
            file["boundary_conditions/x_wall/mask"] = np.zeros(4, dtype=bool)
            file["scalars/viscosity"] = nu
    return folder / "flow_0.1.hdf5"


def guessed(path):
    options, notes = guessed_options(path, contents_of(path))
    return options, " ".join(notes)


def solved(options, **mu):
    return build_solver("data-set", options).solve(mu)


def test_a_tensor_of_samples(tmp_path):
    options, notes = guessed(pdebench_tensor(tmp_path))
    assert "with 2 runs" in notes
    assert options == {
        "path": str(tmp_path), "parameters": ["Nu"], "time": "t-coordinate", "fields": ["tensor"],
        "coordinates": {"x": "x-coordinate"}, "extra_times": 1, "run": 0,
    }  # fmt: skip
    found = solved(options, Nu=0.2)
    np.testing.assert_array_equal(found.t, T)
    np.testing.assert_allclose(found.u, field(0.2), rtol=1e-6)
    np.testing.assert_allclose(solved({**options, "run": 1}, Nu=0.4).u, field(0.4, 1), rtol=1e-6)


def test_parameters_in_a_table_by_index(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["tensor"], file["t-coordinate"] = np.stack([field(nu) for nu in NU]), np.append(T, 2.4)
    table = tmp_path / "samples.csv"
    options = {
        "path": str(tmp_path / "all.h5"), "parameters": ["nu"], "table": str(table), "time": "t-coordinate",
        "fields": ["tensor"], "extra_times": 1,
    }  # fmt: skip
    table.write_text("nu\n" + "\n".join(map(str, NU)))
    np.testing.assert_array_equal(solved(options, nu=0.4).u, field(0.4))
    table.write_text("index,viscosity\n2,0.4\n0,0.1\n")
    options["sources"] = {"nu": "viscosity"}
    np.testing.assert_array_equal(build_solver("data-set", options).available(), [[0.4], [0.1]])
    np.testing.assert_array_equal(solved(options, nu=0.1).u, field(0.1))


def test_a_group_for_each_run(tmp_path):
    options, _ = guessed(pdebench_groups(tmp_path))
    assert options["sources"] == {"nu": "config:sim.nu", "n": "config:sim.n", "seed": "config:seed"}
    assert options["coordinates"] == {"x": "grid/x", "y": "grid/y"}
    options |= {"parameters": ["nu"], "sources": {"nu": "config:sim.nu"}}
    found = solved(options, nu=0.2)
    assert found.layout.shape == (4, 3)
    np.testing.assert_array_equal(found.layout.split(found.u)["data_y"][:, :, 1], -field(0.2))
    with pytest.raises(ValueError, match=r"'config' has no key 'sim\.mu'; at 'mu' it has"):
        build_solver("data-set", options | {"sources": {"nu": "config:sim.mu"}})
    table = tmp_path / "runs.csv"
    table.write_text("group,nu\n0002,7\n0000,5\n")
    by_name = solved(options | {"sources": {}, "table": str(table)}, nu=7)
    np.testing.assert_array_equal(by_name.layout.split(by_name.u)["data_x"][:, :, 0], field(0.4))


def test_the_well(tmp_path):
    options, notes = guessed(the_well(tmp_path))
    assert "with 2 runs" in notes
    assert options["fields"] == ["t0_fields/density", "t1_fields/velocity"]
    assert (options["sources"], options["run"]) == ({"viscosity": "scalars/viscosity"}, 0)
    found = solved(options, viscosity=0.4)
    fields = found.layout.split(found.u)
    assert list(fields) == ["t0_fields/density", "t1_fields/velocity_x", "t1_fields/velocity_y"]
    np.testing.assert_allclose(fields["t1_fields/velocity_y"][:, :, 2], 2 * field(0.4), rtol=1e-6)
    np.testing.assert_array_equal(found.layout.coordinates["y"], Y)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sources": {"nu": "Nu"}}, "'nu' is no parameter"),
        ({"extra_times": -1}, "must not be negative"),
        ({"run": -1}, "must not be negative"),
    ],
)
def test_mistakes_in_the_description_are_told(tmp_path, changes, told):
    options, _ = guessed(pdebench_tensor(tmp_path))
    with pytest.raises(ValueError, match=told):
        build_solver("data-set", options | changes)


def test_a_file_without_times_is_told(tmp_path):
    np.savez(tmp_path / "u.npz", u=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="no array looks like times"):
        guessed(tmp_path / "u.npz")
    (tmp_path / "u.csv").write_text("1,2")
    with pytest.raises(ValueError, match="no file with named arrays"):
        contents_of(tmp_path / "u.csv")
