"""Calibration: the posterior is the one in closed form, and contains the parameters that made the measurements."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from mlasdi.analysis import AnalysisWarning, Measurements
from mlasdi.analysis.calibration import split_rhat

PLACES = {"x": np.array([0.25, 0.5])}
TIMES = np.array([0.2, 0.6, 1.0])


def measured(polynomial: Any, a: float, b: float, noise: float, seed: int = 0) -> np.ndarray:
    """Values of u at two places and three times `[time, place]`."""
    u = polynomial.solve(np.array([[a, b]]))[0][[2, 6, 10]][:, [5, 10]]
    return u + noise * np.random.default_rng(seed).standard_normal(u.shape)


@pytest.mark.slow
def test_the_posterior_is_the_one_in_closed_form(model: Any, polynomial: Any) -> None:
    """With one parameter, a factor of the solution, and a normal prior, both of them count."""
    noise, prior_std = 0.2, 0.1
    values = measured(polynomial, 0.4, 0.5, noise)
    found = model.calibrate(
        values, noise, TIMES, sensors=PLACES, fields=["u"], prior={"a": f"normal(0.5, {prior_std})", "b": 0.5}
    )
    factor = ((1 + 0.5 * TIMES)[:, None] * np.sin(np.pi * PLACES["x"])).ravel()
    precision = factor @ factor / noise**2 + 1 / prior_std**2
    mean = (factor @ values.ravel() / noise**2 + 0.5 / prior_std**2) / precision
    assert found.mean["a"] == pytest.approx(mean, abs=0.25 / np.sqrt(precision))
    assert found.std["a"] == pytest.approx(1 / np.sqrt(precision), rel=0.15)
    assert found.best["b"] == 0.5
    assert (found.samples[:, 1] == 0.5).all()


@pytest.mark.slow
def test_known_parameters_are_recovered(model: Any, polynomial: Any) -> None:
    found = model.calibrate(measured(polynomial, 0.4, 0.7, 0.005), 0.005, TIMES, sensors=PLACES, fields=["u"])
    for name, value in {"a": 0.4, "b": 0.7}.items():
        assert abs(found.mean[name] - value) < 3.5 * found.std[name] < 0.15
    assert (found.edges, found.warnings) == ({}, ())
    assert max(found.rhat.values()) < 1.05
    assert found.misfit < 3
    table = found.to_dataframe()
    assert table["parameter"].tolist() == ["a", "b"]
    assert {"best", "mean", "std", "q5", "q95", "rhat", "autocorrelation", "edge"} <= set(table)
    assert "a: 0.4" in repr(found)


def test_the_likelihood_knows_the_covariance_of_the_surrogate(coarse: Any) -> None:
    rng, mu = np.random.default_rng(3), np.array([[0.3, 0.6], [0.5, 0.5]])
    one = Measurements.from_array(coarse, rng.random((3, 4)), {"u": 0.1, "v": 0.2}, TIMES, PLACES, None)
    mean, steps, left_out = coarse.standard_steps(mu, TIMES, probes=one.probes)
    noise = np.tile([0.1, 0.1, 0.2, 0.2], 3)
    for k, found in enumerate(one.log_likelihood(coarse, mu)):
        b = steps[:, k].reshape(len(steps), -1)
        covariance = b.T @ b + np.diag(noise**2 + np.tile(left_out, 3) ** 2)
        expected = multivariate_normal(mean[k].ravel(), covariance).logpdf(one.values) + 6 * np.log(2 * np.pi)
        assert found == pytest.approx(expected, rel=1e-9)
    assert one.surrogate_share(coarse, mu[:1]) > 0.3


def test_tables_and_arrays_say_the_same(model: Any, polynomial: Any) -> None:
    values = measured(polynomial, 0.4, 0.7, 0.01)
    values[0, 1] = np.nan  # not measured
    array = Measurements.from_array(model, values, 0.01, TIMES, PLACES, ["u"])
    table = pd.DataFrame({"t": np.repeat(TIMES, 2), "x": np.tile(PLACES["x"], 3), "u": values.ravel()})
    shuffled = Measurements.from_table(model, table.sample(frac=1, random_state=0), 0.01)
    mu = np.array([[0.3, 0.6]])
    assert len(array) == len(shuffled) == 5
    np.testing.assert_allclose(array.log_likelihood(model, mu), shuffled.log_likelihood(model, mu))


@pytest.mark.slow
def test_an_edge_of_the_box_and_a_poor_fit_are_told(model: Any, polynomial: Any) -> None:
    beyond = measured(polynomial, 1.3, 0.0, 0.01)
    with pytest.warns(AnalysisWarning) as told:
        found = model.calibrate(beyond, 0.01, TIMES, sensors=PLACES, fields=["u"], max_steps=100)
    texts = " ".join(str(one.message) for one in told)
    assert "the posterior is at the edge of the trained box in a (high edge)" in texts
    assert "residuals are larger than noise and surrogate explain" in texts
    assert found.edges["a"] == "high"


def test_chains_that_disagree_have_a_large_rhat() -> None:
    rng = np.random.default_rng(0)
    alike = rng.standard_normal((500, 8, 1))
    assert split_rhat(alike)[0] == pytest.approx(1, abs=0.02)
    assert split_rhat(alike + np.arange(8)[:, None])[0] > 1.5
    assert split_rhat(alike + np.linspace(0, 9, 500)[:, None, None])[0] > 1.5  # not stationary


@pytest.mark.parametrize(
    ("data", "noise", "given", "message"),
    [
        (np.ones((2, 4)), 0.1, {"t": TIMES, "sensors": PLACES}, "have shape \\(2, 4\\); expected \\[3, 4\\]"),
        (np.ones((3, 4)), 0.0, {"t": TIMES, "sensors": PLACES}, "must be positive and finite, got 0"),
        (np.ones((3, 4)), {"u": 1}, {"t": TIMES, "sensors": PLACES}, "field 'v' is missing"),
        (np.ones((3, 4)), np.ones(3), {"t": TIMES, "sensors": PLACES}, "noise has shape"),
        (np.full((3, 4), np.nan), 0.1, {"t": TIMES, "sensors": PLACES}, "there is no value"),
        (np.ones((1, 4)), 0.1, {"t": [2.0], "sensors": PLACES}, "give times"),
        (np.ones((3, 2)), 0.1, {"t": TIMES, "sensors": {"x": [1.5]}}, "lies outside the grid"),
        ({"t": [0.5], "u": [1]}, 0.1, {}, "column 'x' is missing"),
        ({"t": [0.5], "x": [0.5]}, 0.1, {}, "column 'u' is missing"),
        ({"t": [0.5], "x": [0.5], "u": [1], "w": [1]}, 0.1, {}, "column 'w' is unknown"),
        ({"t": [0.5], "x": [0.5, 0.6], "u": [1]}, 0.1, {}, "columns of sizes"),
        ({"t": [0.5], "x": [0.5], "u": [1]}, 0.1, {"t": TIMES}, "has its own times, places"),
        ({"t": [0.5], "x": [0.5], "u": [1]}, 0.1, {"walkers": 3}, "at least 6 walkers"),
        ({"t": [0.5], "x": [0.5], "u": [1]}, 0.1, {"prior": {"a": 0.5, "b": 1}}, "all are fixed"),
    ],
)
def test_bad_input_is_refused(model: Any, data: Any, noise: Any, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.calibrate(data, noise, **given)
