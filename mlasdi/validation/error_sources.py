"""Where the error of a prediction comes from: projection, autoencoder, latent dynamics, interpolation.

The split of arXiv 2506.09207 for one true trajectory is a chain of approximations: the truth, its POD projection, the
decoded encoded truth, the decoded trajectory of the best latent dynamics for the encoded truth, and the prediction,
whose coefficients are interpolated over the parameters. Each part is the difference of two neighbours in the chain. So
the parts add up to truth minus prediction, and the error is at most the sum of their norms.

A kriging stage with the drift weight w predicts `w (D + K[c - D]) + (1 - w) K[c]`, where D is the prediction of the
stages before, c the field, and K interpolates over the parameters. The first term is split as that of any stage. The
error of the second term is interpolation. Without latent dynamics all of the error is interpolation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from mlasdi.latent import Trajectories, best_trajectory
from mlasdi.preprocessing import PodBasis, limited_threads
from mlasdi.solvers.storage import StoredStates, block_ranges
from mlasdi.stages import KrigingStage, Stage
from mlasdi.surrogate import Surrogate, relative

# Safety bounds of Levenberg-Marquardt. It starts close to the solution and converges in about ten steps.
MAX_ENCODING_STEPS = 20
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1e-6, 1e-12, 1e6  # relative to the mean curvature
DIFFERENCE_STEP = 1e-6  # of the Jacobian by finite differences, relative to the latent states


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
    prediction with the first k + 1 stages; the basis is that at the point (`Reconstruction.at`).
    """

    projection: Float[np.ndarray, "time state"]
    autoencoder: Float[np.ndarray, "stage time rank"]
    latent_dynamics: Float[np.ndarray, "stage time rank"]
    interpolation: Float[np.ndarray, "stage time rank"]


@limited_threads()
def error_split(
    surrogate: Surrogate,
    mu: Mapping[str, Any] | ArrayLike,
    t: ArrayLike,
    u: Float[np.ndarray, "time state"] | StoredStates,
) -> ErrorSplit:
    """Split the error of the prediction of one true trajectory.

    Args:
        mu: the parameters, one point.
        t: times `[time]`, at least two, inside the training interval.
        u: the true states.

    Raises:
        ValueError: more than one point, or fewer than two times.
    """
    c, inside = _coordinate_parts(surrogate, mu, t, u)
    reconstruction = surrogate.reconstruction
    basis = reconstruction.at(surrogate.space.to_unit(surrogate.space.as_array(mu))[0])
    n_stages, n_time = inside[0].shape[:2]
    norm, outside, lengths = np.empty(n_time), np.empty(n_time), np.empty((4, n_stages, n_time))
    for rows in block_ranges(*u.shape):
        truth = u[rows]
        left_out = truth - basis.lift(c[rows])
        norm[rows], outside[rows] = reconstruction.state_norm(truth), reconstruction.state_norm(left_out)
        for k in range(n_stages):
            parts = [_lifted(basis, part[k, rows]) for part in inside]
            lengths[:3, k, rows] = [reconstruction.state_norm(part) for part in parts]
            lengths[3, k, rows] = reconstruction.state_norm(left_out + parts[0] + parts[1] + parts[2])
    projection, *others = (relative(length, norm).max(axis=-1) for length in (outside, *lengths))
    return ErrorSplit(float(projection), *others)


def _lifted(basis: PodBasis, c: Float[np.ndarray, "time rank"]) -> Float[np.ndarray, "time state"]:
    """A difference of states, of which the mean state is no part."""
    return replace(basis, mean=np.zeros_like(basis.mean)).lift(c)


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
    surrogate: Surrogate, mu: Mapping[str, Any] | ArrayLike, t: ArrayLike, u: Float[np.ndarray, "time state"]
) -> DifferenceFields:
    """The differences between neighbours in the chain from the truth to the prediction; arguments as `error_split`."""
    c, inside = _coordinate_parts(surrogate, mu, t, u)
    x = surrogate.space.to_unit(surrogate.space.as_array(mu))
    return DifferenceFields(u - surrogate.reconstruction.at(x[0]).lift(c), *inside)


def _coordinate_parts(
    surrogate: Surrogate,
    mu: Mapping[str, Any] | ArrayLike,
    t: ArrayLike,
    u: Float[np.ndarray, "time state"] | StoredStates,
) -> tuple[Float[np.ndarray, "time rank"], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """POD coordinates of the truth, and the parts of the error that live in them `[stage, time, rank]`."""
    x, times = surrogate.space.to_unit(surrogate.space.as_array(mu)), np.asarray(t, dtype=float)
    if len(x) != 1:
        raise ValueError(f"one parameter point has one trajectory, got {len(x)} points")
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"calibration needs times [time], at least two, got shape {times.shape}")
    surrogate = surrogate.ending_at(float(times[-1]))
    tau = torch.from_numpy((times - surrogate.t[0]) * surrogate.run_times.rates(x)[0])
    c = np.concatenate([surrogate.project(mu, times[rows], u[rows]) for rows in block_ranges(*u.shape)])
    latent, stages = surrogate.model.latent, surrogate.model.stages
    if latent.has_dynamics:
        return c, _with_dynamics(surrogate, x, tau, torch.from_numpy(c))
    mean = torch.stack([surrogate.model.mean(x, tau, k + 1)[0] for k in range(len(stages))]).numpy()
    return c, (np.zeros_like(mean), np.zeros_like(mean), c - mean)


