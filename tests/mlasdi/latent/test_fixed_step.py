"""Dynamics in steps: independent of the other times, bounded for any coefficients, recovered from their data."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlasdi.decoders import VariableProjectionSettings, fit_latent_model
from mlasdi.interpolation import Kernel, select_kernels
from mlasdi.latent import (
    BoundedQuadratic,
    LatentModel,
    SteppedDynamics,
    best_trajectory,
    with_clamped_growth,
)
from mlasdi.latent.initial_guess import affine_guess
from mlasdi.latent.parametrisations import Affine, SecondOrder
from mlasdi.latent.quadratic import BLOWN_UP
from mlasdi.stages import FeatureStage, StagedModel, TrainingSet

BOTH = SteppedDynamics((BoundedQuadratic(3), SecondOrder(2, (5.0,))), 50)
T = torch.linspace(0, 1, 41).double()
FEW = torch.linspace(0, 1, 13).double()


def draw(dynamics: SteppedDynamics, seed: int = 0, size: float = 1.0, n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (dynamics.n_coefficients, dynamics.n_initial)
    return tuple(size * torch.randn(n, m, generator=generator, dtype=torch.float64) for m in sizes)


def test_states_do_not_depend_on_the_other_times() -> None:
    xi, z0 = draw(BOTH)
    t = torch.linspace(0, 1.6, 77).double()
    z = BOTH.outcome(xi, z0, t).z
    assert z.shape == (4, 77, 5)
    for keep in ([0], [76, 3, 40], list(range(0, 40)), [50]):
        torch.testing.assert_close(BOTH.outcome(xi, z0, t[keep]).z, z[:, keep], rtol=0, atol=1e-10)


def test_systems_are_independent_and_of_second_order_positions_are_observed() -> None:
    xi, z0 = draw(BOTH)
    z = BOTH.outcome(xi, z0, T).z
    for member, coefficients, initial, part in zip(
        BOTH.members, BOTH.split(xi), BOTH.split_initial(z0), z.split([3, 2], dim=-1), strict=True
    ):
        torch.testing.assert_close(member.outcome(coefficients, initial, T).z, part)
        torch.testing.assert_close(part[:, 0], initial[:, : part.shape[-1]])


@pytest.mark.slow
def test_states_between_the_steps_are_accurate_to_second_order() -> None:
    """Compared with many more steps; the scheme is of second order."""
    xi, z0 = draw(BOTH, size=0.5)
    t = torch.rand(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = SteppedDynamics(BOTH.forms, 400).outcome(xi, z0, t).z
    errors = [float((SteppedDynamics(BOTH.forms, n).outcome(xi, z0, t).z - exact).abs().max()) for n in (50, 100)]
    assert errors[1] < 3e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.4)


def test_a_blow_up_is_reported() -> None:
    """A force of 1e7 drives the state beyond the limit, 1e6, at a tenth of the interval; it is constant from there."""
    dynamics = SteppedDynamics((BoundedQuadratic(1), BoundedQuadratic(1)), 100)
    xi = torch.zeros(2, dynamics.n_coefficients).double()
    xi[0, 0] = 1e7
    outcome = dynamics.outcome(xi, torch.ones(2, 2).double(), T)
    assert outcome.finished.tolist() == [False, True]
    assert float(outcome.blew_up_at[0]) == pytest.approx(0.1, abs=0.02)
    assert torch.isfinite(outcome.z).all()
    assert float(outcome.z.abs().max()) <= BLOWN_UP
    # The other system of the same batch entry is not affected: dy/dt = -eps y.
    torch.testing.assert_close(outcome.z[0, :, 1], torch.exp(-0.05 * T), rtol=1e-6, atol=0)


def test_dynamics_are_restored_from_json() -> None:
    given = SteppedDynamics((BoundedQuadratic(3, (2.0, 7.0), eps=0.2), SecondOrder(2)), 50)
    assert SteppedDynamics.from_state(json.loads(json.dumps(given.state()))) == given


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.3, 3.0, 30.0]), shared=st.booleans())
def test_interpolated_and_sampled_coefficients_keep_the_bound(seed: int, size: float, shared: bool) -> None:
    """|y|^2 <= |y_0|^2 + t |b|^2 / (2 eps) at all steps, at the mean and one and five deviations away from it."""
    form = BoundedQuadratic(2)
    dynamics = SteppedDynamics((form,), 20)
    x = np.linspace(0, 1, 4)[:, None]
    xi, z0 = (part.numpy() for part in draw(dynamics, seed, size))
    kernel = Kernel(family="matern52", lengthscale=(0.4,))
    latent = LatentModel(x, xi, z0, kernel, dynamics=dynamics)
    gp = latent.gp if shared else LatentModel(x, xi, z0, None, dynamics=dynamics).gp
    unknown = np.random.default_rng(seed).uniform(-0.3, 1.3, (5, 1))
    mean, steps = latent.mean_coefficients(unknown), gp.deviations(unknown)
    rng = np.random.default_rng(seed)
    flat = np.concatenate(
        [mean, *(mean + scale * np.tensordot(rng.standard_normal(len(steps)), steps, axes=1) for scale in (1, 5))]
    )
    coefficients, initial = latent.split(flat)
    system = form.assemble(coefficients)
    symmetric = 0.5 * (system.linear + system.linear.mT)
    assert float(torch.linalg.eigvalsh(symmetric).max()) <= -form.eps + 1e-12 * float(system.linear.abs().max())
    grid = torch.arange(21).double() / 20
    outcome = dynamics.outcome(coefficients, initial, grid)
    energy = torch.stack([system.inner(z) for z in outcome.z.unbind(dim=1)], dim=1).square().sum(dim=-1)
    bound = energy[:, :1] + grid * (system.constant.square().sum(dim=-1) / (2 * form.eps))[:, None]
    fits = bound.amax(dim=1) < BLOWN_UP**2
    assert outcome.finished[fits].all()
    # Rounding in z = m + T y and back, where the centre is far away.
    rounding = 1e-9 * (1 + outcome.z.square().sum(dim=-1).amax(dim=1) + system.centre.square().sum(dim=-1))[:, None]
    assert (
        energy <= bound * (1 + 1e-9) + rounding * torch.linalg.inv(system.transform).norm(dim=(-2, -1))[:, None] ** 2
    ).all()


# First guesses


@pytest.mark.parametrize("frequencies", [(), pytest.param((7.0,), marks=pytest.mark.slow)])
def test_the_affine_guess_reproduces_a_stable_affine_system(frequencies: tuple[float, ...]) -> None:
    """Also where the symmetric part of its matrix is indefinite in the given coordinates."""
    a = torch.tensor([[-0.5, 6.0, 0.0], [-3.0, -0.5, 2.0], [0.0, 0.0, -1.5]]).double()
    assert float(torch.linalg.eigvalsh(a + a.T).max()) > 0
    forcing = torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]]).double().flatten()[: 6 * len(frequencies)]
    true = torch.cat([torch.tensor([0.3, -0.2, 0.1]).double(), forcing, a.flatten()])
    t = torch.linspace(0, 1, 201).double()
    z0 = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = Affine(3, frequencies).solve(true.expand(6, -1), z0, t).z
    form = BoundedQuadratic(3, frequencies)
    found = affine_guess(form, z, t)
    solved = SteppedDynamics((form,), 200).outcome(found.expand(6, -1), z0, t).z
    assert float((solved - z).norm()) < 3e-3 * float(z.norm())
    assert not form.assemble(found).quadratic.any()


def test_growth_rates_are_clamped_and_frequencies_kept() -> None:
    a = torch.tensor([[1.0, 4.0], [-4.0, 1.0]]).double()
    torch.testing.assert_close(with_clamped_growth(a, -2.0, -0.1), torch.tensor([[-0.1, 4.0], [-4.0, -0.1]]).double())


# A quadratic system with known coefficients


def rotating(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients and initial states of a bounded system: a damped rotation whose speed depends on the state."""
    s = torch.from_numpy(x)
    rotation = -5 - s
    damping = torch.cat([0.6 + 0 * s, 0.2 * s, 0.8 + 0 * s], dim=-1)
    bend = torch.cat([3 - s, -2 + 0 * s], dim=-1)
    coefficients = torch.cat([0.5 + 0 * s, 0.5 + 0 * s, rotation, damping, bend, *[0 * s] * 5], dim=-1)
    return coefficients, torch.cat([1 + 0.3 * s, -0.5 + 0 * s], dim=-1)


