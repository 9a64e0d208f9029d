"""Campaigns whose solvers have outputs of several shapes: fields on different grids, steady fields, numbers."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from quick_campaign import quick_config, run_quick

from mlasdi.agent import figures
from mlasdi.agent.config import Config
from mlasdi.agent.prediction import check_figure, draw_prediction, predict_to, quantities_of
from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.agent.registry import model_card
from mlasdi.agent.report import answer, write_html_report
from mlasdi.agent.service.description import description
from mlasdi.solvers import build_solver
from mlasdi.solvers.outputs import quantity
from mlasdi.surrogate import Surrogate
from mlasdi.validation import Assessment

CODE = """
import numpy as np

X, T, FACE = np.linspace(0, 1, 12), np.linspace(0, 2, 9), np.linspace(0, 1, 13)

def cell(rate, heat):
    return {
        "t": T, "x": X, "face": FACE, "T": 300 + 50 * heat * np.outer(1 - np.exp(-rate * T), np.sin(3 * X)),
        "flux": np.outer(np.exp(-rate * T), FACE), "voltage": 1e-3 * (4 - rate * np.sqrt(T + 0.1)),
        "profile": np.exp(-rate * X), "charge": 1e6 * rate * heat,
    }

def steady(rate, heat):
    return {"drag": 1e3 * rate / heat, "p": np.exp(-rate * X)}

def number(rate, heat):
    return np.exp(rate) / heat

def loss(fields):
    return fields["charge"] * (4e-3 - fields["voltage"]).mean()
"""
BOX = {"rate": [0.5, 2.0], "heat": [1.0, 2.0]}
SUMMARIES = {
    "cell": "T on 12 points, flux on 13 points, voltage, profile on 12 points (steady), charge (steady)",
    "steady": "drag (steady), p on 12 points (steady)",
    "number": "u (steady)",
}
QUANTITIES = {"peak": "max over time and space of T", "loss": "shapes:loss", "front": "max over time of flux"}
MU = np.array([[1.1, 1.3], [1.7, 1.9]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "shapes.py").write_text(CODE)
    return folder


@pytest.fixture(scope="module")
def campaigns(folder: Path) -> dict[str, tuple[Config, dict]]:
    """Finished campaigns of the three solvers, with configuration and report."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for name in SUMMARIES:
            coordinates = {"coordinates": {"x": "x", "face": "face"}} if name == "cell" else {}
            config = quick_config(
                folder,
                name=name,
                problem={
                    "solver": "callable",
                    "options": {"function": f"shapes:{name}", **coordinates},
                    "parameters": BOX,
                },
                budget={"solver_runs": 14},
                sampling={"batch": 10},
                model={"n_time": "auto"},
                cluster={"mode": "synchronous"},
                validation={"sobol": 3},
                outputs=QUANTITIES if name == "cell" else {},
            )
            found[name] = config, run_quick(config, patch)
    return found


def model_of(campaigns: dict[str, tuple[Config, dict]], name: str) -> Surrogate:
    return Surrogate.load(max((campaigns[name][0].folder / "models").glob("round-*")))


@pytest.fixture
def cell(campaigns) -> Surrogate:
    return model_of(campaigns, "cell")


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_campaign_learns_outputs_of_every_shape(campaigns, folder, monkeypatch, name):
    """Each output is predicted on its own axes, with its own error in the report."""
    monkeypatch.syspath_prepend(folder)
    config, report = campaigns[name]
    model = model_of(campaigns, name)
    assert model.layout.summary() == SUMMARIES[name]
    assert report["max_relative_error"] < 0.05
    assert report["outputs"].keys() == {*model.layout.fields, *config.outputs}
    found, fom = model.predict(MU), config.problem.spec.build()
    for row, mu in enumerate(MU):
        truth = fom.solve(model.space.as_dict(mu))
        for output, values in truth.layout.split(truth.u).items():
            expected = values[0] if truth.layout.of(output).steady else values
            assert found[output][row].shape == expected.shape
            assert np.abs(found[output][row] - expected).max() < 0.05 * np.abs(expected).max(), output
    for output, errors in report["outputs"].items():
        assert 0 < errors["max_error"] < 0.1, output
        assert 0 < errors["error_estimate"] < 0.2, output
        assert output in config.outputs or 0 <= errors["coverage"] <= 1


