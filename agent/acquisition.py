"""Acquisition functions: where the solver should run next.

A score knows a surrogate and the pending points, and nothing else of the world; `propose` maximises it over the
continuous box, or over the points that a solver has where it has no others. Where solves fail, the score is multiplied
by the chance that one succeeds. No score needs a solve: test points are never candidates.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, Field
from scipy.optimize import minimize

from mlasdi.kriging import Kernel, Kriging
from mlasdi.surrogate import Surrogate
from solvers.parameters import ParameterSpace

AcquisitionName = Literal["field-std", "coefficient-std", "sobol"]
Score = Callable[[np.ndarray], np.ndarray]
"""Physical parameters `[n_mu, n_params]` to scores `[n_mu]`; larger is more wanted."""

# Scores below this are rounding: nothing in the box is uncertain any more.
NOTHING_LEFT = 1e-8
# Points of the unit cube that differ by less than this are one point, rounded.
SAME = 1e-9
# A solve this close to another one, in every parameter of the unit cube, would tell nothing new. It may score highest
# all the same, where kernels are so smooth that only their nugget is left.
APART = 0.01
# How far, in the unit cube, a failed solve speaks for its surroundings; and the share of its outcome that is chance.
FAILURE_REACH, FAILURE_NUGGET = 0.5, 1e-3
# Step of the central differences that stand for the gradient of a score, in the unit cube.
STEP = 1e-4


class SamplingSettings(BaseModel, frozen=True, extra="forbid"):
    """The initial design and the choice of further points."""

    initial: Literal["corners", "sobol", "corners+sobol", "all"] = "corners"
    initial_sobol: int = Field(0, ge=0, description="Sobol points of the initial design, where it has any")
    acquisition: AcquisitionName = "field-std"
    batch: int = Field(1, ge=1, description="points chosen in a round")
    candidates: int = Field(256, ge=8, description="Sobol points from which the maximisation starts")


def initial_design(
    space: ParameterSpace,
    settings: SamplingSettings,
    seed: int,
    available: Float[np.ndarray, "m n_params"] | None = None,
) -> Float[np.ndarray, "point n_params"]:
    """Points to solve before there is a model.

    Args:
        available: the only points that can be solved; None for the whole box. Of these, the nearest to the points that
            would be taken from the box, or with `initial: all` every one.

    Raises:
        ValueError: all points of a box are asked for.
    """
    if settings.initial == "all":
        if available is None:
            raise ValueError("sampling.initial: 'all' is for a data set; this solver has infinitely many points")
        return available
    parts = [space.corners()] if "corners" in settings.initial else []
    if "sobol" in settings.initial:
        parts.append(space.sobol(settings.initial_sobol, seed))
    design = np.concatenate(parts)
    return design if available is None else _nearest(space, design, available)


def _nearest(
    space: ParameterSpace, wanted: Float[np.ndarray, "n n_params"], available: Float[np.ndarray, "m n_params"]
) -> Float[np.ndarray, "k n_params"]:
    """For each wanted point the nearest of the available ones that is not taken yet, while there are any."""
    x, free = space.to_unit(available), np.ones(len(available), dtype=bool)
    taken = []
    for point in space.to_unit(wanted)[: len(available)]:
        taken.append(int(np.argmin(np.where(free, np.linalg.norm(x - point, axis=1), np.inf))))
        free[taken[-1]] = False
    return available[taken]


def score_function(surrogate: Surrogate, name: AcquisitionName, pending: Float[np.ndarray, "q n_params"]) -> Score:
    """The score of a named acquisition function, with pending points counted as known.

    `coefficient-std` is the standard deviation of the GP coefficients, each in units of its own variation.
    `field-std` propagates it through the latent ODE and all decoders to the field, relative to the solution.
    """
    if name == "coefficient-std":
        return lambda mu: surrogate.coefficient_std(mu, pending)
    return lambda mu: surrogate.relative_std(mu, pending)


def chance_of_success(
    space: ParameterSpace, solved: Float[np.ndarray, "n n_params"], failed: Float[np.ndarray, "m n_params"]
) -> Score:
    """Probability that a solve succeeds, by indicator kriging: interpolation of 1 at solved and 0 at failed points.

    Reference: A. G. Journel, Nonparametric estimation of spatial distributions. Mathematical Geology 15 (1983).
    """
    kernel = Kernel(family="matern52", lengthscale=(FAILURE_REACH,) * space.n_params, nugget=FAILURE_NUGGET)
    kriging = Kriging(space.to_unit(np.concatenate([solved, failed])), kernel)
    outcome = np.repeat([1.0, 0.0], [len(solved), len(failed)])
    return lambda mu: np.clip(kriging.weights(space.to_unit(mu)) @ outcome, 0, 1)


def propose(
    surrogate: Surrogate,
    settings: SamplingSettings,
    known: Float[np.ndarray, "point n_params"],
    n: int,
    seed: int,
    *,
    failed: Float[np.ndarray, "m n_params"] | None = None,
    available: Float[np.ndarray, "m n_params"] | None = None,
) -> tuple[Float[np.ndarray, "n n_params"], Float[np.ndarray, " n"]]:
    """The next `n` points and their scores, chosen one after the other with those before counted as pending.

    Args:
        known: points that are solved, failed or under way; none is proposed again.
        seed: of the candidates.
        failed: those of the known points at which solves failed; the points chosen keep away from where they do.
        available: the only points that can be solved; None for the whole box.

    Returns:
        Points in physical units and scores; fewer than `n` where nothing in the box is uncertain any more.
    """
    space = surrogate.space
    if settings.acquisition == "sobol":
        points = next_sobol(space, known, n, seed, available)
        return points, np.zeros(len(points))
    succeeds: Score = lambda mu: np.ones(len(mu))  # noqa: E731
    if failed is not None and len(failed):
        succeeds = chance_of_success(space, space.from_unit(surrogate.model.latent.x), failed)
    chosen, scores = np.empty((0, space.n_params)), list[float]()
    # Known points without a solution (failed ones) would be proposed for ever, so they count as pending too.
    unsolved = known[~_near(space.to_unit(known), surrogate.model.latent.x, SAME)]
    for i in range(n):
        uncertainty = score_function(surrogate, settings.acquisition, np.concatenate([unsolved, chosen]))
        score = _product(uncertainty, succeeds)
        taken = space.to_unit(np.concatenate([known, chosen]))
        if available is None:
            point, value = _maximise(space, score, taken, settings, seed + i)
        else:
            point, value = _best_of(available[~_near(space.to_unit(available), taken, SAME)], score)
        if value < NOTHING_LEFT:
            break
        chosen, scores = np.vstack([chosen, point]), [*scores, value]
    return chosen, np.array(scores)


def _product(one: Score, other: Score) -> Score:
    return lambda mu: one(mu) * other(mu)


def _best_of(points: Float[np.ndarray, "m n_params"], score: Score) -> tuple[Float[np.ndarray, " n_params"], float]:
    """The point with the highest score; where there are none, no score is above zero."""
    if not len(points):
        return np.zeros(points.shape[1]), 0.0
    values = score(points)
    return points[np.argmax(values)], float(values.max())


def _near(x: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"], limit: float) -> Bool[np.ndarray, " n"]:
    """Which points lie within `limit` of one of the others, in every parameter of the unit cube."""
    return (np.abs(x[:, None] - others).max(axis=-1) < limit).any(axis=1)


def _maximise(
    space: ParameterSpace, score: Score, taken: Float[np.ndarray, "m n_params"], settings: SamplingSettings, seed: int
) -> tuple[Float[np.ndarray, " n_params"], float]:
    """Best point of the box that is not taken: the best three of a coarse grid and Sobol points, refined by L-BFGS-B.

    The scores are smooth inside the box, and their maxima often lie on its faces, which the bounds reach exactly.

    Args:
        taken: points of the unit cube. Where they fill it, no score is above zero.
    """
    candidates = space.sobol(settings.candidates, seed)
    if 3**space.n_params <= settings.candidates:
        candidates = np.concatenate([candidates, space.grid(3)])
    candidates = candidates[~_near(space.to_unit(candidates), taken, APART)]
    if not len(candidates):
        return space.from_unit(taken[0]), 0.0
    x, values = space.to_unit(candidates), score(candidates)
    best_x, best = x[np.argmax(values)], float(values.max())
    scale = max(best, NOTHING_LEFT)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        # All differences in one call: a score of many points costs little more than that of one.
        steps = STEP * np.eye(space.n_params)
        around = np.clip(np.concatenate([x + steps, x - steps]), 0, 1)
        value, *others = -score(space.from_unit(np.vstack([x, around]))) / scale
        ahead, behind = np.reshape(others, (2, -1))
        return float(value), (ahead - behind) / (around[: len(x)] - around[len(x) :]).diagonal()

    for start in x[np.argsort(values)[-3:]]:
        bounds = [(0.0, 1.0)] * space.n_params
        refined = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 20})
        if -refined.fun * scale > best and not _near(refined.x[None], taken, APART)[0]:
            best_x, best = refined.x, -refined.fun * scale
    return space.from_unit(best_x), best


def next_sobol(
    space: ParameterSpace,
    known: Float[np.ndarray, "point n_params"],
    n: int,
    seed: int,
    available: Float[np.ndarray, "m n_params"] | None,
) -> Float[np.ndarray, "n n_params"]:
    """The next points of the sequence that are not known yet, or what is available near them.

    The control for every other choice of points, and what stands in for failed points of the initial design.
    """
    if available is not None:
        available = available[~_near(space.to_unit(available), space.to_unit(known), SAME)]
    sequence = space.sobol(len(known) + n, seed)
    points = sequence[~_near(space.to_unit(sequence), space.to_unit(known), SAME)][:n]
    return points if available is None else _nearest(space, points, available)
