"""The weak form: exact up to quadrature, and far less sensitive to noise than finite differences."""

import numpy as np
import pytest
import torch

from mlasdi.latent import WeakForm, calibrate, calibrate_derivative, propagate

TWO = torch.tensor([[0.3, -0.5, -6.0], [-0.2, 6.0, -0.5]], dtype=torch.float64)  # [b | A], decays while turning
FOUR = torch.tensor(  # two pairs that turn at different speeds, coupled one way
    [
        [0.3, -0.5, -6.0, 0.0, 0.0],
        [-0.2, 6.0, -0.5, 0.0, 0.0],
        [0.5, 1.0, 0.0, -1.0, -11.0],
        [0.1, 0.0, 1.0, 11.0, -1.0],
    ],
    dtype=torch.float64,
)
STARTS = {2: torch.tensor([1.0, 0.4]).double(), 4: torch.tensor([1.0, 0.4, -0.8, 0.6]).double()}


def times(n: int) -> torch.Tensor:
    return torch.linspace(0, 1, n, dtype=torch.float64)


def solution(xi: torch.Tensor, n_time: int) -> torch.Tensor:
    return propagate(xi, STARTS[len(xi)], times(n_time))


@pytest.mark.parametrize("xi", [TWO, FOUR], ids=["two", "four"])
@pytest.mark.parametrize("t", [times(201), times(201) ** 1.5], ids=["uniform", "stretched"])
def test_known_coefficients_are_recovered_from_exact_trajectories(xi, t):
    z = propagate(xi, STARTS[len(xi)], t)
    found = WeakForm.on(t).calibrate(z)
    assert (found - xi).norm() < 2e-3 * xi.norm()


@pytest.mark.parametrize("pooled", [False, True])
def test_trajectories_are_calibrated_one_by_one_or_together(pooled):
    starts = torch.stack([STARTS[2], -2 * STARTS[2], torch.tensor([0.3, 1.0]).double()])
    z = propagate(TWO.expand(3, 2, 3), starts, times(201))
    found = WeakForm.on(times(201)).calibrate(z, pooled=pooled)
    assert found.shape == ((2, 3) if pooled else (3, 2, 3))
    assert (found - TWO).abs().max() < 1e-3


@pytest.mark.parametrize(("xi", "bound"), [(TWO, 0.015), (FOUR, 0.03)], ids=["two", "four"])
def test_with_noise_it_is_several_times_more_accurate_than_differences(xi, bound):
    """Root mean square over 20 samples of noise, a tenth of the trajectory's standard deviation, at 1001 times.

    The integral form, whose sums all contain the noise of the first state, lies between.
    """
    t, z = times(1001), solution(xi, 1001)
    weak, errors = WeakForm.on(t), []
    for seed in range(20):
        noisy = z + 0.1 * z.std() * torch.randn(z.shape, generator=torch.Generator().manual_seed(seed)).double()
        found = weak.calibrate(noisy), calibrate(noisy, t), calibrate_derivative(noisy, t)
        errors.append([float((coefficients - xi).norm() / xi.norm()) for coefficients in found])
    in_weak_form, integral, differences = np.sqrt(np.mean(np.square(errors), axis=0))
    assert in_weak_form < bound
    assert in_weak_form < 0.5 * integral
    assert in_weak_form < 0.15 * differences


def test_white_noise_stays_white():
    """So ordinary least squares is generalised least squares; and all test functions vanish at the ends."""
    for t in (times(5), times(101), times(101) ** 2):
        weak = WeakForm.on(t)
        identity = torch.eye(len(weak.slopes), dtype=torch.float64)
        torch.testing.assert_close(weak.slopes @ weak.slopes.T, identity, rtol=0, atol=1e-12)
        assert weak.values[:, [0, -1]].abs().max() < 1e-12


def test_the_weak_residual_has_the_size_of_the_residual_of_the_dynamics():
    """It vanishes for solutions, and has the size of a constant residual."""
    t = times(401)
    weak, z = WeakForm.on(t), solution(TWO, 401)
    assert weak.residual(TWO, z).abs().max() < 1e-3
    wrong = TWO.clone()
    wrong[:, 0] += torch.tensor([0.5, -1.0])
    size = weak.residual(wrong, z).square().mean(dim=0).sqrt()
    torch.testing.assert_close(size, torch.tensor([0.5, 1.0]).double(), rtol=1e-3, atol=0)


def test_gradients_flow_through_the_calibration():
    t = times(21)
    weak, z = WeakForm.on(t), solution(TWO, 21).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: weak.calibrate(z), z, atol=1e-4)
