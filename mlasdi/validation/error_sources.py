"""Where the error of a prediction comes from: projection, autoencoder, latent dynamics, interpolation.

The split of arXiv 2506.09207 for one trajectory of truth, as a chain of approximations: the truth, its POD projection,
the decoded encoded truth, the decoded trajectory of the best dynamics of the encoded truth, and the prediction,
whose coefficients are interpolated over the parameters. Each part is the difference of two neighbours, so the parts of
a field add up to truth minus prediction, and the error is at most the sum of theirs.

A kriging stage of trust theta predicts `theta (D + K[c - D]) + (1 - theta) K[c]`, where D is the prediction of the
stages before, c the field, and K interpolates over the parameters. The first term follows the latent state, and is
split like that of any stage; what the second term misses is interpolation. Without latent dynamics all is
interpolation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from mlasdi.interpolation import Kriging
from mlasdi.latent import Trajectories, best_trajectory
from mlasdi.stages import AverageStage, KrigingStage, LinearEncoder, Stage
from mlasdi.surrogate import Surrogate, relative_error

ENCODING_STEPS = 20  # of a small least-squares problem that starts close and converges in about ten


@dataclass(frozen=True)
class ErrorSplit:
    """Parts of the error of one trajectory, each the largest over time of its L2 norm relative to the truth's.

    Attributes:
        projection: what the POD basis leaves out, whatever the stages.
        autoencoder: what decoding the encoded truth misses, with the first k stages `[stage]`.
        latent_dynamics: what dynamics of the model's form, calibrated on the encoded truth, miss of it `[stage]`.
        interpolation: what coefficients interpolated over the parameters add to that `[stage]`.
        total: error of the prediction `[stage]`; at most the sum of the parts.
    """

    projection: float
    autoencoder: Float[np.ndarray, " stage"]
    latent_dynamics: Float[np.ndarray, " stage"]
    interpolation: Float[np.ndarray, " stage"]
    total: Float[np.ndarray, " stage"]


@dataclass(frozen=True)
class DifferenceFields:
    """The parts as fields: the projection's in states, the others in POD coordinates, where they live.

    For each k, `projection + basis.scale * modes (autoencoder + latent_dynamics + interpolation)[k]` is truth minus the
    prediction with the first k + 1 stages; the basis is that at the point (`StateView.at`).
    """

    projection: Float[np.ndarray, "time state"]
    autoencoder: Float[np.ndarray, "stage time rank"]
    latent_dynamics: Float[np.ndarray, "stage time rank"]
    interpolation: Float[np.ndarray, "stage time rank"]


def error_split(
    surrogate: Surrogate, mu: Mapping[str, float] | ArrayLike, t: ArrayLike, u: Float[np.ndarray, "time state"]
) -> ErrorSplit:
    """Split the error of the prediction of one true trajectory.

    Args:
        mu: the parameters, one point.
        t: times `[time]`, at least two, inside the training interval.
        u: the true states.

    Raises:
        ValueError: more than one point, or fewer than two times.
    """
    fields = difference_fields(surrogate, mu, t, u)
    parts = [fields.autoencoder, fields.latent_dynamics, fields.interpolation]
    basis = surrogate.view.at(surrogate.space.to_unit(surrogate.space.as_array(mu))[0])
    lifted = [basis.scale * part @ basis.modes.T for part in (*parts, sum(parts))]
    lengths = [surrogate.view.length(part) for part in lifted]
    outside = surrogate.view.length(fields.projection)
    lengths[-1] = surrogate.view.length(fields.projection + lifted[-1])
    # As vectors of one entry, lengths get the treatment of vanishing states that all errors have.
    norm = surrogate.view.length(u)[:, None]
    projection, *others = (
        relative_error(np.broadcast_to(norm, (*length.shape, 1)), norm - length[..., None]).max(axis=-1)
        for length in (outside, *lengths)
    )
    return ErrorSplit(float(projection), *others)


def mean_split(splits: Sequence[ErrorSplit]) -> ErrorSplit:
    """Mean of each part over the trajectories.

    Raises:
        ValueError: there is none.
    """
    if not splits:
        raise ValueError("the mean of no error split is undefined; give at least one")
    projection, *others = (np.mean(part, axis=0) for part in zip(*map(astuple, splits), strict=True))
    return ErrorSplit(float(projection), *others)


def difference_fields(
    surrogate: Surrogate, mu: Mapping[str, float] | ArrayLike, t: ArrayLike, u: Float[np.ndarray, "time state"]
) -> DifferenceFields:
    """The differences between neighbours in the chain from the truth to the prediction; arguments as `error_split`."""
    x, times = surrogate.space.to_unit(surrogate.space.as_array(mu)), np.asarray(t, dtype=float)
    if len(x) != 1:
        raise ValueError(f"one parameter point has one trajectory, got {len(x)} points")
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"calibration needs times [time], at least two, got shape {times.shape}")
    tau, c = surrogate.time_scaling.rate(x)[0] * surrogate._tau(times), surrogate.project(mu, t, u)
    latent, stages = surrogate.model.latent, surrogate.model.stages
    if latent.has_dynamics:
        inside = _with_dynamics(surrogate, x, tau, torch.from_numpy(c))
    else:
        mean = torch.stack([surrogate.model.mean(x, tau, k + 1)[0] for k in range(len(stages))]).numpy()
        inside = np.zeros_like(mean), np.zeros_like(mean), c - mean
    return DifferenceFields(u - surrogate.view.at(x[0]).lift(c), *inside)


def _with_dynamics(
    surrogate: Surrogate, x: np.ndarray, tau: Float[Tensor, " time"], c: Float[Tensor, "time rank"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of autoencoder, latent dynamics and interpolation with the first k stages `[stage, time, rank]`."""
    model = surrogate.model
    predicted = model.latent.trajectories(x, tau)
    encoded = Trajectories(predicted.x, tau, _encode(surrogate, predicted, c)[None])
    sizes = [size for _, size in _members(surrogate)]
    calibrated = Trajectories(predicted.x, tau, best_trajectory(model.latent, sizes, x, encoded.z[0], tau)[None])
    chain, found = (encoded, calibrated, predicted), []
    parts = [c, torch.zeros_like(c), torch.zeros_like(c)]
    for k, stage in enumerate(model.stages):
        if isinstance(stage, KrigingStage):
            # A first stage has nothing before it to trust.
            drift_weight = stage.drift_weight if k else 0.0
            before = model.mean(stage.x, tau, k) if k else torch.zeros(len(stage.x), *c.shape, dtype=c.dtype)
            weights = torch.from_numpy(Kriging(stage.x, stage.kernel).weights(x))
            kriged = torch.tensordot(weights, before, dims=1)[0]
            field = stage.evaluate(predicted)[0] + drift_weight * kriged
            parts = [drift_weight * part for part in parts]
            parts[0] = parts[0] - drift_weight * (field - kriged)
            parts[2] = parts[2] + (1 - drift_weight) * (c - field)
        else:
            at_encoded, at_calibrated, at_predicted = (stage.evaluate(along)[0] for along in chain)
            steps = (-at_encoded, at_encoded - at_calibrated, at_calibrated - at_predicted)
            parts = [part + step for part, step in zip(parts, steps, strict=True)]
        found.append(torch.stack(parts))
    autoencoder, latent_dynamics, interpolation = torch.stack(found, dim=1).numpy()
    return autoencoder, latent_dynamics, interpolation


