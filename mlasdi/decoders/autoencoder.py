"""Networks trained by gradient: the published autoencoder with its latent dynamics, and later decoders.

Follows arXiv 2506.09207, section 3, but on POD coordinates, at a cost that does not depend on the mesh.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, Field, field_validator, model_validator
from torch import Tensor

from mlasdi.latent import LatentModel, Trajectories, WeakForm, calibrate_derivative, derivative_residual, propagate
from mlasdi.stages import NetworkEncoder, NetworkSettings, NetworkStage, TrainingSet, build_network

RIDGE = 1e-6  # safety bound of the calibration, relative to the regressors: single precision resolves no less
N_REPORTS = 100  # of the loss during a training

Kappas = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class AutoencoderSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """First stage: autoencoder and latent dynamics, trained jointly by Adam."""

    kind: Literal["autoencoder"] = "autoencoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 100), activation="softplus")
    steps: int = Field(5000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    dynamics_weight: float = Field(0.1, ge=0, description="weight of |dz/dt - Theta(z) Xi|^2")
    coefficient_weight: float = Field(1e-3, ge=0, description="weight of |Xi|^2")
    propagation_weight: float = Field(
        0.0, ge=0, description="weight of the error of decoded *integrated* trajectories; 0 as published"
    )
    calibration: Literal["joint", "least-squares", "weak"] = Field(
        "joint",
        description="joint: Xi are variables of the training; otherwise they are computed in each step by least "
        "squares, on finite differences or in weak form, which is less sensitive to noise",
    )


def fit_autoencoder(
    data: TrainingSet,
    n_latent: int,
    settings: AutoencoderSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
    device: str = "cpu",
) -> tuple[LatentModel, NetworkEncoder, NetworkStage]:
    """Latent model, encoder and decoder that minimise the loss of arXiv 2506.09207, by Adam.

    With encoder E, decoder D, latent states z = E(c) and coefficients Xi, the loss is

        |D(z) - c|^2 / |c|^2 + w_d |dz/dt - Theta(z) Xi|^2 + w_c |Xi|^2 + w_p |D(z_integrated) - c|^2 / |c|^2

    with the weights `dynamics_weight`, `coefficient_weight` and `propagation_weight` of the settings.

    Args:
        data: training trajectories in POD coordinates.
        n_latent: number of latent states.
        settings: networks, weights, steps.
        generator: of the first weights.
        report: called with step and loss.
        device: on which the networks are trained, as torch names it; the result is on the CPU.

    Returns:
        The latent model, without kernel; the encoder; and the decoder. All belong to the same optimiser step.
    """
    n_rank = data.c.shape[-1]
    reverse = settings.network.model_copy(update={"hidden": settings.network.hidden[::-1]})
    encoder = build_network(n_rank, n_latent, reverse, generator).to(device)
    decoder = build_network(n_latent, n_rank, settings.network, generator).to(device)
    times = data.t.to(device)
    c, t = data.c.float().to(device), times.float()
    free_xi = torch.zeros(data.n_points, n_latent, n_latent + 1, requires_grad=True, device=device)

    weak = WeakForm.on(t) if settings.calibration == "weak" else None

    def coefficients(z: Tensor) -> Tensor:
        if settings.calibration == "joint":
            return free_xi
        return weak.calibrate(z, ridge=RIDGE) if weak else calibrate_derivative(z, t, ridge=RIDGE)

    def defect(xi: Tensor, z: Tensor) -> Tensor:
        return weak.residual(xi, z) if weak else derivative_residual(xi, z, t)

    def losses() -> dict[str, Tensor]:
        z = encoder(c)
        xi = coefficients(z)
        terms = {
            "reconstruction": (decoder(z) - c).square().mean() / c.square().mean(),
            "dynamics": settings.dynamics_weight * defect(xi, z).square().mean(),
            "coefficients": settings.coefficient_weight * xi.square().mean(),
        }
        if settings.propagation_weight:
            integrated = propagate(xi.double(), z[:, 0].double(), times).float()
            error = (decoder(integrated) - c).square().mean() / c.square().mean()
            terms["propagation"] = settings.propagation_weight * error
        return terms

    parameters = [*encoder.parameters(), *decoder.parameters(), free_xi]
    minimise(lambda: sum(losses().values(), torch.zeros(())), parameters, settings, report)
    encoding = NetworkEncoder(encoder.cpu(), reverse)
    z = encoding.encode(data.c)
    if settings.calibration == "joint":
        xi = free_xi.detach().cpu().double()
    else:
        xi = WeakForm.on(data.t).calibrate(z, ridge=RIDGE) if weak else calibrate_derivative(z, data.t, ridge=RIDGE)
    latent = LatentModel(data.x, xi.numpy(), z[:, 0].numpy(), None)
    return latent, encoding, NetworkStage(decoder.cpu(), settings.network, 1.0)


class DecoderSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A later stage: a decoder network for the residual, trained by Adam; by default with the published sine layer."""

    reproduces_training_data: ClassVar[bool] = False

    kind: Literal["decoder"] = "decoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 200), activation="sine")
    kappa: Literal["auto", "spectrum"] | Kappas | None = Field(
        None,
        description="in place of network.kappa: spectrum, from the residual's spectrum; a list, of which the best on "
        "left-out trajectories is taken; auto, the best of the spectrum's kappa and fractions of it",
    )
    steps: int = Field(5000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)

    @field_validator("kappa", mode="before")
    @classmethod
    def _check_kappa(cls, given: Any) -> Any:
        """One error message, where the union of types would give one for each."""
        if given is None or given in ("auto", "spectrum"):
            return given
        values = given if isinstance(given, list | tuple) else [given]
        if not values or not all(isinstance(value, int | float) and 0 < value < math.inf for value in values):
            raise ValueError(f"{given}: give positive numbers in a list, or spectrum, or auto")
        return tuple(map(float, values))

    @model_validator(mode="after")
    def _has_a_sine_layer(self) -> "DecoderSettings":
        if self.kappa is not None and self.network.activation != "sine":
            raise ValueError(f"kappa belongs to network.activation: sine; it is {self.network.activation}")
        return self


