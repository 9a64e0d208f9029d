"""Acquisition functions: where the solver should run next.

The score of a point depends on a surrogate and on pending points; `propose` maximises it over the feasible part of the
box, or over a given set of points. If solves have failed, the score is multiplied by the probability of success. No
score needs a solve: validation points are never candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.agent.choosing.box_search import MIN_SCORE, Score, are_separated, best_of, maximise, refine_lbfgs
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
# Up to this number of parameters several candidates are refined, with more only the best one: a gradient by differences
# takes as many evaluations as there are parameters.
MAX_PARAMS_OF_STARTS = 4
# Kernel of the probability of success: length scale in the unit cube, and nugget.
FAILURE_LENGTHSCALE, FAILURE_NUGGET = 0.5, 1e-3


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

    Finally, a batch that lowers the integrated variance is optimised jointly, unless the points are restricted.

    Args:
        seed: of the candidates.
        targets: as for `score_function`.

    Returns:
        Points in physical units and scores; fewer than `n` if no score exceeds `MIN_SCORE` any more, and none where no
            parameter has an effect.
    """
    if settings.acquisition != "sobol" and surrogate.parameter_effect < MIN_EFFECT:
        return np.empty((0, surrogate.space.n_params)), np.empty(0)
    if settings.acquisition == "sobol":
        sobol = next_sobol(surrogate.space, points.known, n, seed, points.available)
        return sobol, np.zeros(len(sobol))
    choice = _Choice(surrogate, settings, points, targets)
    chosen, scores = np.empty((0, surrogate.space.n_params)), list[float]()
    for i in range(n):
        point, value = choice.next_point(chosen, seed + i)
        if value < MIN_SCORE:
            break
        chosen, scores = np.vstack([chosen, point]), [*scores, value]
    if choice.optimises_jointly and len(chosen) > 1:
        chosen = _optimised_jointly(surrogate, chosen, choice.x_known, surrogate.space.to_unit(choice.unsolved))
    return chosen, np.array(scores)


class _Choice:
    """The choice of single points with one surrogate."""

    def __init__(
        self,
        surrogate: Surrogate,
        settings: SamplingSettings,
        points: PointSets,
        targets: Mapping[str, float] | None = None,
    ) -> None:
        self.surrogate, self.settings, self.points, self.targets = surrogate, settings, points, targets
        self.space = surrogate.space
        self.x_known = self.space.to_unit(points.known)
        # Known points without a solution, such as failed ones, would be proposed for ever, so they count as pending.
        self.unsolved = points.known[~is_near(self.x_known, surrogate.model.latent.x, SAME_POINT)]
        self.succeeds: Score | None = None
        if points.failed is not None and len(points.failed):
            solved = self.space.from_unit(surrogate.model.latent.x)
            self.succeeds = chance_of_success(self.space, solved, points.failed)
        is_integrated = settings.acquisition == "integrated-variance"
        self.optimises_jointly = (
            is_integrated and points.available is None and not self.space.is_restricted and self.succeeds is None
        )
        # The integrated variance is expensive, and smoother than the function that it integrates.
        self._n_starts = 1 if is_integrated or self.space.n_params > MAX_PARAMS_OF_STARTS else 3

    def next_point(
        self, chosen: Float[np.ndarray, "q n_params"], seed: int
    ) -> tuple[Float[np.ndarray, " n_params"], float]:
        """The point with the highest score, with `chosen` as pending points, and that score."""
        space, available = self.space, self.points.available
        pending = np.concatenate([self.unsolved, chosen])
        score = score_function(self.surrogate, self.settings.acquisition, pending, self.targets)
        if self.succeeds is not None:
            score = _product(score, self.succeeds)
        taken = np.concatenate([self.x_known, space.to_unit(chosen)])
        if available is None:
            return maximise(space, score, taken, self.settings.candidates, seed, self._n_starts)
        return best_of(available[~is_near(space.to_unit(available), taken, SAME_POINT)], score)


def _optimised_jointly(
    surrogate: Surrogate,
    chosen: Float[np.ndarray, "n n_params"],
    known: Float[np.ndarray, "point n_params"],
    pending: Float[np.ndarray, "m n_params"],
) -> Float[np.ndarray, "n n_params"]:
    """The batch that maximises the joint gain, from `chosen` by L-BFGS-B; `chosen` if its points then coincide.

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
    return space.from_unit(moved) if are_separated(space, moved, known) else chosen


def _product(one: Score, other: Score) -> Score:
    return lambda mu: one(mu) * other(mu)
