"""Campaigns whose runs end at different times: when a value has fallen to a tenth."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from quick_campaign import quick_config, run_quick

from mlasdi.agent.cli.checks import check_solver
from mlasdi.agent.config import Config
from mlasdi.agent.execution import common_data
from mlasdi.agent.prediction import check_figure, draw_prediction, predict_to, quantities_of
from mlasdi.agent.prediction.predict import Request
from mlasdi.agent.registry import model_card
from mlasdi.agent.report import answer, write_html_report
from mlasdi.agent.service.bodies import TrajectoryRequest
from mlasdi.agent.service.trajectories import Trajectories
from mlasdi.solvers import Parameter, ParameterSpace, build_solver
from mlasdi.surrogate import Surrogate

CODE = """
import numpy as np

X = np.linspace(0, 1, 8)

def decay(rate, heat):
    t = np.linspace(0, np.log(10) / rate, 40)
    return t, {"u": heat * np.outer(np.exp(-rate * t), 2 + np.sin(3 * X)), "x": X}
"""
BOX = {"heat": [1.0, 2.0], "rate": [0.5, 2.0]}
MU = np.array([[1.3, 0.7], [1.9, 1.7]])
ENDS = np.log(10) / MU[:, 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lengths")
    (folder / "ended.py").write_text(CODE)
    return folder


def config_of(folder: Path, **changes: Any) -> Config:
    options = {"function": "ended:decay", "coordinates": {"x": "x"}}
    given: dict[str, Any] = {
        "name": "ended",
        "problem": {"solver": "callable", "options": options, "parameters": BOX},
        "budget": {"solver_runs": 10, "target_error": {"u": 1e-9, "end_time": 1e-9}},
        "sampling": {"batch": 3, "acquisition": "field-std"},
        "model": {"n_time": "auto"},
        "cluster": {"mode": "synchronous"},
        "validation": {"sobol": 3},
        "outputs": {"work": "integral over time of u"},
    }
    return quick_config(folder, **{**given, **changes})


@pytest.fixture(scope="module")
def campaign(folder: Path) -> tuple[Config, dict[str, Any], Surrogate]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        config = config_of(folder)
        report = run_quick(config, patch)
        assert run_quick(config, patch)["points"] == report["points"]  # the finished campaign, resumed
    return config, report, Surrogate.load(max((config.folder / "models").glob("round-*")))


@pytest.mark.slow
def test_the_end_time_is_an_output_of_the_report(campaign: tuple[Config, dict[str, Any], Surrogate]) -> None:
    config, report, model = campaign
    found = report["outputs"]["end_time"]
    assert found["max_error"] < 0.01
    assert found["error_estimate"] is not None
    assert sorted(found["values"]) == pytest.approx(sorted(np.log(10) / point["rate"] for point in report["points"]))
    assert report["outputs"]["u"]["max_error"] < 0.01
    assert report["outputs"]["work"]["max_error"] < 0.02
    assert "end_time" in report["predicted_before"][-1]["fields"]
    assert not [one for one in report["diagnostics"] if one["kind"] == "unequal-runs"]
    page = write_html_report(config).read_text()
    assert "end_time" in page
    assert "Each run has an end of its own" in model_card(model, {})
    assert "Of the outputs alone, " in answer(report)


@pytest.mark.slow
def test_predictions_have_end_times(campaign: tuple[Config, dict[str, Any], Surrogate], tmp_path: Path) -> None:
    _, _, model = campaign
    found = predict_to(model, Request(MU), tmp_path / "u.h5")
    np.testing.assert_allclose(found["end_time"], ENDS, rtol=0.01)
    assert np.isfinite([*found["range"], found["max_std"]]).all()
    with h5py.File(tmp_path / "u.h5") as file:
        np.testing.assert_allclose(file["end_time"], ENDS, rtol=0.01)
        np.testing.assert_array_equal(
            np.isnan(file["mean"][:, :, 0]), file["t"][:] > file["end_time"][:][:, None] * (1 + 1e-9)
        )
    for name in ("u.nc", "u.npz"):
        predict_to(model, Request(MU), tmp_path / name)
    with h5py.File(tmp_path / "u.nc") as file:
        np.testing.assert_allclose(file["end_time"], ENDS, rtol=0.01)
    one = Request(MU[:1])
    single = predict_to(model, one, None)
    assert single["times"][1] == pytest.approx(single["end_time"])
    check_figure(tmp_path / "u.png", one)
    draw_prediction(model, one, tmp_path / "u.png")
    values = quantities_of(model, Request(MU), ["all"])
    np.testing.assert_allclose(values["end_time"]["value"], ENDS, rtol=0.01)
    assert set(values) == {"end_time", "work"}


@pytest.mark.slow
def test_an_answer_of_the_service_has_null_after_the_end(campaign: tuple[Config, dict[str, Any], Surrogate]) -> None:
    _, _, model = campaign
    points = [dict(zip(BOX, mu, strict=True)) for mu in MU.tolist()]
    body = TrajectoryRequest.model_validate({"points": points, "quantiles": [0.1]})
    found = json.loads("".join(Trajectories.of(model, body).steps()))
    np.testing.assert_allclose(found["end_time"], ENDS, rtol=0.01)
    assert found["mean"][1][-1] == [None] * 8
    assert None not in found["mean"][0][-1]


def test_a_data_set_has_runs_of_different_lengths(tmp_path: Path) -> None:
    rates = [1.0, 1.5, 2.0]
    for k, rate in enumerate(rates):
        t = np.linspace(0, 1 / rate, 21 + k)
        np.savez(tmp_path / f"{k}.npz", t=t, u=np.exp(-rate * t)[:, None] * np.ones(3))
    (tmp_path / "parameters.csv").write_text("file,rate\n0.npz,1.0\n1.npz,1.5\n2.npz,2.0\n")
    solver = build_solver("data-set", {"path": str(tmp_path), "parameters": ["rate"], "fields": ["u"]})
    mus, space = [{"rate": rate} for rate in rates], ParameterSpace((Parameter("rate", 1.0, 2.0),))
    data, facts = common_data(solver, space, mus, [solver.solve(mu) for mu in mus])
    assert data.durations is not None
    np.testing.assert_allclose(data.durations, 1 / np.array(rates))
    assert facts["unused_time"] == 0
    np.testing.assert_allclose(data.trajectory(0), data.trajectory(2), atol=1e-5)


def test_lengths_can_be_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by the check of the solver, with the setting that uses the whole of each run."""
    monkeypatch.syspath_prepend(folder)
    problem = {"parameters": {"rate": [1.0, 1.5], "heat": [1, 2]}}
    config = config_of(folder, name="cut", model={"run_length": "shortest"})
    narrow = config.model_copy(
        update={"problem": config.problem.model_validate({**config.problem.model_dump(mode="json"), **problem})}
    )
    found = check_solver(narrow, 2)
    (told,) = [one for one in found.concerns if one.kind == "unequal-runs"]
    assert "model.run_length: normalised" in told.remedy
    assert not [one for one in check_solver(config_of(folder), 2).concerns if one.kind == "unequal-runs"]
