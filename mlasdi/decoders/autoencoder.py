"""Networks trained by gradient: the published autoencoder with its latent dynamics, and later decoders.

Follows arXiv 2506.09207, section 3, on full states as published or on POD coordinates, at a cost that does not depend
on the mesh (`NetworkSpace`).
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from mlasdi.decoders.gradient_descent import DescentSettings, minimise
from mlasdi.decoders.network_space import NetworkSpace
from mlasdi.latent import (
    InitialStates,
    LatentModel,
    Trajectories,
    WeakForm,
    calibrate_derivative,
    derivative_residual,
    propagate,
)
from mlasdi.stages import NetworkEncoder, NetworkSettings, NetworkStage, TrainingSet, build_network

RIDGE = 1e-10  # safety bound of the calibration, relative to the regressors; in double precision
EDGE_ORDER = 1  # of the finite differences at both ends: summation by parts, as in the authors' scripts

Kappas = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class AutoencoderSettings(DescentSettings):
    """First stage: autoencoder and latent dynamics, trained jointly by Adam."""

    kind: Literal["autoencoder"] = "autoencoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 100), activation="softplus")
    dynamics_weight: float = Field(0.1, ge=0, description="weight of |dz/dt - Theta(z) Xi|^2")
    coefficient_weight: float = Field(1e-3, ge=0, description="weight of |Xi|")
    propagation_weight: float = Field(
        0.0, ge=0, description="weight of the error of decoded *integrated* trajectories; 0 as published"
    )
    units: Literal["relative", "solver"] = Field(
        "relative",
        description="of the loss. relative: errors relative to the data, times in units of the training interval; "
        "solver: those of the solver for both, as published",
    )
    calibration: Literal["joint", "least-squares", "weak"] = Field(
        "least-squares",
        description="least-squares: Xi are computed in each step from finite differences, as published; weak: in weak "
        "form, which is less sensitive to noise; joint: they are variables of the training",
    )
    initial_state: Literal["kriged", "given"] = Field(
        "kriged",
        description="kriged: latent states at the first time are interpolated like coefficients; given: encoded "
        "where the initial state is given, by Surrogate.starting_from and to the folds of leave-one-out errors",
    )


def fit_autoencoder(
    data: TrainingSet,
    n_latent: int,
    settings: AutoencoderSettings,
    generator: torch.Generator,
    report: Callable[[int, float], None],
    space: NetworkSpace = NetworkSpace(),  # noqa: B008 - it cannot be changed
) -> tuple[LatentModel, NetworkEncoder, NetworkStage]:
    """Latent model, encoder and decoder that minimise the loss of arXiv 2506.09207, by Adam.

    With encoder E, decoder D, states u, latent states z = E(u) and coefficients Xi_i of trajectory i, the loss is

        <|D(z) - u|^2> + w_d <|dz/dt - Theta(z) Xi|^2> + w_c mean_i |Xi_i| + w_p <|D(z_integrated) - u|^2>

    with the weights `dynamics_weight`, `coefficient_weight` and `propagation_weight` of the settings. <> is the mean
    over trajectories, times and values; errors of states are relative to <|u|^2> if `units` are relative. |Xi_i| is the
    Euclidean norm.

    Args:
        data: training trajectories in POD coordinates.
        n_latent: number of latent states.
        settings: networks, weights, steps.
        generator: of the first weights.
        report: called with step and loss.
        space: variables and device of the training; the result is in POD coordinates, on the CPU.

    Returns:
        The latent model, without kernel; the encoder; and the decoder. All belong to the same optimiser step.
    """
    u = space.seen(data.c)
    reverse = settings.network.model_copy(update={"hidden": settings.network.hidden[::-1]})
    encoder = build_network(u.shape[-1], n_latent, reverse, generator).to(space.device)
    decoder = build_network(n_latent, u.shape[-1], settings.network, generator).to(space.device)
    free_xi = torch.zeros(data.n_points, n_latent, n_latent + 1, requires_grad=True, device=space.device)
    dynamics = _Dynamics(settings, data.t.to(space.device), space.interval)
    unit = space.square_unit if settings.units == "solver" else 1 / float(u.square().mean())

    def misfit(z: Tensor) -> Tensor:
        return unit * (decoder(z) - u).square().mean()

    def loss() -> Tensor:
        z = encoder(u)
        xi = free_xi if settings.calibration == "joint" else dynamics.calibrated(z)
        total = misfit(z) + settings.dynamics_weight * dynamics.defect(xi, z).square().mean()
        if settings.coefficient_weight:
            total = total + settings.coefficient_weight * xi.flatten(1).norm(dim=1).mean()
        if settings.propagation_weight:
            integrated = propagate(dynamics.per_interval(xi).double(), z[:, 0].double(), dynamics.tau).float()
            total = total + settings.propagation_weight * misfit(integrated)
        return total

    minimise(loss, [*encoder.parameters(), *decoder.parameters(), free_xi], settings, report)
    encoding = NetworkEncoder(space.encoder(encoder), reverse)
    z = encoding.encode(data.c)
    final = _Dynamics(settings, data.t, space.interval)
    xi = free_xi.detach().cpu().double() if settings.calibration == "joint" else final.calibrated(z)
    starts = InitialStates(data.x, z[:, 0].numpy()) if settings.initial_state == "given" else None
    latent = LatentModel(data.x, final.per_interval(xi).numpy(), z[:, 0].numpy(), None, initial_states=starts)
    return latent, encoding, NetworkStage(space.decoder(decoder), settings.network, 1.0)


class _Dynamics:
    """Coefficients of latent trajectories, and how well these obey them, in the unit of time of the loss."""

    def __init__(self, settings: AutoencoderSettings, tau: Float[Tensor, " time"], interval: float) -> None:
        self.tau = tau
        self._interval = interval if settings.units == "solver" else 1.0
        self._t = self._interval * tau
        self._weak = WeakForm.on(self._t) if settings.calibration == "weak" else None

    def calibrated(self, z: Float[Tensor, "point time latent"]) -> Float[Tensor, "point latent terms"]:
        """By least squares, in double precision: the normal equations square the condition number."""
        z64 = z.double()
        if self._weak:
            return self._weak.calibrate(z64, ridge=RIDGE).to(z.dtype)
        return calibrate_derivative(z64, self._t, ridge=RIDGE, edge_order=EDGE_ORDER).to(z.dtype)

    def defect(
        self, xi: Float[Tensor, "point latent terms"], z: Float[Tensor, "point time latent"]
    ) -> Float[Tensor, "point _ latent"]:
        if self._weak:
            return self._weak.residual(xi.double(), z.double()).to(z.dtype)
        return derivative_residual(xi, z, self._t.to(z.dtype), EDGE_ORDER)

    def per_interval(self, xi: Float[Tensor, "point latent terms"]) -> Float[Tensor, "point latent terms"]:
        """The coefficients in units of one over the training interval."""
        return self._interval * xi


class DecoderSettings(DescentSettings):
    """A later stage: a decoder network for the residual, trained by Adam; by default with the published sine layer."""

    reproduces_training_data: ClassVar[bool] = False

    kind: Literal["decoder"] = "decoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 200), activation="sine")
    kappa: Literal["auto", "spectrum"] | Kappas | None = Field(
        None,
        description="in place of network.kappa: spectrum, from the residual's spectrum; a list, of which the best on "
        "left-out trajectories is taken; auto, the best of the spectrum's kappa and fractions of it",
    )

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
    space: NetworkSpace = NetworkSpace(),  # noqa: B008 - it cannot be changed
) -> NetworkStage:
    """A decoder network z -> residual / eps, with eps the residual's standard deviation (arXiv 2506.09207, eq. 12).

    Args:
        along: integrated latent trajectories of the training points.
        residual: what the stages before leave of the POD coordinates.
        settings: network and steps.
        generator: of the first weights.
        report: called with step and loss.
        space: variables and device of the training; the result is in POD coordinates, on the CPU.
    """
    target = space.seen(residual, is_difference=True)
    scale = float(target.double().std().clamp_min(torch.finfo(residual.dtype).tiny))
    target = target / scale
    network = build_network(along.z.shape[-1], target.shape[-1], settings.network, generator).to(space.device)
    z = along.z.float().to(space.device)
    minimise(lambda: (network(z) - target).square().mean(), list(network.parameters()), settings, report)
    return NetworkStage(space.decoder(network, is_difference=True), settings.network, scale)
