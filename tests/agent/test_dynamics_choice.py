"""A campaign whose configuration asks for quadratic latent dynamics, from the file to the model that it leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_campaign import quick_config, run_quick

from mlasdi import Surrogate
from mlasdi.solvers.builtin.burgers1d import Burgers1D

MODEL = {
    "kind": "mlasdi", "latent_dim": 2, "n_time": 21, "anchors": 4, "time_scaling": "off", "coordinate_scaling": "off",
    "first_stage": {"dynamics": "quadratic", "iterations": 15, "n_sine": 10, "integration_steps": 20},
    "stages": [{"kind": "kriging"}],
}  # fmt: skip


@pytest.mark.slow
def test_quadratic_dynamics_are_a_choice_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: dict[str, Any] = {
        "model": MODEL, "budget": {"solver_runs": 6}, "sampling": {"batch": 2, "acquisition": "field-std"},
        "cluster": {"mode": "synchronous"}, "validation": {"grid": 2, "n_time": 11},
    }  # fmt: skip
    config = quick_config(tmp_path, **changes)
    report = run_quick(config, monkeypatch)
    assert report["solver_runs"] == 6
    assert report["max_relative_error"] < 0.02
    assert set(report["error_split"][-1]) >= {"autoencoder", "latent_dynamics", "interpolation"}
    folders = sorted((tmp_path / "mlruns").rglob("surrogate.json"))
    surrogate = Surrogate.load(folders[-1].parent)
    assert surrogate.model.latent.kind == "quadratic"
    mu = {"a": 0.77, "w": 0.98}
    truth = Burgers1D(n_x=41, n_t=21).solve(mu)
    prediction = surrogate.predict(mu, truth.t)
    assert np.linalg.norm(prediction.mean[0] - truth.u) < 0.02 * np.linalg.norm(truth.u)
    assert prediction.std is not None
    assert 0 < prediction.std.max() < 1
