"""Forms of latent dynamics: maps from vectors of free coefficients to systems.

Every vector of coefficients gives a system. The coefficients of `BoundedQuadratic` and `SecondOrder` are factors of the
matrices that have to be definite or antisymmetric. So coefficients that are interpolated over the parameters, or drawn
from a Gaussian process, give stable systems too. `FreeQuadratic` and `Affine` are not constrained, for comparison.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.latent.affine import propagate
from mlasdi.latent.quadratic import Outcome, QuadraticSystem, integrate


@dataclass(frozen=True)
class Form(ABC):
    """A parametrisation of systems by coefficients.

    Attributes:
        n_observed: number of latent coordinates that are calibrated to data: the first ones of the state.
        frequencies: angular frequencies of the forcing, in radians per training interval.
    """

    n_observed: int
    frequencies: tuple[float, ...] = ()

    equation: ClassVar[str] = ""
    """The dynamics as a formula."""
    energy_stable: ClassVar[bool] = True
    """Whether `solve` uses the energy-stable scheme (see `integrate`)."""

    @property
    def n_latent(self) -> int:
        return self.n_observed

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the blocks of a coefficient vector."""

    @property
    def n_coefficients(self) -> int:
        return sum(self.sizes)

    @abstractmethod
    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        """The systems with these coefficients."""

    def solve(
        self,
        coefficients: Float[Tensor, "*batch coefficient"],
        z0: Float[Tensor, "*batch latent"],
        t: Float[Tensor, " time"],
        substeps: int = 4,
    ) -> Outcome:
        return integrate(self.assemble(coefficients), z0, t, substeps, energy_stable=self.energy_stable)

    def _blocks(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        return torch.split(coefficients, list(self.sizes), dim=-1)

    def _forcing(self, flat: Tensor, n: int) -> Float[Tensor, "*batch frequency 2 n"]:
        return flat.reshape(*flat.shape[:-1], len(self.frequencies), 2, n)


@dataclass(frozen=True)
class Affine(Form):
    """dz/dt = b(t) + A z, with any A."""

    @property
    def sizes(self) -> tuple[int, ...]:
        n = self.n_observed
        return n, 2 * n * len(self.frequencies), n * n

    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        n = self.n_observed
        b, forcing, a = self._blocks(coefficients)
        none = b.new_zeros(*b.shape[:-1], n, n, n)
        linear = a.reshape(*a.shape[:-1], n, n)
        return QuadraticSystem(b, self._forcing(forcing, n), self.frequencies, linear, none, torch.zeros_like(b))

    def solve(
        self,
        coefficients: Float[Tensor, "*batch coefficient"],
        z0: Float[Tensor, "*batch latent"],
        t: Float[Tensor, " time"],
        substeps: int = 4,
    ) -> Outcome:
        """Exact solution where there is no forcing; a trajectory that overflows keeps its last finite state."""
        if self.frequencies:
            return super().solve(coefficients, z0, t, substeps)
        system = self.assemble(coefficients)
        z = propagate(torch.cat([system.constant[..., None], system.linear], dim=-1), z0, t)
        n_finite = torch.isfinite(z).all(dim=-1).long().cumprod(dim=-1).sum(dim=-1)
        if bool((n_finite == len(t)).all()):
            return Outcome(z, torch.full(z.shape[:-2], math.inf, dtype=z.dtype))
        blew_up_at = torch.cat([t, t.new_full((1,), math.inf)])[n_finite]
        last_finite = torch.minimum(torch.arange(1, len(t) + 1), n_finite[..., None])
        states = torch.cat([z0[..., None, :], z], dim=-2)
        return Outcome(states.gather(-2, last_finite[..., None].expand(z.shape)), blew_up_at)


@dataclass(frozen=True)
class FreeQuadratic(Form):
    """dz/dt = b(t) + A z + Q(z, z), with any A and Q: the SINDy library [1, z, z z]."""

    energy_stable: ClassVar[bool] = False

    @property
    def sizes(self) -> tuple[int, ...]:
        n = self.n_observed
        return n, 2 * n * len(self.frequencies), n * n, n * (n * (n + 1) // 2)

    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        n = self.n_observed
        b, forcing, a, q = self._blocks(coefficients)
        k, j = torch.triu_indices(n, n)
        quadratic = b.new_zeros(*b.shape[:-1], n, n, n)
        quadratic[..., k, :, j] = q.reshape(*q.shape[:-1], len(k), n).movedim(-2, 0)
        linear = a.reshape(*a.shape[:-1], n, n)
        return QuadraticSystem(b, self._forcing(forcing, n), self.frequencies, linear, quadratic, torch.zeros_like(b))


@dataclass(frozen=True)
class BoundedQuadratic(Form):
    """dy/dt = b(t) + (S - S^T - L L^T - eps I) y + K(y) y with antisymmetric K_k, and z = m + T y.

    Bounded for any value of b, S, L, K, m and T, by the inequalities of `quadratic`. The energy is
    |y|^2 = |T^-1 (z - m)|^2: the centre m allows unstable fixed points elsewhere, and T, lower triangular with a
    diagonal between e^-2 and e^2, allows other quadratic forms of z.

    Attributes:
        eps: safety bound: smallest rate of damping, per training interval; it only matters far from the centre.
    """

    equation: ClassVar[str] = "dz/dt = b + A z + H (z x z), bounded"
    eps: float = 0.05

    @property
    def sizes(self) -> tuple[int, ...]:
        n = self.n_observed
        pairs = n * (n - 1) // 2
        return n, 2 * n * len(self.frequencies), pairs, n + pairs, n * pairs, n, n + pairs

    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        n = self.n_observed
        b, forcing, skew, lower, slices, centre, transform = self._blocks(coefficients)
        linear = antisymmetric(skew, n) - definite(lower, n, self.eps)
        quadratic = antisymmetric(slices.reshape(*slices.shape[:-1], n, n * (n - 1) // 2), n)
        entries = lower_triangle(transform, n)
        scales = torch.exp(2 * torch.tanh(entries.diagonal(dim1=-2, dim2=-1)))
        return QuadraticSystem(
            b,
            self._forcing(forcing, n),
            self.frequencies,
            linear,
            quadratic,
            centre,
            entries.tril(-1) + torch.diag_embed(scales),
        )


@dataclass(frozen=True)
class SecondOrder(Form):
    """q'' = b(t) - K q - C q', K = L L^T + eps I, C = D D^T + S - S^T, as a system in z = (q, q').

    Oscillators whose energy |q'|^2 + q^T K q does not grow without forcing, for any L, D and S. Their damping C may
    have a gyroscopic part. q is observed, q' is not.

    Attributes:
        eps: safety bound: smallest eigenvalue of K, per squared training interval.
    """

    equation: ClassVar[str] = "d2z/dt2 = b - K z - C dz/dt"
    eps: float = 1e-3

    @property
    def n_latent(self) -> int:
        return 2 * self.n_observed

    @property
    def sizes(self) -> tuple[int, ...]:
        n = self.n_observed
        pairs = n * (n - 1) // 2
        return n, 2 * n * len(self.frequencies), n + pairs, n + pairs, pairs

    def matrices(
        self, coefficients: Float[Tensor, "*batch coefficient"]
    ) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"]]:
        """Stiffness K and damping C."""
        n = self.n_observed
        _, _, stiff, damping, skew = self._blocks(coefficients)
        return definite(stiff, n, self.eps), definite(damping, n, 0.0) + antisymmetric(skew, n)

    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        n = self.n_observed
        b, forcing, *_ = self._blocks(coefficients)
        stiffness, damping = self.matrices(coefficients)
        return oscillators(b, self._forcing(forcing, n), self.frequencies, stiffness, damping)


@dataclass(frozen=True)
class EnergyPreservingQuadratic(Form):
    """As `BoundedQuadratic`, but with any linear part and no centre: linear in the coefficients, and not bounded."""

    @property
    def sizes(self) -> tuple[int, ...]:
        n = self.n_observed
        return n, 2 * n * len(self.frequencies), n * n, n * (n * (n - 1) // 2)

    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        n = self.n_observed
        b, forcing, a, slices = self._blocks(coefficients)
        quadratic = antisymmetric(slices.reshape(*slices.shape[:-1], n, n * (n - 1) // 2), n)
        linear = a.reshape(*a.shape[:-1], n, n)
        return QuadraticSystem(b, self._forcing(forcing, n), self.frequencies, linear, quadratic, torch.zeros_like(b))


@dataclass(frozen=True)
class FreeSecondOrder(Form):
    """As `SecondOrder`, but with any K and C: linear in the coefficients, and not stable."""

    @property
    def n_latent(self) -> int:
        return 2 * self.n_observed

    @property
    def sizes(self) -> tuple[int, ...]:
        n = self.n_observed
        return n, 2 * n * len(self.frequencies), n * n, n * n

    def assemble(self, coefficients: Float[Tensor, "*batch coefficient"]) -> QuadraticSystem:
        n = self.n_observed
        b, forcing, stiffness, damping = self._blocks(coefficients)
        stiffness, damping = (m.reshape(*m.shape[:-1], n, n) for m in (stiffness, damping))
        return oscillators(b, self._forcing(forcing, n), self.frequencies, stiffness, damping)


def oscillators(
    b: Float[Tensor, "*batch n"],
    forcing: Float[Tensor, "*batch frequency 2 n"],
    frequencies: tuple[float, ...],
    stiffness: Float[Tensor, "*batch n n"],
    damping: Float[Tensor, "*batch n n"],
) -> QuadraticSystem:
    """q'' = b(t) - K q - C q' as a system in (q, q')."""
    n = b.shape[-1]
    zero, one = torch.zeros_like(stiffness), torch.eye(n, dtype=b.dtype).expand(stiffness.shape)
    linear = torch.cat([torch.cat([zero, one], dim=-1), torch.cat([-stiffness, -damping], dim=-1)], dim=-2)
    constant = torch.cat([torch.zeros_like(b), b], dim=-1)
    accelerating = torch.cat([torch.zeros_like(forcing), forcing], dim=-1)
    none = b.new_zeros(*b.shape[:-1], 2 * n, 2 * n, 2 * n)
    return QuadraticSystem(constant, accelerating, frequencies, linear, none, torch.zeros_like(constant))


def antisymmetric(v: Float[Tensor, "*batch pair"], n: int) -> Float[Tensor, "*batch n n"]:
    """S - S^T with S the strictly upper triangle of the entries `v`."""
    i, j = torch.triu_indices(n, n, offset=1)
    upper = v.new_zeros(*v.shape[:-1], n, n)
    upper[..., i, j] = v
    return upper - upper.transpose(-1, -2)


def definite(v: Float[Tensor, "*batch entry"], n: int, eps: float) -> Float[Tensor, "*batch n n"]:
    """L L^T + eps I with L the lower triangle of the entries `v`."""
    lower = lower_triangle(v, n)
    return lower @ lower.transpose(-1, -2) + eps * torch.eye(n, dtype=v.dtype)


def lower_triangle(v: Float[Tensor, "*batch entry"], n: int) -> Float[Tensor, "*batch n n"]:
    """The lower triangular matrix with the entries `v`, row by row."""
    i, j = torch.tril_indices(n, n)
    lower = v.new_zeros(*v.shape[:-1], n, n)
    lower[..., i, j] = v
    return lower
