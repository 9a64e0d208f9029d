"""Networks trained by gradient: the published autoencoder with its latent dynamics, and later decoders.

Follows arXiv 2506.09207, section 3, on full states as published or on POD coordinates, at a cost that does not depend
on the mesh (`NetworkSpace`).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.decoders.gradient_descent import minimise
from mlasdi.decoders.network_space import NetworkSpace
from mlasdi.decoders.settings import AutoencoderSettings, DecoderSettings
from mlasdi.latent import (
    InitialStates,
    LatentModel,
    Trajectories,
    WeakForm,
    calibrate_derivative,
    derivative_residual,
    propagate,
)
from mlasdi.stages import NetworkEncoder, NetworkStage, TrainingSet, build_network

RIDGE = 1e-10  # safety bound of the calibration, relative to the regressors; in double precision
EDGE_ORDER = 1  # of the finite differences at both ends: summation by parts, as in the authors' scripts


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
