"""Calibration of a form of latent dynamics to latent trajectories at several parameter points, by integration.

The first guess is one system for all points, by least squares in integral form. Levenberg-Marquardt steps then minimise
the error of the *integrated* trajectories over coefficients and initial states at each point, with a penalty on
coefficients that are not linear in the parameters, as in `variable_projection`.
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

from mlasdi.decoders.variable_projection import projector_off_linear
from mlasdi.interpolation import CoefficientGP, Kernel
from mlasdi.latent import first_guess
from mlasdi.latent.parametrisations import Form
from mlasdi.latent.quadratic import Outcome

SAMPLED_AT_ONCE = 1000  # bounds the memory
# Safety bounds of Levenberg-Marquardt: the damping, relative to the mean curvature, and its factors after a step.
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1e-4, 1e-9, 1e6
DECREASE, INCREASE = 3, 4
DIFFERENCE_STEP = 1e-5  # of the Jacobian, relative to coefficients above one


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
        coefficients: `[point, coefficient]`, of any value (see `mlasdi.latent.parametrisations`).
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
        """Trajectories with the posterior mean of the coefficients."""
        return self._solve(self.gp.posterior(x)[0], t)

    def sampled(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"], rng: np.random.Generator) -> Outcome:
        """Trajectories with one sample of the coefficients at each point, independent of those at other points."""
        outcomes = []
        for part in np.array_split(x, range(SAMPLED_AT_ONCE, len(x), SAMPLED_AT_ONCE)):
            mean, std = self.gp.posterior(part)
            if self.kernel is None:
                flat = mean + std * rng.standard_normal(std.shape)
            else:
                steps = self.gp.deviations(part)
                flat = mean + np.einsum("dp,dpo->po", rng.standard_normal(steps.shape[:2]), steps)
            outcomes.append(self._solve(flat, t))
        blew_up_at = torch.cat([outcome.blew_up_at for outcome in outcomes])
        return Outcome(torch.cat([outcome.z for outcome in outcomes]), blew_up_at)

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
    """Coefficients and initial states whose integrated trajectories are closest to `z`, at points `x` of the unit cube.

    Args:
        form: of the dynamics.
        z: latent trajectories.
        t: their times, in units of the training interval.
        x: their points.
        settings: number of steps and penalty.
        kernel: shared by all Gaussian processes of the result; None for one per coefficient.

    Raises:
        ValueError: `z` does not have as many coordinates as the form observes.
    """
    if z.shape[-1] != form.n_observed:
        raise ValueError(f"trajectories of {z.shape[-1]} coordinates for a form of {form.n_observed}")
    coefficients, initial = first_guess(form, z, t)
    values = torch.cat([coefficients.expand(len(x), -1), initial], dim=1)
    onto_linear = torch.eye(len(x), dtype=z.dtype) - projector_off_linear(x)
    unit = (z - z.mean(dim=(0, 1))).square().sum(dim=(1, 2)).mean().sqrt()

    def misfit(v: Float[Tensor, "*batch point value"]) -> Float[Tensor, "*batch point residual"]:
        xi, z0 = torch.split(v, [form.n_coefficients, form.n_latent], dim=-1)
        solved = form.solve(xi, z0, t, settings.substeps).z[..., : form.n_observed]
        return ((solved - z) / unit).flatten(start_dim=-2)

    def rough(v: Float[Tensor, "point value"]) -> Float[Tensor, "point value"]:
        return math.sqrt(settings.roughness) * (v - smooth)

    damping = torch.full((len(x), 1, 1), FIRST_DAMPING, dtype=z.dtype)
    for _ in range(settings.iterations):
        smooth = onto_linear @ values
        smooth[:, form.n_coefficients :] = values[:, form.n_coefficients :]  # initial states are free
        residual = misfit(values)
        step = _levenberg_marquardt_step(values, residual, rough(values), _jacobian(misfit, values), damping, settings)
        before, after = (
            r.square().sum(dim=-1) + rough(v).square().sum(dim=-1)
            for r, v in ((residual, values), (misfit(values + step), values + step))
        )
        better = (after < before)[:, None]
        values = torch.where(better, values + step, values)
        damping = torch.where(better[..., None], damping / DECREASE, damping * INCREASE).clamp(MIN_DAMPING, MAX_DAMPING)
    fitted, n = values.numpy(), form.n_coefficients
    return DynamicsOverBox(form, x, fitted[:, :n].copy(), fitted[:, n:].copy(), kernel, settings.substeps)


def _levenberg_marquardt_step(
    values: Float[Tensor, "point value"],
    residual: Float[Tensor, "point residual"],
    rough: Float[Tensor, "point value"],
    jacobian: Float[Tensor, "point residual value"],
    damping: Float[Tensor, "point 1 1"],
    settings: TrajectoryFitSettings,
) -> Float[Tensor, "point value"]:
    """The Levenberg-Marquardt step of each point, with damping relative to the mean curvature."""
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
    size = DIFFERENCE_STEP * values.abs().clamp_min(1.0)
    moved = torch.diag_embed(size).transpose(0, 1)  # value, point, value
    change = function(values + moved) - function(values - moved)
    return change.movedim(0, -1) / (2 * size[:, None, :])
