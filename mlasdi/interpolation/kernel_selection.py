"""Which kernel interpolates over the parameters: length scales by likelihood, the rest by folds of the field."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.stats import qmc

from mlasdi.interpolation.kriging import (
    FAMILIES,
    PRIOR_LOG_STD,
    PRIOR_SCALE,
    Family,
    Kernel,
    Kriging,
    restricted_likelihood,
)

BOUNDS = (0.1, 20.0)  # of a length scale, in widths of the box
# Of the differences of the likelihood, in the logarithm of a length scale: covariance matrices of smooth kernels are
# next to singular, and with a step as small as for exact functions each start ends in another valley of rounding.
STEP = 1e-3
BOX_POINTS = 64  # by which it is told how hard points of the box are to predict


@dataclass(frozen=True)
class Kernels:
    """Kernels of all outputs together.

    Attributes:
        mean: what interpolates.
        rougher: of standard deviations. The smoothest kernel interpolates best, and is far too sure of itself: its
            variance assumes analytic functions.
        left_out: for each point, the group that its fold forgets, itself first.
    """

    mean: Kernel
    uncertainty: Kernel
    left_out: tuple[Int[np.ndarray, " _"], ...]


def select_kernels(
    x: Float[np.ndarray, "point d"],
    y: Float[np.ndarray, "point output"],
    noise: float = 0.0,
    bounds: tuple[float, float] = BOUNDS,
) -> Kernels:
    """Kernels for all outputs jointly: length scales by restricted likelihood, the rest by the error of folds.

    Chosen on the field (its POD coordinates at all times) instead of on latent coefficients, the length scales come out
    as long as smooth solutions allow. A log-normal prior decides what few points leave open: the data speak with the
    weight of as many outputs as they can have directions. Of its maxima, of the centre of the prior, and of the
    families, the error of the folds chooses what interpolates; how sure to be is for the likelihood to say. All are
    judged by the same folds, which forget with each point all that is too much alike to it under any of them: where the
    field hardly depends on a parameter, points that differ in nothing else would hide what a kernel does along others.
    Later folds forget what is alike under the two that are chosen.

    Args:
        x: points of the unit cube.
        noise: variance of the noise in an output, mean over the outputs; the nugget is chosen to match it.
        bounds: of the length scales.
    """
    n, d = x.shape
    if n < 2:
        alone = [Kernel(family=family, lengthscale=(PRIOR_SCALE,) * d) for family in FAMILIES]
        return Kernels(alone[0], alone[-1], tuple(np.array([i]) for i in range(n)))
    gram = y @ y.T
    # Any factor of the Gram matrix has the same squared errors as the outputs themselves.
    values, vectors = np.linalg.eigh(gram)
    compressed = vectors * np.sqrt(np.clip(values, 0, None))
    search = _Search(x, gram, y.shape[1], noise, bounds)
    candidates = [kernel for family in FAMILIES for kernel in search.kernels(family)]
    of_all = folds(x, candidates)

    def error(kernel: Kernel) -> float:
        return float(np.sum(Kriging(x, kernel).left_out(compressed, of_all) ** 2))

    rough = [kernel for kernel in candidates if kernel.family == FAMILIES[-1]]
    likeliest = min(rough, key=search.negative_log_posterior)
    best = min(candidates, key=error)
    return Kernels(best, likeliest, folds(x, (best, likeliest)))


def folds(x: Float[np.ndarray, "point d"], kernels: Sequence[Kernel]) -> tuple[Int[np.ndarray, " _"], ...]:
    """For each point, the group that its fold forgets: no fold shall be easier than to predict points of the box is."""
    box = qmc.Sobol(x.shape[1], scramble=False).random(BOX_POINTS)
    krigings = [Kriging(x, kernel) for kernel in kernels]
    groups = [kriging.near_replicates(float(np.median(kriging.variance(box)))) for kriging in krigings]
    return tuple(max(of_point, key=len) for of_point in zip(*groups, strict=True))


@dataclass(frozen=True)
class _Search:
    """For the length scales.

    Attributes:
        gram: `Y Y^T` of the outputs.
        n_outputs: how many these are.
    """

    x: Float[np.ndarray, "point d"]
    gram: Float[np.ndarray, "point point"]
    n_outputs: int
    noise: float
    bounds: tuple[float, float]

    def kernels(self, family: Family) -> list[Kernel]:
        """The most likely ones from two starts, and that of the centre of the prior."""
        fitted = [self._from(family, start, self.bounds) for start in (1.0, 4.0)]
        return [*fitted, self._from(family, PRIOR_SCALE, (PRIOR_SCALE, PRIOR_SCALE))]

    def _from(self, family: Family, start: float, bounds: tuple[float, float]) -> Kernel:
        n, d = self.x.shape
        limits, first = [tuple(np.log(bounds))] * d, [np.log(start)] * d
        if self.noise:  # from the nugget that explains all variation by the process
            limits.append((np.log(1e-8), np.log(10.0)))
            first.append(np.clip(np.log(self.noise * n * self.n_outputs / np.trace(self.gram)), *limits[-1]))

        def as_kernel(logarithms: np.ndarray) -> Kernel:
            scales, nugget = logarithms[:d], logarithms[d:]
            given = {"nugget": float(np.exp(nugget[0]))} if self.noise else {}
            return Kernel(family=family, lengthscale=tuple(np.exp(scales).tolist()), **given)

        def objective(logarithms: np.ndarray) -> float:
            return self.negative_log_posterior(as_kernel(logarithms))

        def slope(logarithms: np.ndarray) -> np.ndarray:
            steps = STEP * np.eye(len(logarithms))
            return np.array([objective(logarithms + step) - objective(logarithms - step) for step in steps]) / (
                2 * STEP
            )

        return as_kernel(minimize(objective, np.array(first), method="L-BFGS-B", jac=slope, bounds=limits).x)

    def negative_log_posterior(self, kernel: Kernel) -> float:
        """Negative log restricted likelihood per output, and of the prior."""
        n, distance = len(self.x), np.log(np.array(kernel.lengthscale) / PRIOR_SCALE)
        prior = 0.5 * float(np.sum(distance**2)) / PRIOR_LOG_STD**2
        return restricted_likelihood(self.x, self.gram, self.n_outputs, kernel, self.noise) + prior / (n - 1)
