"""Predictions in time beyond the training data: errors over time, and how long they stay small."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from study_problems import BOX, VISCOSITIES, Problem, stored, wake

from mlasdi.latent.affine import growth_rates
from mlasdi.preprocessing import BasisSettings, PodBasis, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.surrogate import ExtrapolationWarning, Surrogate, relative_error
from mlasdi.training import ModelSettings, fit

LIMIT = 0.05  # error up to which a prediction counts
DMD, LAST, GP = "DMD of the test trajectory", "last state held", "snapshot GP"
# Name -> settings of the model.
MODELS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "without kriging": {"stages": [{"kind": "sine-features"}]},
    "one model of 8 latents": {"latent_dim": 8, "stages": []},
    GP: {"kind": "snapshot-gp"},
}


@dataclass(frozen=True)
class Size:
    """How large the study is; the defaults are the smaller settings of the page.

    Attributes:
        burgers1d, multiscale, wake: options of the solvers.
        every: every how many times of burgers1d are kept.
        viscosities: of the wake, for training; the test is at .00043.
        iterations: of the first stage.
    """

    burgers1d: Mapping[str, Any] = field(default_factory=dict)
    multiscale: Mapping[str, Any] = field(default_factory=dict)
    wake: Mapping[str, Any] | None = field(default_factory=lambda: {"order": 3})
    every: int = 5
    viscosities: tuple[float, ...] = (0.00032, 0.00041, 0.00054)
    iterations: int = 150


FULL = Size(wake={}, every=1, viscosities=VISCOSITIES)


def problems(size: Size) -> list[Problem]:
    """All problems; solves of the wake are kept between runs, and it is left out where there are no options for it."""
    line = ParameterSpace((Parameter("A", 1.0, 1.4),))
    found = [
        stored("burgers1d", size.burgers1d, BOX, BOX.grid(3), BOX.from_unit(_off_grid()), size.every),
        stored("multiscale", size.multiscale, line, np.array([[1.0], [1.4]]), np.array([[1.2]])),
    ]
    twice = {"t_end": 4 * np.pi, "n_t": 2 * found[1].train.u.shape[1] - 1}
    longer = stored("multiscale", {**size.multiscale, **twice}, line, found[1].train.mu, found[1].test.mu)
    found.append(replace(longer, name="multiscale (two periods)"))
    if size.wake is not None:
        found.append(wake(size.viscosities, **size.wake))
    return found


def half(problem: Problem) -> int:
    """Number of times in [0, T/2]."""
    return len(problem.train.t) // 2 + 1


def known(problem: Problem) -> TrainingData:
    """The first half of the training trajectories."""
    data, n = problem.train, half(problem)
    return replace(data, t=data.t[:n], u=data.u[:, :n])


def _off_grid() -> Float[np.ndarray, "point 2"]:
    """The centres of the four cells of the training grid."""
    return np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])


@dataclass(frozen=True)
class Measured:
    """What was measured on one problem.

    Attributes:
        t: times `[time]`, of which the first `half` train.
        errors: method -> largest relative L2 error over the test points `[time]`.
        growth: model with latent dynamics -> largest growth rate of its latent states, in units of one over T/2.
        reach: how far the default model's latent states get after T/2 from the middle of those before, in units of how
            far they get before.
        drift_weight: of the default model's kriging stage in the stages before, None where it has none.
    """

    t: Float[np.ndarray, " time"]
    half: int
    errors: Mapping[str, Float[np.ndarray, " time"]]
    growth: Mapping[str, float]
    reach: float
    drift_weight: float | None

    def horizon(self, method: str) -> float:
        """Time after T/2 for which the error stays below the limit, in units of T/2; below zero, before T/2."""
        above = np.flatnonzero(self.errors[method] > LIMIT)
        end = self.t[above[0] - 1 if len(above) and above[0] else above[0] if len(above) else -1]
        middle = self.t[self.half - 1]
        return float((end - middle) / (middle - self.t[0]))


def settings(size: Size, problem: Problem, given: Mapping[str, Any]) -> ModelSettings:
    """Of a model that is given by what differs from the default."""
    own = {"kind": "mlasdi", "n_time": half(problem), "time_scaling": "off", "coordinate_scaling": "off", **given}
    if problem.name == "wake":
        own["basis"] = {"tolerance": 1e-4}  # beyond, the modes are noise of the scheme
    if own["kind"] == "mlasdi":
        own["first_stage"] = {"iterations": size.iterations}
    return ModelSettings.model_validate(own)


def measured(size: Size, problem: Problem) -> Measured:
    errors, growth, drift_weight, reach = {}, {}, None, np.nan
    for name, given in MODELS.items():
        surrogate = fit(known(problem), settings(size, problem, given), seed=0)
        errors[name] = _largest(problem, beyond(surrogate, problem))
        if given.get("kind", "mlasdi") == "mlasdi":
            growth[name] = float(growth_rates(torch.from_numpy(surrogate.model.latent.xi)).max())
        if name == "default":
            drift_weight = next(
                (stage.drift_weight for stage in surrogate.model.stages if stage.kind == "kriging"), None
            )
            reach = _reach(surrogate, problem)
            held = beyond(surrogate, problem)
            held[:, half(problem) :] = held[:, half(problem) - 1 : half(problem)]
            errors[LAST] = _largest(problem, held)
    errors[DMD] = _largest(problem, np.stack([dmd(u[: half(problem)], len(problem.train.t)) for u in problem.test.u]))
    return Measured(problem.train.t, half(problem), errors, growth, reach, drift_weight)


def beyond(surrogate: Surrogate, problem: Problem) -> Float[np.ndarray, "param time state"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # it is what this study is about
        return surrogate.predict(problem.test.mu, problem.test.t, std=False).mean


def _reach(surrogate: Surrogate, problem: Problem) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        z = surrogate.latent_trajectories(problem.test.mu, problem.test.t).mean
    distance = np.linalg.norm(z - z[:, : half(problem)].mean(axis=(0, 1)), axis=-1)
    return float(distance[:, half(problem) :].max() / distance[:, : half(problem)].max())


def _largest(problem: Problem, prediction: Float[np.ndarray, "param time state"]) -> Float[np.ndarray, " time"]:
    return relative_error(problem.test.u, prediction).max(axis=0)


def dmd(u: Float[np.ndarray, "known state"], n_time: int, tolerance: float = 1e-4) -> Float[np.ndarray, "time state"]:
    """Dynamic mode decomposition of one trajectory at equidistant times, and its continuation.

    The operator of P. J. Schmid, J. Fluid Mech. 656, 2010, on POD coordinates and a constant.
    """
    basis = PodBasis.fit(u, BasisSettings(tolerance=tolerance))
    c = np.concatenate([basis.project(u), np.ones((len(u), 1))], axis=1)
    step = np.linalg.lstsq(c[:-1], c[1:], rcond=None)[0]
    values, vectors = np.linalg.eig(step)
    powers = values ** np.arange(n_time)[:, None]
    return basis.lift(np.real((powers * (c[0] @ vectors)) @ np.linalg.inv(vectors))[:, :-1])