def _with_dynamics(
    surrogate: Surrogate, x: np.ndarray, tau: Float[Tensor, " time"], c: Float[Tensor, "time rank"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of autoencoder, latent dynamics and interpolation with the first k stages `[stage, time, rank]`."""
    model = surrogate.model
    predicted = model.latent.trajectories(x, tau)
    encoded = Trajectories(predicted.x, tau, _encode(surrogate, predicted, c)[None])
    # The prediction is the mean of these decoders, and so each part of the error is the mean of their parts.
    sizes = [size for _, size in _decoders(surrogate)]
    calibrated = Trajectories(predicted.x, tau, best_trajectory(model.latent, sizes, x, encoded.z[0], tau)[None])
    chain = (encoded, calibrated, predicted)
    parts = torch.stack([c, torch.zeros_like(c), torch.zeros_like(c)])
    by_stage = []
    for k, stage in enumerate(model.stages):
        if isinstance(stage, KrigingStage):
            # Without a stage before it there is no drift.
            before = model.mean(stage.x, tau, k) if k else torch.zeros(len(stage.x), *c.shape, dtype=c.dtype)
            parts = _with_kriging(parts, stage, stage.drift_weight if k else 0.0, before, predicted, c)
        else:
            at_encoded, at_calibrated, at_predicted = (stage.evaluate(along)[0] for along in chain)
            parts = parts + torch.stack([-at_encoded, at_encoded - at_calibrated, at_calibrated - at_predicted])
        by_stage.append(parts)
    autoencoder, latent_dynamics, interpolation = torch.stack(by_stage, dim=1).numpy()
    return autoencoder, latent_dynamics, interpolation


def _with_kriging(
    parts: Float[Tensor, "3 time rank"],
    stage: KrigingStage,
    drift_weight: float,
    before: Float[Tensor, "point time rank"],
    predicted: Trajectories,
    c: Float[Tensor, "time rank"],
) -> Float[Tensor, "3 time rank"]:
    """Parts of the error after a kriging stage, from those before it.

    Args:
        before: prediction of the stages before at the training points.
        predicted: the latent trajectory of the prediction.
        c: the truth.
    """
    kriged = torch.tensordot(torch.from_numpy(stage.kriging.weights(predicted.x.numpy())), before, dims=1)[0]
    field = stage.evaluate(predicted)[0] + drift_weight * kriged  # K[c]
    autoencoder, latent_dynamics, interpolation = drift_weight * parts
    return torch.stack(
        [
            autoencoder - drift_weight * (field - kriged),
            latent_dynamics,
            interpolation + (1 - drift_weight) * (c - field),
        ]
    )


def _encode(surrogate: Surrogate, along: Trajectories, c: Float[Tensor, "time rank"]) -> Float[Tensor, "time latent"]:
    """The latent states of a true trajectory.

    An encoder that was trained with its decoder is used as it is. A linear one was fitted afterwards, to a decoder that
    was trained without an encoder, and is inaccurate where the decoder is steep. Then the encoding is the latent state
    that the first stage decodes closest to the truth, searched from the linear encoding or the predicted state.
    """
    z = surrogate.encoder.encode(c)
    if surrogate.encoder.is_trained:
        return z
    decoders = _decoders(surrogate)
    starts = torch.stack([z, along.z[0]]).split([size for _, size in decoders], dim=-1)
    blocks = zip(decoders, starts, strict=True)
    return torch.cat([_closest_from(stage, along, c, start) for (stage, _), start in blocks], dim=-1)


def _decoders(surrogate: Surrogate) -> Sequence[tuple[Stage, int]]:
    """The decoders whose mean the first stage is, and the number of latent states of each."""
    return surrogate.model.stages[0].decoders(surrogate.model.latent.n_latent)


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
    """Latent states that decode closest to `c`, time by time, by Levenberg-Marquardt steps for all times at once.

    `scipy.optimize.least_squares` would take one time after the other.

    Args:
        decoder: maps `[n, time, latent]` to `[n, time, rank]`, float64.
    """
    z, damping = start, torch.full((len(c), 1, 1), FIRST_DAMPING, dtype=c.dtype)
    decoded = decoder(z[None])[0]
    identity = torch.eye(z.shape[-1], dtype=c.dtype)
    for _ in range(MAX_ENCODING_STEPS):
        step = DIFFERENCE_STEP * z.abs().max().clamp_min(1e-6)
        jacobian = ((decoder(z + step * identity[:, None]) - decoded) / step).permute(1, 2, 0)
        gram = jacobian.mT @ jacobian
        level = gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(torch.finfo(c.dtype).tiny)[:, None, None]
        right = jacobian.mT @ (c - decoded)[..., None]
        trial = z + torch.linalg.solve(gram + damping * level * identity, right)[..., 0]
        redecoded = decoder(trial[None])[0]
        better = (c - redecoded).norm(dim=-1, keepdim=True) < (c - decoded).norm(dim=-1, keepdim=True)
        z, decoded = torch.where(better, trial, z), torch.where(better, redecoded, decoded)
        damping = torch.where(better[..., None], damping / 10, damping * 10).clamp(MIN_DAMPING, MAX_DAMPING)
    return z
