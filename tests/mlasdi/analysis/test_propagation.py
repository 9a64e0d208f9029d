"""Propagated distributions, against Monte Carlo on the solver itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlasdi.analysis import AnalysisWarning, Propagation
from mlasdi.solvers import ParameterSpace
from mlasdi.solvers.constraints import LinearConstraint

GIVEN = {"a": "normal(0.5, 0.1)", "b": "uniform(0.2, 0.6)"}
N = 40_000


@pytest.fixture(scope="module")
def truth(polynomial: Any) -> np.ndarray:
    """Solutions at random parameters `[sample, time, state]`."""
    rng = np.random.default_rng(1)
    return polynomial.solve(np.stack([rng.normal(0.5, 0.1, N), rng.uniform(0.2, 0.6, N)], axis=1))


@pytest.fixture(scope="module")
def fields(model: Any) -> Propagation:
    return model.propagate(GIVEN)


def test_fields_have_the_solver_s_moments_and_quantiles(fields: Propagation, truth: np.ndarray) -> None:
    found = fields.fields
    assert found is not None
    scale = truth.std(axis=0).max()
    np.testing.assert_allclose(found.mean, truth.mean(axis=0), atol=0.02 * scale)
    np.testing.assert_allclose(found.std, truth.std(axis=0), atol=0.02 * scale)
    for level in (0.05, 0.5, 0.95):
        np.testing.assert_allclose(found.quantiles[level], np.quantile(truth, level, axis=0), atol=0.05 * scale)
    assert fields["u"].mean.shape == (11, 21)
    assert (fields["v"].std == found.std[:, 21:]).all()


@pytest.mark.slow
def test_large_states_are_taken_in_parts(model: Any, fields: Propagation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlasdi.analysis.propagation.BLOCK_BYTES", 8 * 1024 * 20)
    found = model.propagate(GIVEN).fields
    np.testing.assert_allclose(found.std, fields.fields.std, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.quantiles[0.95], fields.fields.quantiles[0.95], rtol=1e-6, atol=1e-12)


def test_quantities_have_the_solver_s_distribution(model: Any, truth: np.ndarray) -> None:
    found = model.propagate(GIVEN, quantity={"peak": "max(u)", "end": lambda p: p["u"][:, -1, 10]})
    peak = truth[..., :21].max(axis=-1)
    np.testing.assert_allclose(found["peak"].mean, peak.mean(axis=0), rtol=5e-3)
    np.testing.assert_allclose(found["peak"].std, peak.std(axis=0), rtol=0.02)
    np.testing.assert_allclose(found["peak"].quantiles[0.95], np.quantile(peak, 0.95, axis=0), rtol=5e-3)
    end = found["end"]
    assert (end.t, end.mean.shape) == (None, (1,))
    # The mean is known better than from as many random points.
    assert end.mean_sampling_std[0] < 0.3 * end.std[0] / np.sqrt(len(found.mu))
    assert abs(end.mean[0] - truth[:, -1, 10].mean()) < 4 * (
        end.mean_sampling_std[0] + truth[:, -1, 10].std() / np.sqrt(N)
    )


def test_the_variance_is_that_of_the_parameters_and_of_the_surrogate(coarse: Any) -> None:
    found = coarse.propagate(GIVEN, quantity="u(x=0.5)", draws=64)["u(x=0.5)"]
    np.testing.assert_allclose(found.std**2, found.inputs_std**2 + found.surrogate_std**2)
    by_field = coarse.propagate(GIVEN)["u"]
    np.testing.assert_allclose(found.surrogate_std, by_field.surrogate_std[:, 10], rtol=0.25)
    assert (found.surrogate_std > 0.2 * found.inputs_std).all()
    assert (found.mean_surrogate_std > found.mean_sampling_std).all()


def test_what_lies_outside_of_the_box_is_told(model: Any) -> None:
    with pytest.warns(AnalysisWarning, match="16 % of normal.0.9, 0.1. lies outside of the trained range of a"):
        found = model.propagate({"a": "normal(0.9, 0.1)"}, n=64, quantity="mean(u)")
    assert found.outside == {"a": pytest.approx(0.1587, abs=1e-3)}
    assert found.mu[:, 0].max() <= 1
    assert "16 % outside of the box" in repr(found)


def test_points_that_break_constraints_are_left_out(model: Any) -> None:
    related = ParameterSpace(model.space.parameters, (LinearConstraint((("a", 1.0), ("b", 1.0)), high=1.0),))
    with pytest.warns(AnalysisWarning, match="50 % of the points break constraints"):
        found = replace(model, space=related).propagate(n=256)
    assert (found.mu.sum(axis=1) <= 1 + 1e-9).all()


def test_tables(model: Any, fields: Propagation) -> None:
    table = fields.to_dataframe()
    assert list(table) == ["field", "time", "x", "mean", "std", "inputs_std", "surrogate_std", "q5", "q50", "q95"]
    row = table[(table.field == "v") & (table.time == 1.0) & (table.x == 0.5)]
    assert row["std"].item() == fields["v"].std[-1, 10]
    quantities = model.propagate(GIVEN, 64, ["mean(u)", "rms(v)"], levels=(0.9,)).to_dataframe()
    assert quantities["quantity"].unique().tolist() == ["mean(u)", "rms(v)"]
    assert {"q90", "mean_surrogate_std", "mean_sampling_std"} <= set(quantities)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 4}, "at least 16 points"),
        ({"levels": (0, 0.5)}, "give levels between 0 and 1"),
        ({"distributions": {"c": 1}}, "parameter 'c' is not known"),
    ],
)
def test_bad_input_is_refused(model: Any, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.propagate(**given)
    with pytest.raises(ValueError, match="'w' is not known; there are u, v"):
        model.propagate(n=16)["w"]
