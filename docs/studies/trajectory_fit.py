"""Calibration of a form of latent dynamics to latent trajectories at several parameter points, by integration.

The start is one system for all points, by least squares in integral form. From there Levenberg-Marquardt steps minimise
the misfit of the *integrated* trajectories, with coefficients and initial states of each point's own, and a preference
for coefficients that are linear in the parameters, as in `variable_projection`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, Field
from torch import Tensor

from mlasdi.interpolation import CoefficientGP, Kernel
from mlasdi.latent import start
from mlasdi.latent.parametrisations import Form
from mlasdi.latent.quadratic import Outcome
from mlasdi.training.variable_projection import projector_off_linear

SAMPLED_AT_ONCE = 1000


class TrajectoryFitSettings(BaseModel, frozen=True, extra="forbid"):
    """How a form is calibrated."""

    iterations: int = Field(30, ge=0, description="Levenberg-Marquardt steps")
    substeps: int = Field(2, ge=1, description="steps of the integration from one time to the next")
    roughness: float = Field(1e-2, gt=0, description="penalty on coefficients that are not linear in the parameters")


@dataclass(frozen=True)
class DynamicsOverBox:
    """Calibrated coefficients and initial states at training points, interpolated over the unit cube by GPs.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        coefficients: `[point, coefficient]`, of any value (see `dynamics_forms`).
        z0: initial latent states `[point, latent]`.
        kernel: shared by all GPs; None for one per coefficient, by marginal likelihood.
        substeps: of the integration.
    """

    form: Form
    x: Float[np.ndarray, "point d"]
    coefficients: Float[np.ndarray, "point coefficient"]
    z0: Float[np.ndarray, "point latent"]
    kernel: Kernel | None
    substeps: int = 2

    @cached_property
    def gp(self) -> CoefficientGP:
        return CoefficientGP(self.x, np.concatenate([self.coefficients, self.z0], axis=1), self.kernel)

    def trajectories(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]) -> Outcome:
        """With the posterior mean of the coefficients."""
        return self._solve(self.gp.posterior(x)[0], t)

    def sampled(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"], rng: np.random.Generator) -> Outcome:
        """With one sample of the posterior at each point, independent of those at other points."""
        found = []
        for part in np.array_split(x, range(SAMPLED_AT_ONCE, len(x), SAMPLED_AT_ONCE)):
            mean, std = self.gp.posterior(part)
            if self.kernel is None:
                flat = mean + std * rng.standard_normal(std.shape)
            else:
                steps = self.gp.deviations(part)
                flat = mean + np.einsum("dp,dpo->po", rng.standard_normal(steps.shape[:2]), steps)
            found.append(self._solve(flat, t))
        return Outcome(torch.cat([one.z for one in found]), torch.cat([one.blew_up_at for one in found]))

    def _solve(self, flat: Float[np.ndarray, "param output"], t: Float[Tensor, " time"]) -> Outcome:
        n, values = self.coefficients.shape[1], torch.from_numpy(flat)
        return self.form.solve(values[:, :n], values[:, n:], t, self.substeps)


def fit_trajectories(
    form: Form,
    z: Float[Tensor, "point time observed"],
    t: Float[Tensor, " time"],
    x: Float[np.ndarray, "point d"],
    settings: TrajectoryFitSettings,
    kernel: Kernel | None = None,
) -> DynamicsOverBox:
    """Coefficients and initial states whose integrated trajectories follow `z`, at points `x` of the unit cube.

    Raises:
        ValueError: `z` does not have as many coordinates as the form observes.
    """
    if z.shape[-1] != form.n_observed:
        raise ValueError(f"trajectories of {z.shape[-1]} coordinates for a form of {form.n_observed}")
    coefficients, initial = start(form, z, t)
    values = torch.cat([coefficients.expand(len(x), -1), initial], dim=1)
    towards = torch.eye(len(x), dtype=z.dtype) - projector_off_linear(x)
    unit = (z - z.mean(dim=(0, 1))).square().sum(dim=(1, 2)).mean().sqrt()

    def misfit(v: Float[Tensor, "*batch point value"]) -> Float[Tensor, "*batch point residual"]:
        xi, z0 = torch.split(v, [form.n_coefficients, form.n_latent], dim=-1)
        solved = form.solve(xi, z0, t, settings.substeps).z[..., : form.n_observed]
        return ((solved - z) / unit).flatten(start_dim=-2)

    def rough(v: Float[Tensor, "point value"]) -> Float[Tensor, "point value"]:
        return math.sqrt(settings.roughness) * (v - smooth)

    damping = torch.full((len(x), 1, 1), 1e-4, dtype=z.dtype)
    for _ in range(settings.iterations):
        smooth = towards @ values
        smooth[:, form.n_coefficients :] = values[:, form.n_coefficients :]  # initial states are free
        residual = misfit(values)
        step = _levenberg_marquardt_step(values, residual, rough(values), _jacobian(misfit, values), damping, settings)
        tried = misfit(values + step)
        before, after = (
            r.square().sum(dim=-1) + rough(v).square().sum(dim=-1)
            for r, v in ((residual, values), (tried, values + step))
        )
        better = (after < before)[:, None]
        values = torch.where(better, values + step, values)
        damping = torch.where(better[..., None], damping / 3, damping * 4).clamp(1e-9, 1e6)
    found = values.numpy()
    n = form.n_coefficients
    return DynamicsOverBox(form, x, found[:, :n].copy(), found[:, n:].copy(), kernel, settings.substeps)


def _levenberg_marquardt_step(
    values: Float[Tensor, "point value"],
    residual: Float[Tensor, "point residual"],
    rough: Float[Tensor, "point value"],
    jacobian: Float[Tensor, "point residual value"],
    damping: Float[Tensor, "point 1 1"],
    settings: TrajectoryFitSettings,
) -> Float[Tensor, "point value"]:
    """The step of each point, with damping relative to the mean curvature."""
    gradient = (jacobian.transpose(-1, -2) @ residual[..., None])[..., 0] + math.sqrt(settings.roughness) * rough
    curvature = jacobian.transpose(-1, -2) @ jacobian
    mean = curvature.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[:, None, None]
    identity = torch.eye(values.shape[1], dtype=values.dtype)
    damped = curvature + (settings.roughness + damping * mean) * identity
    return -torch.linalg.solve(damped, gradient)


def _jacobian(
    function: Callable[[Tensor], Tensor], values: Float[Tensor, "point value"]
) -> Float[Tensor, "point residual value"]:
    """Central differences, all directions at once: cheaper than to differentiate through hundreds of small steps."""
    size = 1e-5 * values.abs().clamp_min(1.0)
    moved = torch.diag_embed(size).transpose(0, 1)  # value, point, value
    change = function(values + moved) - function(values - moved)
    return change.movedim(0, -1) / (2 * size[:, None, :])
