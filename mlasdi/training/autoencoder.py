"""The published training: networks by gradient. The autoencoder with its latent dynamics, and later decoders.

Follows arXiv 2506.09207, section 3, on POD coordinates: they span the functions that an autoencoder on the full state
would use, at a cost that does not depend on the mesh.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, Field, field_validator, model_validator
from torch import Tensor

from mlasdi.latent import LatentModel, Trajectories, WeakForm, calibrate_derivative, derivative_residual, propagate
from mlasdi.stages import NetworkEncoder, NetworkSettings, NetworkStage, TrainingSet, build_network

RIDGE = 1e-6  # of the calibration, relative; single precision resolves no less

Kappas = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class AutoencoderSettings(BaseModel, frozen=True, extra="forbid"):
    """First stage: autoencoder and latent dynamics, trained jointly by Adam."""

    kind: Literal["autoencoder"] = "autoencoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 100), activation="softplus")
    steps: int = Field(5000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    dynamics_weight: float = Field(0.1, ge=0, description="weight of |dz/dt - Theta(z) Xi|^2")
    coefficient_weight: float = Field(1e-3, ge=0, description="weight of |Xi|^2")
    propagation_weight: float = Field(
        0.0, ge=0, description="weight of the error of decoded *integrated* trajectories; none as published"
    )
    calibration: Literal["joint", "least-squares", "weak"] = Field(
        "joint",
        description="Xi as variables of the training, or at each step by least squares: on finite differences, or in "
        "weak form, which noise spoils less",
    )


def fit_autoencoder(
    data: TrainingSet,
    n_latent: int,
    settings: AutoencoderSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
    device: str = "cpu",
) -> tuple[LatentModel, NetworkEncoder, NetworkStage]:
    """Latent model, encoder and decoder that minimise the sum of the named terms in `losses`.

    Weights and coefficients belong to the same step.

    Args:
        device: on which they are trained, as torch names it; the result is on the CPU.
    """
    n_rank = data.c.shape[-1]
    reverse = settings.network.model_copy(update={"hidden": settings.network.hidden[::-1]})
    encoder = build_network(n_rank, n_latent, reverse, generator).to(device)
    decoder = build_network(n_latent, n_rank, settings.network, generator).to(device)
    times = data.t.to(device)
    c, t = data.c.float().to(device), times.float()
    variables = torch.zeros(data.n_points, n_latent, n_latent + 1, requires_grad=True, device=device)

    weak = WeakForm.on(t) if settings.calibration == "weak" else None

    def coefficients(z: Tensor) -> Tensor:
        if settings.calibration == "joint":
            return variables
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
            missed = (decoder(integrated) - c).square().mean() / c.square().mean()
            terms["propagation"] = settings.propagation_weight * missed
        return terms

    parameters = [*encoder.parameters(), *decoder.parameters(), variables]
    minimise(lambda: sum(losses().values(), torch.zeros(())), parameters, settings, report)
    encoding = NetworkEncoder(encoder.cpu(), reverse)
    z = encoding.encode(data.c)
    if settings.calibration == "joint":
        xi = variables.detach().cpu().double()
    else:
        xi = WeakForm.on(data.t).calibrate(z, ridge=RIDGE) if weak else calibrate_derivative(z, data.t, ridge=RIDGE)
    latent = LatentModel(data.x, xi.numpy(), z[:, 0].numpy(), None)
    return latent, encoding, NetworkStage(decoder.cpu(), settings.network, 1.0)


class DecoderSettings(BaseModel, frozen=True, extra="forbid"):
    """A later stage: a decoder of the residual, trained by Adam; sine in its first layer as published."""

    kind: Literal["decoder"] = "decoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 200), activation="sine")
    kappa: Literal["auto", "spectrum"] | Kappas | None = Field(
        None,
        description="instead of network.kappa: as the residual's spectrum asks for; the best of several along left-out "
        "trajectories; auto: the best of the former and of fractions of it",
    )
    steps: int = Field(5000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)

    @field_validator("kappa", mode="before")
    @classmethod
    def _numbers_or_a_word(cls, given: Any) -> Any:
        """One complaint, where the union would make one for each of its members."""
        if given is None or given in ("auto", "spectrum"):
            return given
        values = given if isinstance(given, list | tuple) else [given]
        if not values or not all(isinstance(one, int | float) and 0 < one < math.inf for one in values):
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
    """A decoder of `residual / eps` along the integrated trajectories, eps the residual's standard deviation.

    Args:
        device: on which it is trained, as torch names it; the result is on the CPU.
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
    """Full-batch Adam, its learning rate falling along a cosine; ends in the best parameters of those reported.

    Falling from 3e-3 it gets further in 5,000 steps than the published constant 1e-3 in 10,000.

    The best parameters are those before the optimiser step, in which the loss was computed.
    """
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    best, kept = float("inf"), [p.detach().clone() for p in parameters]
    every = max(settings.steps // 100, 1)
    for step in range(settings.steps):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        if step % every == 0 or step == settings.steps - 1:
            report(step + 1, float(value.detach()))
            if float(value.detach()) < best:
                best, kept = float(value.detach()), [p.detach().clone() for p in parameters]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
