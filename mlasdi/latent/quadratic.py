"""Quadratic latent dynamics with forcing in time, and their integration in batches.

    dy/dt = b(t) + A y + K(y) y,   K(y) = sum_k y_k K_k,   z = m + T y,
    b(t) = b_0 + sum_j c_j cos(w_j t) + s_j sin(w_j t)

Unlike affine dynamics, these can blow up in finite time. They cannot where all K_k are antisymmetric, y^T K(y) y = 0,
and A is negative definite, y^T A y <= -eps |y|^2:

    d|y|^2/dt <= 2 |b| |y| - 2 eps |y|^2,
    so |y| <= max(|y_0|, sup|b| / eps), and |y|^2 <= |y_0|^2 + t sup|b|^2 / (2 eps)

(the trapping theorem of Schlegel and Noack, J. Fluid Mech. 765, 2015; as a constraint on SINDy models in
arXiv 2105.01843). `parametrisations` has forms for which this holds for any value of the coefficients.
Times are in units of the training interval.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BLOWN_UP = 1e6  # safety bound: latent states are of order one; beyond this norm they count as blown up


@dataclass(frozen=True)
class QuadraticSystem:
    """Right-hand sides of a batch of systems, in the notation of this module.

    Attributes:
        constant: b_0 `[*batch, latent]`.
        forcing: c_j and s_j `[*batch, frequency, 2, latent]`; no frequencies, no forcing.
        frequencies: angular frequencies w_j, in radians per training interval.
        linear: A `[*batch, latent, latent]`.
        quadratic: K_k, with k first `[*batch, latent, latent, latent]`.
        centre: m `[*batch, latent]`.
        transform: T, lower triangular `[*batch, latent, latent]`; None for the identity.
    """

    constant: Float[Tensor, "*batch latent"]
    forcing: Float[Tensor, "*batch frequency 2 latent"]
    frequencies: tuple[float, ...]
    linear: Float[Tensor, "*batch latent latent"]
    quadratic: Float[Tensor, "*batch latent latent latent"]
    centre: Float[Tensor, "*batch latent"]
    transform: Float[Tensor, "*batch latent latent"] | None = None

    def inner(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """y of z."""
        y = z - self.centre
        if self.transform is None:
            return y
        return torch.linalg.solve_triangular(self.transform, y[..., None], upper=False)[..., 0]

    def outer(self, y: Float[Tensor, "*batch time latent"]) -> Float[Tensor, "*batch time latent"]:
        """z of y, at several times."""
        mixed = y if self.transform is None else y @ self.transform.transpose(-1, -2)
        return mixed + self.centre[..., None, :]

    # Called in each small step: shapes stand in docstrings alone, since checking them would take longer than the step.

    def force(self, t: float) -> Tensor:
        """b(t) `[*batch, latent]`."""
        total = self.constant
        for j, w in enumerate(self.frequencies):
            total = total + math.cos(w * t) * self.forcing[..., j, 0, :] + math.sin(w * t) * self.forcing[..., j, 1, :]
        return total

    def matrix(self, y: Tensor) -> Tensor:
        """A + K(y) `[*batch, latent, latent]` at states `[*batch, latent]`."""
        n = y.shape[-1]
        slices = self.quadratic.reshape(*self.quadratic.shape[:-3], n, n * n)
        return self.linear + (y[..., None, :] @ slices).reshape(*y.shape[:-1], n, n)

    def rate(self, t: float, y: Tensor) -> Tensor:
        """dy/dt `[*batch, latent]` at states of that shape."""
        return self.force(t) + (self.matrix(y) @ y[..., None])[..., 0]


@dataclass(frozen=True)
class Outcome:
    """Trajectories, and when they blow up.

    Attributes:
        z: states `[*batch, time, latent]`, all finite: a trajectory that blows up keeps its last state before.
        blew_up_at: time `[*batch]` after which |y| is above `BLOWN_UP` or not finite; infinite where it never is.
    """

    z: Float[Tensor, "*batch time latent"]
    blew_up_at: Float[Tensor, "*batch"]

    @property
    def finished(self) -> Bool[Tensor, "*batch"]:
        return torch.isinf(self.blew_up_at)


Step = Callable[[QuadraticSystem, float, float, Tensor, Tensor], Tensor]


def integrate(
    system: QuadraticSystem,
    z0: Float[Tensor, "*batch latent"],
    t: Float[Tensor, " time"],
    substeps: int = 4,
    *,
    energy_stable: bool,
) -> Outcome:
    """Trajectories from z0 at t = 0, in `substeps` fixed steps from one time to the next.

    Args:
        system: the right-hand sides.
        z0: states at t = 0.
        t: times, increasing, not before 0.
        substeps: steps from one time to the next.
        energy_stable: use the linearly implicit midpoint rule, of second order, which keeps the energy inequality of a
            bounded system at any step size; otherwise the classical Runge-Kutta scheme, of fourth order.
    """
    step = _midpoint if energy_stable else _runge_kutta
    y = before = system.inner(z0)
    blew_up_at = torch.full(y.shape[:-1], math.inf, dtype=y.dtype)
    states = []
    for start, size, n in _intervals(t, substeps):
        for k in range(n):
            now = start + k * size
            new = step(system, now, size, y, before)
            with torch.no_grad():
                is_bounded = torch.isfinite(new).all(dim=-1) & (new.norm(dim=-1) <= BLOWN_UP)
                blew_up_at = torch.where(~is_bounded & torch.isinf(blew_up_at), now + size, blew_up_at)
                goes_on = torch.isinf(blew_up_at)[..., None]
            if bool(goes_on.all()):
                y, before = new, y
            else:
                y, before = torch.where(goes_on, new.nan_to_num(0.0, 0.0, 0.0), y), torch.where(goes_on, y, before)
        states.append(y)
    return Outcome(system.outer(torch.stack(states, dim=-2)), blew_up_at)


def _intervals(t: Float[Tensor, " time"], substeps: int) -> Iterator[tuple[float, float, int]]:
    """Start, step size and number of steps of the interval up to each time; no steps up to the present time."""
    now = 0.0
    for time in t.tolist():
        n = substeps if time > now else 0
        yield now, (time - now) / max(n, 1), n
        now = time


def _midpoint(system: QuadraticSystem, t: float, h: float, y: Tensor, before: Tensor) -> Tensor:
    """(y' - y) / h = b + (A + K(y*)) m with the midpoint m = (y + y') / 2, and y* extrapolated to it.

    K(y*) is antisymmetric whatever y* is, so the energy changes by 2 h m (b + A m), as it does along the exact
    solution. In the first step, where there is nothing to extrapolate from, y* is the midpoint of a step with y* = y.
    """
    half = y + 0.5 * h * system.force(t + 0.5 * h)
    identity = torch.eye(y.shape[-1], dtype=y.dtype)

    def middle(guess: Tensor) -> Tensor:
        return torch.linalg.solve(identity - 0.5 * h * system.matrix(guess), half)

    guess = middle(y) if before is y else 1.5 * y - 0.5 * before
    return 2 * middle(guess) - y


def _runge_kutta(system: QuadraticSystem, t: float, h: float, y: Tensor, before: Tensor) -> Tensor:
    one = system.rate(t, y)
    two = system.rate(t + 0.5 * h, y + 0.5 * h * one)
    three = system.rate(t + 0.5 * h, y + 0.5 * h * two)
    four = system.rate(t + h, y + h * three)
    return y + h / 6 * (one + 2 * two + 2 * three + four)
