"""The maximum of a score over a parameter box: by gradients where the box is free, by neighbours where it is not."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from mlasdi.agent.choosing.sampling import SAME, near
from mlasdi.solvers import ParameterSpace

Score = Callable[[np.ndarray], np.ndarray]
"""Physical parameters `[n_mu, n_params]` to scores `[n_mu]`; larger is more wanted."""


# Scores below this are rounding, or what the basis leaves out: nothing in the box is uncertain any more.
MIN_SCORE = 1e-7
# A solve this close to another one, in every parameter of the unit cube, would tell nothing new. It may score highest
# all the same, where kernels are so smooth that only their nugget is left.
APART = 0.01
# Step of the differences that stand for the gradient of a score, in the unit cube; maxima are found half of it aside.
STEP = 3e-5
# Iterations of a refinement, and the relative gain of one below which it ends: scores are no better known than that.
ITERATIONS, LEAST_GAIN = 20, 1e-4
# The search among neighbours: half the widths of the boxes from which they are drawn, and how many for each parameter.
WIDTHS, NEIGHBOURS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001), 8


def best_of(points: Float[np.ndarray, "m n_params"], score: Score) -> tuple[Float[np.ndarray, " n_params"], float]:
    """The point with the highest score; where there are none, no score is above zero."""
    if not len(points):
        return np.zeros(points.shape[1]), 0.0
    values = score(points)
    return points[np.argmax(values)], float(values.max())


def maximise(
    space: ParameterSpace,
    score: Score,
    taken: Float[np.ndarray, "m n_params"],
    n_candidates: int,
    seed: int,
    n_starts: int = 3,
) -> tuple[Float[np.ndarray, " n_params"], float]:
    """The best feasible point of the box that is not taken: the best of many candidates, refined.

    Scores are smooth inside the box, and their maxima often lie on its faces, which the bounds of a search by gradients
    reach exactly. Constraints and whole numbers allow no gradients; there, neighbours are tried.

    Args:
        taken: points of the unit cube. Where they fill it, no score is above zero.
        n_starts: how many of the candidates are refined.
    """
    x = _candidates(space, n_candidates, seed)
    x = x[~near(x, taken, _apart(space))]
    if not len(x):
        return space.from_unit(taken[0]), 0.0
    values = score(space.from_unit(x))
    best_x, best = x[np.argmax(values)], float(values.max())
    for start in np.argsort(values)[-n_starts:]:
        if space.is_restricted:
            refined, value = _by_neighbours(space, score, x[start], float(values[start]), taken, seed)
        else:
            refined, value = refine_lbfgs(lambda x: score(space.from_unit(x)), x[start], float(values[start]))
        if value > best and not near(refined[None], taken, _apart(space))[0]:
            best_x, best = refined, value
    return space.from_unit(best_x), best


def _apart(space: ParameterSpace) -> Float[np.ndarray, " n_params"]:
    """Distances along each parameter below which points are one: neighbouring whole numbers are two."""
    width = np.array([p.high - p.low if p.integer and p.scale == "linear" else np.inf for p in space.parameters])
    return np.where(np.isfinite(width), np.minimum(APART, 0.5 / width), APART)


def is_apart(space: ParameterSpace, x: Float[np.ndarray, "n d"], taken: Float[np.ndarray, "m d"]) -> bool:
    """Whether points of the unit cube keep their distance from others and from each other."""
    limit = _apart(space)
    among = [near(x[i : i + 1], x[:i], limit).any() for i in range(1, len(x))]
    return not (near(x, taken, limit).any() or any(among))


def _candidates(space: ParameterSpace, n: int, seed: int) -> Float[np.ndarray, "k n_params"]:
    """Sobol points, and the finest grid of at most half as many: faces and corners, where maxima often lie."""
    found = space.unit_sobol(n, seed)
    for n_per_axis in (3, 2):
        if 2 * n_per_axis**space.n_params <= n:
            return np.concatenate([found, space.to_unit(space.grid(n_per_axis))])
    return found


def refine_lbfgs(
    score: Callable[[np.ndarray], np.ndarray], start: Float[np.ndarray, " d"], value: float
) -> tuple[Float[np.ndarray, " d"], float]:
    """L-BFGS-B from a start in the unit cube, where the score is `value`, with differences in place of gradients.

    Args:
        score: of points of the unit cube `[n, d]`; smooth.
    """
    scale, d = max(abs(value), MIN_SCORE), len(start)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        # All differences in one call: a score of many points costs little more than that of one.
        steps = np.where(x + STEP > 1, -STEP, STEP)
        value, *beside = -score(np.vstack([x, x + np.diag(steps)])) / scale
        return float(value), (np.array(beside) - value) / steps

    options = {"maxiter": ITERATIONS, "ftol": LEAST_GAIN}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * d, options=options)
    return found.x, -found.fun * scale


def _by_neighbours(
    space: ParameterSpace,
    score: Score,
    start: Float[np.ndarray, " n_params"],
    value: float,
    taken: Float[np.ndarray, "m n_params"],
    seed: int,
) -> tuple[Float[np.ndarray, " n_params"], float]:
    """The best of random neighbours, from its place again, in ever smaller boxes; those outside are pulled in."""
    rng = np.random.default_rng(seed)
    x, best = start, value
    n = NEIGHBOURS * (space.n_params + 1)
    for width in WIDTHS:
        for _ in range(ITERATIONS):
            around = np.clip(x + width * rng.uniform(-1, 1, (n, space.n_params)), 0, 1)
            around = space.pulled_in(np.tile(x, (n, 1)), around)
            around = around[~near(around, x[None], SAME) & ~near(around, taken, _apart(space))]
            point, found = best_of(space.from_unit(around), score)
            if found <= best * (1 + 1e-6):
                break
            x, best = space.to_unit(point), found
    return x, best
