"""Programs of MLflow that people run: its tracking server, and its server of one model."""

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_campaign import quick_config
from servers import free_port, mlflow_server

from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.registry import Tracker, TrackingSettings, find, resolve
from mlasdi.agent.registry.registry import locate
from mlasdi.agent.tracking_store import Store
from mlasdi.surrogate import Surrogate

pytestmark = pytest.mark.slow
TAGS = {"parameter_box": json.dumps({"a": [0.7, 0.9], "w": [0.9, 1.1]})}


def register(uri: str | None, root: Path, surrogate: Surrogate) -> None:
    saved = surrogate.save(root / "saved")
    tracker = Tracker(TrackingSettings(uri=uri), root, "pulse", "id")
    tracker.start("seed: 0", {})
    tracker.register(0, saved, TAGS, 0.01, card="# pulse")


TRACKING = ("server", "--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "./server-artifacts")


def test_a_team_shares_a_tracking_server(tmp_path: Path, burgers_surrogate: Surrogate) -> None:
    """As the page on tracking servers has it, with a database file behind the server."""
    with mlflow_server(*TRACKING, health="/health", cwd=tmp_path) as address:
        register(address, tmp_path / "agent", burgers_surrogate)
        (model,) = find(store=address)
        assert (model.uri, model.error_estimate) == ("models:/pulse@champion", 0.01)
        user = tmp_path / "user"
        folder = resolve(model.uri, store=Store(address, user))
        assert folder.is_relative_to(user / "downloads")
        mu = {"a": 0.8, "w": 1.0}
        np.testing.assert_array_equal(Surrogate.load(folder).predict(mu).mean, burgers_surrogate.predict(mu).mean)
        assert (locate(model.uri, store=Store(address, user))[1] / "config.yaml").read_text() == "seed: 0"
    assert not (tmp_path / "agent" / "artifacts").exists()


def test_a_server_that_is_killed_gets_the_rest_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when it has the first of two rounds: the campaign continues, and its next run delivers the second."""
    port = free_port()
    config = quick_config(
        tmp_path, cluster={"mode": "synchronous"}, budget={"solver_runs": 7},
        tracking={"uri": f"http://127.0.0.1:{port}"},
    )  # fmt: skip
    with ExitStack() as server:
        server.enter_context(mlflow_server(*TRACKING, health="/health", cwd=tmp_path, port=port))

        publish_round = Publisher.publish_round

        def published_and_killed(publisher: Publisher, round: int, *rest: Any) -> str:
            version = publish_round(publisher, round, *rest)
            server.close()
            return version

        with monkeypatch.context() as patch:
            patch.setattr(Publisher, "publish_round", published_and_killed)
            report = run_campaign(config)
    assert (report["stop_reason"], report["rounds"], report["undelivered"]) == ("solver-runs", 2, [1])
    with mlflow_server(*TRACKING, health="/health", cwd=tmp_path, port=port) as address:
        report = run_campaign(config)
        assert (report["version"], report["undelivered"]) == ("2", [])
        assert [model.version for model in find(store=address)] == ["2", "1"]


def test_mlflow_serves_a_version(tmp_path: Path, burgers_surrogate: Surrogate) -> None:
    register(None, tmp_path, burgers_surrogate)
    folder = locate("models:/pulse/1", store=tmp_path)[1]
    arguments = ["models", "serve", "--model-uri", str(folder), "--env-manager", "local", "--workers", "1"]
    with mlflow_server(*arguments, health="/ping", cwd=tmp_path) as address:
        body = {"inputs": {"a": [0.8], "w": [1]}, "params": {"times": [0.0, 0.5], "quantiles": [0.1, 0.9]}}
        request = urllib.request.Request(
            f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            found = np.array(json.load(reply)["predictions"])
    expected = burgers_surrogate.predict([[0.8, 1.0]], [0.0, 0.5]).quantiles([0.1, 0.9])
    np.testing.assert_allclose(found, expected)


def test_a_version_needs_only_its_own_files(tmp_path: Path, burgers_surrogate: Surrogate) -> None:
    """If this project is not installed, the code that is saved with the version is used."""
    register(None, tmp_path, burgers_surrogate)
    folder = locate("models:/pulse/1", store=tmp_path)[1]
    code = """
import importlib.util, sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "") + repr(f)]
sys.path = [p for p in sys.path if p and not p.startswith("__editable__")]
sys.path_hooks = [h for h in sys.path_hooks if "editable" not in repr(h)]
assert not any(importlib.util.find_spec(name) for name in ("agent", "mlasdi", "solvers"))
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(pandas.DataFrame({"a": [0.8], "w": [1.0]}), params={"times": [0.5]}).mean())
import mlasdi
assert mlasdi.__file__.startswith(sys.argv[1]), mlasdi.__file__
"""
    command = [sys.executable, "-P", "-c", code, str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    expected = burgers_surrogate.predict([[0.8, 1.0]], [0.5]).mean.mean()
    assert float(done.stdout) == pytest.approx(expected, rel=1e-12)
