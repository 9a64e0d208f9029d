"""The choice among kinds of model: which take part, which may replace kriging, and what is recorded."""

import numpy as np
import pytest

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit

pytestmark = pytest.mark.slow  # `test_shapes_of_data` has races that are short

BOX = ParameterSpace((Parameter("c", 0.9, 1.1), Parameter("d", 0.05, 0.3)))
X, T = np.linspace(0, 1, 41), np.linspace(0, 6, 101)
MODES = np.arange(1, 6)


def strings(mu: np.ndarray) -> np.ndarray:
    """A damped string, released at rest: `sum a_k exp(-d t) cos(w_k t) sin(k pi x)` of five modes, w_k = k pi c."""
    c, d = mu[:, 0, None, None], mu[:, 1, None, None]
    motion = np.exp(-d * T[:, None]) * np.cos(np.pi * MODES * c * T[:, None]) / MODES**2
    return motion @ np.sin(np.pi * np.outer(MODES, X))


def training_data(n: int) -> TrainingData:
    mu = np.concatenate([BOX.corners(), BOX.sobol(n - 4, seed=0)])
    return TrainingData(BOX, StateLayout(("u",), {"x": X}), mu, T, strings(mu))


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return fit(training_data(9), ModelSettings.model_validate({"effort": "quick"}), seed=0)


def test_dynamics_win_where_kriging_of_waves_fails(surrogate):
    """Waves that run out of step within six periods are beyond interpolation; a linear system has few operators."""
    mu = BOX.sobol(16, seed=5)
    kriging = fit(training_data(9), ModelSettings.model_validate({"kind": "snapshot-gp"}), seed=0)
    error = max_relative_error(strings(mu), surrogate.predict(mu).mean).max()
    assert surrogate.record.chosen.startswith("operator inference")
    assert error < 0.1 * max_relative_error(strings(mu), kriging.predict(mu).mean).max()
    assert error < 5 * surrogate.error_estimate


def test_bands_cover_the_solution(surrogate):
    mu = BOX.sobol(16, seed=5)
    prediction = surrogate.predict(mu)
    inside = np.abs(prediction.mean - strings(mu)) <= 1.645 * prediction.std
    assert inside.mean() > 0.7


def test_every_model_that_was_trained_is_recorded(surrogate):
    candidates = surrogate.record.candidates
    assert {"kriging (states)", surrogate.record.chosen} <= set(candidates)
    for one in candidates.values():
        assert one["leave_one_out_error"] > 0
        assert one["error_estimate"] > 0
        assert one["seconds"] >= 0
    chosen, kriging = candidates[surrogate.record.chosen], candidates["kriging (states)"]
    assert chosen["leave_one_out_error"] < kriging["leave_one_out_error"]
    assert chosen["error_estimate"] < kriging["error_estimate"]


def test_a_saved_one_predicts_the_same(surrogate, tmp_path):
    loaded = Surrogate.load(surrogate.save(tmp_path / "model"))
    mu, t = BOX.sobol(3, seed=2), np.array([0.0, 1.03, 6.0])
    np.testing.assert_array_equal(loaded.predict(mu, t).mean, surrogate.predict(mu, t).mean)
    np.testing.assert_array_equal(loaded.predict(mu, t).std, surrogate.predict(mu, t).std)
    assert loaded.record.candidates == surrogate.record.candidates
    assert loaded.record.chosen == surrogate.record.chosen


def test_training_points_are_more_certain_than_others(surrogate):
    """Though not quite: dynamics miss them a little, and their standard deviation says by how much."""
    data, others = training_data(9), BOX.sobol(16, seed=3)
    errors = max_relative_error(data.u, surrogate.predict(data.mu).mean)
    assert errors.max() < surrogate.error_estimate
    assert surrogate.relative_std(data.mu).max() < np.median(surrogate.relative_std(others))
    assert (surrogate.relative_std(data.mu) > 0.1 * errors).all()


def test_what_is_smooth_over_the_parameters_is_kriged():
    mu = np.concatenate([BOX.corners(), BOX.sobol(3, seed=0)])
    smooth = (mu[:, :1, None] + mu[:, 1:, None] ** 2) * np.sin(np.pi * X) * np.ones((len(T), 1))
    data = TrainingData(BOX, StateLayout(("u",), {"x": X}), mu, T, smooth)
    found = fit(data, ModelSettings.model_validate({"effort": "quick"}), seed=0)
    assert found.record.chosen.startswith("kriging")
