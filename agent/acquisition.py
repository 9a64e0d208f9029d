"""Acquisition functions: where the solver should run next.

A score knows a surrogate and the pending points, and nothing else of the world; `propose` maximises it over the
continuous box. No score needs a solve: test points are never candidates.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, Field
from scipy.optimize import minimize

from mlasdi.surrogate import Surrogate
from solvers.parameters import ParameterSpace

AcquisitionName = Literal["field-std", "coefficient-std", "sobol"]
Score = Callable[[np.ndarray], np.ndarray]
"""Physical parameters `[n_mu, n_params]` to scores `[n_mu]`; larger is more wanted."""

# Scores below this are rounding: nothing in the box is uncertain any more.
NOTHING_LEFT = 1e-12


class SamplingSettings(BaseModel, frozen=True, extra="forbid"):
    """The initial design and the choice of further points."""

    initial: Literal["corners", "sobol", "corners+sobol"] = "corners"
    initial_sobol: int = Field(0, ge=0, description="Sobol points of the initial design, where it has any")
    acquisition: AcquisitionName = "field-std"
    batch: int = Field(1, ge=1, description="points chosen in a round")
    candidates: int = Field(256, ge=8, description="Sobol points from which the maximisation starts")


def initial_design(space: ParameterSpace, settings: SamplingSettings, seed: int) -> Float[np.ndarray, "point n_params"]:
    """Points to solve before there is a model."""
    parts = [space.corners()] if "corners" in settings.initial else []
    if "sobol" in settings.initial:
        parts.append(space.sobol(settings.initial_sobol, seed))
    return np.concatenate(parts)


def score_function(surrogate: Surrogate, name: AcquisitionName, pending: Float[np.ndarray, "q n_params"]) -> Score:
    """The score of a named acquisition function, with pending points counted as known.

    `coefficient-std` is the standard deviation of the GP coefficients, each in units of its own variation.
    `field-std` propagates it through the latent ODE and all decoders to the field, relative to the solution.
    """
    if name == "coefficient-std":
        return lambda mu: surrogate.coefficient_std(mu, pending)
    return lambda mu: surrogate.relative_std(mu, pending)


def propose(
    surrogate: Surrogate, settings: SamplingSettings, known: Float[np.ndarray, "point n_params"], n: int, seed: int
) -> tuple[Float[np.ndarray, "n n_params"], Float[np.ndarray, " n"]]:
    """The next `n` points and their scores, chosen one after the other with those before counted as pending.

    Args:
        known: points that are solved, failed or under way; none is proposed again.
        seed: of the candidates.

    Returns:
        Points in physical units and scores; fewer than `n` where nothing in the box is uncertain any more.
    """
    space = surrogate.space
    if settings.acquisition == "sobol":
        return _next_sobol(space, known, n, seed)
    chosen, scores = np.empty((0, space.n_params)), list[float]()
    trained = surrogate.space.from_unit(surrogate.model.latent.x)
    for i in range(n):
        # Known points without a solution (failed ones) would be proposed for ever, so they count as pending too.
        unsolved = [mu for mu in known if np.abs(space.to_unit(trained) - space.to_unit(mu)).max(axis=1).min() > 1e-9]
        pending = np.concatenate([np.reshape(unsolved, (-1, space.n_params)), chosen])
        point, score = _maximise(space, score_function(surrogate, settings.acquisition, pending), settings, seed + i)
        if score < NOTHING_LEFT:
            break
        chosen, scores = np.vstack([chosen, point]), [*scores, score]
    return chosen, np.array(scores)


def _maximise(
    space: ParameterSpace, score: Score, settings: SamplingSettings, seed: int
) -> tuple[Float[np.ndarray, " n_params"], float]:
    """Best point of the box: Sobol candidates and corners, then the best three refined by L-BFGS-B.

    The scores are smooth inside the box, and their maxima often lie on its faces, which the bounds reach exactly.
    """
    x = space.to_unit(np.concatenate([space.sobol(settings.candidates, seed), space.grid(3)[: settings.candidates]]))
    values = score(space.from_unit(x))
    bounds = [(0.0, 1.0)] * space.n_params
    best_x, best = x[np.argmax(values)], float(values.max())
    scale = max(best, NOTHING_LEFT)
    for start in x[np.argsort(values)[-3:]]:
        refined = minimize(
            lambda x: -float(score(space.from_unit(x[None]))[0]) / scale, start, method="L-BFGS-B", bounds=bounds,
            options={"eps": 1e-4, "maxiter": 20},
        )  # fmt: skip
        if -refined.fun * scale > best:
            best_x, best = refined.x, -refined.fun * scale
    return space.from_unit(best_x), best


def _next_sobol(
    space: ParameterSpace, known: Float[np.ndarray, "point n_params"], n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The next points of the sequence that are not known yet: the control for every other choice."""
    sequence = space.sobol(len(known) + n, seed)
    is_known = np.array([np.abs(space.to_unit(known) - x).max(axis=1).min() < 1e-9 for x in space.to_unit(sequence)])
    return sequence[~is_known][:n], np.zeros(n)
