"""Calibration of the latent dynamics in weak form, which needs no derivative of the data and averages over noise.

Multiplied by a test function phi that vanishes at both ends of its support, and integrated by parts, the dynamics
dz/dt = Theta(z) Xi become `-int phi' z dt = int phi Theta(z) dt Xi`. The test functions are piecewise polynomials, as
in WSINDy (D. A. Messenger and D. M. Bortz, arXiv 2005.04339); latent dynamics calibrated in this way are those of
WLaSDI (A. Tran et al., arXiv 2311.12880).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.latent.affine import least_squares

# Half the support of a test function, as a fraction of the interval, and its least number of time steps. A short
# support resolves fast dynamics; orthonormalised combinations of test functions have longer ones.
RADIUS, MIN_STEPS = 0.1, 5
PER_RADIUS = 4  # test functions per radius
DEGREE = 4  # test functions are (1 - s^2)^DEGREE: the trapezoidal rule is then accurate to this order
MIN_SINGULAR_VALUE = (
    1e-3  # combinations of test functions with smaller derivatives, relative to the largest, are dropped
)


@dataclass(frozen=True)
class WeakForm:
    """Test functions on given times, multiplied by the weights of the trapezoidal rule.

    Their derivatives are orthonormal. White noise in z is then white in `-phi' z`, the larger part of its effect on the
    equations, so that ordinary least squares is, to leading order, generalised least squares.

    Attributes:
        values, slopes: of the test functions `[test, time]`.
    """

    values: Float[Tensor, "test time"]
    slopes: Float[Tensor, "test time"]

    @classmethod
    def on(cls, t: Float[Tensor, " time"]) -> "WeakForm":
        """Test functions that cover the times `t`, in their precision."""
        times = t.double()
        length = times[-1] - times[0]
        radius = min(max(RADIUS, MIN_STEPS / (len(t) - 1)), 0.5)
        n = int((1 - 2 * radius) / radius * PER_RADIUS) + 1
        centres = times[0] + length * torch.linspace(radius, 1 - radius, n, dtype=times.dtype, device=times.device)
        s = (times - centres[:, None]) / (radius * length)
        bump = (1 - s**2).clamp_min(0)
        steps = torch.diff(times)
        weights = 0.5 * (torch.cat([steps, steps[:1] * 0]) + torch.cat([steps[:1] * 0, steps]))
        values, slopes = bump**DEGREE * weights, -2 * DEGREE * s * bump ** (DEGREE - 1) * weights / (radius * length)
        u, sizes, orthonormal = torch.linalg.svd(slopes, full_matrices=False)
        kept = sizes > MIN_SINGULAR_VALUE * sizes[0]
        combined = (u[:, kept].T @ values) / sizes[kept, None]
        return cls(combined.to(t.dtype), orthonormal[kept].to(t.dtype))

    def calibrate(
        self, z: Float[Tensor, "*batch time latent"], *, pooled: bool = False, ridge: float = 1e-10
    ) -> Float[Tensor, "*fit latent terms"]:
        """Least-squares coefficients of latent trajectories, differentiable in `z`; arguments as `affine.calibrate`."""
        regressors, targets = self.values @ _library(z), -self.slopes @ z
        if pooled:
            regressors, targets = regressors.flatten(0, -2), targets.flatten(0, -2)
        return least_squares(regressors, targets, ridge)

    def residual(
        self, xi: Float[Tensor, "*batch latent terms"], z: Float[Tensor, "*batch time latent"]
    ) -> Float[Tensor, "*batch test latent"]:
        """Residual of the weak equations, the dynamics loss of WLaSDI, in the unit of dz/dt."""
        unit = self.values.sum(dim=-1).square().mean().sqrt()  # the weak residual of a constant residual of one
        return (-self.slopes @ z - self.values @ _library(z) @ xi.transpose(-1, -2)) / unit


def _library(z: Float[Tensor, "*batch time latent"]) -> Float[Tensor, "*batch time terms"]:
    return torch.cat([torch.ones_like(z[..., :1]), z], dim=-1)
