"""The coefficient GPs against Gaussian conditioning written out, and against universal kriging."""

import numpy as np
import pytest
import torch

from mlasdi.interpolation import CoefficientGP, Kernel, Kriging, quiet_and_exact
from mlasdi.interpolation.kriging import FAMILIES, MEAN_VARIANCE

X = np.array([[0.0, 0.1], [0.3, 0.9], [0.5, 0.4], [0.8, 0.0], [1.0, 0.7], [0.2, 0.5]])
X_NEW = np.array([[0.4, 0.6], [0.9, 0.9], [0.05, 0.0], [0.6, 0.2]])


def values(seed: int = 0) -> np.ndarray:
    """Correlated outputs of different sizes and means, the last but one constant."""
    y = np.random.default_rng(seed).standard_normal((len(X), 4)) * [1, 100, 1e-3, 0] + [0, 50, 1, 3]
    return np.concatenate([y, y[:, :1] * -2 + 1], axis=1)


@pytest.fixture(params=FAMILIES)
def gp(request) -> CoefficientGP:
    return CoefficientGP(X, values(), Kernel(family=request.param, lengthscale=(0.5, 0.8)))


def test_posterior_is_gaussian_conditioning(gp):
    """The constant mean is Gaussian too, with 100 times the variance of the process."""
    mean, std = gp.posterior(X_NEW)
    kriging = Kriging(X, gp.kernel)
    np.testing.assert_allclose(mean, kriging.weights(X_NEW) @ values(), rtol=1e-6, atol=1e-6 * gp.scale.max())
    gram = gp.kernel(X, X) + MEAN_VARIANCE + gp.kernel.nugget * np.eye(len(X))
    cross = gp.kernel(X, X_NEW) + MEAN_VARIANCE
    variance = 1 + MEAN_VARIANCE - np.sum(cross * np.linalg.solve(gram, cross), axis=0)
    whitened = kriging.whiten(values())
    process = np.sqrt(np.sum(whitened**2, axis=0) / (len(X) - 1))
    expected = np.sqrt(variance)[:, None] * process
    np.testing.assert_allclose(std[:, [0, 1, 2, 4]], expected[:, [0, 1, 2, 4]], rtol=1e-4)
    with_far = np.concatenate([X_NEW, [[9.0, 9.0]]])  # far away, where the uncertain mean matters most
    np.testing.assert_allclose(gp.process_std(with_far), np.sqrt(kriging.variance(with_far)), rtol=0.01)


def test_training_points_are_certain(gp):
    mean, std = gp.posterior(X)
    np.testing.assert_allclose(mean, values(), atol=1e-4 * gp.scale.max())
    assert (std <= 1e-3 * gp.scale).all()


def test_a_constant_output_is_certain_everywhere(gp):
    mean, std = gp.posterior(X_NEW)
    np.testing.assert_allclose(mean[:, 3], 3.0)
    np.testing.assert_array_equal(std[:, 3], 0.0)


def test_deviations_add_up_to_the_joint_covariance(gp):
    """The covariance of the outputs is that of the whitened training values, times the variance at the point."""
    _, std = gp.posterior(X_NEW)
    steps = gp.deviations(X_NEW)
    assert steps.shape == (len(X), len(X_NEW), 5)
    whitened = Kriging(X, gp.kernel).whiten(values())
    between = whitened.T @ whitened / (len(X) - 1)
    for i in range(len(X_NEW)):
        covariance = steps[:, i].T @ steps[:, i]
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), std[i], rtol=1e-10, atol=1e-12)
        size = np.sqrt(np.outer(np.diag(between), np.diag(between)))
        np.testing.assert_allclose(
            covariance, gp.process_std(X_NEW)[i] ** 2 * between, rtol=1e-6, atol=1e-9 * size.max()
        )
        assert covariance[0, 4] == pytest.approx(-2 * covariance[0, 0])  # that output is minus twice the first, plus 1


