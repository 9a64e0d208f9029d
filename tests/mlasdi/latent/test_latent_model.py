"""The latent model: its trajectories against those of the true coefficients, and its uncertainty against sampling."""

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kriging
from mlasdi.latent import LatentModel, propagate

X_NEW = np.array([[0.4], [0.9]])


def test_training_trajectories_are_reproduced_and_others_are_interpolated(oscillator, points):
    latent = oscillator.latent_model(points)
    along = latent.trajectories(points, oscillator.t)
    torch.testing.assert_close(along.z, propagate(*oscillator.coefficients(points), oscillator.t), atol=1e-5, rtol=0)
    unseen = latent.trajectories(X_NEW, oscillator.t)
    torch.testing.assert_close(unseen.z, propagate(*oscillator.coefficients(X_NEW), oscillator.t), atol=0.01, rtol=0)
    assert latent.n_latent == 2


def test_closed_form_mean_is_that_of_the_gaussian_process(oscillator, points):
    latent = oscillator.latent_model(points)
    np.testing.assert_allclose(latent.mean_coefficients(X_NEW), latent.gp.posterior(X_NEW)[0], atol=1e-4)


def test_trajectories_can_be_selected(oscillator, points):
    along = oscillator.latent_model(points).trajectories(points, oscillator.t)
    selected = along[np.array([True, False, False, True, False])]
    torch.testing.assert_close(selected.x, torch.from_numpy(points[[0, 3]]))
    assert torch.equal(selected.z, along.z[[0, 3]])
    assert torch.equal(along[slice(2)].z, along.z[:2])


@pytest.mark.parametrize("shared_kernel", [True, False])
def test_deviated_trajectories_start_from_deviated_coefficients(oscillator, points, shared_kernel):
    latent = oscillator.latent_model(points)
    if not shared_kernel:
        latent = LatentModel(latent.x, latent.xi, latent.z0, None)
    deviated, steps = latent.deviated(X_NEW, oscillator.t), latent.gp.deviations(X_NEW)
    assert steps.shape == (5 if shared_kernel else 8, 2, 8)
    coefficients = torch.from_numpy(latent.mean_coefficients(X_NEW) + steps)
    assert deviated.z.shape == (len(steps) * 2, 41, 2)
    for k in range(len(steps)):
        for i in range(2):
            z = propagate(coefficients[k, i, :6].reshape(2, 3), coefficients[k, i, 6:], oscillator.t)
            torch.testing.assert_close(deviated.z[2 * k + i], z, rtol=1e-9, atol=1e-10)
            np.testing.assert_array_equal(deviated.x[2 * k + i].numpy(), X_NEW[i])


def test_spread_of_the_trajectories_is_that_of_sampled_coefficients(oscillator, points):
    """To first order; the samples are drawn from the joint posterior of coefficients and initial states."""
    latent = oscillator.latent_model(points)
    deviated, steps = latent.deviated(X_NEW, oscillator.t), latent.gp.deviations(X_NEW)
    mean = latent.trajectories(X_NEW, oscillator.t).z
    spread = (deviated.z.reshape(-1, *mean.shape) - mean).square().sum(dim=0).sqrt()
    rng = np.random.default_rng(0)
    random = np.einsum("sk,kio->sio", rng.standard_normal((4000, len(steps))), steps)
    samples = torch.from_numpy(latent.mean_coefficients(X_NEW) + random)
    z = propagate(samples[..., :6].reshape(-1, 2, 2, 3), samples[..., 6:], oscillator.t)
    # Four thousand samples know a standard deviation to about 1 %.
    torch.testing.assert_close(spread, z.std(dim=0), rtol=0.06, atol=0.01 * float(spread.max()))


@pytest.mark.parametrize("left_out", [[1], [1, 3]])
def test_a_model_without_points_keeps_the_other_coefficients(oscillator, points, left_out):
    latent = oscillator.latent_model(points)
    fold = latent.without(np.array(left_out))
    keep = np.delete(np.arange(5), left_out)
    np.testing.assert_array_equal(fold.xi, latent.xi[keep])
    flat = np.concatenate([latent.xi.reshape(5, -1), latent.z0], axis=1)
    expected = Kriging(points[keep], latent.kernel).weights(points[1:2]) @ flat[keep]
    np.testing.assert_allclose(fold.mean_coefficients(points[1:2]), expected)