def _encode(surrogate: Surrogate, along: Trajectories, c: Float[Tensor, "time rank"]) -> Float[Tensor, "time latent"]:
    """The latent states of a truth.

    An encoder network is taken as it was trained. A linear one was fitted after the fact to a decoder that was trained
    without an encoder, and decodes poorly where the decoder is steep: there, encoding is the projection onto what
    the first stage can decode: the closest such state, from the linear encoding or the predicted state on.
    """
    z = surrogate.encoder.encode(c)
    if not isinstance(surrogate.encoder, LinearEncoder):
        return z
    members = _members(surrogate)
    sizes = [size for _, size in members]
    candidates = zip(members, torch.stack([z, along.z[0]]).split(sizes, dim=-1), strict=True)
    return torch.cat([_closest_from(stage, along, c, starts) for (stage, _), starts in candidates], dim=-1)


def _members(surrogate: Surrogate) -> list[tuple[Stage, int]]:
    """The decoders that the first stage averages, or itself alone, and how many latent states each decodes.

    The prediction is the mean of theirs, and so each part of the error is the mean of their parts.
    """
    first = surrogate.model.stages[0]
    if isinstance(first, AverageStage):
        return list(zip(first.members, first.sizes, strict=True))
    return [(first, surrogate.model.latent.n_latent)]


def _closest_from(
    stage: Stage, along: Trajectories, c: Float[Tensor, "time rank"], starts: Float[Tensor, "start time latent"]
) -> Float[Tensor, "time latent"]:
    """Latent states that `stage` decodes closest to `c`, from the better of two starts at each time."""
    misfit = (_evaluate(stage, along, starts) - c).norm(dim=-1, keepdim=True)
    start = torch.where(misfit[0] < misfit[1], starts[0], starts[1])
    return closest(lambda states: _evaluate(stage, along, states), c, start)


def _evaluate(stage: Stage, along: Trajectories, z: Float[Tensor, "n time latent"]) -> Float[Tensor, "n time rank"]:
    return stage.evaluate(Trajectories(along.x.expand(len(z), -1), along.t, z))


def closest(
    decoder: Callable[[Tensor], Tensor], c: Float[Tensor, "time rank"], start: Float[Tensor, "time latent"]
) -> Float[Tensor, "time latent"]:
    """Latent states that decode closest to `c`, time by time, by damped Gauss-Newton (Levenberg-Marquardt) steps.

    Args:
        decoder: maps `[n, time, latent]` to `[n, time, rank]`, float64.
    """
    z, damping = start, torch.full((len(c), 1, 1), 1e-6, dtype=c.dtype)
    decoded = decoder(z[None])[0]
    identity = torch.eye(z.shape[-1], dtype=c.dtype)
    for _ in range(ENCODING_STEPS):
        step = 1e-6 * z.abs().max().clamp_min(1e-6)
        jacobian = ((decoder(z + step * identity[:, None]) - decoded) / step).permute(1, 2, 0)
        gram = jacobian.mT @ jacobian
        level = gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(torch.finfo(c.dtype).tiny)[:, None, None]
        right = jacobian.mT @ (c - decoded)[..., None]
        trial = z + torch.linalg.solve(gram + damping * level * identity, right)[..., 0]
        redecoded = decoder(trial[None])[0]
        better = (c - redecoded).norm(dim=-1, keepdim=True) < (c - decoded).norm(dim=-1, keepdim=True)
        z, decoded = torch.where(better, trial, z), torch.where(better, redecoded, decoded)
        damping = torch.where(better[..., None], damping / 10, damping * 10).clamp(1e-12, 1e6)
    return z
