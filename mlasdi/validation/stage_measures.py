"""Measures of the stages on their training data: errors, and correlations of latent states with what is left."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import evenly_spread
from mlasdi.stages import StagedModel, TrainingSet, decode
from mlasdi.surrogate import relative

MAX_SAMPLES = 500  # of the distance correlation: its cost grows with their square
VARIES = 1e-12  # safety bound: latent states that vary less, relative to their size, are constant up to rounding


def training_errors(model: StagedModel, data: TrainingSet, basis: PodBasis) -> Float[np.ndarray, "stage point"]:
    """Largest relative L2 error over time at each training point, in POD coordinates, with the first k stages."""
    along = model.latent.trajectories(data.x, data.t)
    norm = basis.norm(data.c.numpy())
    errors = [
        relative(basis.scale * (decode(model.stages[: k + 1], along) - data.c).norm(dim=-1).numpy(), norm)
        for k in range(len(model.stages))
    ]
    return np.where(data.is_recorded, np.array(errors).reshape(len(model.stages), *norm.shape), 0.0).max(axis=-1)


def latent_correlations(model: StagedModel, data: TrainingSet) -> tuple[float | None, ...]:
    """Correlation ratio of the latent states with what the first k stages leave of the training trajectories."""
    along = model.latent.trajectories(data.x, data.t)
    return tuple(
        correlation_ratio(along.z.flatten(0, 1), (data.c - decode(model.stages[: k + 1], along)).flatten(0, 1))
        for k in range(len(model.stages))
    )


def distance_correlations(model: StagedModel, data: TrainingSet) -> tuple[float | None, ...]:
    """Distance correlation of the latent states with what the first k stages leave of the training trajectories."""
    along = model.latent.trajectories(data.x, data.t)
    return tuple(
        distance_correlation(along.z.flatten(0, 1), (data.c - decode(model.stages[: k + 1], along)).flatten(0, 1))
        for k in range(len(model.stages))
    )


def distance_correlation(z: Float[Tensor, "sample latent"], residual: Float[Tensor, "sample rank"]) -> float | None:
    """Distance correlation of latent states and residuals, from 0 for independent samples to 1.

    It is the root of the bias-corrected squared distance correlation, of standardised latent states: without the
    correction, it tends to one for independent samples of high dimension (G. J. Szekely and M. L. Rizzo, J.
    Multivariate Anal. 117, 2013). At most `MAX_SAMPLES` samples are used, evenly spread.

    Returns:
        None where z or the residual does not vary.
    """
    varies = z.std(dim=0) > VARIES * z.abs().max()
    if len(z) < 4 or not varies.any() or not (residual - residual[0]).any():
        return None
    keep = torch.from_numpy(evenly_spread(len(z), MAX_SAMPLES))
    inputs = z[:, varies] / z[:, varies].std(dim=0)
    a, b = (_centred_distances(samples[keep]) for samples in (inputs, residual))
    squared = (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()
    return float(squared.clamp_min(0.0).sqrt())


def _centred_distances(samples: Float[Tensor, "sample d"]) -> Float[Tensor, "sample sample"]:
    """U-centred distances: means without the diagonal, which is set to zero."""
    d = torch.cdist(samples, samples)
    n = len(d)
    rows = d.sum(dim=0) / (n - 2)
    centred = d - rows[:, None] - rows + d.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0.0)


def correlation_ratio(z: Float[Tensor, "sample latent"], residual: Float[Tensor, "sample rank"]) -> float | None:
    """Largest correlation with the residual that any function of z can have, from 0 (noise) to 1 (a function of z).

    Its square is the share of the residual's variance that the conditional mean E[residual | z] explains. The variance
    that is left is half the mean squared difference between the residuals of nearest neighbours in z, neighbours in
    time included (the Gamma test; A. Stefansson et al., Neural Comput. Appl. 5, 1997).

    Pearson's correlation is of no use here: it is zero by construction after a decoder that is linear in features with
    z among them. The ratio is never below it.

    Returns:
        None where z or the residual does not vary.
    """
    varies = z.std(dim=0) > VARIES * z.abs().max()
    centred = residual - residual.mean(dim=0)
    if len(z) < 3 or not varies.any() or not centred.any():
        return None
    inputs = (z[:, varies] / z[:, varies].std(dim=0)).numpy()
    _, nearest = cKDTree(inputs).query(inputs, k=2)
    # The nearest is usually the state itself, but not always where states coincide.
    neighbour = np.where(nearest[:, 0] == np.arange(len(z)), nearest[:, 1], nearest[:, 0])
    unexplained = 0.5 * (residual - residual[torch.from_numpy(neighbour)]).square().sum()
    return float((1 - unexplained / centred.square().sum()).clamp(0.0, 1.0).sqrt())
