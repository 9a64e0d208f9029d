"""Arrays by name as a trajectory: order of the state, coordinates, and a named failure for all that does not fit."""

import json

import numpy as np
import pytest

from mlasdi.solvers import SolverError, StateLayout
from mlasdi.solvers.outputs import NamedArrays

T = np.linspace(0, 2, 4)
X, Y = np.linspace(0, 1, 5), np.linspace(-1, 1, 3)
U = np.random.default_rng(0).normal(size=(4, 5, 3))


def test_two_fields_on_a_plane():
    naming = NamedArrays(fields=("v", "u"), coordinates={"x": "x", "y": (-1.0, 1.0)}, units={"u": "m/s", "time": "s"})
    found = naming.snapshots({"t": T, "u": U, "v": -U, "x": X, "ignored": np.zeros(7)})
    np.testing.assert_array_equal(found.t, T)
    assert (found.layout.fields, found.layout.shape) == (("v", "u"), (5, 3))
    assert (found.layout.field_units, found.layout.time_unit) == ({"u": "m/s"}, "s")
    np.testing.assert_array_equal(found.layout.coordinates["y"], Y)
    fields = found.layout.split(found.u)
    np.testing.assert_array_equal(fields["u"], U)
    np.testing.assert_array_equal(fields["v"], -U)
    assert found.problems(None) == []


def test_all_arrays_are_fields_where_none_are_named():
    found = NamedArrays(coordinates={"r": "r", "z": "z"}).snapshots({"r": X, "b": U, "t": T, "a": 2 * U, "z": Y})
    assert found.layout.fields == ("b", "a")


def test_without_coordinates_axes_count_points():
    found = NamedArrays().snapshots({"t": T, "u": U})
    assert list(found.layout.coordinates) == ["x", "y"]
    np.testing.assert_array_equal(found.layout.coordinates["x"], np.arange(5))


def test_a_mesh_without_structure():
    nodes = np.random.default_rng(1).random((6, 2))
    naming = NamedArrays(fields=("p",), coordinates={"x": "x", "y": "y"})
    found = naming.snapshots({"t": T, "p": np.zeros((4, 6)), "x": nodes[:, 0], "y": nodes[:, 1]})
    assert found.layout.scattered
    assert found.layout.n_state == 6


def test_points_outside_the_domain_are_left_out():
    body = np.zeros((5, 3), dtype=bool)
    body[2, 1] = True
    u = np.where(body, np.nan, U)
    found = NamedArrays(masked=True).snapshots({"t": T, "u": u, "v": u})
    assert found.u.shape == (4, 28)
    np.testing.assert_array_equal(found.layout.split(found.u)["v"], u)
    assert NamedArrays().snapshots({"t": T, "u": u}).problems(None)[0].kind == "not-finite"
    # Not finite some of the time is a failure, not a shape.
    u[2:, 0, 0] = np.inf
    assert NamedArrays(masked=True).snapshots({"t": T, "u": u}).problems(None)[0].kind == "not-finite"


def test_time_may_be_another_axis():
    found = NamedArrays(time_axis=-1).snapshots({"t": T, "u": np.moveaxis(U, 0, -1)})
    np.testing.assert_array_equal(found.u, U.reshape(4, -1))


def test_times_may_be_given():
    np.testing.assert_array_equal(NamedArrays(times=(0.0, 2.0)).snapshots({"u": U}).t, T)


def test_outputs_have_axes_of_their_own():
    """A field on cells, one on faces, a number at each time, a steady field and a number make one state."""
    naming = NamedArrays(coordinates={"x": "x", "face": "face"}, units={"voltage": "V", "T": "K", "time": "s"})
    faces = np.linspace(-0.1, 1.1, 6)
    arrays = {
        "t": T,
        "x": X,
        "face": faces,
        "voltage": T**2,
        "T": U[:, :, 0],
        "flux": np.ones((4, 6)),
        "k": X,
        "loss": 3,
    }
    found = naming.snapshots(arrays)
    layout = found.layout
    assert found.problems(None) == []
    assert layout.sizes == (1, 5, 6, 5, 1)
    assert (layout.fields, layout.summary()) == (
        ("voltage", "T", "flux", "k", "loss"),
        "voltage, T on 5 points, flux on 6 points, k on 5 points (steady), loss (steady)",
    )
    assert (layout.of("T").coordinates.keys(), layout.of("flux").coordinates.keys()) == ({"x"}, {"face"})
    assert (layout.of("voltage").time_unit, layout.of("T").field_units) == ("s", {"T": "K"})
    fields = layout.split(found.u)
    np.testing.assert_array_equal(fields["voltage"], T**2)
    np.testing.assert_array_equal(fields["T"], U[:, :, 0])
    np.testing.assert_array_equal(fields["k"], np.tile(X, (4, 1)))
    np.testing.assert_array_equal(fields["loss"], np.full(4, 3.0))
    assert layout.locate(1 + 5 + 2) == ("flux", (2,))
    description, saved = layout.parts()
    assert StateLayout.from_parts(json.loads(json.dumps(description, sort_keys=True)), saved) == layout
    assert layout.restricted(["loss", "T"]).fields == ("loss", "T")


