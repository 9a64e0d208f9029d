"""Latent dynamics against a general ODE solver, finite differences, and systems whose coefficients are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mlasdi.latent import calibrate, calibrate_derivative, derivative_residual, propagate
from mlasdi.latent.affine import growth_rates

SPIRAL = torch.tensor([[0.3, -0.5, -6.0], [-0.2, 6.0, -0.5]], dtype=torch.float64)  # [b | A], decays while turning
START = torch.tensor([1.0, 0.4], dtype=torch.float64)


def times(n: int) -> torch.Tensor:
    return torch.linspace(0, 1, n, dtype=torch.float64)


def observed_order(errors: list[float]) -> np.ndarray:
    """Orders of convergence of errors at step sizes halved each time."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    growth=st.sampled_from([-5.0, 0.0, 2.0]),
    start=st.sampled_from([0.0, 0.3, 1.5]),
    n_time=st.integers(1, 40),
    uniform=st.booleans(),
)
def test_propagation_is_the_solution_of_the_ode(seed, growth, start, n_time, uniform):
    """Random systems with rotations and damped, constant or growing modes, singular ones included."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    turning = rng.uniform(-10, 10, (n, n))
    a = (turning - turning.T) / 2 + growth * np.diag(rng.uniform(0, 1, n))
    b, z0 = rng.standard_normal(n), rng.standard_normal(n)
    t = np.linspace(start, start + 1, n_time) if uniform else start + np.sort(rng.uniform(0, 1, n_time))
    reference = solve_ivp(
        lambda _, z: a @ z + b, (0, t[-1]), z0, method="DOP853", t_eval=t, rtol=1e-10, atol=1e-12
    ).y.T if t[-1] > 0 else z0[None]  # fmt: skip
    xi = torch.from_numpy(np.concatenate([b[:, None], a], axis=1))
    z = propagate(xi, torch.from_numpy(z0), torch.from_numpy(t)).numpy()
    np.testing.assert_allclose(z, reference, rtol=1e-8, atol=1e-8 * np.abs(reference).max())


def test_a_batch_is_propagated_like_its_members():
    rng = torch.Generator().manual_seed(0)
    xi = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64)
    z0 = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64)
    t = times(17) + 0.25
    z = propagate(xi, z0, t)
    assert z.shape == (2, 3, 17, 4)
    torch.testing.assert_close(z[1, 2], propagate(xi[1, 2], z0[1, 2], t), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("t", [times(6), times(5) ** 2, times(6) + 0.5], ids=["uniform", "stretched", "late"])
def test_gradient_of_the_propagation(t):
    inputs = (SPIRAL.clone().requires_grad_(), START.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda xi, z0: propagate(xi, z0, t), inputs)


@pytest.mark.parametrize("pooled", [False, True])
def test_calibration_recovers_known_coefficients_to_second_order(pooled):
    """The only error on exact trajectories is that of the trapezoidal rule."""
    starts = torch.stack([START, -2 * START, torch.tensor([0.3, 1.0], dtype=torch.float64)])
    errors = []
    for n in (41, 81, 161):
        z = propagate(SPIRAL.expand(3, 2, 3), starts, times(n))
        xi = calibrate(z, times(n), pooled=pooled)
        assert xi.shape == ((2, 3) if pooled else (3, 2, 3))
        errors.append(float((xi - SPIRAL).abs().max()))
    np.testing.assert_allclose(observed_order(errors), 2.0, atol=0.1)
    assert errors[-1] < 0.005


def test_calibration_is_exact_on_trajectories_of_the_trapezoidal_rule():
    """Data for which the integral form holds exactly, on uneven times, give the coefficients exactly."""
    t = times(30) ** 1.5
    b, a = SPIRAL[:, 0], SPIRAL[:, 1:]
    states = [START]
    for dt in torch.diff(t):
        implicit = torch.eye(2, dtype=torch.float64) - dt / 2 * a
        states.append(torch.linalg.solve(implicit, states[-1] + dt / 2 * a @ states[-1] + dt * b))
    torch.testing.assert_close(calibrate(torch.stack(states), t, ridge=0.0), SPIRAL, rtol=1e-10, atol=1e-10)


def test_residual_of_exact_trajectories_vanishes_to_second_order():
    """At the ends, too, where the difference is one-sided."""
    inner, ends = [], []
    for n in (101, 201, 401):
        residual = derivative_residual(SPIRAL, propagate(SPIRAL, START, times(n)), times(n)).abs()
        inner.append(float(residual[1:-1].max()))
        ends.append(float(residual[[0, -1]].max()))
    np.testing.assert_allclose(observed_order(inner), 2.0, atol=0.1)
    np.testing.assert_allclose(observed_order(ends), 2.0, atol=0.15)


def test_the_residual_of_known_trajectories():
    """z = t in each component has dz/dt = 1 without any error of the difference."""
    t = times(12)
    z = t[:, None].expand(12, 2)
    expected = 1 - (SPIRAL[:, 0] + z @ SPIRAL[:, 1:].T)
    torch.testing.assert_close(derivative_residual(SPIRAL, z, t), expected)


def test_growth_rates_are_the_real_parts_of_the_eigenvalues():
    vectors = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    blocks = torch.tensor([[-0.3, -7.0, 0.0], [7.0, -0.3, 0.0], [0.0, 0.0, 1.2]], dtype=torch.float64)
    a = vectors @ blocks @ torch.linalg.inv(vectors)
    xi = torch.cat([torch.ones(3, 1, dtype=torch.float64), a], dim=1)
    rates = growth_rates(torch.stack([xi, 2 * xi]))
    expected = torch.tensor([-0.3, -0.3, 1.2], dtype=torch.float64)
    torch.testing.assert_close(rates.sort(dim=-1).values, torch.stack([expected, 2 * expected]))


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_propagation_to_any_times_is_exact(scale):
    """By Taylor series from nodes where there are many times, and otherwise by one exponential for each time."""
    rng = torch.Generator().manual_seed(2)
    xi = scale * torch.randn(3, 4, 5, generator=rng, dtype=torch.float64) / 4
    xi[..., 1:] = xi[..., 1:] - xi[..., 1:].transpose(-1, -2)  # no growth: errors are relative to states of order one
    z0 = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    for t in (
        torch.rand(200, generator=rng).double(),
        torch.tensor([0.3, 0.1]).double(),
        0.7 - torch.rand(80).double(),
    ):
        generator = torch.cat([torch.zeros(3, 1, 5).double(), xi], dim=1)
        y0 = torch.cat([torch.ones(3, 1).double(), z0], dim=1)
        exact = (torch.linalg.matrix_exp(generator[:, None] * t[:, None, None]) @ y0[:, None, :, None])[..., 1:, 0]
        torch.testing.assert_close(propagate(xi, z0, t), exact, rtol=1e-11, atol=1e-11 * float(exact.abs().max()))


def test_differences_of_first_order_at_the_ends_sum_by_parts():
    """sum h (f' g + f g') = f g at the end minus f g at the start, with half weights at both ends."""
    t = times(21)
    f, g = torch.randn(2, 21, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros(1, 2, dtype=torch.float64)
    weights = torch.full((21, 1), 0.05, dtype=torch.float64)
    weights[[0, -1]] /= 2
    df, dg = (derivative_residual(zero, one, t, edge_order=1) for one in (f, g))
    total = float((weights * (df * g + f * dg)).sum())
    assert total == pytest.approx(float(f[-1] * g[-1] - f[0] * g[0]), rel=1e-10)


def test_calibration_on_differences_is_exact_where_these_are():
    """On a trajectory that is linear in time, whatever the order at the ends."""
    t = times(11)
    z = 2.0 + 3.0 * t[:, None]
    for edge_order in (1, 2):
        xi = calibrate_derivative(z, t, ridge=1e-12, edge_order=edge_order)
        torch.testing.assert_close(xi[..., :1] + xi[..., 1:] * z, torch.full_like(z, 3.0), rtol=1e-5, atol=1e-5)
