"""Acquisition functions: where the solver should run next.

A score knows a surrogate and the pending points, and nothing else of the world; `propose` maximises it over the
feasible part of the box, or over the points that may be chosen where there are no others. Where solves fail, the score
is multiplied by the chance that one succeeds. No score needs a solve: test points are never candidates.
"""

import numpy as np
from jaxtyping import Float

from mlasdi.agent.choosing.box_search import MIN_SCORE, Score, best_of, is_apart, maximise, refine_lbfgs
from mlasdi.agent.choosing.sampling import SAME, AcquisitionName, SamplingSettings, near, next_sobol
from mlasdi.agent.choosing.variance_reduction import VarianceReduction
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.solvers import ParameterSpace
from mlasdi.surrogate import Surrogate

# The largest relative deviation over time is looked for at so many times: it varies slowly, and decoding is the cost.
SCORED_TIMES = 16
# With more parameters only the best candidate is refined: a gradient takes as many scores as there are.
FEW_PARAMS = 4
# How far, in the unit cube, a failed solve speaks for its surroundings; and the share of its outcome that is chance.
FAILURE_REACH, FAILURE_NUGGET = 0.5, 1e-3


def score_function(surrogate: Surrogate, name: AcquisitionName, pending: Float[np.ndarray, "q n_params"]) -> Score:
    """The score of a named acquisition function, with pending points counted as known.

    `coefficient-std` is the standard deviation of the GP coefficients, each in units of its own variation.
    `field-std` propagates it through the latent ODE and all decoders to the field, relative to the solution.
    `integrated-variance` is what a solve takes off the mean of the latter's square over the box, as its root.
    """
    if name == "coefficient-std":
        return lambda mu: surrogate.coefficient_std(mu, pending)
    if name == "field-std":
        return lambda mu: surrogate.relative_std(mu, pending, n_time=SCORED_TIMES)
    space = surrogate.space
    reduction = VarianceReduction.of(surrogate, space.to_unit(pending))
    return lambda mu: reduction.gain(space.to_unit(mu)[:, None])


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

    A batch that lowers the integrated variance is then moved, all points together, to where they gain most; where the
    box has constraints, or solves have failed, it stays as it was chosen.

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
    x_known = space.to_unit(known)
    # Known points without a solution (failed ones) would be proposed for ever, so they count as pending too.
    unsolved = known[~near(x_known, surrogate.model.latent.x, SAME)]
    succeeds = None
    if failed is not None and len(failed):
        succeeds = chance_of_success(space, space.from_unit(surrogate.model.latent.x), failed)
    chosen, scores = np.empty((0, space.n_params)), list[float]()
    is_integrated = settings.acquisition == "integrated-variance"
    # The integral is dear, and smoother than what it integrates.
    n_starts = 1 if is_integrated or space.n_params > FEW_PARAMS else 3
    for i in range(n):
        score = score_function(surrogate, settings.acquisition, np.concatenate([unsolved, chosen]))
        if succeeds is not None:
            score = _product(score, succeeds)
        taken = np.concatenate([x_known, space.to_unit(chosen)])
        if available is None:
            point, value = maximise(space, score, taken, settings.candidates, seed + i, n_starts)
        else:
            point, value = best_of(available[~near(space.to_unit(available), taken, SAME)], score)
        if value < MIN_SCORE:
            break
        chosen, scores = np.vstack([chosen, point]), [*scores, value]
    is_free = available is None and not space.is_restricted and succeeds is None
    if is_integrated and is_free and len(chosen) > 1:
        chosen = _moved_together(surrogate, chosen, x_known, space.to_unit(unsolved))
    return chosen, np.array(scores)


def _moved_together(
    surrogate: Surrogate,
    chosen: Float[np.ndarray, "n n_params"],
    known: Float[np.ndarray, "point n_params"],
    pending: Float[np.ndarray, "m n_params"],
) -> Float[np.ndarray, "n n_params"]:
    """A batch where its points gain most together; as it was if two of them, or a known one, would then be one.

    Args:
        known, pending: points of the unit cube.
    """
    space = surrogate.space
    reduction = VarianceReduction.of(surrogate, pending)

    def gain(batches: np.ndarray) -> np.ndarray:
        return reduction.gain(batches.reshape(-1, *chosen.shape))

    start = space.to_unit(chosen).ravel()
    moved, _ = refine_lbfgs(gain, start, float(gain(start)[0]))
    moved = moved.reshape(chosen.shape)
    return space.from_unit(moved) if is_apart(space, moved, known) else chosen


def _product(one: Score, other: Score) -> Score:
    return lambda mu: one(mu) * other(mu)
