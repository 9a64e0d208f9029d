"""Training by gradient: the loss falls, on problems that the networks represent nearly exactly."""

import numpy as np
import pytest
import torch

from mlasdi.decoders import AutoencoderSettings, DecoderSettings, fit_autoencoder, fit_decoder
from mlasdi.decoders.gradient_descent import minimise
from mlasdi.decoders.network_space import NetworkSpace
from mlasdi.latent import Trajectories, derivative_residual, propagate
from mlasdi.stages import NetworkSettings


@pytest.fixture(scope="module")
def trained(oscillator, points):
    data = oscillator.training_set(points, np.empty((0, 1)))
    settings = AutoencoderSettings(
        network=NetworkSettings(hidden=(20,)), steps=1500, learning_rate=5e-3, dynamics_weight=0.01
    )
    losses: list[tuple[int, float]] = []
    parts = fit_autoencoder(data, 2, settings, torch.Generator().manual_seed(0), lambda *pair: losses.append(pair))
    return data, parts, losses


@pytest.mark.slow
def test_the_autoencoder_reconstructs_plane_data(trained, points):
    """The data lie in a plane, for which two latent dimensions are enough."""
    data, (latent, encoder, decoder), _ = trained
    z = encoder.encode(data.c)
    along = Trajectories(torch.from_numpy(points), data.t, z)
    misfit = (decoder.evaluate(along) - data.c).square().mean() / data.c.square().mean()
    assert misfit < 2e-3
    np.testing.assert_array_equal(latent.z0, z[:, 0].numpy())
    assert latent.kernel is None


@pytest.mark.slow
def test_propagation_in_the_loss_lowers_the_error_of_predictions(oscillator, points):
    """Free coefficients leave integrated trajectories far from encoded ones, but where the loss has their error."""
    data = oscillator.training_set(points, np.empty((0, 1)))
    misfits = []
    for weight in (0.0, 1.0):
        settings = AutoencoderSettings(
            network=NetworkSettings(hidden=(20,)),
            steps=1500,
            learning_rate=5e-3,
            propagation_weight=weight,
            calibration="joint",
        )
        latent, _, decoder = fit_autoencoder(data, 2, settings, torch.Generator().manual_seed(0), lambda *pair: None)
        z = propagate(torch.from_numpy(latent.xi), torch.from_numpy(latent.z0), data.t)
        decoded = decoder.evaluate(Trajectories(torch.from_numpy(points), data.t, z))
        misfits.append(float((decoded - data.c).square().mean() / data.c.square().mean()))
    assert misfits[1] < 0.5 * misfits[0]


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["least-squares", "weak"])
def test_calibration_in_closed_form_finds_the_dynamics(oscillator, points, calibration):
    """The eigenvalues -0.5 +- i (4 + x), in either form."""
    data = oscillator.training_set(points, np.empty((0, 1)))
    settings = AutoencoderSettings(
        network=NetworkSettings(hidden=(20,)),
        steps=1500,
        learning_rate=5e-3,
        dynamics_weight=0.1,
        calibration=calibration,
    )
    latent, _, _ = fit_autoencoder(data, 2, settings, torch.Generator().manual_seed(0), lambda *pair: None)
    values = np.linalg.eigvals(latent.xi[..., 1:])
    np.testing.assert_allclose(values.real, -0.5, atol=0.2)
    np.testing.assert_allclose(np.abs(values.imag), 4 + points @ np.ones((1, 2)), rtol=0.1)


@pytest.mark.slow
def test_coefficients_describe_the_encoded_trajectories(trained):
    """With a weight of 0.01, the mean square residual of the dynamics is below a quarter of that of the velocities."""
    data, (latent, encoder, _), _ = trained
    z = encoder.encode(data.c)
    velocity = torch.gradient(z, spacing=(data.t,), dim=1)[0].square().mean()
    assert derivative_residual(torch.from_numpy(latent.xi), z, data.t).square().mean() < 0.25 * velocity


@pytest.mark.slow
def test_losses_are_reported_as_they_fall(trained):
    _, _, losses = trained
    assert losses[0][0] == 1
    assert losses[-1][0] == 1500
    assert losses[-1][1] < 0.02 * losses[0][1]


def test_a_sine_decoder_learns_an_oscillating_residual(oscillator, points):
    """A small and fast residual: it is scaled to one, and kappa matches its frequency."""
    along = oscillator.latent_model(points).trajectories(points, oscillator.t)
    residual = 1e-3 * torch.sin(8 * along.z @ torch.tensor([[1.0, 0.3], [-0.5, 1.0]], dtype=torch.float64))
    network = NetworkSettings(hidden=(40, 40), activation="sine", kappa=8.0)
    settings = DecoderSettings(network=network, steps=600, learning_rate=5e-3)
    stage = fit_decoder(along, residual, settings, torch.Generator().manual_seed(0), lambda step, loss: None)
    assert stage.scale == pytest.approx(float(NetworkSpace().seen(residual, is_difference=True).double().std()))
    assert (stage.evaluate(along) - residual).square().mean() < 0.05 * residual.square().mean()


def test_minimise_ends_in_the_best_parameters():
    """With a learning rate that overshoots, the last parameters are worse than some before."""
    x = torch.tensor([1.0], requires_grad=True)
    losses: list[float] = []
    settings = DecoderSettings(steps=20, learning_rate=3.0)
    minimise(lambda: (x**2).sum(), [x], settings, lambda step, loss: losses.append(loss))
    assert len(losses) == 20
    assert float(x.detach() ** 2) == pytest.approx(min(losses))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_follows_its_schedule(schedule):
    """On a constant slope each step of Adam is the learning rate; a cosine takes half of that in the mean."""
    x = torch.tensor([0.0], requires_grad=True)
    settings = DecoderSettings(steps=400, learning_rate=0.01, schedule=schedule)
    minimise(lambda: x.sum(), [x], settings, lambda step, loss: None)
    share = {"constant": 1.0, "cosine": 0.5}[schedule]
    assert float(x.detach()) == pytest.approx(-0.01 * 400 * share, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("units", ["relative", "solver"])
def test_coefficients_are_per_interval_whatever_the_units_of_the_loss(oscillator, points, units):
    """With an interval of three units of time, the eigenvalues are still those in units of one over the interval."""
    data = oscillator.training_set(points, np.empty((0, 1)))
    settings = AutoencoderSettings(network=NetworkSettings(hidden=(20,)), steps=1500, learning_rate=5e-3, units=units)
    space = NetworkSpace(interval=3.0)
    latent, _, _ = fit_autoencoder(data, 2, settings, torch.Generator().manual_seed(0), lambda *pair: None, space)
    values = np.linalg.eigvals(latent.xi[..., 1:])
    np.testing.assert_allclose(np.abs(values.imag), 4 + points @ np.ones((1, 2)), rtol=0.1)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"learning_rate": -1.0}, {"dynamics_weight": -0.1}, {"epochs": 3}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        AutoencoderSettings.model_validate(bad)
