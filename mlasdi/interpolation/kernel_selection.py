"""The kernel that interpolates over the parameters: length scales by likelihood, the family by leave-one-out errors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from mlasdi.interpolation.kriging import (
    FAMILIES,
    PRIOR_LOG_STD,
    PRIOR_SCALE,
    Family,
    Kernel,
    Kriging,
    restricted_likelihood,
)

BOUNDS = (0.1, 20.0)  # safety bounds of a length scale, in widths of the box
# Step of the finite differences of the likelihood, in the logarithm of a length scale. Covariance matrices of smooth
# kernels are nearly singular: smaller steps are dominated by rounding error, and L-BFGS then stops at a different point
# for each start.
STEP = 1e-3
STARTS = (1.0, 4.0)  # first guesses of all length scales, in widths of the box, on either side of the prior's centre
NUGGET_BOUNDS = (1e-8, 10.0)  # safety bounds of the noise variance, over that of the process
# Points that choose length scales, at most: a likelihood of all costs their number cubed, and a hundred determine them.
MAX_POINTS = 128
BOX_POINTS = 64  # of the box, whose median kriging variance is compared with that of the folds


@dataclass(frozen=True)
class Kernels:
    """Kernels that all outputs share, and the folds of leave-one-out errors.

    Attributes:
        mean: the kernel that interpolates.
        uncertainty: the kernel of standard deviations, a rougher one. The smoothest kernel often interpolates best, but
            its variance assumes analytic functions and is far too small.
        held_out: for each point, the points that its fold leaves out, itself first; empty: each point alone.
    """

    mean: Kernel
    uncertainty: Kernel
    held_out: tuple[Int[np.ndarray, " _"], ...] = ()

    @classmethod
    def single(cls, kernel: Kernel) -> "Kernels":
        """One kernel for both."""
        return cls(kernel, kernel)

    def without_folds(self) -> "Kernels":
        """The kernels alone, for a set of other points."""
        return replace(self, held_out=())


def select_kernels(
    x: Float[np.ndarray, "point d"],
    y: Float[np.ndarray, "point output"],
    noise: float = 0.0,
    bounds: tuple[float, float] = BOUNDS,
) -> Kernels:
    """Kernels that all outputs share: length scales by restricted likelihood, the rest by leave-one-out errors.

    The outputs are the field, in POD coordinates at all times. Length scales that are chosen on few latent coefficients
    would be too short. A log-normal prior regularises them: few points do not determine them, so the likelihood per
    output counts as that of n - 1 independent outputs.

    Candidates for the mean are, for each family, the maxima of the posterior from two starts, and the centre of the
    prior. The one with the smallest leave-one-out error interpolates. Of the Matern kernels, that of the largest
    posterior gives the standard deviations.

    The folds leave out near-replicates (`Kriging.near_replicates`). Where the field hardly depends on a parameter,
    points that differ in this parameter alone would hide the errors along the others. All candidates are compared on
    the same folds, which leave out the near-replicates under any candidate. The folds of the result leave out those
    under the two kernels that are chosen.

    Of more than `MAX_POINTS` points, a random sample chooses the kernels; a regular one of a grid of points could miss
    the short distances in one direction.

    Args:
        x: points of the unit cube.
        y: outputs at these.
        noise: variance of the noise in an output, mean over the outputs; the nugget is chosen to match it.
        bounds: of the length scales.
    """
    n, d = x.shape
    if n < 2:
        priors = [Kernel(family=family, lengthscale=(PRIOR_SCALE,) * d) for family in FAMILIES]
        return Kernels(priors[0], priors[-1], tuple(np.array([i]) for i in range(n)))
    if n > MAX_POINTS:
        sample = np.random.default_rng(0).permutation(n)[:MAX_POINTS]
        of_sample = select_kernels(x[sample], y[sample], noise, bounds)
        return replace(of_sample, held_out=folds(x, (of_sample.mean, of_sample.uncertainty)))
    gram = y @ y.T
    # Any square root of the Gram matrix has the same squared errors as the outputs.
    values, vectors = np.linalg.eigh(gram)
    compressed = vectors * np.sqrt(np.clip(values, 0, None))
    search = _Search(x, gram, y.shape[1], noise, bounds)
    candidates = [kernel for family in FAMILIES for kernel in search.kernels(family)]
    common_folds = folds(x, candidates)

    def error(kernel: Kernel) -> float:
        return float(np.sum(Kriging(x, kernel).leave_group_out(compressed, common_folds) ** 2))

    matern = [kernel for kernel in candidates if kernel.family == "matern52"]
    likeliest = min(matern, key=search.negative_log_posterior)
    best = min(candidates, key=error)
    return Kernels(best, likeliest, folds(x, (best, likeliest)))


def folds(x: Float[np.ndarray, "point d"], kernels: Sequence[Kernel]) -> tuple[Int[np.ndarray, " _"], ...]:
    """For each point, itself and the points that its fold leaves out: the largest group over the kernels.

    Points join the group until the left-out point is as hard to predict as the median point of the box.
    """
    from scipy.stats import qmc  # takes as long to import as all else in this package

    box = qmc.Sobol(x.shape[1], scramble=False).random(BOX_POINTS)
    krigings = [Kriging(x, kernel) for kernel in kernels]
    by_kernel = [kriging.near_replicates(float(np.median(kriging.variance(box)))) for kriging in krigings]
    return tuple(max(groups, key=len) for groups in zip(*by_kernel, strict=True))


@dataclass(frozen=True)
class _Search:
    """Search for the length scales, and for the nugget where there is noise.

    Attributes:
        x: points of the unit cube.
        gram: `Y Y^T` of the outputs.
        n_outputs: number of outputs.
        noise: variance of the noise in an output; 0 for exact values.
        bounds: of the length scales.
    """

    x: Float[np.ndarray, "point d"]
    gram: Float[np.ndarray, "point point"]
    n_outputs: int
    noise: float
    bounds: tuple[float, float]

    def kernels(self, family: Family) -> list[Kernel]:
        """Maxima of the posterior from each start, and the centre of the prior."""
        fitted = [self._maximum(family, start, self.bounds) for start in STARTS]
        return [*fitted, self._maximum(family, PRIOR_SCALE, (PRIOR_SCALE, PRIOR_SCALE))]

    def _maximum(self, family: Family, start: float, bounds: tuple[float, float]) -> Kernel:
        """Local maximum of the posterior, from length scales that are all `start`."""
        n, d = self.x.shape
        limits, first = [tuple(np.log(bounds))] * d, [np.log(start)] * d
        if self.noise:  # the first nugget: all variation is that of the process
            limits.append((np.log(NUGGET_BOUNDS[0]), np.log(NUGGET_BOUNDS[1])))
            first.append(np.clip(np.log(self.noise * n * self.n_outputs / np.trace(self.gram)), *limits[-1]))

        def as_kernel(logarithms: np.ndarray) -> Kernel:
            scales, nugget = logarithms[:d], logarithms[d:]
            given = {"nugget": float(np.exp(nugget[0]))} if self.noise else {}
            return Kernel(family=family, lengthscale=tuple(np.exp(scales).tolist()), **given)

        def objective(logarithms: np.ndarray) -> float:
            return self.negative_log_posterior(as_kernel(logarithms))

        def gradient(logarithms: np.ndarray) -> np.ndarray:
            steps = STEP * np.eye(len(logarithms))
            changes = [objective(logarithms + step) - objective(logarithms - step) for step in steps]
            return np.array(changes) / (2 * STEP)

        return as_kernel(minimize(objective, np.array(first), method="L-BFGS-B", jac=gradient, bounds=limits).x)

    def negative_log_posterior(self, kernel: Kernel) -> float:
        """Negative log restricted likelihood per output, plus that of the prior over n - 1."""
        n, distance = len(self.x), np.log(np.array(kernel.lengthscale) / PRIOR_SCALE)
        prior = 0.5 * float(np.sum(distance**2)) / PRIOR_LOG_STD**2
        return restricted_likelihood(self.x, self.gram, self.n_outputs, kernel, self.noise) + prior / (n - 1)