def test_errors_of_single_outputs_are_those_of_their_values(campaigns, folder, monkeypatch, cell):
    monkeypatch.syspath_prepend(folder)
    config, report = campaigns["cell"]
    assessment = Assessment.load(max((config.folder / "assessments").glob("round-*.npz")))
    for k, mu in enumerate(assessment.mu):
        truth = config.problem.spec.build().solve(cell.space.as_dict(mu))
        predicted = cell.layout.split(cell.predict(mu, truth.t).mean[0])
        for name, values in truth.layout.split(truth.u).items():
            size = np.linalg.norm(values.reshape(len(values), -1), axis=1)
            distance = np.linalg.norm((predicted[name] - values).reshape(len(values), -1), axis=1)
            expected = (distance / np.maximum(size, 0.1 * size.max())).max()
            assert assessment.fields[name][k] == pytest.approx(expected, rel=1e-6)
    assert report["outputs"]["flux"]["max_error"] == assessment.fields["flux"].max()
    newest = report["predicted_before"][-1]
    assert newest["fields"].keys() == {*cell.layout.fields, *QUANTITIES}
    worst = max(report["outputs"], key=lambda name: report["outputs"][name]["max_error"])
    assert f"Of the outputs alone, {worst} has the largest error" in answer(report)


def test_estimates_of_single_outputs_are_maxima_over_the_box(cell):
    grid = cell.space.full_grid(9)
    for name, estimate in cell.error_estimates.items():
        assert 0.5 * estimate < cell.relative_std(grid, field=name).max() < 2 * estimate
    with pytest.raises(ValueError, match="field 'w' is not known"):
        cell.relative_std(grid, field="w")


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".nc"])
def test_files_say_each_output_with_its_own_axes(cell, tmp_path, suffix):
    out = tmp_path / f"u{suffix}"
    summary = predict_to(cell, Request(MU, cell.t[2:], levels=(0.05, 0.5)), out)
    whole = cell.predict(MU, cell.t[2:])
    assert summary["fields"]["voltage"]["axes"] == ["time"]
    assert summary["fields"]["charge"]["axes"] == []
    with xarray.open_dataset(out) if suffix == ".nc" else h5py.File(out) if suffix == ".h5" else np.load(out) as file:
        for name in cell.layout.fields:
            kinds = ("", "_std", "_quantiles") if suffix == ".nc" else ("/mean", "/std", "/quantiles")
            mean, std, quantiles = (np.asarray(file[name + kind][...]) for kind in kinds)
            np.testing.assert_allclose(mean, whole[name], rtol=1e-12)
            np.testing.assert_allclose(std, whole.field(name, "std"), rtol=1e-9)
            np.testing.assert_allclose(quantiles[:, 1], whole[name], rtol=1e-9)
            low, high = summary["fields"][name]["range"]
            assert (low, high) == pytest.approx((whole[name].min(), whole[name].max()))
        if suffix == ".nc":
            assert (file["flux"].dims, file["profile"].dims) == (("point", "time", "face"), ("point", "x"))
            assert file["charge"].dims == ("point",)
        else:
            np.testing.assert_array_equal(file["flux/x_face"][:], np.linspace(0, 1, 13))


def test_some_outputs_and_sensors(cell, tmp_path):
    summary = predict_to(cell, Request(MU, selection=Selection(("charge", "voltage"))), tmp_path / "u.npz")
    assert summary["shape"]["state"] == 2
    at = Selection(sensors={"x": np.array([0.5])})
    assert predict_to(cell, Request(MU, selection=at), None)["fields"].keys() == {"T", "profile"}
    with pytest.raises(ValueError, match=r"coordinates \['x'\] given; field 'voltage' has none"):
        predict_to(cell, Request(MU, selection=Selection(("voltage",), at.sensors)), None)
    with pytest.raises(ValueError, match=r"a mesh file holds fields on one mesh, not T on .* give --fields .* T, flux"):
        predict_to(cell, Request(MU[:1]), tmp_path / "u.pvd")
    predict_to(cell, Request(MU[:1], selection=Selection(("T",))), tmp_path / "u.pvd")
    assert (tmp_path / "u.pvd").is_file()