def fit_decoder(
    along: Trajectories,
    residual: Float[Tensor, "param time rank"],
    settings: DecoderSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
    device: str = "cpu",
) -> NetworkStage:
    """A decoder network z -> residual / eps, with eps the residual's standard deviation (arXiv 2506.09207, eq. 12).

    Args:
        along: integrated latent trajectories of the training points.
        residual: what the stages before leave of the POD coordinates.
        settings: network and steps.
        generator: of the first weights.
        report: called with step and loss.
        device: on which the network is trained, as torch names it; the result is on the CPU.
    """
    scale = float(residual.std().clamp_min(torch.finfo(residual.dtype).tiny))
    network = build_network(along.z.shape[-1], residual.shape[-1], settings.network, generator).to(device)
    z, target = along.z.float().to(device), (residual / scale).float().to(device)
    minimise(lambda: (network(z) - target).square().mean(), list(network.parameters()), settings, report)
    return NetworkStage(network.cpu(), settings.network, scale)


def minimise(
    loss: Callable[[], Tensor],
    parameters: list[Tensor],
    settings: AutoencoderSettings | DecoderSettings,
    report: Callable[[int, float], None],
) -> None:
    """Full-batch Adam with a cosine schedule of the learning rate; ends in the best parameters of those reported.

    On burgers1d, 5,000 steps from a learning rate of 3e-3 reach a lower loss than 10,000 with the published 1e-3.

    Args:
        loss: of the parameters, which it reads where they are.
        parameters: changed in place.
        settings: number of steps, and the first learning rate.
        report: called with step and loss.
    """
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    best, best_parameters = float("inf"), [p.detach().clone() for p in parameters]
    every = max(settings.steps // N_REPORTS, 1)
    for step in range(settings.steps):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        if step % every == 0 or step == settings.steps - 1:
            report(step + 1, float(value.detach()))
            if float(value.detach()) < best:
                # Before the optimiser step: the parameters that have this loss.
                best, best_parameters = float(value.detach()), [p.detach().clone() for p in parameters]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        for parameter, value in zip(parameters, best_parameters, strict=True):
            parameter.copy_(value)
