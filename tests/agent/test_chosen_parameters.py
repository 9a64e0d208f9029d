"""Campaigns over words, choices of numbers and lists: the solver gets them, and the model is asked by them."""

import json
from pathlib import Path

import numpy as np
import pytest
from mixture import RATES, decay
from quick_campaign import quick_config, run_quick
from typer.testing import CliRunner

import mlasdi
from mlasdi.agent.cli.main import app
from mlasdi.agent.config import dump_config, load_config
from mlasdi.agent.records import Ledger
from mlasdi.analysis.inputs import Inputs
from mlasdi.surrogate import Surrogate

PROBLEM = {
    "solver": "callable",
    "options": {"function": "mixture:decay", "parameters": ["fluid", "n", "inflow"]},
    "parameters": {
        "fluid": {"values": ["water", "oil", "air"]},
        "n": {"values": [1, 2, 5]},
        "inflow": {"size": 2, "low": 0, "high": 1},
    },
}


@pytest.mark.slow
def test_a_campaign_over_words_choices_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = quick_config(
        tmp_path,
        problem=PROBLEM,
        budget={"solver_runs": 28},
        sampling={"acquisition": "field-std", "batch": 2, "candidates": 32},
        cluster={"executor": "serial", "mode": "synchronous"},
        validation={"sobol": 4},
    )
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_config(config))
    assert load_config(path).problem == config.problem
    report = run_quick(config, monkeypatch)
    assert (report["solver_runs"], report["failed_runs"]) == (28, 0)
    with Ledger(config.folder / "ledger.db") as ledger:
        points = [point.mu for point in ledger.points("train")]
    assert {point["fluid"] for point in points} == set(RATES)
    assert {point["n"] for point in points} <= {1.0, 2.0, 5.0}
    folder = config.folder / "models" / f"round-{report['rounds'] - 1:03d}"
    model = Surrogate.load(folder)
    predicted = model.predict({"fluid": "oil", "n": 1, "inflow": [0.0, 1.0]})
    truth = decay("oil", 1, [0.0, 1.0])[1]
    np.testing.assert_allclose(predicted.mean[0][-1], truth[-1], atol=0.2 * np.abs(truth).max())
    told = CliRunner().invoke(
        app, ["predict", str(folder), "--at", "fluid=oil", "--at", "n=1,inflow[0]=0,inflow[1]=1", "--json"]
    )
    assert told.exit_code == 0, told.stderr
    refused = CliRunner().invoke(app, ["predict", str(folder), "--at", "fluid=gas,n=1,inflow[0]=0,inflow[1]=1"])
    assert refused.exit_code == 2
    assert "fluid 'gas' given; allowed: water, oil, air" in refused.stderr
    assert json.loads((config.folder / "report.json").read_text())["solver_runs"] == 28


def test_a_model_of_runs_that_were_made_before() -> None:
    fluids, scales = ["water", "oil"] * 3, [0, 0, 0.5, 0.5, 1, 1]
    u = np.array([decay(fluid, 1, [scale, 0])[1] for fluid, scale in zip(fluids, scales, strict=True)])
    model = mlasdi.fit(
        {"fluid": fluids, "s": scales},
        np.linspace(0, 1, 11),
        u,
        parameters={"fluid": mlasdi.Parameter(values=("water", "oil")), "s": (0, 1)},
        coordinates={"x": np.linspace(0, 1, 21)},
        kind="snapshot-gp",
    )
    truth = decay("oil", 1, [0.25, 0])[1]
    assert np.abs(model.predict(fluid="oil", s=0.25).mean[0] - truth).max() < 0.05
    with pytest.raises(ValueError, match="fluid 'gas' given; allowed: water, oil"):
        model.predict(fluid="gas", s=0.25)
    with pytest.raises(ValueError, match="parameter 'fluid': None given; fix it at one of its words: water, oil"):
        Inputs.of(model.space, {})
    fixed = Inputs.of(model.space, {"fluid": "oil"})
    assert fixed.names == ("s",)
    np.testing.assert_array_equal(fixed.at(np.array([[0.5]])), [[0, 1, 0.5]])
