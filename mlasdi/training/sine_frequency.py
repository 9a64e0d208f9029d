"""The frequency factor kappa of a sine decoder: what the residual's spectrum asks for, and what carries over.

The first layer of the decoder is `sin(kappa (W z + b))` (arXiv 2506.09207, section 3.3). Along a latent trajectory it
oscillates in time as fast as kappa W dz/dt. The spectrum tells how fast the residual does: with a smaller kappa it is
hard to fit. A larger kappa makes neighbouring trajectories unlike each other, which the spectrum of one does not tell,
and left-out trajectories do.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.latent import Trajectories
from mlasdi.training.autoencoder import DecoderSettings, fit_decoder

FRACTIONS = (1.0, 0.3, 0.1, 0.03, 0.01)  # of the spectrum's kappa, tried by `kappa: auto`
MAX_FOLDS = 3  # a network is trained for each: with more points they are left out in so many groups
SHARE_OF_STEPS = 5  # a fold is trained for a fifth of the steps


def with_kappa(
    along: Trajectories,
    residual: Float[Tensor, "param time rank"],
    settings: DecoderSettings,
    generator: torch.Generator,
    device: str = "cpu",
) -> DecoderSettings:
    """The settings with the frequency factor that `settings.kappa` asks for; itself where it leaves nothing open.

    Args:
        device: see `fit_decoder`.
    """
    if settings.kappa is None:
        return settings
    kappas: Sequence[float]
    if isinstance(settings.kappa, str):
        top = spectral_kappa(along, residual, settings.network.hidden[0])
        if top is None:  # nothing oscillates
            return _fixed(settings, settings.network.kappa)
        kappas = [top] if settings.kappa == "spectrum" else [fraction * top for fraction in FRACTIONS]
    else:
        kappas = settings.kappa
    if len(kappas) == 1:
        return _fixed(settings, kappas[0])
    tried = [_fixed(settings, kappa) for kappa in kappas]
    return min(tried, key=lambda one: left_out_error(along, residual, one, generator, device))


def spectral_kappa(along: Trajectories, residual: Float[Tensor, "param time rank"], n_hidden: int) -> float | None:
    """kappa at which the sine layer oscillates along the trajectories as fast as the residual, in root mean square.

    The angular frequency of a signal is the root of the second moment of its spectrum, which is by Parseval's identity
    the norm of its time derivative over that of the signal less its mean. The weights of the layer have the variance
    2 / (n_z + n_hidden) when the training starts, so a row of W z + b moves at sqrt(that) |dz/dt|.

    Args:
        n_hidden: width of the sine layer.

    Returns:
        None where the latent states stand still or the residual is constant.
    """
    velocity, change = (torch.gradient(f, spacing=(along.t,), dim=1)[0] for f in (along.z, residual))
    variation = (residual - residual.mean(dim=1, keepdim=True)).square().sum()
    speed = velocity.square().sum(dim=-1).mean().sqrt()
    if not (speed > 1e-12 * along.z.abs().max() and variation > 1e-24 * residual.square().sum()):
        return None
    frequency = (change.square().sum() / variation).sqrt()
    return float(frequency / speed) * math.sqrt((along.z.shape[-1] + n_hidden) / 2)


def left_out_error(
    along: Trajectories,
    residual: Float[Tensor, "param time rank"],
    settings: DecoderSettings,
    generator: torch.Generator,
    device: str = "cpu",
) -> float:
    """Relative root mean square error of the residual along left-out trajectories, of decoders trained on the others.

    The latent trajectory that is left out is its own, not interpolated: what is judged is the decoder alone. So two
    points are enough. All trainings begin with the same random weights, whatever is compared.

    Args:
        device: see `fit_decoder`.
    """
    n = len(residual)
    short = settings.model_copy(update={"steps": max(settings.steps // SHARE_OF_STEPS, 1)})
    state, square = generator.get_state(), 0.0
    for fold in range(min(n, MAX_FOLDS)):
        left_out = np.arange(n) % min(n, MAX_FOLDS) == fold
        start = torch.Generator()
        start.set_state(state)
        stage = fit_decoder(along[~left_out], residual[~left_out], short, start, lambda step, loss: None, device)
        square += float((stage.evaluate(along[left_out]) - residual[left_out]).square().sum())
    return math.sqrt(square / max(float(residual.square().sum()), torch.finfo(residual.dtype).tiny))


def _fixed(settings: DecoderSettings, kappa: float) -> DecoderSettings:
    network = settings.network.model_copy(update={"kappa": kappa})
    return settings.model_copy(update={"network": network, "kappa": None})