@pytest.mark.parametrize("name", ["T", "flux", "voltage", "profile", "charge"])
def test_every_output_is_drawn(cell, tmp_path, name):
    request = Request(MU[:1], selection=Selection((name,)))
    check_figure(tmp_path / "u.png", request)
    draw_prediction(cell, request, tmp_path / "u.png")
    assert (tmp_path / "u.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "name", ["cell", *(pytest.param(name, marks=pytest.mark.slow) for name in ("steady", "number"))]
)
def test_reports_and_figures_of_every_shape(campaigns, folder, monkeypatch, tmp_path, name):
    monkeypatch.syspath_prepend(folder)
    config, report = campaigns[name]
    model, mu = model_of(campaigns, name), MU[0]
    truth = config.problem.spec.build().solve(model.space.as_dict(mu))
    prediction = model.predict(mu, truth.t)
    states = truth.u, prediction.mean[0], prediction.std[0]
    compared = figures.Comparison(model.layout, truth.t, *states, model.reconstruction.norm_unit)
    figures.save(figures.worst_point(compared, model.space, mu), tmp_path / "worst.png")
    page = write_html_report(config, tmp_path / "report.html").read_text()
    assert all(f'<td class="name">{output}</td>' in page for output in report["outputs"]) or name == "number"
    card = model_card(model, {"output_errors": json.dumps({"charge": 0.0123})})
    if name == "cell":
        assert "| `charge` |" in card
        assert "1.23 %" in card
        assert "`voltage` (one number)" in card
    json.dumps(description(model, "m"))


def test_steady_outputs_are_not_animated(cell):
    found = cell.predict(MU[:1])
    for name, told in (("profile", "is steady"), ("voltage", "is one number at each time")):
        with pytest.raises(ValueError, match=f"field '{name}' {told}: there is nothing to animate"):
            found.animate(name)
    assert "<img" in found.animate("flux", frames=2).to_jshtml()
    dataset = found.to_xarray()
    assert dataset["flux"].dims == ("point", "time", "face")
    assert dataset["charge_std"].dims == ("point",)


