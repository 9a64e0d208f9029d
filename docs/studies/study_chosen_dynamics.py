"""The default model with each of the dynamics that a configuration can ask for: errors, seconds, blow-ups."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from study_dynamics import DUFFING_END, OMEGA, Size
from study_problems import Problem

from mlasdi.latent import LatentModel
from mlasdi.training import ModelSettings, fit

DYNAMICS = ("affine", "quadratic", "second-order")
PARTS = 1000  # samples that are integrated at once
LONG = 3.0  # training intervals


@dataclass(frozen=True)
class Chosen:
    """First stages of the default model, without others.

    Attributes:
        train, test: largest relative error of the field at training and test points.
        left_out: leave-one-out error.
        blown_up: samples of the coefficients, at random points, that blow up within three training intervals.
    """

    problem: str
    dynamics: str
    train: float
    test: float
    left_out: float
    fit_s: float
    blown_up: int


def chosen(problem: Problem, size: Size) -> Iterator[Chosen]:
    """A model for each of the dynamics; all but affine ones are forced where the problem is."""
    forced = problem.name == "duffing"
    for dynamics in DYNAMICS:
        first: dict[str, object] = {
            "dynamics": dynamics, "iterations": size.first_stage, "integration_steps": size.steps,
        }  # fmt: skip
        if forced and dynamics != "affine":
            first["forcing"] = [OMEGA * DUFFING_END / (2 * math.pi)]
        dims = (3,) if forced else size.latent_dims  # the state of Duffing's problem has no more
        given = {"first_stage": first, "stages": [], "n_time": len(problem.train.t), "latent_dim": dims}
        given |= {"time_scaling": "off", "coordinate_scaling": "off"}  # the dynamics of the solutions themselves
        surrogate = fit(problem.train, ModelSettings.model_validate(given), seed=0)
        test, train = (float(problem.errors(surrogate, data).max()) for data in (problem.test, problem.train))
        record = surrogate.record
        blown_up = _blown_up(surrogate.model.latent, size.n_samples)
        yield Chosen(problem.name, dynamics, train, test, record.stage_errors[0], record.fit_s, blown_up)


def _blown_up(latent: LatentModel, n_samples: int) -> int:
    """Of samples of the posterior, one at each of so many random points."""
    rng, t, found = np.random.default_rng(0), torch.tensor([LONG], dtype=torch.float64), 0
    for start in range(0, n_samples, PARTS):
        x = rng.uniform(size=(min(PARTS, n_samples - start), latent.x.shape[1]))
        steps = latent.gp.deviations(x)
        flat = latent.mean_coefficients(x) + np.einsum("dp,dpo->po", rng.standard_normal(steps.shape[:2]), steps)
        outcome = latent.solve(flat, t)
        found += int((~outcome.finished | ~torch.isfinite(outcome.z).all(dim=(-2, -1))).sum())
    return found
