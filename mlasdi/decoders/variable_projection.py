"""The latent dynamics and a closed-form decoder, fitted together by variable projection.

Only the coefficients and initial states of the latent ODEs are optimised. At every step the trajectories are
integrated exactly and the decoder's output weights follow by ridge regression on fixed features. So what is minimised
is the error of predictions, and the training takes about a second. By the envelope theorem the weights count as
constants in the gradient (G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 1973).

Between the training points the decoder would be free. So at anchors, further points of the unit cube, the latent ODE
with *interpolated* coefficients is fitted to the kriging prediction of the field.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from mlasdi.decoders.settings import VariableProjectionSettings
from mlasdi.latent import (
    FORMS,
    LatentModel,
    SteppedDynamics,
    WeakForm,
    calibrate,
    calibrate_derivative,
    first_guesses,
    propagate,
    with_clamped_growth,
)
from mlasdi.stages import FeatureMap, TrainingSet, ridge_solve

BLOWN_UP = 100.0  # safety bound: logarithm of the loss that stands for trajectories that blow up
# Safety bounds of the growth rates of the first guess, per training interval: an affine model that does not fit the
# coordinates might diverge before the first step.
MIN_RATE, MAX_RATE = -2.0, 0.2


def stepped_dynamics(settings: VariableProjectionSettings, n_latent: int) -> SteppedDynamics | None:
    """Dynamics of `n_latent` states that are integrated in steps; None for affine ones, solved exactly."""
    if settings.dynamics == "affine":
        return None
    form = FORMS[settings.dynamics](n_latent, tuple(2 * math.pi * frequency for frequency in settings.forcing))
    return SteppedDynamics((form,), settings.integration_steps)


def fit_latent_model(
    data: TrainingSet,
    n_latent: int,
    settings: VariableProjectionSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
) -> tuple[dict[int, LatentModel], FeatureMap]:
    """Coefficients and initial states of the latent ODEs, and the features on which the decoder is linear.

    Minimises the mean squared error of the decoded integrated trajectories, plus ridge and roughness penalties, by
    L-BFGS. The first guess is one model of the leading POD coordinates for all points, of several the one with the
    smallest loss (`_first_guesses`); in the optimisation each training point has coefficients of its own.

    Args:
        data: training trajectories in POD coordinates.
        n_latent: number of latent states.
        settings: of the decoder and of the optimisation.
        generator: of the random features.
        report: called with step and loss.

    Returns:
        The latent model after each number of steps in `settings.checkpoints`, and after the last; and the features.
    """
    features = FeatureMap.random(n_latent, settings.n_sine, settings.kappa, generator)
    dynamics = stepped_dynamics(settings, n_latent)
    guesses = _first_guesses(data, n_latent, settings, dynamics)
    objective = _Objective(data, settings, features, dynamics, guesses[0][0].shape, guesses[0][1].shape)
    packed = [torch.cat([xi.reshape(-1), z0.reshape(-1)]).numpy() for xi, z0 in guesses]
    losses = [objective(v)[0] for v in packed] if len(packed) > 1 else [0.0]

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
    """The logarithm of the loss and its gradient, as a function of coefficients and initial states in one vector.

    Attributes:
        xi_shape, z0_shape: shapes of the coefficients and of the initial states of all training points.
        last: the loss of the last evaluation.
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
        self._off_linear = projector_off_linear(self.data.x)

    def __call__(self, v: Float[np.ndarray, " value"]) -> tuple[float, Float[np.ndarray, " value"]]:
        variables = torch.from_numpy(v).requires_grad_()
        xi, z0 = self._unpacked(variables)
        weights = self.data.interpolation_weights
        interpolated = torch.tensordot(weights, xi, dims=1), weights @ z0
        if self.dynamics:
            outcome = self.dynamics.outcome(*interpolated, self.data.t)
            if not bool(outcome.finished.all()):  # the step of the line search is too long; it then tries a shorter one
                return BLOWN_UP, np.zeros_like(v)
            z = outcome.z
        else:
            z = propagate(*interpolated, self.data.t)
        library = self.features(z).reshape(len(self._targets), -1)
        with torch.no_grad():
            output = ridge_solve(library, self._targets, self.settings.ridge)
        misfit = (library @ output - self._targets).square().sum() / len(self._targets)
        roughness = (self._off_linear @ xi.reshape(len(xi), -1)).square().mean()
        loss = misfit + self.settings.ridge * output.square().sum() + self.settings.roughness * roughness
        # The loss falls over many decades. A quasi-Newton method converges further on its logarithm.
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


def _first_guesses(
    data: TrainingSet, n_latent: int, settings: VariableProjectionSettings, dynamics: SteppedDynamics | None
) -> list[tuple[Float[Tensor, "point ..."], Float[Tensor, "point initial"]]]:
    """Coefficients and initial states of one model of the leading POD coordinates, the same for all points.

    Growth rates of affine dynamics are clamped to [`MIN_RATE`, `MAX_RATE`]. Quadratic dynamics have two first guesses:
    by least squares with all terms, and from affine dynamics, which are stable without clipping.
    """
    z = data.c[..., :n_latent]
    z = z / z.reshape(-1, n_latent).std(dim=0).max()
    if dynamics:
        (form,) = dynamics.forms
        guesses, initial = first_guesses(form, z, data.t)
        return [(guess.expand(data.n_points, -1).clone(), initial.clone()) for guess in guesses]
    if settings.calibration == "weak":
        joint = WeakForm.on(data.t).calibrate(z, pooled=True)
    else:
        least_squares = {"integral": calibrate, "least-squares": calibrate_derivative}[settings.calibration]
        joint = least_squares(z, data.t, pooled=True)
    joint[:, 1:] = with_clamped_growth(joint[:, 1:], MIN_RATE, MAX_RATE)
    return [(joint.expand(data.n_points, -1, -1).clone(), z[:, 0].clone())]


def projector_off_linear(x: Float[np.ndarray, "point d"]) -> Float[Tensor, "point point"]:
    """Orthogonal projector onto the complement of the functions that are linear in the parameters, at points `x`."""
    linear = np.concatenate([np.ones((len(x), 1)), x - 0.5], axis=1)
    return torch.from_numpy(np.eye(len(x)) - linear @ np.linalg.pinv(linear))
