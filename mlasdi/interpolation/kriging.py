"""Kriging (Gaussian process interpolation) over the parameters.

Universal kriging with a constant mean: the prediction at mu is a weighted sum of the values at the training points,
with weights that depend on the kernel and the points alone. Fields, latent coefficients and residuals are interpolated
with the same weights. References: N. Cressie, Statistics for Spatial Data, Wiley 1993, chapter 3; C. E. Rasmussen and
C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006, section 2.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, Field
from scipy.linalg import lapack
from scipy.spatial.distance import cdist

Family = Literal["rbf", "matern52"]
FAMILIES: tuple[Family, ...] = ("rbf", "matern52")

# Log-normal prior of a length scale: its median in widths of the box, and the standard deviation of its logarithm. It
# assumes a smooth dependence on the parameters, as the benchmark problems have.
PRIOR_SCALE, PRIOR_LOG_STD = 2.5, 0.5
# Variance of the uncertain constant mean of `CoefficientGP`, over that of the process: large enough to be flat, small
# enough to keep the covariance matrix well conditioned.
MEAN_VARIANCE = 100.0
# Digits of correlations that count. Regular designs have equal distances, whose order would be that of rounding errors:
# of equally near points the later one goes first, since designs begin with corners, without which folds extrapolate.
TIE_DIGITS = 7
MIN_TRAINING_POINTS = 3  # of a fold, however many near-replicates it leaves out


class Kernel(BaseModel, frozen=True, extra="forbid"):
    """A stationary covariance function on the unit cube with one length scale per parameter and unit variance."""

    family: Family
    lengthscale: tuple[float, ...]
    nugget: float = Field(1e-8, gt=0)

    def __call__(self, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
        squared = cdist(x / np.asarray(self.lengthscale), y / np.asarray(self.lengthscale), "sqeuclidean")
        if self.family == "rbf":
            return np.exp(-0.5 * squared)
        r = np.sqrt(5 * squared)
        return (1 + r + r**2 / 3) * np.exp(-r)


@dataclass(frozen=True)
class Kriging:
    """Universal kriging from points `x [point, d]` of the unit cube."""

    x: Float[np.ndarray, "point d"]
    kernel: Kernel

    @cached_property
    def factor(self) -> np.ndarray:
        return _cholesky(self.kernel(self.x, self.x), self.kernel.nugget)

    @cached_property
    def mean_weights(self) -> Float[np.ndarray, " point"]:
        """Weights of the generalised least-squares mean."""
        w = _solve(self.factor, np.ones(len(self.x)))
        return w / w.sum()

    def leave_one_out(self, values: Float[np.ndarray, "point ..."]) -> Float[np.ndarray, "point ..."]:
        """Error at each training point of the prediction from the others, in closed form (O. Dubrule, 1983)."""
        flat = values.reshape(len(self.x), -1)
        errors = (self._projected_inverse @ flat) / np.diag(self._projected_inverse)[:, None]
        return errors.reshape(values.shape)

    @cached_property
    def _projected_inverse(self) -> Float[np.ndarray, "point point"]:
        """Inverse of the covariance matrix on the complement of constants: `C^-1 - C^-1 1 1^T C^-1 / (1^T C^-1 1)`."""
        inverse = _solve(self.factor, np.eye(len(self.x)))
        row_sum = inverse.sum(axis=1)
        return inverse - np.outer(row_sum, row_sum) / row_sum.sum()

    def leave_group_out(
        self, values: Float[np.ndarray, "point ..."], groups: Sequence[Int[np.ndarray, " _"]]
    ) -> Float[np.ndarray, "one ..."]:
        """Error at the first point of each group of the prediction from the points outside the group."""
        flat = values.reshape(len(self.x), -1)
        errors = np.empty((len(groups), flat.shape[1]))
        for k, group in enumerate(groups):
            first_row = np.linalg.inv(self._projected_inverse[np.ix_(group, group)])[0]
            errors[k] = first_row @ self._projected_inverse[group] @ flat
        return errors.reshape(len(groups), *values.shape[1:])

    def near_replicates(self, variance: float) -> list[Int[np.ndarray, " _"]]:
        """For each point, itself and the most correlated points, until its kriging variance is the given one.

        Where the values hardly depend on a parameter, points that differ in it alone are near-replicates: each predicts
        the other, and the error of that says nothing about the error between points that differ in other parameters.

        Args:
            variance: of the prediction from the points that are left, as a fraction of the process variance.
        """
        groups = []
        for i, row in enumerate(self.kernel(self.x, self.x)):
            order = np.lexsort((-np.arange(len(row)), -row.round(TIE_DIGITS)))
            group = np.append(i, order[order != i][: max(len(self.x) - MIN_TRAINING_POINTS - 1, 0)])
            for n in range(1, len(group)):
                inner = self._projected_inverse[np.ix_(group[:n], group[:n])]
                if np.linalg.inv(inner)[0, 0] - self.kernel.nugget >= variance:
                    group = group[:n]
                    break
            groups.append(group)
        return groups

    def weights(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n point"]:
        """Weights of the training values in the prediction at new points; each row sums to one."""
        simple = _solve(self.factor, self.kernel(self.x, x_new)).T
        return simple + np.outer(1 - simple.sum(axis=1), self.mean_weights)

    @cached_property
    def sequential_weights(self) -> Float[np.ndarray, "point point"]:
        """Row k: weights of the points before point k in the prediction there from them alone; none in the first row.

        The inverse of the Cholesky factor holds them all: factors of the first points are its leading blocks.
        """
        inverse = _solve_lower(self.factor, np.eye(len(self.x)))
        simple = np.tril(-inverse * np.diag(self.factor)[:, None], -1)
        # Row k - 1: the weights of the mean of the first k points, up to their sum.
        of_mean = np.cumsum(inverse * inverse.sum(axis=1, keepdims=True), axis=0)[:-1]
        of_mean /= of_mean.sum(axis=1, keepdims=True)
        simple[1:] += (1 - simple[1:].sum(axis=1, keepdims=True)) * of_mean
        return simple

    def variance(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Variance of the prediction, as a fraction of the process variance, the uncertain mean included."""
        return self.nested_variance(x_new)[-1]

    def nested_variance(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "point n"]:
        """`variance` from the first training point alone, from the first two, and so on."""
        half = _solve_lower(self.factor, self.kernel(self.x, x_new))
        ones = _solve_lower(self.factor, np.ones(len(self.x)))[:, None]
        gap = 1 - np.cumsum(ones * half, axis=0)
        return np.clip(1 - np.cumsum(half**2, axis=0) + gap**2 / np.cumsum(ones**2, axis=0), 0, None)

    def whiten(self, values: Float[np.ndarray, "point ..."]) -> Float[np.ndarray, "point ..."]:
        """Uncorrelated directions in which the values vary over the parameters.

        With E the result, `E^T E / (point - 1)` is the restricted maximum likelihood estimate of the covariance of the
        outputs; times `variance(mu)` it is the covariance of the prediction error at mu.
        """
        flat = values.reshape(len(self.x), -1)
        centred = np.asarray_chkfinite(flat - self.mean_weights @ flat)  # a model that is not finite ends here
        return _solve_lower(self.factor, centred).reshape(values.shape)