def test_a_table_of_runs_is_a_data_set_of_numbers(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b,lift,drag\n1,1,1.0,2.0\n1,2,1.5,2.5\n2,1,2.0,4.0\n")
    found = build_solver("data-set", {"path": str(tmp_path / "runs.csv"), "parameters": ["a", "b"]})
    assert len(found.available()) == 3
    solution = found.solve({"a": 1.0, "b": 2.0})
    assert solution.layout.summary() == "lift, drag (steady)"
    np.testing.assert_array_equal(solution.u, [[1.5, 2.5]])
    (tmp_path / "bare.csv").write_text("1,1,1.0\n1,2,1.5\n")
    with pytest.raises(ValueError, match="a table of runs needs a header"):
        build_solver("data-set", {"path": str(tmp_path / "bare.csv"), "parameters": ["a"]})


def test_runs_in_one_file_have_outputs_of_every_shape(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": np.arange(3.0),
        "t": np.arange(4.0),
        "T": rng.random((3, 4, 6)),
        "V": rng.random((3, 4)),
        "q": np.ones(3),
    }
    np.savez(tmp_path / "runs.npz", **arrays)
    found = build_solver("data-set", {"path": str(tmp_path / "runs.npz"), "parameters": ["a"]}).solve({"a": 1.0})
    assert found.layout.summary() == "T on 6 points, V, q (steady)"
    np.testing.assert_array_equal(found.layout.split(found.u)["V"], arrays["V"][1])


def test_a_program_may_write_one_row_of_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = 'printf "lift,drag\\n{a},2\\n" > o.csv'
    options = {"argv": ["sh", "-c", script], "output": "o.csv", "times": "steady", "parameters": ["a"]}
    found = build_solver("command", options).solve({"a": 1.5})
    assert found.layout.summary() == "lift, drag (steady)"
    np.testing.assert_array_equal(found.u, [[1.5, 2.0]])


def test_quantities_are_computed_from_runs_and_predictions(campaigns, folder, monkeypatch, cell):
    """At a point that was not solved, with a band that holds the truth; and at the runs, as the report says."""
    monkeypatch.syspath_prepend(folder)
    config, report = campaigns["cell"]
    fom, found = config.problem.spec.build(), cell.predict(MU)
    texts = {"peak": "peak", "loss": "shapes:loss", "front": "front", "probe": "T at x=0.5, time=1"}
    for name, wanted in texts.items():
        predicted = found.quantity(wanted, n_samples=60)
        for row, mu in enumerate(MU):
            truth = fom.solve(cell.space.as_dict(mu))
            expected = quantity(QUANTITIES.get(name, wanted), truth.layout, truth.t, truth.u)
            np.testing.assert_allclose(predicted.mean[row], expected, rtol=0.05, atol=0.05 * np.abs(expected).max())
            assert predicted.std[row].shape == np.shape(expected)
            low, high = predicted.quantile(0.001)[row], predicted.quantile(0.999)[row]
            assert np.mean((low - 1e-9 <= expected) & (expected <= high + 1e-9)) > 0.5, name
    shown = report["outputs"]["peak"]
    assert shown["quantity"] == QUANTITIES["peak"]
    for mu, value in zip(report["points"], shown["values"], strict=True):
        truth = fom.solve(mu)
        assert value == pytest.approx(quantity(QUANTITIES["peak"], truth.layout, truth.t, truth.u))
    assert report["outputs"]["front"]["values"] is None
    grid = cell.space.full_grid(5)
    assert cell.relative_std(grid, field="peak").max() < 3 * cell.error_estimates["peak"]


def test_quantities_of_the_command(campaigns, folder, monkeypatch, cell):
    monkeypatch.syspath_prepend(folder)
    one = quantities_of(cell, Request(MU[:1]), ["peak", "T at x=0.5, time=1"])
    assert one["peak"]["low"] <= one["peak"]["value"] <= one["peak"]["high"]
    assert one.keys() == {"peak", "T at x=0.5, time=1"}
    several = quantities_of(cell, Request(MU), ["peak"])
    assert len(several["peak"]["std"]) == 2
    assert several["peak"]["value"][0] == pytest.approx(one["peak"]["value"])
    json.dumps(quantities_of(cell, Request(MU[:1]), ["front"]))
    # A model may come from elsewhere: its functions are run only if they are named.
    with pytest.raises(ValueError, match="ask for 'shapes:loss' itself, so that no code is run unasked"):
        quantities_of(cell, Request(MU[:1]), ["all"])
    with pytest.raises(ValueError, match="the model was trained without quantities"):
        quantities_of(model_of(campaigns, "steady"), Request(MU[:1]), ["all"])
    with pytest.raises(ValueError, match="there is no field 'w'"):
        quantities_of(cell, Request(MU[:1]), ["max over time of w"])


@pytest.mark.parametrize("mode", ["synchronous", pytest.param("asynchronous", marks=pytest.mark.slow)])
def test_a_campaign_ends_at_the_targets_of_its_outputs(folder, monkeypatch, mode):
    """And not before: the targets of all named outputs are reached, by the estimate and by the newest solves."""
    monkeypatch.syspath_prepend(folder)
    changes = {
        "name": f"target-{mode}",
        "problem": {"solver": "callable", "options": {"function": "shapes:steady"}, "parameters": BOX},
        "outputs": {"total": "integral over space of p"},
        "budget": {"solver_runs": 30, "target_error": {"total": "5%", "drag": 0.1}},
        "sampling": {"batch": 2, "acquisition": "field-std"},
        "cluster": {"mode": mode},
    }
    report = run_quick(quick_config(folder, **changes), monkeypatch)
    assert report["stop_reason"] == "target-error"
    assert report["solver_runs"] < 30
    for name, target in (("total", 0.05), ("drag", 0.1)):
        assert report["outputs"][name]["error_estimate"] <= target
        assert all(one["fields"][name] <= target for one in report["predicted_before"][-2:])


def test_targets_and_quantities_that_cannot_be(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    problem = {"solver": "callable", "options": {"function": "shapes:steady"}, "parameters": BOX}
    for name, changes, told in (
        (
            "no-such",
            {"budget": {"solver_runs": 9, "target_error": {"darg": 0.01}}},
            "there is no output 'darg'; did you mean 'drag'",
        ),
        ("no-field", {"outputs": {"peak": "max over space of q"}}, "there is no field 'q'"),
        ("twice", {"outputs": {"p": "max over space of p"}}, "outputs.p: the solver has a field of this name"),
    ):
        config = quick_config(folder, name=name, problem=problem, cluster={"mode": "synchronous"}, **changes)
        with pytest.raises(Exception, match=told):
            run_quick(config, monkeypatch)
    with pytest.raises(ValueError, match=r"target_error.*must be a fraction below 1"):
        quick_config(folder, problem=problem, budget={"solver_runs": 9, "target_error": {"drag": 2}})
