"""The latent dynamics and a closed-form decoder, fitted together by variable projection.

Only the coefficients and initial states of the latent ODEs are optimised. At every step the trajectories are
integrated exactly and the decoder's output weights are solved for (ridge regression on fixed features), so the training
is training for prediction, and takes about a second. By the envelope theorem the gradient needs the solved weights as
constants only (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973).

Between the training points the decoder would be free. Anchors tie it down: at further points of the cube the latent
ODE with *interpolated* coefficients has to decode to the kriging prediction of the field.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, Field, model_validator
from scipy.optimize import minimize
from torch import Tensor

from mlasdi.latent import (
    FORMS,
    BoundedQuadratic,
    LatentModel,
    SteppedDynamics,
    WeakForm,
    affine_start,
    calibrate,
    calibrate_derivative,
    propagate,
    start,
    with_clamped_growth,
)
from mlasdi.stages import FeatureMap, TrainingSet, ridge_solve

_BLOWN_UP = 100.0  # logarithm of a loss that no other comes near

Calibration = Literal["integral", "weak", "least-squares"]


class VariableProjectionSettings(BaseModel, frozen=True, extra="forbid"):
    """First stage by variable projection."""

    kind: Literal["variable-projection"] = "variable-projection"
    n_sine: int = Field(100, ge=0, description="random sine features of the decoder, beside 1, z and z z")
    kappa: float = Field(0.3, gt=0, description="scale of the frequencies of these features")
    ridge: float = Field(1e-8, gt=0)
    roughness: float = Field(1.0, ge=0, description="penalty on coefficients that are not linear in the parameters")
    calibration: Calibration = Field(
        "integral", description="what the training starts from: equations in integral or weak form, or on differences"
    )
    iterations: int = Field(150, ge=1, description="L-BFGS steps")
    checkpoints: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (2, 5, 15, 50), description="steps at which to stop early, where the leave-one-out error is smaller there"
    )
    dynamics: Literal["affine", "quadratic", "second-order"] = Field(
        "affine",
        description="of the latent state: affine, solved exactly; quadratic, or of oscillators (second-order), both "
        "bounded whatever the coefficients, and integrated in steps",
    )
    forcing: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="frequencies of a forcing in time, in oscillations during a trajectory; not of affine dynamics"
    )
    integration_steps: int = Field(
        100, ge=10, description="steps of the integration of a trajectory; affine dynamics need none"
    )

    @model_validator(mode="after")
    def _suits_the_dynamics(self) -> "VariableProjectionSettings":
        if self.forcing and self.dynamics == "affine":
            raise ValueError(f"forcing {list(self.forcing)} needs dynamics: quadratic or second-order; it is affine")
        if self.calibration != "integral" and self.dynamics != "affine":
            raise ValueError(f"calibration {self.calibration} needs dynamics: affine; it is {self.dynamics}")
        return self

    def stepped(self, n_latent: int) -> SteppedDynamics | None:
        """The dynamics of so many latent states; None for affine ones, which need no steps."""
        if self.dynamics == "affine":
            return None
        form = FORMS[self.dynamics](n_latent, tuple(2 * math.pi * one for one in self.forcing))
        return SteppedDynamics((form,), self.integration_steps)


def fit_latent_model(
    data: TrainingSet,
    n_latent: int,
    settings: VariableProjectionSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
) -> tuple[dict[int, LatentModel], FeatureMap]:
    """Coefficients and initial states of the latent ODEs, and the features on which the decoder is linear.

    Starts from the leading POD coordinates and one model of them all (`_starts`), the one with the least loss where
    there are several; each training point then gets its own coefficients. The loss is the mean squared error of the
    decoded trajectories, plus ridge and roughness.

    Returns:
        The latent model after each number of steps in `settings.checkpoints`, and after the last; and the features.
    """
    features = FeatureMap.random(n_latent, settings.n_sine, settings.kappa, generator)
    dynamics = settings.stepped(n_latent)
    starts = _starts(data, n_latent, settings, dynamics)
    objective = _Objective(data, settings, features, dynamics, starts[0][0].shape, starts[0][1].shape)
    packed = [torch.cat([part.reshape(-1) for part in one]).numpy() for one in starts]
    losses = [objective(one)[0] for one in packed] if len(packed) > 1 else [0.0]

    def after_step(v: np.ndarray) -> None:
        step = next(steps)
        report(step, objective.last)
        if step in settings.checkpoints:
            models[step] = objective.model(v)

    models: dict[int, LatentModel] = {}
    steps = iter(range(1, settings.iterations + 2))
    solution = minimize(
        objective, packed[int(np.argmin(losses))], jac=True, method="L-BFGS-B", callback=after_step,
        options={"maxiter": settings.iterations, "maxcor": 20},
    )  # fmt: skip
    models[int(solution.nit)] = objective.model(solution.x)
    return models, features


@dataclass
class _Objective:
    """The logarithm of the loss, and its gradient, of coefficients and initial states in one vector.

    Attributes:
        xi_shape, z0_shape: of the coefficients and of the initial states, of all training points.
        last: the loss when it was last asked for.
    """

    data: TrainingSet
    settings: VariableProjectionSettings
    features: FeatureMap
    dynamics: SteppedDynamics | None
    xi_shape: torch.Size
    z0_shape: torch.Size
    last: float = math.inf

    def __post_init__(self) -> None:
        self._targets = self.data.targets.reshape(-1, self.data.targets.shape[-1])
        self._unsmooth = projector_off_linear(self.data.x)

    def __call__(self, v: Float[np.ndarray, " value"]) -> tuple[float, Float[np.ndarray, " value"]]:
        variables = torch.from_numpy(v).requires_grad_()
        xi, z0 = self._unpacked(variables)
        spread = torch.tensordot(self.data.spread, xi, dims=1), self.data.spread @ z0
        if self.dynamics:
            outcome = self.dynamics.outcome(*spread, self.data.t)
            if not bool(outcome.finished.all()):  # too long a step of the optimiser, which then tries a shorter one
                return _BLOWN_UP, np.zeros_like(v)
            z = outcome.z
        else:
            z = propagate(*spread, self.data.t)
        library = self.features(z).reshape(len(self._targets), -1)
        with torch.no_grad():
            weights = ridge_solve(library, self._targets, self.settings.ridge)
        misfit = (library @ weights - self._targets).square().sum() / len(self._targets)
        rough = (self._unsmooth @ xi.reshape(len(xi), -1)).square().mean()
        loss = misfit + self.settings.ridge * weights.square().sum() + self.settings.roughness * rough
        # The loss falls over many decades; its logarithm is what a quasi-Newton method can follow to the end.
        logarithm = torch.log(loss)
        (gradient,) = torch.autograd.grad(logarithm, variables)
        self.last = float(loss.detach())
        return float(logarithm.detach()), gradient.numpy()

    def model(self, v: Float[np.ndarray, " value"]) -> LatentModel:
        xi, z0 = self._unpacked(torch.from_numpy(v.copy()))
        return LatentModel(self.data.x, xi.numpy(), z0.numpy(), self.data.kernel, dynamics=self.dynamics)

    def _unpacked(self, v: Float[Tensor, " value"]) -> tuple[Tensor, Tensor]:
        n = self.xi_shape.numel()
        return v[:n].reshape(self.xi_shape), v[n:].reshape(self.z0_shape)


def _starts(
    data: TrainingSet, n_latent: int, settings: VariableProjectionSettings, dynamics: SteppedDynamics | None
) -> list[tuple[Float[Tensor, "point ..."], Float[Tensor, "point initial"]]]:
    """One model of the leading POD coordinates for all points; of an affine one, growth rates clamped to [-2, 0.2].

    Unclamped, a fit to coordinates that the model cannot follow exactly may diverge before the first step. Quadratic
    dynamics have two starts: by least squares with all terms, and from affine ones, which are stable without clipping.
    """
    z = data.c[..., :n_latent]
    z = z / z.reshape(-1, n_latent).std(dim=0).max()
    if dynamics:
        (form,) = dynamics.forms
        coefficients, initial = start(form, z, data.t)
        found = [coefficients, *([affine_start(form, z, data.t)] if isinstance(form, BoundedQuadratic) else [])]
        return [(one.expand(data.n_points, -1).clone(), initial.clone()) for one in found]
    if settings.calibration == "weak":
        joint = WeakForm.on(data.t).calibrate(z, pooled=True)
    else:
        by = {"integral": calibrate, "least-squares": calibrate_derivative}[settings.calibration]
        joint = by(z, data.t, pooled=True)
    joint[:, 1:] = with_clamped_growth(joint[:, 1:], -2.0, 0.2)
    return [(joint.expand(data.n_points, -1, -1).clone(), z[:, 0].clone())]


def projector_off_linear(x: Float[np.ndarray, "point d"]) -> Float[Tensor, "point point"]:
    """Projector onto what a function linear in the parameters cannot represent."""
    linear = np.concatenate([np.ones((len(x), 1)), x - 0.5], axis=1)
    return torch.from_numpy(np.eye(len(x)) - linear @ np.linalg.pinv(linear))