def restricted_likelihood(
    x: Float[np.ndarray, "point d"],
    gram: Float[np.ndarray, "point point"],
    n_outputs: int,
    kernel: Kernel,
    noise: float = 0.0,
) -> float:
    """Negative log restricted likelihood, per output, of independent outputs that share `kernel`.

    The constant means are integrated out. The common process variance is profiled; where the variance of the noise is
    known, it is `noise` over the nugget. The outputs enter only through `gram = Y Y^T`, so the cost does not depend on
    their number.

    Args:
        x: points of the unit cube.
        gram: `Y Y^T` of the outputs.
        n_outputs: number of outputs.
        kernel: of all outputs.
        noise: variance of the noise in an output; 0 for exact values.
    """
    n = len(x)
    kriging = Kriging(x, kernel)
    factor, mean_weights = kriging.factor, kriging.mean_weights
    centring = np.eye(n) - np.outer(np.ones(n), mean_weights)
    half = _solve_lower(factor, centring)
    variance = np.sum((half @ gram) * half) / ((n - 1) * n_outputs)
    ones = _solve_lower(factor, np.ones(n))
    determinant = 2 * np.log(np.diag(factor)).sum() + np.log(ones @ ones)
    if noise:
        known = noise / kernel.nugget
        return 0.5 * ((n - 1) * (np.log(known) + variance / known) + determinant)
    return 0.5 * ((n - 1) * np.log(max(variance, np.finfo(float).tiny)) + determinant)


# LAPACK itself: the matrices are small and the calls many, and what scipy.linalg adds takes several times longer.


def _cholesky(covariance: Float[np.ndarray, "n n"], nugget: float) -> Float[np.ndarray, "n n"]:
    """Lower Cholesky factor of a covariance matrix with a nugget.

    Raises:
        LinAlgError: it is not positive definite.
    """
    covariance.flat[:: len(covariance) + 1] += nugget
    factor, info = lapack.dpotrf(covariance, lower=True) if covariance.size else (covariance, 0)
    if info or not np.isfinite(np.diag(factor)).all():
        raise np.linalg.LinAlgError("a covariance matrix is not positive definite")
    return factor


def _solve_lower(factor: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    """Solution of `factor X = right`."""
    return lapack.dtrtrs(factor, right, lower=True)[0] if right.size else np.empty_like(right)


def _solve(factor: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    """Solution of `factor factor^T X = right`."""
    return lapack.dpotrs(factor, right, lower=True)[0] if right.size else np.empty_like(right)