def test_pending_points_count_as_solved_with_the_posterior_mean(gp):
    pending = np.array([[0.45, 0.65], [0.7, 0.95]])
    conditioned = gp.with_pending(pending)
    expected, _ = gp.posterior(pending)
    refit = CoefficientGP(np.concatenate([X, pending]), np.concatenate([values(), expected]), gp.kernel)
    np.testing.assert_allclose(conditioned.process_std(X_NEW), refit.process_std(X_NEW), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(conditioned.posterior(X_NEW)[0], refit.posterior(X_NEW)[0], atol=1e-5 * gp.scale.max())
    np.testing.assert_allclose(conditioned.posterior(X_NEW)[0], gp.posterior(X_NEW)[0], atol=1e-5 * gp.scale.max())
    assert (conditioned.process_std(pending) < 1e-3).all()
    assert (gp.process_std(pending) > 0.01).all()  # the original is not changed


@pytest.fixture(scope="module")
def independent() -> CoefficientGP:
    """One kernel for each output, by marginal likelihood, on smooth functions of very different scales."""
    x = np.linspace(0, 1, 8)[:, None]
    y = np.concatenate([np.sin(6 * x), 1000 + 500 * x, np.full_like(x, -2.0)], axis=1)
    return CoefficientGP(x, y, None)


def test_marginal_likelihood_interpolates_smooth_coefficients(independent):
    x_new = np.array([[0.21], [0.47], [0.93]])
    truth = np.concatenate([np.sin(6 * x_new), 1000 + 500 * x_new, np.full_like(x_new, -2.0)], axis=1)
    mean, std = independent.posterior(x_new)
    assert (np.abs(mean - truth) <= [0.05, 10, 1e-9]).all()
    assert (np.abs(mean - truth)[:, :2] <= 4 * std[:, :2]).all()
    np.testing.assert_array_equal(std[:, 2], 0.0)


def test_without_a_shared_kernel_each_direction_changes_one_output(independent):
    x_new = np.array([[0.21], [0.47]])
    steps = independent.deviations(x_new)
    assert steps.shape == (3, 2, 3)
    for i, std in enumerate(independent.posterior(x_new)[1]):
        np.testing.assert_array_equal(steps[:, i], np.diag(std))


def test_pending_points_without_a_shared_kernel(independent):
    pending = np.array([[0.5]])
    conditioned = independent.with_pending(pending)
    np.testing.assert_allclose(conditioned.posterior(pending)[0], independent.posterior(pending)[0], rtol=1e-3)
    std, before = conditioned.posterior(pending)[1], independent.posterior(pending)[1]
    assert (std[:, :2] < 0.8 * before[:, :2]).all()


@pytest.mark.parametrize("pending", [np.empty((0, 1)), np.array([[0.3], [1.1]])])
def test_the_closed_form_is_the_posterior_of_the_model(points, pending):
    """With a shared kernel the GPyTorch model is not used; both agree, with pending points and without."""
    values = np.stack([np.sin(3 * points[:, 0]), points[:, 0] ** 2 - 1, np.full(5, 2.0)], axis=1)
    gp = CoefficientGP(points, values, Kernel(family="matern52", lengthscale=(0.8,)))
    x_new = torch.linspace(-0.2, 1.2, 9).double()[:, None]
    mean, std = gp.with_pending(pending)._standardised(x_new.numpy())
    with torch.no_grad(), quiet_and_exact():
        model, x = gp.model, torch.from_numpy(pending)
        expected = model.posterior(x if len(x) else x_new).mean
        if len(x):
            model = model.condition_on_observations(x, expected, noise=torch.full_like(expected, gp.kernel.nugget))
        posterior = model.posterior(x_new)
        # Variances near zero are rounding errors of covariances of 100, the variance of the mean, times the condition
        # number of about 1e4: 1e-10, and the square root of that in standard deviations.
        np.testing.assert_allclose(mean, posterior.mean.numpy(), rtol=0, atol=1e-6)
        np.testing.assert_allclose(std, posterior.variance.clamp_min(0).sqrt().numpy(), rtol=0, atol=1e-5)
