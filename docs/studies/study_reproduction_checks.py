"""Checks of the trained models of the reproduction: second decoders, correlations, a quadratic library, findings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from study_correlations import pearson
from study_problems import FirstStage, Problem
from torch import Tensor
from trajectory_fit import DynamicsOverBox

from mlasdi.decoders import DecoderSettings, fit_decoder
from mlasdi.latent.affine import least_squares
from mlasdi.latent.parametrisations import Affine, Form, FreeQuadratic
from mlasdi.stages import NetworkSettings
from mlasdi.surrogate import Surrogate
from mlasdi.validation.stage_measures import distance_correlation

SMOOTH = ("tanh", "softplus")  # activations beside the sine
LIBRARIES: Mapping[str, type[Form]] = {"1, z": Affine, "1, z, z z": FreeQuadratic}
LONG = 3.0  # training intervals
RIDGE = 1e-10  # of the least squares, as in the training of autoencoders


@dataclass(frozen=True)
class Decoded:
    """A second decoder after a first stage.

    Attributes:
        train, test: largest error over points and times.
        losses: (step, loss); the loss is the mean square of what is left of the scaled residual.
    """

    train: float
    test: float
    losses: Sequence[tuple[int, float]]


def decoded(first: FirstStage, settings: DecoderSettings, kept: Path) -> Decoded:
    """Train one decoder, or read what came out before.

    Args:
        kept: folder of what was trained before.
    """
    asked = [settings.model_dump(mode="json"), hashlib.sha256(first.residual.numpy().tobytes()).hexdigest()]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    path = kept / f"{first.problem.name}-decoder-{key}.json"
    if path.exists():
        return Decoded(**json.loads(path.read_text()))
    losses: list[tuple[int, float]] = []
    decoder = fit_decoder(
        first.along, first.residual, settings, torch.Generator().manual_seed(0), lambda *pair: losses.append(pair)
    )
    both, test = first.followed_by(decoder), first.problem.test
    knowing = both.starting_from(test.mu, test.u[:, 0])
    found = Decoded(
        float(first.problem.errors(both, first.problem.train).max()), float(first.problem.errors(knowing).max()), losses
    )
    kept.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(found)))
    return found


def second_decoders(
    problem: Problem, surrogate: Surrogate, stage: DecoderSettings, kappas: Sequence[float], steps: int, kept: Path
) -> tuple[Mapping[float, Decoded], Mapping[str, Decoded]]:
    """Second stages by kappa and by activation, after the first stage of a model."""
    first = FirstStage.of(problem, alone(surrogate))

    def outcome(**changed: Any) -> Decoded:
        network = NetworkSettings.model_validate(stage.network.model_dump() | changed)
        return decoded(first, stage.model_copy(update={"network": network, "steps": steps}), kept)

    by_activation = {name: outcome(activation=name) for name in (*SMOOTH, "sine")}
    return {kappa: outcome(kappa=kappa) for kappa in kappas}, by_activation


def alone(surrogate: Surrogate) -> Surrogate:
    """The first stage of a model."""
    return replace(surrogate, model=replace(surrogate.model, stages=surrogate.model.stages[:1]))


def correlations(problem: Problem, surrogate: Surrogate) -> tuple[float, float]:
    """Pearson's and the distance correlation of latent states with what the first stage leaves at the training points.

    Pearson's is that of the study of correlations: the largest with one latent state, root mean square over the
    coordinates of the residual.
    """
    first = FirstStage.of(problem, alone(surrogate))
    z, residual = first.along.z.flatten(0, 1), first.residual.flatten(0, 1)
    return pearson(z.numpy(), residual.numpy()), distance_correlation(z, residual) or 0.0


@dataclass(frozen=True)
class Library:
    """Latent dynamics with one SINDy library, calibrated to the encoded training trajectories.

    Attributes:
        n_coefficients: for each training point.
        misfit: of integrated trajectories at the training points, relative to the encoded ones.
        misfit_between: the same at the test points, with interpolated coefficients.
        blown_up: random points of the box at which a sample of the coefficients blows up within the training interval.
        blown_up_longer: the same within three training intervals.
    """

    n_coefficients: int
    misfit: float
    misfit_between: float
    blown_up: int
    blown_up_longer: int


def libraries(problem: Problem, surrogate: Surrogate, n_samples: int) -> Mapping[str, Library]:
    """Both libraries in the latent space of a model: coefficients by least squares, Gaussian processes as published."""
    return {name: _library(form, problem, surrogate, n_samples) for name, form in LIBRARIES.items()}


def _library(kind: type[Form], problem: Problem, surrogate: Surrogate, n_samples: int) -> Library:
    encoded = partial(_encoded, surrogate)
    z, z_test = encoded(problem.train.u), encoded(problem.test.u)
    form = kind(z.shape[-1])
    over_box = DynamicsOverBox(form, problem.x, calibrated(form, z, problem.tau).numpy(), z[:, 0].numpy(), None)
    x_test = problem.train.space.to_unit(problem.test.mu)
    from_known = np.concatenate([over_box.gp.posterior(x_test)[0][:, : form.n_coefficients], z_test[:, 0]], axis=1)
    between = form.solve(*torch.from_numpy(from_known).split([form.n_coefficients, form.n_latent], dim=1), problem.tau)
    rng, long = np.random.default_rng(0), torch.linspace(0, LONG, round(LONG * (len(problem.tau) - 1)) + 1).double()
    ends = over_box.sampled(rng.uniform(size=(n_samples, problem.x.shape[1])), long, rng).blew_up_at
    return Library(
        form.n_coefficients,
        _misfit(over_box.trajectories(problem.x, problem.tau).z, z),
        _misfit(between.z, z_test),
        int((ends <= 1).sum()),
        int(torch.isfinite(ends).sum()),
    )


def _encoded(surrogate: Surrogate, u: Float[np.ndarray, "param time state"]) -> Float[Tensor, "param time latent"]:
    return surrogate.encoder.encode(torch.from_numpy(surrogate.basis.project(u))).double()


def calibrated(
    form: Form, z: Float[Tensor, "point time latent"], t: Float[Tensor, " time"]
) -> Float[Tensor, "point coefficient"]:
    """Coefficients of `Affine` or `FreeQuadratic` dynamics by least squares of finite differences, for each point."""
    k, j = torch.triu_indices(z.shape[-1], z.shape[-1])
    products = z[..., k] * z[..., j] if isinstance(form, FreeQuadratic) else z[..., :0]
    library = torch.cat([torch.ones_like(z[..., :1]), z, products], dim=-1)
    (velocity,) = torch.gradient(z, spacing=(t,), dim=-2, edge_order=1)
    xi = least_squares(library, velocity, RIDGE)  # [point, latent, terms]
    constant, linear, quadratic = xi.split([1, z.shape[-1], products.shape[-1]], dim=-1)
    parts = constant, linear, quadratic.transpose(-1, -2)  # as the forms have them
    return torch.cat([part.reshape(len(z), -1) for part in parts], dim=1)


def _misfit(z: Float[Tensor, "param time latent"], truth: Float[Tensor, "param time latent"]) -> float:
    return float((z - truth).norm() / (truth - truth.mean(dim=(0, 1))).norm())
