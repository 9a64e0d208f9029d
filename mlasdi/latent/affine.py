"""Affine latent dynamics dz/dt = A z + b: exact propagation, calibration on trajectories, stability.

The coefficients are one array `xi = [b | A]` of shape `[..., latent, 1 + latent]`, the weights of the SINDy library
Theta(z) = (1, z). Affine dynamics cannot blow up in finite time, whatever the coefficients interpolated over the
parameters are. Times are in units of the training interval.
"""

import torch
from jaxtyping import Float
from torch import Tensor

MAX_EXPONENTIALS = 100  # up to this many, matrix exponentials are faster than a series between some of them
EQUIDISTANT = 1e-6  # safety bound: relative difference of time steps that are equal up to rounding
MIN_NODES = 64  # of the Taylor series in time; more where the norm of the generator asks for it
SERIES_TOLERANCE = 1e-17  # of the Taylor series, relative to the state: below rounding


def propagate(
    xi: Float[Tensor, "*batch latent terms"], z0: Float[Tensor, "*batch latent"], t: Float[Tensor, " time"]
) -> Float[Tensor, "*batch time latent"]:
    """Exact solution at times `t` of dz/dt = A z + b with z = z0 at t = 0; differentiable in `xi` and `z0`.

    With y = (1, z) the dynamics are linear, y' = G y, and y(t) = exp(t G) y(0). On equidistant times one matrix
    exponential is enough: the block of the first k states gives the next k by one product, and k doubles. At other
    times, the Taylor series of the exponential is summed from the closest of some equidistant times, to rounding.

    Args:
        xi: coefficients [b | A], in units of one over the training interval.
        z0: states at t = 0.
        t: times in units of the training interval.
    """
    generator = torch.cat([torch.zeros_like(xi[..., :1, :]), xi], dim=-2)
    y0 = torch.cat([torch.ones_like(z0[..., :1]), z0], dim=-1)
    steps = torch.diff(t)
    if t.numel() > 2 and bool((steps - steps.mean()).abs().amax() <= EQUIDISTANT * steps.mean().abs()):
        return _at_equidistant(generator, y0, t[0], steps.mean(), t.numel())[..., 1:]
    reach = (float(t.max()) - min(float(t.min()), 0.0)) * float(generator.detach().abs().sum(dim=-1).max())
    if 4 * reach < t.numel() and z0[..., 0].numel() * t.numel() > MAX_EXPONENTIALS:
        return _between_nodes(generator, y0, t, reach)[..., 1:]
    flow = torch.linalg.matrix_exp(generator.unsqueeze(-3) * t[:, None, None])
    return (flow @ y0[..., None, :, None])[..., 1:, 0]


def _at_equidistant(
    generator: Float[Tensor, "*batch n n"], y0: Float[Tensor, "*batch n"], start: Tensor, step: Tensor, count: int
) -> Float[Tensor, "*batch time n"]:
    """States exp(t G) y0 at `count` times t from `start` on."""
    if start != 0:
        y0 = (torch.linalg.matrix_exp(generator * start) @ y0[..., None])[..., 0]
    step_transposed = torch.linalg.matrix_exp(generator * step).transpose(-1, -2)
    y = y0.unsqueeze(-2)
    while y.shape[-2] < count:
        y = torch.cat([y, y @ step_transposed], dim=-2)
        step_transposed = step_transposed @ step_transposed
    return y[..., :count, :]


def _between_nodes(
    generator: Float[Tensor, "*batch n n"], y0: Float[Tensor, "*batch n"], t: Float[Tensor, " time"], reach: float
) -> Float[Tensor, "*batch time n"]:
    """States exp(t G) y0 at any times, by a Taylor series from the closest of some equidistant ones.

    Args:
        reach: norm of G times the interval from 0, or from the earliest time before it, to the last time.
    """
    start = t.min().clamp_max(0)  # a start at 0 saves one exponential
    n_nodes = max(MIN_NODES, int(4 * reach)) + 1
    step = (t.max() - start) / (n_nodes - 1)
    closest = ((t - start) / step.clamp_min(torch.finfo(t.dtype).tiny)).round().long()
    offset = (t - start - closest * step)[:, None]
    transposed = generator.transpose(-1, -2)
    terms = [_at_equidistant(generator, y0, start, step, n_nodes)]
    size = 1.0  # upper bound of the term, relative to the state
    while size > SERIES_TOLERANCE:
        size *= reach / (2 * (n_nodes - 1) * len(terms))
        terms.append(terms[-1] @ transposed / len(terms))
    y = terms.pop().index_select(-2, closest)
    while terms:  # Horner's rule in the offset; the powers of G are applied at the nodes only
        y = torch.addcmul(terms.pop().index_select(-2, closest), y, offset)
    return y


