"""The latent dynamics and a closed-form decoder, fitted together by variable projection.

Only the coefficients and initial states of the latent ODEs are optimised. At every step the trajectories are
integrated exactly and the decoder's output weights are solved for (ridge regression on fixed features), so the training
is training for prediction, and takes about a second. By the envelope theorem the gradient needs the solved weights as
constants only (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973).

Between the training points the decoder would be free. Anchors tie it down: at further points of the cube the latent
ODE with *interpolated* coefficients has to decode to the kriging prediction of the field.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, Field
from scipy.optimize import minimize
from torch import Tensor

from mlasdi.latent_dynamics import calibrate, calibrate_derivative, propagate
from mlasdi.latent_model import LatentModel
from mlasdi.networks import FeatureMap, ridge_solve
from mlasdi.training_set import TrainingSet
from mlasdi.weak_form import WeakForm

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


def fit_latent_model(
    data: TrainingSet,
    n_latent: int,
    settings: VariableProjectionSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
) -> tuple[dict[int, LatentModel], FeatureMap]:
    """Coefficients and initial states of the latent ODEs, and the features on which the decoder is linear.

    Starts from the leading POD coordinates and one affine model of them all (`_start`); each training point then gets
    its own coefficients. The loss is the mean squared error of the decoded trajectories, plus ridge and roughness.

    Returns:
        The latent model after each number of steps in `settings.checkpoints`, and after the last; and the features.
    """
    features = FeatureMap.random(n_latent, settings.n_sine, settings.kappa, generator)
    xi0, z0 = _start(data, n_latent, settings.calibration)
    targets = data.targets.reshape(-1, data.targets.shape[-1])
    unsmooth = projector_off_linear(data.x)

    def unpack(v: Tensor) -> tuple[Tensor, Tensor]:
        return v[: xi0.numel()].reshape(xi0.shape), v[xi0.numel() :].reshape(z0.shape)

    def log_loss(v: np.ndarray) -> tuple[float, np.ndarray]:
        variables = torch.from_numpy(v).requires_grad_()
        xi, initial = unpack(variables)
        z = propagate(torch.tensordot(data.spread, xi, dims=1), data.spread @ initial, data.t)
        library = features(z).reshape(len(targets), -1)
        with torch.no_grad():
            weights = ridge_solve(library, targets, settings.ridge)
        misfit = (library @ weights - targets).square().sum() / len(targets)
        rough = (unsmooth @ xi.reshape(len(xi), -1)).square().mean()
        loss = misfit + settings.ridge * weights.square().sum() + settings.roughness * rough
        # The loss falls over many decades; its logarithm is what a quasi-Newton method can follow to the end.
        logarithm = torch.log(loss)
        (gradient,) = torch.autograd.grad(logarithm, variables)
        last[:] = [float(loss.detach())]
        return float(logarithm.detach()), gradient.numpy()

    def as_model(v: np.ndarray) -> LatentModel:
        xi, initial = unpack(torch.from_numpy(v.copy()))
        return LatentModel(data.x, xi.numpy(), initial.numpy(), data.kernel)

    def after_step(v: np.ndarray) -> None:
        step = next(steps)
        report(step, last[0])
        if step in settings.checkpoints:
            models[step] = as_model(v)

    last: list[float] = []
    models: dict[int, LatentModel] = {}
    steps = iter(range(1, settings.iterations + 2))
    start = torch.cat([xi0.reshape(-1), z0.reshape(-1)]).numpy()
    solution = minimize(
        log_loss, start, jac=True, method="L-BFGS-B", callback=after_step,
        options={"maxiter": settings.iterations, "maxcor": 20},
    )  # fmt: skip
    models[int(solution.nit)] = as_model(solution.x)
    return models, features


def _start(
    data: TrainingSet, n_latent: int, calibration: Calibration
) -> tuple[Float[Tensor, "point latent terms"], Float[Tensor, "point latent"]]:
    """One affine model of the leading POD coordinates for all points, growth rates clamped to [-2, 0.2].

    Unclamped, a fit to coordinates that the model cannot follow exactly may diverge before the first step.
    """
    z = data.c[..., :n_latent]
    z = z / z.reshape(-1, n_latent).std(dim=0).max()
    if calibration == "weak":
        joint = WeakForm.on(data.t).calibrate(z, pooled=True)
    else:
        joint = {"integral": calibrate, "least-squares": calibrate_derivative}[calibration](z, data.t, pooled=True)
    values, vectors = torch.linalg.eig(joint[:, 1:])
    clamped = torch.complex(values.real.clamp(-2.0, 0.2), values.imag)
    joint[:, 1:] = (vectors @ torch.diag(clamped) @ torch.linalg.inv(vectors)).real
    return joint.expand(data.n_points, -1, -1).clone(), z[:, 0].clone()


def projector_off_linear(x: Float[np.ndarray, "point d"]) -> Float[Tensor, "point point"]:
    """Projector onto what a function linear in the parameters cannot represent."""
    linear = np.concatenate([np.ones((len(x), 1)), x - 0.5], axis=1)
    return torch.from_numpy(np.eye(len(x)) - linear @ np.linalg.pinv(linear))
