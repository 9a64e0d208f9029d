"""Predictions by name, as xarray and as figures; what prints itself."""

import numpy as np
import pytest

import mlasdi
from mlasdi.prediction import Prediction, Probes

X, T, A = np.linspace(0, 1, 12), np.linspace(0, 0.5, 9), np.linspace(1, 2, 5)
BOX = {"a": mlasdi.Parameter(1, 2, unit="1/s")}


def decay(a: np.ndarray) -> np.ndarray:
    return np.exp(-a[:, None, None] * T[:, None]) * np.sin(np.pi * X)


@pytest.fixture(scope="module")
def model() -> mlasdi.Surrogate:
    u = decay(A)
    return mlasdi.fit(A, T, {"u": u, "v": 2 * u}, BOX, coordinates={"x": X}, kind="snapshot-gp")


@pytest.fixture(scope="module")
def plane() -> mlasdi.Surrogate:
    u = decay(A).reshape(len(A), len(T), 4, 3)
    return mlasdi.fit(A, T, {"u": u}, BOX, coordinates={"x": range(4), "y": range(3)}, kind="snapshot-gp")


def test_fields_by_name(model):
    found = model.predict(a=[1.2, 1.7])
    np.testing.assert_array_equal(found["v"], found.mean[..., len(X) :])
    np.testing.assert_array_equal(found.field("u", "std"), found.std[..., : len(X)])
    assert found.fields == ("u", "v")
    assert len(found) == 2
    with pytest.raises(ValueError, match="field 'w' is not predicted; the fields are u, v"):
        found["w"]
    with pytest.raises(ValueError, match=r"the deviation of 'u' need.* std=True"):
        model.predict(a=1.2, std=False).field("u", "std")


def test_probes_keep_their_names(model):
    places = Probes.at_points(model.layout, {"x": [0.2, 0.5]}, ["v"])
    found = model.predict(a=1.2, probes=places)
    assert found["v"].shape == (1, len(T), 2)
    assert found.layout.scattered
    only = model.predict(a=1.2, probes=Probes.of_fields(model.layout, ["v"]))
    np.testing.assert_array_equal(only["v"], model.predict(a=1.2)["v"])
    with pytest.raises(ValueError, match="no field names"):
        model.predict(a=1.2, probes=Probes.joined([places, places]))["v"]


def test_parameters_by_name(model):
    np.testing.assert_array_equal(model.predict(a=1.3).mean, model.predict({"a": 1.3}).mean)
    with pytest.raises(ValueError, match=r"parameters \['b'\] given; the model has \['a'\]"):
        model.predict(b=1.3)
    with pytest.raises(ValueError, match=r"no parameters are given; the model has \['a'\]"):
        model.predict()
    with pytest.raises(ValueError, match=r"given twice: as mu, and by the names \['a'\]"):
        model.predict([[1.3]], a=1.3)


def test_quantiles_are_those_of_the_normal_distribution(model):
    found = model.predict(a=1.3)
    np.testing.assert_allclose(found.quantile(0.5), found.mean, atol=1e-12)
    np.testing.assert_allclose(found.quantile(0.8413447) - found.mean, found.std, rtol=1e-5, atol=1e-12)
    with pytest.raises(ValueError, match="give one level"):
        found.quantile([0.1, 0.9])


def test_xarray_knows_axes_parameters_and_units(model):
    found = model.predict(a=[1.2, 1.7])
    data = found.to_xarray()
    assert dict(data.sizes) == {"point": 2, "time": len(T), "x": len(X)}
    assert set(data.data_vars) == {"u", "u_std", "v", "v_std"}
    assert data["a"].attrs == {"units": "1/s"}
    np.testing.assert_array_equal(data["u"].sel(x=X[3], time=T[2]), found["u"][:, 2, 3])
    np.testing.assert_array_equal(data["a"], [1.2, 1.7])


def test_xarray_of_scattered_points_and_equal_names(model):
    found = model.predict(a=1.2, probes=Probes.at_points(model.layout, {"x": [0.2, 0.5]}, ["v"]))
    assert found.to_xarray()["v"].dims == ("point", "time", "place")
    named = Prediction(found.t, found.mean, None, found.mu, mlasdi.ParameterSpace(
        (mlasdi.solvers.Parameter("x", 1, 2),)), found.layout)  # fmt: skip
    assert named.to_xarray()["parameter_x"].dims == ("point",)


def test_missing_xarray_is_said(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(ValueError, match=r"pip install 'mlasdi\[xarray\]'"):
        model.predict(a=1.2).to_xarray()


def test_figures_show_mean_and_deviation(model, plane):
    two = model.predict(a=1.2).plot("v")
    assert [axes.get_title() for axes in two.axes[:2]] == ["mean", "standard deviation"]
    assert two.get_suptitle() == "a = 1.2 1/s"
    assert two._repr_png_().startswith(b"\x89PNG")
    lines = model.predict(a=1.2, probes=Probes.at_points(model.layout, {"x": [0.2, 0.5]})).plot("u")
    assert len(lines.axes[0].lines) == 2
    assert plane.predict(a=[1.2, 1.3]).plot(row=-1).get_suptitle() == "a = 1.3 1/s"
    with pytest.raises(ValueError, match="row 1: there are 1 trajectories"):
        plane.predict(a=1.2).plot(row=1)


@pytest.mark.parametrize("kind", ["model", "plane"])
def test_animations_have_one_picture_a_time(kind, request):
    found = request.getfixturevalue(kind).predict(a=1.2)
    moving = found.animate(frames=3)
    assert moving.to_jshtml(default_mode="once").count("data:image/png") == 3
    assert f"t = {T[-1]:g}" in moving._fig.axes[0].get_title()
    with pytest.raises(ValueError, match="frames 0"):
        found.animate(frames=0)


def test_they_print_themselves_in_a_few_lines(model):
    found = model.predict(a=1.2)
    for thing in (found, model):
        assert len(repr(thing)) < 500
        assert thing._repr_html_().startswith("<table><caption>")
    assert "a = 1.2 1/s" in repr(found)
    assert "training runs: 5" in repr(model)
    assert "<th>fields</th><td>u, v on 12 points</td>" in model._repr_html_()
