"""The Python face: `mlasdi.fit` on arrays, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mlasdi
from mlasdi.stages.training_set import MAX_FOLDS

X, T = np.linspace(0, 1, 21), np.linspace(0, 0.5, 16)
A, W = np.meshgrid([1.0, 1.5, 2.0], [0.5, 1.0])
MU = np.column_stack([A.ravel(), W.ravel()])
BOX = {"a": (1, 2), "w": mlasdi.Parameter(0.5, 1.0, unit="m")}
QUICK = {"kind": "snapshot-gp"}


def heat(mu: np.ndarray) -> np.ndarray:
    """Decay of two modes of a rod, `[param, time, state]`."""
    a, w = mu[:, 0, None, None], mu[:, 1, None, None]
    s = T[:, None]
    return np.exp(-a * s) * np.sin(np.pi * X) + w * np.exp(-4 * a * s) * np.sin(2 * np.pi * X)


def fitted(**changes):
    given = {"mu": MU, "t": T, "u": heat(MU), "parameters": BOX, "coordinates": {"x": X}, **QUICK} | changes
    return mlasdi.fit(**given)


@pytest.fixture(scope="module")
def model() -> mlasdi.Surrogate:
    return fitted(fields=("u",), seed=0)


def test_it_predicts_between_the_training_points(model):
    new = np.array([[1.3, 0.7], [1.8, 0.9]])
    prediction = model.predict(new)
    assert prediction.mean.shape == prediction.std.shape == (2, len(T), len(X))
    assert np.abs(prediction.mean - heat(new)).max() < 0.02
    np.testing.assert_array_equal(model.t, T)
    assert model.space.parameters[1].unit == "m"
    assert 0 < model.error_estimate < 0.2
    assert model.relative_std(new).shape == (2,)


def test_parameters_are_taken_by_name(model):
    by_name = fitted(mu={"w": MU[:, 1], "a": MU[:, 0]})
    np.testing.assert_array_equal(by_name.predict(MU[:1]).mean, model.predict(MU[:1]).mean)


def outputs(mu: np.ndarray) -> dict[str, np.ndarray]:
    """A large field, a small number over time, a steady field on another grid, and a large number."""
    u, a = heat(mu), mu[:, 0]
    cells = np.linspace(0, 1, 9)
    return {"T": 1e5 * u, "voltage": 1e-4 * u[:, :, 7], "k": np.exp(-a[:, None] * cells), "cost": 1e9 * a * mu[:, 1]}


def test_outputs_of_every_shape_are_one_model(tmp_path):
    """Each has its own axes and its own scale, so that none is drowned by the others."""
    found = fitted(u=outputs(MU), axes={"k": ("cell",)})
    assert found.layout.summary() == "T on 21 points, voltage, k on 9 points (steady), cost (steady)"
    new = np.array([[1.3, 0.7], [1.8, 0.9]])
    prediction, truth = found.predict(new), outputs(new)
    for name, values in truth.items():
        assert prediction[name].shape == prediction.field(name, "std").shape == values.shape
        assert np.abs(prediction[name] - values).max() < 0.03 * np.abs(values).max(), name
    found.save(tmp_path / "model")
    again = mlasdi.load(tmp_path / "model")
    assert again.layout == found.layout
    np.testing.assert_array_equal(again.predict(new).mean, prediction.mean)
    np.testing.assert_array_equal(again.predict(new).std, prediction.std)


def test_quantities_of_interest_are_known_by_name(tmp_path):
    found = fitted(outputs={"peak": "max over time and space of u", "probe": "u at x=0.3"})
    found.save(tmp_path / "model")
    model, new = mlasdi.load(tmp_path / "model"), np.array([[1.3, 0.7], [1.8, 0.9]])
    prediction = model.predict(new)
    peak = prediction.quantity("peak")
    assert peak.mean == pytest.approx(heat(new).max(axis=(1, 2)), rel=0.05)
    assert peak.samples.shape == (2, 200)
    assert (peak.std > 0).all()
    np.testing.assert_array_equal(peak.std, prediction.quantity("max over time and space of u").std)
    assert prediction.quantity("probe").mean.shape == (2, len(T))
    assert 0 < model.error_estimates["peak"] < 0.5
    assert model.describe()["error_estimates"].keys() == {"u", "peak", "probe"}
    for bad, told in (({"n_samples": 1}, "n_samples 1: at least 2"), ({"wanted": "most"}, "there is no field 'most'")):
        with pytest.raises(ValueError, match=told):
            prediction.quantity(**{"wanted": "peak", **bad})
    with pytest.raises(ValueError, match="predict with std=True"):
        model.predict(new, std=False).quantity("peak")
    with pytest.raises(ValueError, match="level between 0 and 1"):
        peak.quantile(1.0)


@pytest.mark.parametrize("kind", [pytest.param("mlasdi", marks=pytest.mark.slow), "snapshot-gp"])
def test_steady_solutions_have_no_times(kind, tmp_path):
    new = np.array([[1.3, 0.7]])
    names = ("k", "cost")
    found = fitted(t=None, u={name: outputs(MU)[name] for name in names}, coordinates=None, kind=kind)
    assert len(found.t) == 1
    assert 0 < found.error_estimate < 0.2
    found.save(tmp_path / "model")
    prediction = mlasdi.load(tmp_path / "model").predict(new)
    for name in names:
        assert prediction[name].shape == outputs(new)[name].shape
        assert np.abs(prediction[name] - outputs(new)[name]).max() < 0.03 * np.abs(outputs(new)[name]).max()
    alone = fitted(t=None, u=outputs(MU)["cost"], coordinates=None, fields=("cost",), kind=kind)
    assert alone.predict(new)["cost"] == pytest.approx(outputs(new)["cost"], rel=0.03)
    assert fitted(t=[0.5], u=heat(MU)[:, 3:4], kind=kind).predict(new)["u"].shape == (1, 1, 21)


@pytest.mark.slow
def test_fields_by_name_lie_one_after_the_other():
    u = heat(MU)
    named = fitted(u={"p": u, "q": 2 * u})
    assert named.layout.fields == ("p", "q")
    np.testing.assert_array_equal(
        named.predict(MU[:1]).mean,
        fitted(u=np.concatenate([u, 2 * u], axis=-1), fields=("p", "q")).predict(MU[:1]).mean,
    )


@pytest.mark.slow
def test_a_grid_of_two_axes_and_no_coordinates_at_all():
    u = heat(MU)[..., :20]
    on_plane = fitted(u={"u": u.reshape(len(MU), len(T), 4, 5)}, coordinates={"y": np.arange(4), "x": np.arange(5)})
    assert on_plane.layout.shape == (4, 5)
    unnamed = fitted(u=u.reshape(len(MU), len(T), 4, 5), coordinates={"y": np.arange(4), "x": np.arange(5)})
    np.testing.assert_array_equal(unnamed.predict(MU[:1]).mean, on_plane.predict(MU[:1]).mean)
    assert fitted(u=u, coordinates=None).layout.shape == (20,)


def test_points_are_taken_by_name_in_any_order(model):
    expected = model.predict(MU[:2]).mean
    np.testing.assert_array_equal(model.predict({"w": MU[:2, 1], "a": MU[:2, 0]}).mean, expected)
    np.testing.assert_array_equal(model.predict([{"w": w, "a": a} for a, w in MU[:2]]).mean, expected)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(model.predict(pandas.DataFrame({"w": MU[:2, 1], "a": MU[:2, 0]})).mean, expected)
    with pytest.raises(ValueError, match=r"sizes .* each needs one value a point"):
        model.predict({"w": [0.7, 0.8], "a": [1.1]})


def test_the_description_is_json_and_complete(model, tmp_path):
    found = json.loads(json.dumps(model.describe()))
    assert found["stages"][0]["name"] == "kriging"
    assert found["error_estimate"] == model.error_estimate
    assert found["candidates"][found["chosen"]]["leave_one_out_error"] > 0
    assert (found["n_points"], found["n_times"]) == (6, len(T))
    assert found["seconds"] > 0
    assert all(set(finding) == {"kind", "message", "remedy"} for finding in found["findings"])
    assert mlasdi.load(model.save(tmp_path / "model")).describe() == model.describe()


def test_load_reads_what_save_wrote(model, tmp_path):
    loaded = mlasdi.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(MU[:1]).mean, model.predict(MU[:1]).mean)


def dataset(**changes) -> xr.Dataset:
    u = (("run", "time", "x"), heat(MU), {"units": "K"})
    mu = {"a": ("run", MU[:, 0], {"units": "1/s"}), "w": ("run", MU[:, 1])}
    return xr.Dataset({"u": u, **mu}, {"time": ("time", T, {"units": "s"}), "x": X}).assign(**changes)


def from_dataset(runs, **changes) -> mlasdi.Surrogate:
    return mlasdi.fit(runs, **({"parameters": BOX, **QUICK} | changes))


def test_a_dataset_is_its_arrays(model):
    found = from_dataset(dataset())
    np.testing.assert_array_equal(found.predict(a=1.3, w=0.7).mean, model.predict(a=1.3, w=0.7).mean)
    assert [(p.name, p.unit) for p in found.space.parameters] == [("a", "1/s"), ("w", "m")]
    assert (found.layout.field_units, found.layout.time_unit) == ({"u": "K"}, "s")
    np.testing.assert_array_equal(found.layout.coordinates["x"], X)


def test_dimensions_in_any_order_and_fields_of_several_shapes():
    runs = dataset(peak=("run", heat(MU).max(axis=(1, 2))), trace=(("t0", "run"), heat(MU).max(axis=2).T[:3]))
    runs = runs.transpose("x", "time", ...).set_coords(["a", "w"])
    prediction = from_dataset(runs, fields=("u", "peak", "trace")).predict(a=1.0, w=0.5)
    assert {name: prediction[name].shape[1:] for name in prediction.fields} == {
        "u": (16, 21),
        "peak": (),
        "trace": (3,),
    }
    assert from_dataset(runs, fields="peak").layout.fields == ("peak",)
    assert from_dataset(runs.u).layout.fields == ("u",)


def test_a_grid_of_parameters_as_dimensions(model):
    """`u[a, w, time, x]`: each combination is a run."""
    grid = heat(MU).reshape(2, 3, len(T), len(X))
    runs = xr.Dataset({"u": (("w", "a", "time", "x"), grid)}, {"a": [1, 1.5, 2], "w": [0.5, 1], "time": T, "x": X})
    assert np.abs(from_dataset(runs).predict(a=1.3, w=0.7).mean - model.predict(a=1.3, w=0.7).mean).max() < 1e-6


@pytest.mark.parametrize(
    ("runs", "changes", "message"),
    [
        (lambda: dataset().drop_vars("a"), {}, "no parameter 'a'; it has "),
        (lambda: dataset(a=("x", X)), {}, "one dimension, that of the runs; they have .*'a': .'x',"),
        (lambda: dataset().drop_vars("time"), {}, "dimension 'time' has no coordinate; assign the times"),
        (lambda: dataset(time=T.astype("datetime64[s]")), {}, r"dataset\['time'\] holds datetime64.*; give numbers"),
        (lambda: dataset(u=("x", X)), {}, "no field along the runs, the dimension 'run'"),
        (dataset, {"fields": ("v",)}, r"field 'v' is not in the dataset; fields along the runs \('run'\) are u"),
        (
            lambda: dataset(u=(("run", "time", "x"), np.full((6, 16, 21), "x"))),
            {},
            r"dataset\['u'\] holds <U1, not numbers",
        ),
        (lambda: dataset(u=(("run", "time", "x"), np.full((6, 16, 21), np.nan))), {}, "u is not finite at"),
        (dataset, {"t": T}, "mu is a dataset, which has t, u, coordinates and axes itself"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said(runs, changes, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(runs(), **changes)


def test_pandas_tables_by_column(model):
    table = pd.DataFrame(MU[:, ::-1], columns=["w", "a"])
    np.testing.assert_array_equal(fitted(mu=table).predict(a=1.3, w=0.7).mean, model.predict(a=1.3, w=0.7).mean)
    numbers = pd.DataFrame({"peak": heat(MU).max(axis=(1, 2)), "last": heat(MU)[:, -1].max(axis=1)})
    outputs = fitted(mu=table, t=None, u=numbers, coordinates=None).predict(table)
    assert outputs["peak"].shape == (6,)
    with pytest.raises(ValueError, match=r"mu\['a'\] holds .*, not numbers"):
        fitted(mu=table.assign(a="x"))


def test_samples_at_parameters_by_name(model):
    samples = model.sample(n=50, a=1.3, w=0.7)
    assert samples.shape == (1, 50, len(T), len(X))
    np.testing.assert_array_equal(samples, model.sample({"a": 1.3, "w": 0.7}, 50, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="n 0 given"):
        model.sample(n=0, a=1.3, w=0.7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": MU[:, :1]}, r"mu has shape \(6, 1\); expected \[param, 2\] for \['a', 'w'\]"),
        ({"mu": {"a": MU[:, 0]}}, r"mu has parameters \['a'\]; parameters names \['a', 'w'\]"),
        ({"mu": MU + np.array([5, 0])}, r"mu\[0\] = \{'a': 6.0, 'w': 0.5\} lies outside of the box"),
        ({"t": T[::-1]}, r"t must increase; t\[0\] = 0.5 is followed by"),
        ({"t": T[None]}, "t has the times of 1 runs, and mu has 6 rows"),
        ({"t": T[None, None]}, r"t has shape \(1, 1, 16\)"),
        ({"u": heat(MU)[:, 1:]}, r"u has shape \(6, 15, 21\); expected \[6, 16, state\]"),
        ({"u": heat(MU)[0]}, r"u has shape \(16, 21\); expected \[param, time, state\]"),
        ({"u": np.where(np.arange(21) == 3, np.nan, heat(MU))}, r"u is not finite at u\[0, 0, 3\]"),
        (
            {"u": {"p": heat(MU), "q": heat(MU)[..., 1:]}},
            r"u: coordinate 'x' has shape \(21,\); field 'q' needs \(20,\)",
        ),
        ({"u": {"p": heat(MU), "q": MU[:4, 0]}}, r"u\['q'\] has shape \(4,\); expected \[6, ...\], as mu has rows"),
        ({"u": {"p": heat(MU), "q": heat(MU)[:, 1:, 0]}}, r"field 'q' has shape \(15,\); expected \(16,\)"),
        ({"u": {"p": heat(MU)}, "axes": {"r": ("x",)}}, "option axes: there is no field 'r'; found p"),
        ({"t": [0.0], "u": heat(MU)[:, :1], "kind": "gplasdi"}, "steady solutions have no dynamics"),
        ({"coordinates": {"x": X[:7]}}, "u has 21 values for each of the 1 fields; coordinates span a grid of 7"),
        (
            {"u": {"p": heat(MU)[..., :20].reshape(6, 16, 5, 4)}, "coordinates": {"y": range(4), "x": range(5)}},
            r"u\['p'\] has shape \(6, 16, 5, 4\); with coordinates y, x it must be \[param, time, 4, 5\]",
        ),
        ({"fields": ("p", "q")}, r"21 values a state, which do not divide into the fields \['p', 'q'\]"),
        ({"parameters": {"a": (1, 2, 3), "w": (0.5, 1)}}, r"parameter 'a': give \(low, high\)"),
        ({"parameters": {"a": (2, 1), "w": (0.5, 1)}}, "parameter 'a': low 2.0 must be less than high 1.0"),
        ({"kinds": "snapshot-gp"}, "kinds"),
        (
            {"u": heat(MU) * (1 + 1j)},
            "u holds complex128, not real numbers; give real and imaginary part as two fields",
        ),
        ({"u": np.ma.masked_less(heat(MU), 0.1)}, r"u is not finite at u\[0, 0, 0\]"),
        ({"u": 1e200 * heat(MU)}, r"u reaches 1.\d+e\+200; give it in units in which it is at most 1e\+150"),
        ({"mu": np.zeros(6, dtype=[("a", float), ("w", float)])}, r"mu is a structured array with \['a', 'w'\]"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        fitted(**changes)


def test_importing_the_package_imports_no_torch():
    code = "import sys, mlasdi; dir(mlasdi); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_found():
    for name in mlasdi.__all__:
        assert getattr(mlasdi, name) is not None
    assert {"fit", "load", "find", "Parameter", "ModelSettings", "Surrogate", "__version__"} <= set(dir(mlasdi))


@pytest.mark.slow
def test_with_many_points_a_model_has_the_folds_of_a_sample():
    mu = np.random.default_rng(0).uniform([1.0, 0.5], [2.0, 1.0], (90, 2))
    model = mlasdi.fit(
        mu,
        T,
        heat(mu),
        parameters=BOX,
        coordinates={"x": X},
        effort="quick",
        outputs={"peak": "max over time and space of u"},
    )
    assert len(model.record.leave_one_out[-1]) == MAX_FOLDS
    assert len(model.record.calibration.errors) == MAX_FOLDS
    assert len(model.record.quantities["peak"].calibration.errors) == MAX_FOLDS
    new = np.random.default_rng(1).uniform([1.0, 0.5], [2.0, 1.0], (5, 2))
    np.testing.assert_allclose(model.predict(new).mean, heat(new), atol=1e-4)
