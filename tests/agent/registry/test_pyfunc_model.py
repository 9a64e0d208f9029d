"""A registered surrogate as MLflow loads it, for those who know nothing of this package."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas as pd
import pytest
from blank_figures import leave_figures_blank
from small_campaign import write_config

from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.config import load_config
from mlasdi.agent.records import Point
from mlasdi.agent.tracking_store import quiet, store_uri
from mlasdi.surrogate import ExtrapolationWarning, Surrogate

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel  # warns when imported, of type hints of its own

MU = np.array([[0.78, 1.04], [0.71, 0.95]])


def table(mu: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(mu, columns=["a", "w"])


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, burgers_surrogate: Surrogate
) -> "Iterator[PyFuncModel]":
    """The champion, loaded by its name from the registry, with the code that travels with it."""
    root = tmp_path_factory.mktemp("root")
    (root / "mlruns").mkdir()
    shutil.copyfile(empty_store, root / "mlruns" / "mlflow.db")
    config = load_config(write_config(root))
    publisher = Publisher(config, "c1")
    publisher.start()
    model = burgers_surrogate.save(config.folder / "models" / "round-000")
    solved = Point(1, 0, "train", {"a": 0.8, "w": 1.0}, "0", None, "solved")
    with pytest.MonkeyPatch.context() as patch:
        leave_figures_blank(patch)
        publisher.publish_round(0, burgers_surrogate, model, None, [solved], 1)
    uri = store_uri(None, config.root)
    with pytest.MonkeyPatch.context() as patch, quiet():
        # Both are changed by MLflow: the store that every later test would use, and where modules are found.
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_REGISTRY_URI", uri)
        patch.setattr(sys, "path", list(sys.path))
        yield mlflow.pyfunc.load_model("models:/small@champion")


def test_it_predicts_what_the_surrogate_predicts(loaded: "PyFuncModel", burgers_surrogate: Surrogate) -> None:
    expected = burgers_surrogate.predict(MU)
    np.testing.assert_array_equal(loaded.predict(table(MU)), expected.mean)
    np.testing.assert_array_equal(loaded.predict(table(MU), params={"output": "mean"}), expected.mean)
    np.testing.assert_array_equal(loaded.predict(table(MU), params={"output": "std"}), expected.std)


def test_it_predicts_with_the_first_stages_alone(loaded: "PyFuncModel", burgers_surrogate: Surrogate) -> None:
    first = burgers_surrogate.predict(MU, n_stages=1).mean
    np.testing.assert_array_equal(loaded.predict(table(MU), params={"n_stages": 1}), first)
    assert not np.array_equal(first, burgers_surrogate.predict(MU).mean)


def test_its_metadata_name_the_columns(loaded: "PyFuncModel") -> None:
    assert loaded.metadata.metadata == {
        "inputs": ["a", "w"],
        "output_axes": ["param", "time", "state"],
        "quantiles_axes": ["param", "quantile", "time", "state"],
        "samples_axes": ["param", "sample", "time", "state"],
    }


def test_it_brings_an_example(loaded: "PyFuncModel", burgers_surrogate: Surrogate) -> None:
    np.testing.assert_allclose(loaded.input_example, [[0.8, 1.0]])
    np.testing.assert_array_equal(loaded.predict(loaded.input_example), burgers_surrogate.predict([[0.8, 1.0]]).mean)


def test_it_predicts_quantiles_and_samples_at_any_times(loaded: "PyFuncModel", burgers_surrogate: Surrogate) -> None:
    times = [0.0, 0.3, 1.0]
    expected = burgers_surrogate.predict(MU, times)
    np.testing.assert_array_equal(loaded.predict(table(MU), params={"times": times}), expected.mean)
    quantiles = loaded.predict(table(MU), params={"times": times, "quantiles": [0.1, 0.9]})
    np.testing.assert_array_equal(quantiles, expected.quantiles([0.1, 0.9]))
    samples = loaded.predict(table(MU), params={"times": times, "n_samples": 5, "seed": 3})
    np.testing.assert_array_equal(samples, burgers_surrogate.sample(MU, 5, np.random.default_rng(3), times))


def test_columns_are_found_by_name_and_arrays_go_to_the_unwrapped_model(
    loaded: "PyFuncModel", burgers_surrogate: Surrogate
) -> None:
    expected = burgers_surrogate.predict(MU).mean
    np.testing.assert_array_equal(loaded.predict(table(MU)[["w", "a"]]), expected)
    np.testing.assert_array_equal(loaded.predict({"w": MU[:, 1], "a": MU[:, 0]}), expected)
    np.testing.assert_array_equal(loaded.unwrap_python_model().predict(None, MU), expected)


@pytest.mark.parametrize("mu", [MU, table(MU)[["a"]], table(MU).astype(str)], ids=["no names", "one column", "texts"])
def test_other_inputs_are_refused(loaded: "PyFuncModel", mu: np.ndarray | pd.DataFrame) -> None:
    with pytest.raises(mlflow.MlflowException, match="schema"):
        loaded.predict(mu)


def test_other_outputs_are_refused(loaded: "PyFuncModel") -> None:
    with pytest.raises(ValueError, match="output 'variance' is not known; give one of mean, std"):
        loaded.predict(table(MU), params={"output": "variance"})
    with pytest.raises(ValueError, match="quantiles and n_samples are both given"):
        loaded.predict(table(MU), params={"quantiles": [0.5], "n_samples": 2})
    with pytest.raises(ValueError, match="output 'std' needs neither"):
        loaded.predict(table(MU), params={"output": "std", "n_samples": 2})
    with pytest.raises(ValueError, match="output 'quantiles' needs levels"):
        loaded.predict(table(MU), params={"output": "quantiles"})
    with pytest.raises(ValueError, match="n_stages 3 given; the model has stages 1 to 2"):
        loaded.predict(table(MU), params={"n_stages": 3})


BEYOND = [
    (np.array([[0.95, 1.0]]), {}, r"'a': 0.95.*lies outside the trained box"),
    (np.array([[0.8, 1.0], [0.8, 2.0], [0.8, 3.0]]), {"output": "std"}, r"'w': 2.* 1 more points lie outside"),
    (MU, {"times": [0.5, 1.5]}, r"outside the trained interval \[0, 1\]"),
    (MU, {"times": [1.5], "n_samples": 2}, r"outside the trained interval \[0, 1\]"),
]


@pytest.mark.parametrize(("mu", "params", "message"), BEYOND)
def test_outside_the_trained_ranges_it_predicts_only_if_asked_to(
    loaded: "PyFuncModel", burgers_surrogate: Surrogate, mu: np.ndarray, params: dict[str, object], message: str
) -> None:
    """MLflow's server passes on no warning, so that a client would not know."""
    with pytest.raises(ValueError, match=message + '.*"extrapolate": true'):
        loaded.predict(table(mu), params=params)
    with pytest.warns(ExtrapolationWarning):
        found = loaded.predict(table(mu), params={**params, "extrapolate": True})
    assert np.isfinite(found).all()


def test_mlflows_server_refuses_points_outside_as_a_bad_request(loaded: "PyFuncModel") -> None:
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    with TestClient(init(loaded)) as client:
        body = {"dataframe_split": {"columns": ["w", "a"], "data": [[1.0, 0.95]]}}
        refused = client.post("/invocations", json=body)
        with pytest.warns(ExtrapolationWarning):
            allowed = client.post("/invocations", json={**body, "params": {"extrapolate": True}})
    assert (refused.status_code, allowed.status_code) == (400, 200)
    assert "outside the trained box" in refused.text
