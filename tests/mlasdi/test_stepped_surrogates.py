"""Surrogates with dynamics that are not affine, from the settings to the saved files."""

from pathlib import Path

import numpy as np
import pytest

from mlasdi import Surrogate
from mlasdi.preprocessing import TrainingData
from mlasdi.surrogate import ExtrapolationWarning
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import diagnose
from mlasdi.validation.error_sources import difference_fields

FIRST = {"iterations": 12, "n_sine": 10, "integration_steps": 25}
COMMON = {"time_scaling": "off", "coordinate_scaling": "off"}
QUICK = COMMON | {"latent_dim": 3, "n_time": 26, "anchors": 4, "min_gain": None, "stages": [{"kind": "kriging"}]}


def settings(**first_stage: object) -> ModelSettings:
    return ModelSettings.model_validate(QUICK | {"first_stage": FIRST | first_stage})


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in ("quadratic", "second-order")]
)
def fitted(request: pytest.FixtureRequest, burgers_data: TrainingData) -> Surrogate:
    return fit(burgers_data, settings(dynamics=request.param, forcing=[1.5]), seed=0)


@pytest.mark.slow
def test_predictions_are_as_accurate_as_with_affine_dynamics(
    fitted: Surrogate, burgers_data: TrainingData, burgers_truth: tuple[np.ndarray, np.ndarray]
) -> None:
    mu, u = burgers_truth
    affine = fit(burgers_data, settings(), seed=0)
    errors = [max_relative_error(u, s.predict(mu, burgers_data.t, std=False).mean).max() for s in (fitted, affine)]
    assert errors[0] < max(1.5 * errors[1], 0.02)


def test_all_methods_of_a_surrogate_work(fitted: Surrogate) -> None:
    mu = {"a": 0.77, "w": 1.03}
    prediction = fitted.predict(mu)
    assert prediction.std is not None
    assert np.isfinite(prediction.std).all()
    assert prediction.std.max() > 0
    assert np.isfinite(fitted.relative_std(mu)).all()
    assert np.isfinite(fitted.sample(mu, 3, np.random.default_rng(0))).all()
    latent = fitted.latent_trajectories(mu)
    assert latent.mean.shape == (1, 26, 3)
    assert np.isinf(latent.blew_up_at).all()
    kinds = {finding.kind for finding in diagnose(fitted)}
    assert not kinds & {"unstable-dynamics", "diverging-between-points"}
    # A single time between the steps of the integration
    single = fitted.predict(mu, fitted.t[[7]] + 1e-3, std=False).mean
    among_others = fitted.predict(mu, np.sort([*fitted.t, fitted.t[7] + 1e-3]), std=False).mean[:, [8]]
    np.testing.assert_allclose(single, among_others, rtol=0, atol=1e-7)


def test_a_loaded_surrogate_predicts_the_same(fitted: Surrogate, tmp_path: Path) -> None:
    loaded = Surrogate.load(fitted.save(tmp_path / "saved"))
    mu = [[0.73, 0.95], [0.88, 1.08]]
    np.testing.assert_array_equal(loaded.predict(mu).mean, fitted.predict(mu).mean)
    np.testing.assert_array_equal(loaded.predict(mu).std, fitted.predict(mu).std)
    assert loaded.model.latent.dynamics == fitted.model.latent.dynamics


def test_earlier_times_are_refused_and_later_ones_extrapolated(fitted: Surrogate) -> None:
    mu = {"a": 0.8, "w": 1.0}
    with pytest.raises(ValueError, match="before the first of the training"), pytest.warns(ExtrapolationWarning):
        fitted.predict({"a": 0.6, "w": 1.0}, [-0.1])
    with pytest.warns(ExtrapolationWarning):
        z = fitted.latent_trajectories(mu, np.linspace(0, 3, 31)).mean
    assert np.isfinite(z).all()


@pytest.mark.slow
def test_the_parts_of_the_error_add_up(
    fitted: Surrogate, burgers_data: TrainingData, burgers_truth: tuple[np.ndarray, np.ndarray]
) -> None:
    mu, states = burgers_truth
    fields = difference_fields(fitted, mu[0], burgers_data.t, states[0])
    prediction = fitted.predict(mu[0], burgers_data.t, std=False).mean[0]
    inside = fields.autoencoder[-1] + fields.latent_dynamics[-1] + fields.interpolation[-1]
    basis = fitted.reconstruction.at(fitted.space.to_unit(mu[0]))
    lifted = basis.scale * inside @ basis.modes.T
    np.testing.assert_allclose(fields.projection + lifted, states[0] - prediction, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dynamics": "cubic"}, "affine.*quadratic.*second-order"),
        ({"forcing": [2.0]}, "forcing .2.0. needs dynamics: quadratic or second-order"),
        ({"dynamics": "quadratic", "forcing": [-1.0]}, "greater than 0"),
        ({"dynamics": "quadratic", "calibration": "weak"}, "calibration weak needs dynamics: affine"),
        ({"dynamics": "quadratic", "integration_steps": 5}, "greater than or equal to 10"),
        ({"kind": "autoencoder", "dynamics": "quadratic"}, "first_stage.dynamics quadratic: first_stage.kind autoenc"),
        ({"kind": "none", "dynamics": "affine"}, "first_stage.kind none has no dynamics"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSettings.model_validate({"first_stage": given, "latent_dim": 3})