def calibrate(
    z: Float[Tensor, "*batch time latent"], t: Float[Tensor, " time"], *, pooled: bool = False, ridge: float = 1e-10
) -> Float[Tensor, "*fit latent terms"]:
    """Least-squares coefficients of latent trajectories, in integral form.

    Fits `z(t) - z(0) = int_0^t Theta(z) xi`, with the trapezoidal rule: no derivative of the data is taken.

    Args:
        z: latent trajectories.
        t: their times.
        pooled: one set of coefficients `[latent, 1 + latent]` for all trajectories of the batch.
        ridge: relative to the mean square of the regressors.
    """
    library = torch.cat([torch.ones_like(z[..., :1]), z], dim=-1)
    pieces = 0.5 * torch.diff(t)[:, None] * (library[..., 1:, :] + library[..., :-1, :])
    integral = torch.cumsum(pieces, dim=-2)
    target = z[..., 1:, :] - z[..., :1, :]
    if pooled:
        integral, target = integral.reshape(-1, integral.shape[-1]), target.reshape(-1, target.shape[-1])
    return least_squares(integral, target, ridge)


def calibrate_derivative(
    z: Float[Tensor, "*batch time latent"],
    t: Float[Tensor, " time"],
    *,
    pooled: bool = False,
    ridge: float = 1e-6,
    edge_order: int = 2,
) -> Float[Tensor, "*fit latent terms"]:
    """Least-squares coefficients on finite-difference velocities, differentiable in `z`; arguments as for `calibrate`.

    The calibration of GPLaSDI (arXiv 2308.05882, section 2.3).

    Args:
        edge_order: order of the differences at both ends, 1 or 2; inside it is 2. With 1 they satisfy summation by
            parts.
    """
    library = torch.cat([torch.ones_like(z[..., :1]), z], dim=-1)
    (velocity,) = torch.gradient(z, spacing=(t,), dim=-2, edge_order=edge_order)
    if pooled:
        library, velocity = library.flatten(0, -2), velocity.flatten(0, -2)
    return least_squares(library, velocity, ridge)


def least_squares(
    regressors: Float[Tensor, "*fit equation terms"], targets: Float[Tensor, "*fit equation latent"], ridge: float
) -> Float[Tensor, "*fit latent terms"]:
    """Coefficients xi that minimise `|regressors xi^T - targets|^2`, plus a ridge penalty on xi.

    Args:
        ridge: relative to the mean square of the regressors.
    """
    gram = regressors.transpose(-1, -2) @ regressors
    trace = torch.diagonal(gram, dim1=-2, dim2=-1).mean(-1)[..., None, None]
    gram = gram + ridge * trace * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram, regressors.transpose(-1, -2) @ targets).transpose(-1, -2)


def derivative_residual(
    xi: Float[Tensor, "*batch latent terms"],
    z: Float[Tensor, "*batch time latent"],
    t: Float[Tensor, " time"],
    edge_order: int = 2,
) -> Float[Tensor, "*batch time latent"]:
    """dz/dt - Theta(z) xi with second-order finite differences in time: the dynamics loss of the LaSDI family.

    Args:
        edge_order: of the differences at both ends, 1 or 2.
    """
    (velocity,) = torch.gradient(z, spacing=(t,), dim=-2, edge_order=edge_order)
    return velocity - (z @ xi[..., 1:].transpose(-1, -2) + xi[..., :1].transpose(-1, -2))


def growth_rates(xi: Float[Tensor, "*batch latent terms"]) -> Float[Tensor, "*batch latent"]:
    """Real parts of the eigenvalues of A: positive ones grow as exp(rate t)."""
    return torch.linalg.eigvals(xi[..., 1:]).real