def solved(x: np.ndarray) -> torch.Tensor:
    """Its trajectories, in four coordinates, by many small steps."""
    z = SteppedDynamics((BoundedQuadratic(2),), 240).outcome(*rotating(x), FEW).z
    decoder = torch.randn(2, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return z @ decoder + torch.tensor([0.5, 0, -1, 2.0]).double()


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.linspace(0, 1, 5)[:, None]


def error_of(dynamics: str, points: np.ndarray) -> float:
    """Error between the training points of the model by variable projection, relative to the spread of the data."""
    c = solved(points)
    kernels = select_kernels(points, c.reshape(len(points), -1).numpy())
    data = TrainingSet(points, c, FEW, kernels, np.array([[0.1], [0.35], [0.6], [0.9]]))
    given = VariableProjectionSettings(
        dynamics=dynamics, n_sine=0, ridge=1e-10, roughness=1e-6, iterations=200, integration_steps=12
    )
    latents, features = fit_latent_model(data, 2, given, torch.Generator().manual_seed(0), lambda step, loss: None)
    latent = latents[max(latents)]
    assert latent.kind == dynamics
    model = StagedModel(latent, (FeatureStage.unfitted(features, given.ridge),)).refit(data)
    x = np.array([[0.07], [0.44], [0.69], [0.83]])
    truth = solved(x)
    return float((model.mean(x, FEW) - truth).norm() / (truth - truth.mean(dim=1, keepdim=True)).norm())


@pytest.mark.slow
def test_a_quadratic_system_is_found_where_an_affine_one_does_not_fit(points: np.ndarray) -> None:
    quadratic, affine = error_of("quadratic", points), error_of("affine", points)
    assert quadratic < 0.02
    assert affine > 3 * quadratic


@pytest.mark.slow
def test_the_best_trajectory_of_an_exact_solution_is_the_solution(points: np.ndarray) -> None:
    """For two independent systems, from coefficients that are a tenth off."""
    one = SteppedDynamics((BoundedQuadratic(2),), 12)
    xi, z0 = (torch.cat([part, 0.9 * part], dim=-1) for part in rotating(points))
    both = SteppedDynamics.joined([one, one])
    truth = both.outcome(xi[2:3], z0[2:3], FEW).z[0]
    kernel = Kernel(family="rbf", lengthscale=(1.0,))
    off = LatentModel(points, 1.1 * xi.numpy(), z0.numpy(), kernel, dynamics=both)
    start = off.trajectories(points[2:3], FEW).z[0]
    found = best_trajectory(off, [2, 2], points[2:3], truth, FEW)
    assert float((start - truth).norm()) > 100 * float((found - truth).norm())
