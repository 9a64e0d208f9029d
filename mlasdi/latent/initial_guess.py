"""First guesses for the calibration of latent dynamics: one system for all trajectories, by least squares.

The least squares are in integral form, which needs no derivative of the data; second-order dynamics need velocities.
"""

from dataclasses import replace
from functools import singledispatch

import torch
from jaxtyping import Float
from scipy.linalg import solve_continuous_lyapunov
from torch import Tensor

from mlasdi.latent.parametrisations import (
    Affine,
    BoundedQuadratic,
    EnergyPreservingQuadratic,
    Form,
    FreeQuadratic,
    FreeSecondOrder,
    SecondOrder,
)
from mlasdi.latent.quadratic import QuadraticSystem

# Safety bounds of factors of definite matrices: eigenvalues are at least this part of the largest one, itself at least
# this size. A factor of a singular matrix would have a vanishing gradient.
MIN_EIGENVALUE = 1e-2
MIN_RATE = -2.0  # safety bound of the growth rates of an affine guess, per training interval
# Safety bound of the logarithms of the transform's diagonal, half of them: `BoundedQuadratic` allows values up to 1.
MAX_LOG_SCALE = 0.95


def first_guesses(
    form: Form, z: Float[Tensor, "point time observed"], t: Float[Tensor, " time"]
) -> tuple[list[Float[Tensor, " coefficient"]], Float[Tensor, "point latent"]]:
    """Several coefficient vectors, each for all trajectories, and the initial states.

    The second guess of a bounded quadratic form is affine, and therefore needs no projection onto stable systems.
    """
    coefficients, initial = first_guess(form, z, t)
    if isinstance(form, BoundedQuadratic):
        return [coefficients, affine_guess(form, z, t)], initial
    return [coefficients], initial


@singledispatch
def first_guess(
    form: Form, z: Float[Tensor, "point time observed"], t: Float[Tensor, " time"]
) -> tuple[Float[Tensor, " coefficient"], Float[Tensor, "point latent"]]:
    """One coefficient vector for all trajectories, by least squares in integral form, and the initial states.

    Least squares needs a form whose rates are linear in its coefficients. Forms with definite matrices are replaced by
    free ones, whose matrices are then projected onto definite ones.

    Args:
        form: of the dynamics.
        z: latent trajectories.
        t: their times.
    """
    return least_squares(form, z, t), z[:, 0]


