"""Shared fixtures of the agent: an MLflow database, and a small surrogate with its truth."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from blank_figures import leave_figures_blank

from mlasdi.agent.tracking_store import connect
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, fit

BURGERS = Burgers1D(n_x=101, n_t=51)
BOX = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database as it is after its creation, which takes over a second."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{file}")
    return file


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Campaigns of this test draw blank figures."""
    leave_figures_blank(monkeypatch)


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    """A folder whose `mlruns` holds an empty MLflow database."""
    (tmp_path / "mlruns").mkdir()
    shutil.copyfile(empty_store, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def burgers_surrogate() -> Surrogate:
    """Two stages, trained with few steps on a coarse Burgers problem, at the corners of the box and its centre."""
    return trained_on_burgers({"time_scaling": "off", "coordinate_scaling": "off"})


@pytest.fixture(scope="session")
def similar_surrogate() -> Surrogate:
    """The same in aligned variables."""
    return trained_on_burgers({"time_scaling": "learned", "coordinate_scaling": "learned"})


def trained_on_burgers(variables: dict[str, str]) -> Surrogate:
    mu = np.concatenate([BOX.corners(), [[0.8, 1.0]]])
    solved = [BURGERS.solve(BOX.as_dict(row)) for row in mu]
    data = TrainingData(BOX, BURGERS.layout, mu, solved[0].t, np.stack([s.u for s in solved]))
    settings = {
        "latent_dim": 3,
        "n_time": 26,
        "first_stage": {"iterations": 20},
        "stages": [{"kind": "kriging"}],
        "min_gain": None,
        **variables,
    }
    return fit(data, ModelSettings.model_validate(settings), seed=0)
