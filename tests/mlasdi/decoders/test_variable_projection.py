"""Variable projection on data of a linear latent system with a linear decoder, which it has to recover."""

import numpy as np
import pytest
import torch

from mlasdi.decoders import VariableProjectionSettings
from mlasdi.decoders.variable_projection import _Objective, fit_latent_model, stepped_dynamics
from mlasdi.stages import FeatureMap, FeatureStage, StagedModel

ANCHORS = np.array([[0.1], [0.35], [0.6], [0.9]])


@pytest.fixture(scope="module")
def fitted(oscillator, points):
    """The model with its decoder, the data, and the reported losses."""
    data = oscillator.training_set(points, ANCHORS)
    settings = VariableProjectionSettings(n_sine=0, ridge=1e-10, roughness=1e-6, iterations=500)
    losses: list[tuple[int, float]] = []
    report = lambda step, loss: losses.append((step, loss))  # noqa: E731
    latents, features = fit_latent_model(data, 2, settings, torch.Generator().manual_seed(0), report)
    latent = latents[max(latents)]
    model = StagedModel(latent, (FeatureStage.unfitted(features, settings.ridge),)).refit(data)
    return model, data, losses


def relative(prediction: torch.Tensor, truth: torch.Tensor) -> float:
    return float((prediction - truth).norm(dim=-1).max() / truth.norm(dim=-1).max())


def test_training_trajectories_are_reproduced(fitted, points):
    model, data, _ = fitted
    assert relative(model.mean(points, data.t), data.c) < 3e-3


def test_trajectories_at_unseen_parameters_are_predicted(fitted, oscillator):
    """Parameters that are neither training points nor anchors, against the exact solution."""
    model, data, _ = fitted
    x = np.array([[0.07], [0.44], [0.69], [0.83]])
    truth = oscillator.solve(x)
    assert relative(model.mean(x, data.t), truth) < 3e-3
    nearest = data.c[np.abs(x - data.x.T).argmin(axis=1)]
    assert relative(model.mean(x, data.t), truth) < 0.05 * relative(nearest, truth)


def test_the_dynamics_are_found_up_to_the_choice_of_coordinates(fitted, oscillator, points):
    """The eigenvalues -0.5 +- i (4 + x) do not depend on the latent coordinates."""
    model, _, _ = fitted
    values = np.linalg.eigvals(model.latent.xi[..., 1:])
    np.testing.assert_allclose(values.real, -0.5, atol=0.1)
    np.testing.assert_allclose(np.abs(values.imag), 4 + points @ np.ones((1, 2)), rtol=0.02)


def test_initial_states_are_fitted_too(fitted):
    """The first guess is the leading POD coordinates; the optimum differs from it."""
    model, data, _ = fitted
    leading = data.c[..., :2] / data.c[..., :2].reshape(-1, 2).std(dim=0).max()
    assert np.abs(model.latent.z0 - leading[:, 0].numpy()).max() > 0.01


def test_the_loss_falls_from_step_to_step(fitted):
    _, _, losses = fitted
    steps, values = zip(*losses, strict=True)
    assert steps == tuple(range(1, len(steps) + 1))
    assert len(steps) <= 500
    assert (np.diff(values) <= 0).all()
    assert values[-1] < 1e-3 * values[0]


@pytest.mark.slow
def test_training_succeeds_from_each_first_guess(oscillator, points):
    """The first guesses differ, and the loss falls by five orders of magnitude from each."""
    data, losses = oscillator.training_set(points, ANCHORS), {}
    for calibration in ("integral", "weak", "least-squares"):
        given = VariableProjectionSettings(n_sine=0, ridge=1e-10, iterations=400, calibration=calibration)
        history: list[float] = []
        report = lambda _, loss, history=history: history.append(loss)  # noqa: E731
        fit_latent_model(data, 2, given, torch.Generator().manual_seed(0), report)
        losses[calibration] = history[0], history[-1]
    assert len({first for first, _ in losses.values()}) == 3
    assert max(last for _, last in losses.values()) < 1e-5 * min(first for first, _ in losses.values())


def test_checkpoints_are_the_models_of_shorter_trainings(oscillator, points):
    data = oscillator.training_set(points, ANCHORS)

    def trained(**settings):
        given = VariableProjectionSettings(n_sine=0, ridge=1e-10, **settings)
        return fit_latent_model(data, 2, given, torch.Generator().manual_seed(0), lambda step, loss: None)[0]

    models = trained(iterations=12, checkpoints=(2, 5, 50))
    assert list(models) == [2, 5, 12]
    for step in (2, 5):
        (shorter,) = trained(iterations=step, checkpoints=()).values()
        np.testing.assert_allclose(models[step].xi, shorter.xi, rtol=0, atol=1e-12)
        np.testing.assert_allclose(models[step].z0, shorter.z0, rtol=0, atol=1e-12)
    assert not np.allclose(models[2].xi, models[12].xi)


def test_coefficients_that_blow_up_have_a_large_loss_and_no_gradient(oscillator, points):
    """A force of 1e9; the line search then takes a shorter step."""
    data = oscillator.training_set(points, ANCHORS)
    settings = VariableProjectionSettings(dynamics="quadratic", n_sine=0)
    dynamics = stepped_dynamics(settings, 2)
    features = FeatureMap.random(2, 0, 1.0, torch.Generator())
    shapes = torch.Size((5, dynamics.n_coefficients)), torch.Size((5, 2))
    objective = _Objective(data, settings, features, dynamics, *shapes)
    v = np.full(sum(shape.numel() for shape in shapes), 0.1)
    finite, gradient = objective(v)
    assert finite < 10
    assert gradient.any()
    v[: dynamics.n_coefficients] = 1e9
    loss, gradient = objective(v)
    assert loss > 50
    assert not gradient.any()
