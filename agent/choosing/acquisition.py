"""Acquisition functions: where the solver should run next.

The score of a point depends on a surrogate and on pending points; `propose` takes the candidate with the highest one.
Candidates are the next points of the campaign's Sobol sequence, or a given set of points. If solves have failed, the
score is multiplied by the probability of success. No score needs a solve: validation points are never candidates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.agent.choosing.sampling import AcquisitionName, SamplingSettings, is_near, next_sobol
from mlasdi.agent.choosing.variance_reduction import VarianceReduction
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.preprocessing import SAME_POINT, limited_threads
from mlasdi.solvers import ParameterSpace
from mlasdi.surrogate import Surrogate
from mlasdi.validation import MIN_EFFECT

# Number of times at which the largest relative standard deviation is searched: it varies slowly, and decoding is
# expensive.
SCORED_TIMES = 16
# Scores below this are rounding errors or the truncation of the basis: nothing in the box is uncertain any more.
MIN_SCORE = 1e-7
# Number of candidates of `integrated-variance`, whose maximum is not on the faces, and largest one of the others, which
# have as many as there are known points. Skipped points stay candidates: if their number were fixed, all of them would
# in the end be points that are not worth a solve, and the choice would be the sequence again. Growth was chosen on
# functions of two parameters, with errors of .52 against .74 of those with Sobol points; of `integrated-variance`, 128
# were measured (.73 and .79), and 16 (.84 and .85), not 256.
MANY_CANDIDATES = 256
# If solves have failed, candidates are the first points that succeed with at least this probability, among so many
# times as many points of the sequence. Neither was chosen by measurements.
LIKELY, POOL_SHARE = 0.5, 8
# Kernel of the probability of success: length scale in the unit cube, and nugget.
FAILURE_LENGTHSCALE, FAILURE_NUGGET = 0.5, 1e-3

Score = Callable[[np.ndarray], np.ndarray]
"""Maps physical parameters `[n_mu, n_params]` to scores `[n_mu]`; points with larger scores are preferred."""


def score_function(
    surrogate: Surrogate,
    name: AcquisitionName,
    pending: Float[np.ndarray, "q n_params"],
    targets: Mapping[str, float] | None = None,
) -> Score:
    """The score of a named acquisition function; the variance is that after solves at the pending points.

    `coefficient-std`: the standard deviation of the GP coefficients, each relative to its own variation.
    `field-std`: that of the field, propagated through all stages, relative to the solution, and larger where the errors
        of folds nearby are larger than it said.
    `integrated-variance`: the root of the reduction of the mean of `field-std` squared over the box.

    With targets of single outputs, `field-std` is the largest estimated error of these, in units of its target.

    Args:
        targets: output or quantity of interest -> the error that is to be reached.
    """
    if name == "coefficient-std":
        return lambda mu: surrogate.coefficient_std(mu, pending)
    known = {one: limit for one, limit in (targets or {}).items() if one in surrogate.error_estimates}
    if name == "field-std" and known:

        def largest(mu: Float[np.ndarray, "n n_params"]) -> Float[np.ndarray, " n"]:
            errors = [
                surrogate.relative_std(mu, pending, n_time=SCORED_TIMES, field=one) / limit
                for one, limit in known.items()
            ]
            return np.max(errors, axis=0)

        return largest
    if name == "field-std":
        return lambda mu: surrogate.acquisition_score(mu, pending, n_time=SCORED_TIMES)
    space = surrogate.space
    reduction = VarianceReduction.of(surrogate, space.to_unit(pending))
    return lambda mu: reduction.gain(space.to_unit(mu)[:, None])


def chance_of_success(
    space: ParameterSpace, solved: Float[np.ndarray, "n n_params"], failed: Float[np.ndarray, "m n_params"]
) -> Score:
    """Probability that a solve succeeds, by indicator kriging of 1 at solved and 0 at failed points.

    Reference: A. G. Journel, Nonparametric estimation of spatial distributions. Mathematical Geology 15 (1983).
    """
    kernel = Kernel(family="matern52", lengthscale=(FAILURE_LENGTHSCALE,) * space.n_params, nugget=FAILURE_NUGGET)
    kriging = Kriging(space.to_unit(np.concatenate([solved, failed])), kernel)
    outcome = np.repeat([1.0, 0.0], [len(solved), len(failed)])
    return lambda mu: np.clip(kriging.weights(space.to_unit(mu)) @ outcome, 0, 1)


@dataclass(frozen=True, eq=False)
class PointSets:
    """Points that the choice of further ones takes into account, in physical units.

    Attributes:
        known: points that are solved, failed or being solved; none of them is proposed again.
        failed: those of the known points at which solves failed; new points avoid their surroundings.
        available: the only points that can be solved; None for the whole box.
    """

    known: Float[np.ndarray, "point n_params"]
    failed: Float[np.ndarray, "m n_params"] | None = None
    available: Float[np.ndarray, "m n_params"] | None = None


@limited_threads()
def propose(
    surrogate: Surrogate,
    settings: SamplingSettings,
    points: PointSets,
    n: int,
    seed: int,
    targets: Mapping[str, float] | None = None,
) -> tuple[Float[np.ndarray, "n n_params"], Float[np.ndarray, " n"]]:
    """The next `n` points and their scores, chosen one after the other, each with the earlier ones as pending points.

    Candidates for each are the first points of the Sobol sequence that are neither known nor chosen yet. There are few:
    the maximum of a standard deviation over the whole box would mostly lie on its faces, where a solve tells less about
    the box than one inside.

    Args:
        seed: of the Sobol sequence.
        targets: as for `score_function`.

    Returns:
        Points in physical units and scores; fewer than `n` if no score exceeds `MIN_SCORE` any more or if there are no
            further points, and none where no parameter has an effect.
    """
    space, known = surrogate.space, points.known
    if settings.acquisition == "sobol":
        sobol = next_sobol(space, known, n, seed, points.available)
        return sobol, np.zeros(len(sobol))
    if surrogate.parameter_effect < MIN_EFFECT:
        return np.empty((0, space.n_params)), np.empty(0)
    # Known points without a solution, such as failed ones, would be proposed for ever, so they count as pending.
    unsolved = known[~is_near(space.to_unit(known), surrogate.model.latent.x, SAME_POINT)]
    grown = MANY_CANDIDATES if settings.acquisition == "integrated-variance" else min(len(known), MANY_CANDIDATES)
    n_candidates = max(settings.candidates, grown)
    free, chance = _free_points(surrogate, points, n_candidates + n - 1, seed)
    if points.available is not None:
        n_candidates = len(free)
    chosen, scores = list[int](), list[float]()
    left = np.arange(len(free))
    while len(chosen) < n and len(left):
        score = score_function(surrogate, settings.acquisition, np.concatenate([unsolved, free[chosen]]), targets)
        candidates = left[:n_candidates]
        values = chance[candidates] * score(free[candidates])
        if values.max() < MIN_SCORE:
            break
        chosen, scores = [*chosen, int(candidates[values.argmax()])], [*scores, float(values.max())]
        left = left[~is_near(space.to_unit(free[left]), space.to_unit(free[chosen]), SAME_POINT)]
    return free[chosen], np.array(scores)


def _free_points(
    surrogate: Surrogate, points: PointSets, n: int, seed: int
) -> tuple[Float[np.ndarray, "m n_params"], Float[np.ndarray, " m"]]:
    """All available points that are not known, or the next `n` of the Sobol sequence; and their chances of success.

    Those that are likely to succeed come first, each group in the order of the sequence.
    """
    space, failed = surrogate.space, points.failed if points.failed is not None else points.known[:0]
    if points.available is None:
        free = next_sobol(space, points.known, n * POOL_SHARE if len(failed) else n, seed, None)
    else:
        is_known = is_near(space.to_unit(points.available), space.to_unit(points.known), SAME_POINT)
        free = points.available[~is_known]
    if not len(failed):
        return free, np.ones(len(free))
    chance = chance_of_success(space, space.from_unit(surrogate.model.latent.x), failed)(free)
    order = np.argsort(chance < LIKELY, kind="stable")
    return free[order], chance[order]