def test_axes_can_be_said():
    square = np.arange(16.0).reshape(4, 4)
    naming = NamedArrays(axes={"map": ("a", "b"), "u": ("x", "time")}, coordinates={"x": "x", "a": (0.0, 1.0)})
    found = naming.snapshots({"t": T, "x": X[:4], "map": square, "u": square})
    assert found.layout.of("map").steady
    np.testing.assert_array_equal(found.layout.of("map").coordinates["b"], np.arange(4))
    np.testing.assert_array_equal(found.layout.split(found.u)["u"], square.T)
    np.testing.assert_array_equal(found.layout.split(found.u)["map"][3], square)


def test_a_steady_solution_has_one_time():
    for naming, arrays in (
        (NamedArrays(), {"lift": 1.5, "p": X}),
        (NamedArrays(times="steady"), {"p": U[0], "lift": 1.5, "t": T}),
        (NamedArrays(axes={"p": ("x", "y")}, fields=("p",)), {"p": U[0]}),
    ):
        found = naming.snapshots({name: one for name, one in arrays.items() if name != "t"})
        np.testing.assert_array_equal(found.t, [0.0])
        assert found.layout.is_steady
        assert found.u.shape == (1, found.layout.n_state)
        assert found.problems(None) == []


def test_what_is_not_finite_is_named_by_its_field_and_index():
    naming = NamedArrays()
    found = naming.snapshots({"t": T, "u": U, "k": np.nan, "v": np.where(T > 1, np.inf, 0.0)})
    with pytest.raises(SolverError, match=r"file: 'k' is missing or not finite at index \[\]"):
        naming.check_finite(found, "file")
    found = naming.snapshots({"t": T, "u": U, "v": np.where(T > 1, np.inf, 0.0)})
    with pytest.raises(SolverError, match=r"file: 'v' is missing or not finite at index \[7, 2\]"):
        naming.check_finite(found, "file", (7,))


def test_numbers_of_any_kind_become_float64():
    found = NamedArrays().snapshots({"t": [0, 1], "u": np.arange(6, dtype="<f4").reshape(2, 3)})
    assert found.u.dtype == found.t.dtype == np.float64


def test_masked_values_are_missing_and_not_what_lies_below_the_mask():
    """As netCDF4 returns variables with fill values."""
    u = np.ma.masked_invalid(np.full((4, 3), 9.97e36))
    u[:, :2], u[:, 2] = 1.0, np.ma.masked
    found = NamedArrays(masked=True).snapshots({"t": T, "u": u})
    assert found.u.tolist() == [[1.0, 1.0]] * 4
    with pytest.raises(SolverError, match="missing or not finite"):
        NamedArrays().check_finite(NamedArrays().snapshots({"t": T, "u": u}), "file", (3,))


@pytest.mark.parametrize(
    ("options", "changes", "kind", "told"),
    [
        ({}, {"t": None}, "bad-output", "there is no array 't'; found u"),
        ({"fields": ("w",)}, {}, "bad-output", "there is no array 'w'; found t, u"),
        ({}, {"u": None}, "bad-output", "there are no fields; found only ['t']"),
        ({}, {"u": U.astype(complex)}, "bad-output", "real and imaginary part as two fields"),
        ({}, {"u": U.astype(str)}, "bad-output", "not real numbers"),
        ({}, {"u": [[1.0], [1.0, 2.0]]}, "bad-output", "'u' is no array"),
        ({}, {"t": T[::-1]}, "bad-times", "times 't' of shape (4,) must be finite and strictly increase"),
        ({}, {"t": T[:0]}, "bad-times", "shape (0,)"),
        ({}, {"t": T[:1]}, "wrong-shape", "field 'u' has shape (4, 5, 3); expected (1, 5, 3)"),
        ({}, {"t": np.where(T > 1, np.nan, T)}, "bad-times", "finite"),
        ({}, {"t": np.stack([T, T], 1)}, "bad-times", "shape (4, 2)"),
        ({}, {"t": T[:-1]}, "wrong-shape", "field 'u' has shape (4, 5, 3); expected (3, 5, 3)"),
        ({"coordinates": {"x": "x", "y": (0.0, 1.0)}}, {"v": U[:, :-1], "x": X}, "wrong-shape",
         "coordinate 'x' has shape (5,); field 'v' needs (4,)"),
        ({"axes": {"u": ("time", "x")}}, {"u": U[:-1, :, 0]}, "wrong-shape", "its axes are ['time', 'x'] with 4 times"),
        ({"axes": {"u": ("x", "y")}}, {"u": T}, "wrong-shape", "has shape (4,); its axes are ['x', 'y']"),
        ({"axes": {"w": ("x",)}, "fields": ("u",)}, {}, "bad-output", "option axes: there is no field 'w'"),
        ({"coordinates": {"x": "x", "y": "x", "z": "z"}}, {"u": U[:, :, 0], "x": X, "z": Y}, "wrong-shape",
         "several of them fit (option axes)"),
        ({"time_axis": 3}, {}, "wrong-shape", "no axis 3"),
        ({"coordinates": {"x": (0.0, 1.0)}}, {}, "wrong-shape", "coordinates are given for ['x']"),
        ({"coordinates": {"x": "x", "y": (0.0, 1.0)}}, {"x": Y}, "wrong-shape",
         "coordinate 'x' has shape (3,); field 'u' needs (5,)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_failure_of_its_kind(options, changes, kind, told):
    arrays = {name: array for name, array in {"t": T, "u": U, **changes}.items() if array is not None}
    with pytest.raises(SolverError) as caught:
        NamedArrays(**options).snapshots(arrays)
    assert caught.value.kind == kind
    assert told in caught.value.message