@first_guess.register
def _(form: SecondOrder, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    (velocity,) = torch.gradient(z, spacing=(t,), dim=1, edge_order=2)
    states = torch.cat([z, velocity], dim=-1)
    n, free = form.n_observed, FreeSecondOrder(form.n_observed, form.frequencies)
    b, forcing, k, c = torch.split(least_squares(free, states, t, n), list(free.sizes))
    damping = c.reshape(n, n)
    parts = [b, forcing, factor(k.reshape(n, n), form.eps), factor(damping, 0.0), upper(damping)]
    return torch.cat(parts), states[:, 0]


@first_guess.register
def _(form: BoundedQuadratic, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    n, free = form.n_observed, EnergyPreservingQuadratic(form.n_observed, form.frequencies)
    b, forcing, a, slices = torch.split(least_squares(free, z, t), list(free.sizes))
    a = a.reshape(n, n)
    centre, transform = torch.zeros_like(b), b.new_zeros(n * (n + 1) // 2)
    return torch.cat([b, forcing, upper(a), factor(-a, form.eps), slices, centre, transform]), z[:, 0]


@first_guess.register
def _(form: FreeQuadratic, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Affine where the quadratic system blows up."""
    coefficients = least_squares(form, z, t)
    if form.solve(coefficients.expand(len(z), -1), z[:, 0], t).finished.all():
        return coefficients, z[:, 0]
    affine = least_squares(Affine(form.n_observed, form.frequencies), z, t)  # the leading coefficients of the form
    return torch.cat([affine, affine.new_zeros(form.n_coefficients - len(affine))]), z[:, 0]


def least_squares(
    form: Form,
    states: Float[Tensor, "point time latent"],
    t: Float[Tensor, " time"],
    n_known: int = 0,
    ridge: float = 1e-6,
) -> Float[Tensor, " coefficient"]:
    """Coefficients that fit z(t) - z(0) to the time integral of the rate (trapezoidal rule).

    Args:
        form: with a rate that is linear in the coefficients.
        states: trajectories.
        t: their times.
        n_known: number of leading coordinates whose rate does not depend on the coefficients.
        ridge: relative to the mean square of the regressors.
    """
    system = form.assemble(torch.eye(form.n_coefficients, dtype=states.dtype))
    by_time = [_rates(system, float(now), states[:, i]) for i, now in enumerate(t)]
    rates = torch.stack(by_time, dim=2)[..., n_known:]  # coefficient, point, time, latent
    integral = torch.cumsum(0.5 * torch.diff(t)[:, None] * (rates[:, :, 1:] + rates[:, :, :-1]), dim=2)
    target = (states[:, 1:] - states[:, :1])[..., n_known:]
    design = integral.reshape(form.n_coefficients, -1)
    gram = design @ design.T
    gram = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, design @ target.reshape(-1))


def _rates(
    system: QuadraticSystem, t: float, states: Float[Tensor, "point latent"]
) -> Float[Tensor, "coefficient point latent"]:
    """Rate of each system of a batch at each state."""
    systems = replace(
        system, constant=system.constant[:, None], forcing=system.forcing[:, None], linear=system.linear[:, None],
        quadratic=system.quadratic[:, None], centre=system.centre[:, None],
    )  # fmt: skip
    return systems.rate(t, states.expand(len(system.constant), *states.shape))


def factor(matrix: Float[Tensor, "n n"], eps: float) -> Float[Tensor, " entry"]:
    """Entries of L such that L L^T + eps I is close to the symmetric part; eigenvalues of L L^T are bounded below."""
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.T))
    bounded = (values - eps).clamp_min(MIN_EIGENVALUE * values.abs().max().clamp_min(MIN_EIGENVALUE))
    lower = torch.linalg.cholesky(vectors @ torch.diag(bounded) @ vectors.T)
    i, j = torch.tril_indices(len(matrix), len(matrix))
    return lower[i, j]


def upper(matrix: Float[Tensor, "n n"]) -> Float[Tensor, " pair"]:
    """Entries above the diagonal of the antisymmetric part."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1)
    return 0.5 * (matrix - matrix.T)[i, j]


def affine_guess(
    form: BoundedQuadratic, z: Float[Tensor, "point time observed"], t: Float[Tensor, " time"]
) -> Float[Tensor, " coefficient"]:
    """Coefficients of a bounded system without quadratic term, close to the affine system of all trajectories.

    With the solution P of Lyapunov's equation (A + eps) P + P (A + eps)^T = -1 and T T^T = P, the symmetric part of
    T^-1 A T is below -eps: in these coordinates a stable A is damped.
    """
    n, affine = form.n_observed, Affine(form.n_observed, form.frequencies)
    b, forcing, a = torch.split(least_squares(affine, z, t), list(affine.sizes))
    a = with_clamped_growth(a.reshape(n, n), MIN_RATE, -2 * form.eps)
    identity = torch.eye(n, dtype=a.dtype)
    shifted = a + form.eps * identity
    p = torch.from_numpy(solve_continuous_lyapunov(shifted.numpy(), -identity.numpy()))
    transform = torch.linalg.cholesky(0.5 * (p + p.T))
    transform = transform / transform.diagonal().log().mean().exp()
    logarithms = (0.5 * transform.diagonal().log()).clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)
    transform = transform.tril(-1) + torch.diag(torch.exp(2 * logarithms))
    i, j = torch.tril_indices(n, n)
    entries = torch.where(i == j, torch.atanh(logarithms)[i], transform[i, j])
    to_inner = torch.linalg.inv(transform)
    inner = to_inner @ a @ transform
    zeros = b.new_zeros(form.sizes[4]), torch.zeros_like(b)
    inner_forcing = (forcing.reshape(-1, n) @ to_inner.T).flatten()
    return torch.cat([to_inner @ b, inner_forcing, upper(inner), factor(-inner, form.eps), *zeros, entries])


def with_clamped_growth(a: Float[Tensor, "n n"], low: float, high: float) -> Float[Tensor, "n n"]:
    """The matrix with the real parts of its eigenvalues clamped to [low, high]."""
    values, vectors = torch.linalg.eig(a)
    clamped = torch.complex(values.real.clamp(low, high), values.imag)
    return (vectors @ torch.diag(clamped) @ torch.linalg.inv(vectors)).real
