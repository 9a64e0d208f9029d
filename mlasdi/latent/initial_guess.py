"""Where the calibration of a form of latent dynamics starts: one system for all trajectories, by least squares.

In integral form, so that no derivative of the data is taken but for velocities, where they are part of the state.
"""

from dataclasses import replace

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


def start(
    form: Form, z: Float[Tensor, "point time observed"], t: Float[Tensor, " time"]
) -> tuple[Float[Tensor, " coefficient"], Float[Tensor, "point latent"]]:
    """One coefficient vector for all trajectories, by least squares, and the initial states.

    Least squares is for a form whose rate is linear in its coefficients. For one with definite matrices these are free
    at first, and then projected onto what the form allows.
    """
    if isinstance(form, SecondOrder):
        (velocity,) = torch.gradient(z, spacing=(t,), dim=1, edge_order=2)
        states = torch.cat([z, velocity], dim=-1)
        n, linear = form.n_observed, FreeSecondOrder(form.n_observed, form.frequencies)
        b, forcing, k, c = torch.split(least_squares(linear, states, t, n), list(linear.sizes))
        damping = c.reshape(n, n)
        parts = [b, forcing, factor(k.reshape(n, n), form.eps), factor(damping, 0.0), upper(damping)]
        return torch.cat(parts), states[:, 0]
    if isinstance(form, BoundedQuadratic):
        energetic = EnergyPreservingQuadratic(form.n_observed, form.frequencies)
        b, forcing, a, slices = torch.split(least_squares(energetic, z, t), list(energetic.sizes))
        a = a.reshape(form.n_observed, form.n_observed)
        parts = [
            b,
            forcing,
            upper(a),
            factor(-a, form.eps),
            slices,
            torch.zeros_like(b),
            b.new_zeros(b.numel() * (b.numel() + 1) // 2),
        ]
        return torch.cat(parts), z[:, 0]
    found = least_squares(form, z, t)
    if isinstance(form, FreeQuadratic) and not form.solve(found.expand(len(z), -1), z[:, 0], t).finished.all():
        affine = least_squares(Affine(form.n_observed, form.frequencies), z, t)  # its leading coefficients
        found = torch.cat([affine, found.new_zeros(len(found) - len(affine))])
    return found, z[:, 0]


def least_squares(
    form: Form,
    states: Float[Tensor, "point time latent"],
    t: Float[Tensor, " time"],
    n_known: int = 0,
    ridge: float = 1e-6,
) -> Float[Tensor, " coefficient"]:
    """Coefficients, in which the rate has to be linear, that fit z(t) - z(0) to the integral of the rate (trapezoidal).

    Args:
        n_known: leading coordinates whose rate does not depend on the coefficients.
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
    each = replace(
        system, constant=system.constant[:, None], forcing=system.forcing[:, None], linear=system.linear[:, None],
        quadratic=system.quadratic[:, None], centre=system.centre[:, None],
    )  # fmt: skip
    return each.rate(t, states.expand(len(system.constant), *states.shape))


def factor(matrix: Float[Tensor, "n n"], eps: float) -> Float[Tensor, " entry"]:
    """Entries of the L for which L L^T + eps I is the closest to the symmetric part, well inside what is allowed."""
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.T))
    lifted = (values - eps).clamp_min(1e-2 * values.abs().max().clamp_min(1e-2))
    lower = torch.linalg.cholesky(vectors @ torch.diag(lifted) @ vectors.T)
    i, j = torch.tril_indices(len(matrix), len(matrix))
    return lower[i, j]


def upper(matrix: Float[Tensor, "n n"]) -> Float[Tensor, " pair"]:
    """Entries above the diagonal of the antisymmetric part."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1)
    return 0.5 * (matrix - matrix.T)[i, j]


def affine_start(
    form: BoundedQuadratic, z: Float[Tensor, "point time observed"], t: Float[Tensor, " time"]
) -> Float[Tensor, " coefficient"]:
    """The bounded system without a quadratic term that is closest to the affine one of all trajectories.

    A stable A damps in the right frame: with the P of (A + eps) P + P (A + eps)^T = -1 and T T^T = P, the symmetric
    part of T^-1 A T is below -eps (Lyapunov).
    """
    n, affine = form.n_observed, Affine(form.n_observed, form.frequencies)
    b, forcing, a = torch.split(least_squares(affine, z, t), list(affine.sizes))
    a = with_clamped_growth(a.reshape(n, n), -2.0, -2 * form.eps)
    identity = torch.eye(n, dtype=a.dtype)
    shifted = a + form.eps * identity
    p = torch.from_numpy(solve_continuous_lyapunov(shifted.numpy(), -identity.numpy()))
    transform = torch.linalg.cholesky(0.5 * (p + p.T))
    transform = transform / transform.diagonal().log().mean().exp()
    logarithms = (0.5 * transform.diagonal().log()).clamp(-0.95, 0.95)
    transform = transform.tril(-1) + torch.diag(torch.exp(2 * logarithms))
    i, j = torch.tril_indices(n, n)
    entries = torch.where(i == j, torch.atanh(logarithms)[i], transform[i, j])
    to_inner = torch.linalg.inv(transform)
    inner = to_inner @ a @ transform
    zeros = b.new_zeros(form.sizes[4]), torch.zeros_like(b)
    pushes = (forcing.reshape(-1, n) @ to_inner.T).flatten()
    return torch.cat([to_inner @ b, pushes, upper(inner), factor(-inner, form.eps), *zeros, entries])


def with_clamped_growth(a: Float[Tensor, "n n"], low: float, high: float) -> Float[Tensor, "n n"]:
    """The matrix with the real parts of its eigenvalues in between."""
    values, vectors = torch.linalg.eig(a)
    clamped = torch.complex(values.real.clamp(low, high), values.imag)
    return (vectors @ torch.diag(clamped) @ torch.linalg.inv(vectors)).real
