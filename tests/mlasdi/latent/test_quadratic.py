"""Quadratic systems: the energy inequality for any coefficients, blow-up, and the orders of the schemes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mlasdi.latent import BoundedQuadratic
from mlasdi.latent.parametrisations import (
    Affine,
    EnergyPreservingQuadratic,
    FreeQuadratic,
    FreeSecondOrder,
    SecondOrder,
)
from mlasdi.latent.quadratic import BLOWN_UP, QuadraticSystem, integrate

FORMS = (Affine, FreeQuadratic, BoundedQuadratic, EnergyPreservingQuadratic, SecondOrder, FreeSecondOrder)
COEFFICIENTS = {
    "seed": st.integers(0, 2**32 - 1), "n": st.integers(1, 5), "size": st.sampled_from([0.1, 3.0, 100.0]),
    "forced": st.booleans(),
}  # fmt: skip


def times(n: int) -> torch.Tensor:
    return torch.linspace(0, 1, n, dtype=torch.float64)


def random_coefficients(form, seed: int, size: float, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(batch, form.n_coefficients, generator=generator, dtype=torch.float64)


def inner(system: QuadraticSystem, z: torch.Tensor) -> torch.Tensor:
    """The states whose norm is the energy, at each time."""
    return torch.stack([system.inner(z[:, k]) for k in range(z.shape[1])], dim=1)


def largest_force(system: QuadraticSystem) -> torch.Tensor:
    """A bound of |b(t)| for all t."""
    return system.constant.norm(dim=-1) + system.forcing.square().sum(dim=-2).sqrt().sum(dim=-2).norm(dim=-1)


@settings(max_examples=20)
@given(**COEFFICIENTS)
def test_any_coefficients_make_a_bounded_system(seed, n, size, forced):
    """A is negative definite by eps, and the quadratic term does no work, also for interpolated coefficients."""
    form = BoundedQuadratic(n, (3.0,) if forced else (), eps=0.05)
    ends = random_coefficients(form, seed, size, batch=2)
    system = form.assemble(torch.cat([ends, 0.3 * ends[:1] + 0.7 * ends[1:]]))
    y = torch.randn(3, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    symmetric = 0.5 * (system.linear + system.linear.transpose(-1, -2))
    scale = float(system.linear.abs().max())
    assert (torch.linalg.eigvalsh(symmetric) <= -0.05 + 1e-12 * scale).all()
    work = (y[..., None, :] @ (system.matrix(y) - system.linear) @ y[..., None]).abs()
    assert (work <= 1e-12 * size * y.square().sum(dim=-1)[:, None, None] ** 1.5 * n**2 + 1e-14).all()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(substeps=st.sampled_from([1, 5]), **COEFFICIENTS)
def test_trajectories_obey_the_energy_inequality_at_any_step_size(substeps, seed, n, size, forced):
    """|y|^2 <= |y_0|^2 + t sup|b|^2 / (2 eps), and without a force |y| falls."""
    form = BoundedQuadratic(n, (7.0,) if forced else (), eps=0.5)
    coefficients = random_coefficients(form, seed, size)
    z0 = size * torch.randn(3, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    t, system = times(11), form.assemble(coefficients)
    outcome = integrate(system, z0, t, substeps, energy_stable=True)
    energy = inner(system, outcome.z).square().sum(dim=-1)
    bound = energy[:, :1] + t * (largest_force(system) ** 2 / (2 * form.eps))[:, None]
    assert (energy <= bound * (1 + 1e-9)).all()
    if float(bound.max()) < BLOWN_UP**2:
        assert outcome.finished.all()
    unforced = coefficients.clone()
    unforced[:, : sum(form.sizes[:2])] = 0
    y = inner(system, form.solve(unforced, z0, t, substeps).z)
    assert (y.norm(dim=-1).diff(dim=-1) <= 1e-9 * y.norm(dim=-1).max()).all()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(**COEFFICIENTS)
def test_oscillators_do_not_gain_energy(seed, n, size, forced):
    form = SecondOrder(n, (7.0,) if forced else ())
    coefficients = random_coefficients(form, seed, size)
    stiffness, damping = form.matrices(coefficients)
    assert (torch.linalg.eigvalsh(stiffness) > 0).all()
    assert (torch.linalg.eigvalsh(0.5 * (damping + damping.transpose(-1, -2))) >= -1e-9 * damping.abs().max()).all()
    coefficients[:, : sum(form.sizes[:2])] = 0
    z0 = torch.randn(3, 2 * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = form.solve(coefficients, z0, times(11), 2).z
    q, p = z[..., :n], z[..., n:]
    energy = p.square().sum(dim=-1) + ((q @ stiffness) * q).sum(dim=-1)
    assert (energy.diff(dim=-1) <= 1e-9 * energy[:, :1]).all()


@pytest.mark.parametrize("z0", [1.25, 2.0, 5.0])
def test_a_blow_up_is_reported_with_its_time(z0):
    """dz/dt = z^2 blows up at t = 1 / z_0; the other system of the batch decays."""
    form = FreeQuadratic(1)
    coefficients = torch.tensor([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    outcome = form.solve(coefficients, torch.full((2, 1), z0).double(), times(201), 10)
    assert outcome.finished.tolist() == [False, True]
    assert outcome.blew_up_at[0] == pytest.approx(1 / z0, abs=2e-3)
    assert torch.isfinite(outcome.z).all()
    assert outcome.z.abs().max() <= BLOWN_UP
    torch.testing.assert_close(outcome.z[1, :, 0], z0 * torch.exp(-times(201)), rtol=1e-6, atol=0)


def test_states_that_overflow_are_caught():
    """One step takes the state from one to infinity."""
    form = FreeQuadratic(1)
    outcome = form.solve(torch.tensor([[0.0, 0.0, 1e200]]).double(), torch.ones(1, 1).double(), times(3), 1)
    assert not outcome.finished.any()
    assert torch.isfinite(outcome.z).all()


@pytest.mark.parametrize("form", FORMS)
def test_solutions_are_those_of_a_general_solver(form):
    made = form(3, (5.0, 9.0))
    generator = torch.Generator().manual_seed(2)
    coefficients = 0.3 * torch.randn(made.n_coefficients, generator=generator, dtype=torch.float64)
    z0 = torch.randn(made.n_latent, generator=generator, dtype=torch.float64)
    system = made.assemble(coefficients)
    reference = solve_ivp(
        lambda t, y: system.rate(t, torch.from_numpy(y)).numpy(), (0, 1), system.inner(z0).numpy(),
        t_eval=times(11).numpy(), rtol=1e-10, atol=1e-12,
    ).y.T  # fmt: skip
    reference = system.outer(torch.from_numpy(np.ascontiguousarray(reference))).numpy()
    errors = [
        float((made.solve(coefficients, z0, times(11), n).z.numpy() - reference).__abs__().max()) for n in (8, 16)
    ]
    order = math.log2(errors[0] / errors[1])
    assert errors[1] < 2e-3
    assert order == pytest.approx(2 if made.energy_stable else 4, abs=0.3)


def test_without_forcing_the_affine_form_is_exact():
    form = Affine(2)
    coefficients = torch.tensor([0.3, -0.2, -0.5, -6.0, 6.0, -0.5], dtype=torch.float64)
    z0 = torch.tensor([1.0, 0.4], dtype=torch.float64)
    exact = form.solve(coefficients, z0, times(5))
    stepped = integrate(form.assemble(coefficients), z0, times(5), 400, energy_stable=False)
    torch.testing.assert_close(exact.z, stepped.z, rtol=1e-9, atol=1e-9)
    assert exact.finished.all()


def test_affine_growth_that_overflows_is_reported_too():
    outcome = Affine(1).solve(torch.tensor([[0.0, 1e4], [0.0, -1.0]]).double(), torch.ones(2, 1).double(), times(5))
    assert outcome.finished.tolist() == [False, True]
    assert outcome.blew_up_at[0] == 0.25  # exp(2500) overflows
    assert outcome.z[0].tolist() == [[1.0]] * 5
    torch.testing.assert_close(outcome.z[1, :, 0], torch.exp(-times(5)))


def test_the_lorenz_system_is_of_the_bounded_form():
    """With the centre (0, 0, sigma + rho), about which it is bounded (E. N. Lorenz, J. Atmos. Sci. 20, 1963)."""
    sigma, rho, beta, eps = 10.0, 28.0, 8 / 3, 0.05
    m = torch.tensor([0.0, 0.0, sigma + rho], dtype=torch.float64)
    lower = torch.diag(torch.sqrt(torch.tensor([sigma, 1.0, beta], dtype=torch.float64) - eps))[
        tuple(torch.tril_indices(3, 3))
    ]
    # y' = ( -sigma y1 + sigma y2, -sigma y1 - y2 - y1 y3, -beta y3 + y1 y2 - beta m ), pairs (12), (13), (23)
    slices = torch.tensor([[0, 0, -1.0], [0, 0, 0], [0, 0, 0]]).double()  # K_1 alone, which couples y2 and y3
    b = torch.tensor([0.0, 0.0, -beta * float(m[2])], dtype=torch.float64)
    coefficients = torch.cat(
        [b, torch.tensor([sigma, 0.0, 0.0]).double(), lower, slices.reshape(-1), m, torch.zeros(6).double()]
    )
    system = BoundedQuadratic(3, eps=eps).assemble(coefficients)
    for z in torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20:
        x, y, w = z
        lorenz = torch.stack([sigma * (y - x), x * (rho - w) - y, x * y - beta * w])
        torch.testing.assert_close(system.rate(0.0, z - m), lorenz, rtol=1e-6, atol=1e-9)


def test_forcing_is_a_sum_of_cosines_and_sines():
    forcing = torch.tensor([[[1.0], [2.0]], [[0.0], [-1.0]]]).double()
    none = torch.zeros(1, 1).double()
    system = QuadraticSystem(torch.ones(1).double(), forcing, (2.0, 5.0), none, none[None], none[0])
    expected = 1 + math.cos(0.6) + 2 * math.sin(0.6) - math.sin(1.5)
    assert float(system.force(0.3)) == pytest.approx(expected)
    largest = max(abs(float(system.force(t))) for t in np.linspace(0, 20, 2000))
    assert largest <= float(largest_force(system))
