"""Maximises a score over a parameter box: by L-BFGS-B or, if the box is restricted, by random search."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from mlasdi.agent.choosing.sampling import is_near
from mlasdi.preprocessing import SAME_POINT
from mlasdi.solvers import ParameterSpace

Score = Callable[[np.ndarray], np.ndarray]
"""Maps physical parameters `[n_mu, n_params]` to scores `[n_mu]`; points with larger scores are preferred."""


# Scores below this are rounding errors or the truncation of the basis: nothing in the box is uncertain any more.
MIN_SCORE = 1e-7
# Smallest distance of a new point from others, as the largest difference of a parameter in the unit cube: a closer
# solve contains no new information, but may have the highest score if the kernel is so smooth that only its nugget is
# left.
MIN_SEPARATION = 0.01
# Step of the forward differences of a score, in the unit cube; maxima are found with half of it as error.
STEP = 3e-5
# Iterations of a refinement, and the relative gain below which it ends: scores are not more accurate than that.
ITERATIONS, MIN_GAIN = 20, 1e-4
# Random search: half widths of the boxes from which points are drawn, and number of points for each parameter.
WIDTHS, DRAWS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001), 8


def best_of(points: Float[np.ndarray, "m n_params"], score: Score) -> tuple[Float[np.ndarray, " n_params"], float]:
    """The point with the highest score, and that score; zeros if there are no points."""
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
    """The feasible point of the box with the highest score, and that score: the best of many candidates, refined.

    Scores are smooth inside the box. Their maxima often lie on its faces, which L-BFGS-B with bounds reaches exactly.
    With constraints or integer parameters, a random search takes its place.

    Args:
        taken: points of the unit cube from which the result keeps its distance; if they fill it, the score is 0.
        n_candidates, seed: of the Sobol sequence of candidates.
        n_starts: number of candidates that are refined.
    """
    x = _candidates(space, n_candidates, seed)
    x = x[~is_near(x, taken, _min_distance(space))]
    if not len(x):
        return space.from_unit(taken[0]), 0.0
    values = score(space.from_unit(x))
    best_x, best = x[np.argmax(values)], float(values.max())
    for start in np.argsort(values)[-n_starts:]:
        if space.is_restricted:
            refined, value = _refine_by_random_search(space, score, x[start], float(values[start]), taken, seed)
        else:
            refined, value = refine_lbfgs(lambda x: score(space.from_unit(x)), x[start], float(values[start]))
        if value > best and not is_near(refined[None], taken, _min_distance(space))[0]:
            best_x, best = refined, value
    return space.from_unit(best_x), best


def _min_distance(space: ParameterSpace) -> Float[np.ndarray, " n_params"]:
    """`MIN_SEPARATION` for each parameter; smaller for integers, so that neighbouring ones are separate."""
    width = np.array([p.high - p.low if p.integer and p.scale == "linear" else np.inf for p in space.parameters])
    limits = np.where(np.isfinite(width), np.minimum(MIN_SEPARATION, 0.5 / width), MIN_SEPARATION)
    for i, p in enumerate(space.parameters):
        if p.values:
            column = np.tile(space.bounds[0], (len(p.values), 1))
            column[:, i] = p.values
            limits[i] = min(MIN_SEPARATION, 0.5 * np.diff(space.to_unit(column)[:, i]).min())
    return limits


def are_separated(space: ParameterSpace, x: Float[np.ndarray, "n d"], taken: Float[np.ndarray, "m d"]) -> bool:
    """Whether points of the unit cube are separated from others and from each other."""
    limit = _min_distance(space)
    among = [is_near(x[i : i + 1], x[:i], limit).any() for i in range(1, len(x))]
    return not (is_near(x, taken, limit).any() or any(among))


def _candidates(space: ParameterSpace, n: int, seed: int) -> Float[np.ndarray, "k n_params"]:
    """Sobol points, and the finest grid with at most half as many: faces and corners, where maxima often lie."""
    found = space.unit_sobol(n, seed)
    for n_per_axis in (3, 2):
        if 2 * n_per_axis**space.n_params <= n:
            return np.concatenate([found, space.to_unit(space.grid(n_per_axis))])
    return found


def refine_lbfgs(
    score: Callable[[np.ndarray], np.ndarray], start: Float[np.ndarray, " d"], value: float
) -> tuple[Float[np.ndarray, " d"], float]:
    """Maximise a smooth score in the unit cube by L-BFGS-B with forward differences; returns the point and its score.

    Args:
        score: of points of the unit cube `[n, d]`.
        start, value: initial point and its score.
    """
    scale, d = max(abs(value), MIN_SCORE), len(start)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        # All differences in one call, which costs little more than a single point.
        steps = np.where(x + STEP > 1, -STEP, STEP)
        value, *shifted = -score(np.vstack([x, x + np.diag(steps)])) / scale
        return float(value), (np.array(shifted) - value) / steps

    options = {"maxiter": ITERATIONS, "ftol": MIN_GAIN}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * d, options=options)
    return found.x, -found.fun * scale


def _refine_by_random_search(
    space: ParameterSpace,
    score: Score,
    start: Float[np.ndarray, " n_params"],
    value: float,
    taken: Float[np.ndarray, "m n_params"],
    seed: int,
) -> tuple[Float[np.ndarray, " n_params"], float]:
    """Repeatedly move to the best of random points around the current one, in boxes of decreasing width.

    Infeasible points are moved towards the current one until they are feasible.
    """
    rng = np.random.default_rng(seed)
    x, best = start, value
    n = DRAWS * (space.n_params + 1)
    for width in WIDTHS:
        for _ in range(ITERATIONS):
            around = np.clip(x + width * rng.uniform(-1, 1, (n, space.n_params)), 0, 1)
            around = space.last_feasible(np.tile(x, (n, 1)), around)
            around = around[~is_near(around, x[None], SAME_POINT) & ~is_near(around, taken, _min_distance(space))]
            point, found = best_of(space.from_unit(around), score)
            if found <= best * (1 + 1e-6):
                break
            x, best = space.to_unit(point), found
    return x, best
