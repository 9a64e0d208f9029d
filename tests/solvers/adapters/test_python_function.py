"""A user's function as a solver: what it may return, which arguments are parameters, and mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlasdi.solvers import SolverError, verify
from mlasdi.solvers.catalog import build_solver

CODE = """
import numpy as np, xarray as xr

T, X, Y = np.linspace(0, 1, 4), np.linspace(0, 2, 5), np.linspace(0, 1, 3)

def line(a, b, n_x=5):
    return T, a + b * np.outer(T, np.linspace(0, 2, n_x))

def fields(a):
    return T, {"u": a * np.ones((4, 5)), "v": np.zeros((4, 5)), "grid": X}

def all_in_one(a):
    return {"time": T, "u": a * np.ones((4, 5, 3))}

def array(a):
    u = xr.DataArray(a * np.ones((5, 4)), dims=("x", "t"), coords={"x": X, "t": T}, name="rho", attrs={"units": "kg"})
    u.t.attrs["units"] = "s"
    return u

def dataset(a):
    u = ("time", "y", "x"), a * np.ones((4, 3, 5))
    return xr.Dataset({"u": u, "w": u}, coords={"time": T, "x": ("x", X, {"units": "m"})})

def anything(**all):
    return T, np.outer(T, np.ones(5)) * sum(all.values())

def nothing(a):
    return None

def triple(a):
    return T, T, T

def fails(a):
    raise RuntimeError("no memory of it")

nine = 9
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the user's module, which is on no search path."""
    (tmp_path / "my_solvers.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("my_solvers", None)


def function(name: str, **options: object):
    return build_solver("callable", {"function": f"my_solvers:{name}", **options})


def test_arguments_without_default_are_the_parameters():
    fom = function("line")
    assert fom.parameter_names == ("a", "b")
    assert fom.layout is None
    found = fom.solve({"a": 1.0, "b": 2.0})
    assert found.layout.fields == ("u",)
    np.testing.assert_array_equal(found.u[-1], [1, 2, 3, 4, 5])
    assert verify(fom, {"a": 1.0, "b": 2.0}).ok


def test_parameters_and_arguments_can_be_said():
    fom = function("line", parameters=["b"], arguments={"a": 3.0, "n_x": 9}, coordinates={"x": [0, 2]})
    assert fom.parameter_names == ("b",)
    found = fom.solve({"b": 0.0})
    assert found.u.shape == (4, 9)
    assert (found.u == 3).all()
    assert fom.identity() != function("line", parameters=["b"], arguments={"a": 3.0, "n_x": 8}).identity()
    assert function("line", version="2").identity() != function("line").identity()
    assert function("anything", parameters=["p", "q"]).solve({"p": 1.0, "q": 2.0}).u[-1, 0] == 3


def test_fields_by_name_with_coordinates_among_them():
    found = function("fields", coordinates={"x": "grid"}).solve({"a": 2.0})
    assert found.layout.fields == ("u", "v")
    np.testing.assert_array_equal(found.layout.coordinates["x"], np.linspace(0, 2, 5))
    assert found.u[0].tolist() == [2.0] * 5 + [0.0] * 5


def test_times_among_the_arrays():
    assert function("all_in_one", time="time").solve({"a": 2.0}).u.shape == (4, 15)


def test_an_xarray_says_it_all():
    found = function("array").solve({"a": 2.0})
    np.testing.assert_array_equal(found.t, np.linspace(0, 1, 4))
    assert found.u.shape == (4, 5)
    assert (found.layout.fields, found.layout.field_units, found.layout.time_unit) == (("rho",), {"rho": "kg"}, "s")
    np.testing.assert_array_equal(found.layout.coordinates["x"], np.linspace(0, 2, 5))


def test_a_data_set_of_xarray():
    """Time is called so; one axis has coordinates and the other has none."""
    found = function("dataset", fields=["w"]).solve({"a": 2.0})
    assert found.layout.fields == ("w",)
    assert list(found.layout.coordinates) == ["y", "x"]
    np.testing.assert_array_equal(found.layout.coordinates["y"], [0, 1, 2])
    assert found.layout.coordinate_units == {"x": "m"}
    assert function("dataset").solve({"a": 2.0}).layout.fields == ("u", "w")


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("nothing", {}, "returned NoneType; expected t, u"),
        ("triple", {}, "returned tuple of length 3"),
        ("dataset", {"fields": ["q"]}, "no field ['q']; found ['u', 'w']"),
    ],
)
def test_other_results_are_failures(name, options, told):
    with pytest.raises(SolverError) as caught:
        function(name, **options).solve({"a": 1.0})
    assert caught.value.kind == "bad-output"
    assert told in caught.value.message


def test_an_exception_of_the_function_passes():
    with pytest.raises(RuntimeError, match="no memory of it"):
        function("fails").solve({"a": 1.0})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"function": "my_solvers:lines"}, "'my_solvers:lines' cannot be loaded: module 'my_solvers' has no"),
        ({"function": "my_solver:line"}, "'my_solver:line' cannot be loaded: No module named 'my_solver'"),
        ({"function": "my_solvers.line"}, "must be package.module:name"),
        ({"function": "my_solvers:nine"}, "is int, not a function"),
        ({"function": "my_solvers:anything"}, "no argument without a default value; name some"),
        ({"function": "my_solvers:line", "parameters": ["a"]}, "missing a required argument: 'b'"),
        ({"function": "my_solvers:line", "arguments": {"n": 3}}, "unexpected keyword argument 'n'"),
        ({"function": "my_solvers:line", "field": ["u"]}, "did you mean 'fields'?"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options, told):
    with pytest.raises(ValueError, match="solver 'callable'") as caught:
        build_solver("callable", options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_xarray_is_not_imported_for_those_who_have_none():
    code = "import sys, mlasdi.solvers.adapters.python_function; sys.exit('xarray' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
