"""Attributes of NetCDF variables: decoded as xarray decodes them."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import netcdf_file

from mlasdi.solvers import SolverError
from mlasdi.solvers.adapters.array_files import read_arrays
from mlasdi.solvers.catalog import build_solver
from mlasdi.solvers.formats.cf_attributes import decoded

T, X = np.linspace(0, 1, 5), np.linspace(0, 1, 4)
U = 300 + T[:, None] + X


def by_xarray(values: np.ndarray, attributes: dict) -> np.ndarray:
    raw = xarray.Dataset({"u": (("x",), values.ravel(), attributes)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xarray.SerializationWarning)  # of several marks, which count all the same
        return xarray.decode_cf(raw, decode_times=False)["u"].to_numpy().reshape(values.shape)


marks = st.one_of(st.none(), st.integers(-100, 100))


@given(
    stored=st.lists(st.integers(-100, 100), min_size=1, max_size=20),
    kind=st.sampled_from(["i1", "i2", "i4", "f4", "f8"]),
    scale=st.sampled_from([None, 1e-4, 0.5]),
    offset=st.sampled_from([None, 301.0]),
    fill=marks,
    missing=marks,
    unsigned=st.sampled_from([None, "true"]),
)
def test_packing_and_missing_values_are_those_of_xarray(stored, kind, scale, offset, fill, missing, unsigned):
    values = np.array(stored, dtype=kind)
    mark = np.array([0 if fill is None else fill], dtype=kind)[0]
    attributes = {
        "scale_factor": scale,
        "add_offset": offset,
        "_FillValue": None if fill is None else mark,
        "missing_value": None if missing is None or unsigned else np.array([missing], dtype=kind)[0],
        "_Unsigned": unsigned if kind.startswith("i") else None,
    }
    attributes = {name: value for name, value in attributes.items() if value is not None}
    np.testing.assert_allclose(decoded(values, attributes), by_xarray(values, attributes), rtol=1e-5)


def test_values_without_these_attributes_stay_as_they_are():
    values = np.arange(3, dtype="i2")
    assert decoded(values, {"units": "m", "long_name": "speed"}) is values
    text = np.array(["a"])
    assert decoded(text, {"_FillValue": "a"}) is text


@pytest.mark.parametrize(
    ("unit", "seconds"), [("days", 86400), ("hours", 3600), ("minutes", 60), ("s", 1), ("milliseconds", 1e-3)]
)
def test_times_since_a_date_are_seconds_as_in_xarray(unit, seconds):
    attributes = {"units": f"{unit} since 2000-01-01 06:00", "calendar": "standard"}
    found = decoded(np.array([0, 3, 12]), attributes)
    np.testing.assert_allclose(found, np.array([0, 3, 12]) * seconds)
    if unit != "s":
        dates = xarray.decode_cf(xarray.Dataset({"time": ("time", np.array([0, 3, 12]), attributes)}))[
            "time"
        ].to_numpy()
        np.testing.assert_allclose(found, (dates - np.datetime64("2000-01-01T06:00")) / np.timedelta64(1, "s"))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"scale_factor": "much"}, "attribute scale_factor = 'much' is not a number"),
        ({"scale_factor": np.array([1.0, 2.0])}, "must be one finite number"),
        ({"add_offset": np.nan}, "must be one finite number"),
        ({"scale_factor": 0.0}, "scale_factor = 0.0 must not be 0"),
        ({"units": "months since 2000-01-01"}, "'months' has no fixed length; write the times in days, hours or"),
    ],
)
def test_attributes_without_meaning_are_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        decoded(np.arange(3), attributes)


def test_a_mark_of_two_precisions_is_one_mark():
    """1e20 in single precision is another number than 1e20."""
    assert np.isnan(decoded(np.array([1e20, 1], dtype="f4"), {"missing_value": 1e20})).tolist() == [True, False]
    assert np.isnan(decoded(np.array([-9, 1], dtype="i2"), {"missing_value": b"-9"})).tolist() == [True, False]


def packed() -> np.ndarray:
    return np.round((U - 301) / 1e-4).astype("i2")


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["u"], file["t"], file["x"] = packed(), np.arange(5), X
        file["u"].attrs.update({"scale_factor": 1e-4, "add_offset": 301.0})
        file["t"].attrs["units"] = "hours since 2000-01-01"
        file.attrs["a"] = 1.0


def write_classic(path: Path) -> None:
    with netcdf_file(path, "w") as file:
        file.createDimension("t", 5)
        file.createDimension("x", 4)
        file.createVariable("u", "i2", ("t", "x"))[:] = packed()
        file.variables["u"].scale_factor, file.variables["u"].add_offset = 1e-4, 301.0
        file.createVariable("t", "i4", ("t",))[:] = np.arange(5)
        file.variables["t"].units = "hours since 2000-01-01"
        file.createVariable("x", "f8", ("x",))[:] = X
        file.a = 1.0


def write_by_xarray(path: Path) -> None:
    times = np.datetime64("2000-01-01", "ns") + np.arange(5) * np.timedelta64(1, "h")
    coordinates = {"t": times, "x": X}
    data = xarray.Dataset({"u": (("t", "x"), U)}, coordinates, {"a": 1.0})
    packing = {"dtype": "i2", "scale_factor": 1e-4, "add_offset": 301.0, "_FillValue": -9999}
    data.to_netcdf(path, engine="h5netcdf", encoding={"u": packing})


@pytest.mark.parametrize("write", [write_hdf5, write_classic, write_by_xarray])
def test_data_sets_of_packed_files(tmp_path: Path, write) -> None:
    write(tmp_path / "0.nc")
    options = {"path": str(tmp_path), "parameters": ["a"], "fields": ["u"], "coordinates": {"x": "x"}}
    found = build_solver("data-set", options).solve({"a": 1.0})
    np.testing.assert_allclose(found.u, U, atol=1e-4)
    np.testing.assert_allclose(found.t, 3600 * np.arange(5))


def test_groups_are_decoded_and_may_hold_groups(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for i in range(2):
            group = file.create_group(f"run{i}")
            group["u"], group["grid/t"], group["grid/x"], group["a"] = packed(), T, X, 10 * i
            group["u"].attrs.update({"scale_factor": 1e-4, "add_offset": 301.0})
            group["a"].attrs["scale_factor"] = 0.1
    options = {"path": str(tmp_path / "all.h5"), "parameters": ["a"], "fields": ["u"], "time": "grid/t"}
    solver = build_solver("data-set", options | {"coordinates": {"x": "grid/x"}})
    np.testing.assert_allclose(solver.solve({"a": 1.0}).u, U, atol=1e-4)


def write_filled(path: Path, where: object) -> None:
    write_hdf5(path)
    with h5py.File(path, "a") as file:
        file["u"].attrs["_FillValue"] = np.int16(-32767)
        stored = file["u"][()]
        stored[where] = -32767
        file["u"][...] = stored


def test_missing_values_are_masked_or_named(tmp_path: Path) -> None:
    """The whole column is missing in one file; in the other a single value is."""
    options = {"path": str(tmp_path), "parameters": ["a"], "fields": ["u"], "coordinates": {"x": "x"}}
    write_filled(tmp_path / "0.nc", (slice(None), 1))
    with pytest.raises(
        SolverError, match=r"0\.nc: 'u' is missing or not finite at index \[0, 1\] \(5 of 20.* the option masked"
    ):
        build_solver("data-set", options).solve({"a": 1.0})
    found = build_solver("data-set", options | {"masked": True}).solve({"a": 1.0})
    np.testing.assert_allclose(found.u, U[:, [0, 2, 3]], atol=1e-4)
    with h5py.File(tmp_path / "0.nc", "a") as file:
        stored = file["u"][()]
        stored[3, 2] = -32767
        file["u"][...] = stored
    with pytest.raises(SolverError, match=r"0\.nc: 'u' is missing or not finite at index \[3, 2\] \(1 of 15") as caught:
        build_solver("data-set", options | {"masked": True}).solve({"a": 1.0})
    assert caught.value.kind == "not-finite"


def test_the_index_of_a_missing_value_is_that_of_the_array(tmp_path: Path) -> None:
    """Also with the runs as first axis, and with time as last."""
    u = np.stack([U.T, U.T])
    u[1, 2, 3] = np.nan
    np.savez(tmp_path / "all.npz", a=[1.0, 2.0], t=T, u=u, x=X)
    options = {"path": str(tmp_path / "all.npz"), "parameters": ["a"], "fields": ["u"], "coordinates": {"x": "x"}}
    solver = build_solver("data-set", options | {"time_axis": -1})
    assert solver.solve({"a": 1.0}).u.shape == (5, 4)
    with pytest.raises(SolverError, match=r"all\.npz, run 1: 'u' is missing or not finite at index \[1, 2, 3\]"):
        solver.solve({"a": 2.0})


def test_an_attribute_that_cannot_be_decoded_names_its_variable(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "0.nc")
    with h5py.File(tmp_path / "0.nc", "a") as file:
        file["u"].attrs["scale_factor"] = "much"
    with pytest.raises(ValueError, match="variable 'u': attribute scale_factor = 'much' is not a number"):
        read_arrays(tmp_path / "0.nc")
