"""Known systems are recovered from their trajectories; interpolated and sampled coefficients are stable."""

import numpy as np
import pytest
import torch
from trajectory_fit import DynamicsOverBox, TrajectoryFitSettings, fit_trajectories

from mlasdi.interpolation import Kernel
from mlasdi.latent import BoundedQuadratic
from mlasdi.latent.initial_guess import factor, least_squares
from mlasdi.latent.parametrisations import Affine, FreeQuadratic, SecondOrder

X = np.linspace(0, 1, 4)[:, None]
KERNEL = Kernel(family="rbf", lengthscale=(1.0,))  # shared: calibrated coefficients are reproduced up to the nugget
T = torch.linspace(0, 1, 26).double()


def damped_oscillators() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two coupled oscillators whose stiffness grows with x: positions, stiffness and damping matrices."""
    form = SecondOrder(2)
    s = torch.from_numpy(X[:, 0])
    one, zero = torch.ones_like(s), torch.zeros_like(s)
    columns = [0.5 * one, -one, 6 + s, 1.5 * one, 9 + s, 0.8 * one, 0.2 * one, 0.5 * one, 0.3 * one]
    coefficients = torch.stack(columns, dim=1)
    z0 = torch.stack([one, -0.5 * one, zero, 2 * one], dim=1)
    z = form.solve(coefficients, z0, T, 20).z
    return z[..., :2], *form.matrices(coefficients)


@pytest.mark.slow
def test_a_second_order_system_is_recovered():
    q, stiffness, damping = damped_oscillators()
    settings = TrajectoryFitSettings(iterations=15, substeps=2, roughness=1e-8)
    fitted = fit_trajectories(SecondOrder(2), q, T, X, settings, KERNEL)
    found_stiffness, found_damping = SecondOrder(2).matrices(torch.from_numpy(fitted.coefficients))
    torch.testing.assert_close(found_stiffness, stiffness, rtol=0.05, atol=1.0)
    torch.testing.assert_close(found_damping, damping, rtol=0.2, atol=0.3)
    solved = fitted.trajectories(X, T).z[..., :2]
    assert (solved - q).norm() < 5e-3 * q.norm()


@pytest.mark.slow
@pytest.mark.parametrize("form", [FreeQuadratic(2, (6.0,)), BoundedQuadratic(2, (6.0,))])
def test_a_forced_quadratic_system_is_fitted(form):
    """A system of the bounded form, which the free form contains."""
    truth = BoundedQuadratic(2, (6.0,))
    generator = torch.Generator().manual_seed(1)
    centre = 0.6 * torch.randn(truth.n_coefficients, generator=generator, dtype=torch.float64)
    slope = 0.2 * torch.randn(truth.n_coefficients, generator=generator, dtype=torch.float64)
    coefficients = centre + torch.from_numpy(X) * slope
    z = truth.solve(coefficients, torch.ones(4, 2).double(), T, 10).z
    fitted = fit_trajectories(form, z, T, X, TrajectoryFitSettings(iterations=15, substeps=1, roughness=1e-8), KERNEL)
    assert (fitted.trajectories(X, T).z - z).norm() < 5e-3 * z.norm()


def test_least_squares_recovers_coefficients_in_which_rates_are_linear():
    form = FreeQuadratic(2, (4.0,))
    true = 0.2 * torch.randn(form.n_coefficients, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z0 = 0.5 * torch.randn(30, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    t = torch.linspace(0, 1, 401).double()
    z = form.solve(true.expand(30, -1), z0, t, 2).z
    torch.testing.assert_close(least_squares(form, z, t, ridge=1e-12), true, rtol=1e-2, atol=1e-3)


def test_the_factor_of_a_definite_matrix():
    matrix = torch.tensor([[3.0, 1.0], [-1.0, 2.0]]).double()
    lower = torch.zeros(2, 2).double()
    lower[tuple(torch.tril_indices(2, 2))] = factor(matrix, 0.5)
    expected = torch.tensor([[3.0, 0.0], [0.0, 2.0]]).double()
    torch.testing.assert_close(lower @ lower.T + 0.5 * torch.eye(2), expected)


def test_no_sample_of_a_bounded_form_blows_up():
    """Coefficients that differ strongly between the points, so that the posterior is wide."""
    form = BoundedQuadratic(3)
    rng = np.random.default_rng(0)
    coefficients = torch.from_numpy(10 * rng.standard_normal((4, form.n_coefficients)))
    kernel = Kernel(family="rbf", lengthscale=(0.2,))
    fitted = DynamicsOverBox(form, X, coefficients.numpy(), rng.standard_normal((4, 3)), kernel)
    sampled = fitted.sampled(rng.uniform(size=(1500, 1)), T, rng)
    assert sampled.z.shape == (1500, 26, 3)
    assert sampled.finished.all()
    assert float(sampled.z[:, 0].std(dim=0).min()) > 0.1


def test_wrong_coordinates_are_refused():
    with pytest.raises(ValueError, match="3 coordinates for a form of 2"):
        fit_trajectories(Affine(2), torch.zeros(4, 26, 3).double(), T, X, TrajectoryFitSettings())
