"""The frequency factor kappa of a sine decoder, by the residual's spectrum or by left-out trajectories.

The first layer of the decoder is `sin(kappa (W z + b))` (arXiv 2506.09207, section 3.3). Along a latent trajectory its
frequencies in time are kappa W dz/dt. With a kappa far below the one that matches the residual's spectrum, the residual
is hard to fit. With a large one the decoder differs more between neighbouring trajectories than the residual does.
The spectrum along one trajectory does not show that, but the error on left-out trajectories does.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.decoders.autoencoder import fit_decoder
from mlasdi.decoders.network_space import NetworkSpace
from mlasdi.decoders.settings import DecoderSettings
from mlasdi.latent import Trajectories

# Fractions of the spectrum's kappa that `kappa: auto` tries. Chosen in the study of the sine layer (studies/sine), on
# the multiscale problem, burgers1d and others.
FRACTIONS = (1.0, 0.3, 0.1, 0.03, 0.01)
MAX_FOLDS = 3  # bounds the cost: a network is trained for each fold; more points are left out in groups
FOLD_STEPS = 5  # bounds the cost: a fold is trained for a fifth of the steps
STANDSTILL = 1e-12  # safety bound: latent speeds, and relative variations of the residual, that are rounding


def with_kappa(
    along: Trajectories,
    residual: Float[Tensor, "param time rank"],
    settings: DecoderSettings,
    generator: torch.Generator,
    space: NetworkSpace = NetworkSpace(),  # noqa: B008 - it cannot be changed
) -> DecoderSettings:
    """The settings with one frequency factor, chosen as `settings.kappa` says; unchanged where that is None.

    Args:
        space: see `fit_decoder`.
    """
    if settings.kappa is None:
        return settings
    kappas: Sequence[float]
    if isinstance(settings.kappa, str):
        top = spectral_kappa(along, residual, settings.network.hidden[0])
        if top is None:
            return _fixed(settings, settings.network.kappa)
        kappas = [top] if settings.kappa == "spectrum" else [fraction * top for fraction in FRACTIONS]
    else:
        kappas = settings.kappa
    if len(kappas) == 1:
        return _fixed(settings, kappas[0])
    variants = [_fixed(settings, kappa) for kappa in kappas]
    return min(variants, key=lambda variant: left_out_error(along, residual, variant, generator, space))


def spectral_kappa(along: Trajectories, residual: Float[Tensor, "param time rank"], n_hidden: int) -> float | None:
    """kappa at which the sine layer and the residual have the same root mean square frequency in time.

    The root mean square angular frequency of a signal is, by Parseval's identity, the norm of its time derivative over
    that of the signal less its mean. At the start of the training the weights of the layer have the variance
    2 / (n_z + n_hidden), so a row of W z + b changes at the rate sqrt(2 / (n_z + n_hidden)) |dz/dt|.

    Args:
        along: latent trajectories.
        residual: what the decoder is to fit.
        n_hidden: width of the sine layer.

    Returns:
        None where the latent states or the residual do not change in time.
    """
    velocity, change = (torch.gradient(f, spacing=(along.t,), dim=1)[0] for f in (along.z, residual))
    variation = (residual - residual.mean(dim=1, keepdim=True)).square().sum()
    speed = velocity.square().sum(dim=-1).mean().sqrt()
    if not (speed > STANDSTILL * along.z.abs().max() and variation > STANDSTILL**2 * residual.square().sum()):
        return None
    frequency = (change.square().sum() / variation).sqrt()
    return float(frequency / speed) * math.sqrt((along.z.shape[-1] + n_hidden) / 2)


def left_out_error(
    along: Trajectories,
    residual: Float[Tensor, "param time rank"],
    settings: DecoderSettings,
    generator: torch.Generator,
    space: NetworkSpace = NetworkSpace(),  # noqa: B008 - it cannot be changed
) -> float:
    """Relative root mean square error of the residual along left-out trajectories, of decoders trained on the others.

    The left-out latent trajectories are the calibrated ones, not interpolated ones, so the error is that of the decoder
    alone, and two points are enough. All trainings start with the same random weights.

    Args:
        space: see `fit_decoder`.
    """
    n = len(residual)
    short = settings.model_copy(update={"steps": max(settings.steps // FOLD_STEPS, 1)})
    state, square = generator.get_state(), 0.0
    for fold in range(min(n, MAX_FOLDS)):
        left_out = np.arange(n) % min(n, MAX_FOLDS) == fold
        start = torch.Generator()
        start.set_state(state)
        stage = fit_decoder(along[~left_out], residual[~left_out], short, start, lambda step, loss: None, space)
        square += float((stage.evaluate(along[left_out]) - residual[left_out]).square().sum())
    return math.sqrt(square / max(float(residual.square().sum()), torch.finfo(residual.dtype).tiny))


def _fixed(settings: DecoderSettings, kappa: float) -> DecoderSettings:
    network = settings.network.model_copy(update={"kappa": kappa})
    return settings.model_copy(update={"network": network, "kappa": None})
