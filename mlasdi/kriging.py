"""Interpolation over the parameters: kriging weights, and the choice of kernel by what it does to the field.

Universal kriging with a constant mean: the prediction at mu is a weighted sum of the values at the training points,
with weights that depend on the kernel and the points alone. Whatever is interpolated over the parameters (fields,
latent coefficients, residuals) uses these weights, so anchors between the training points are linear in the values.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, Field
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Family = Literal["rbf", "matern52"]
FAMILIES: tuple[Family, ...] = ("rbf", "matern52")

# Before any data, a length scale is log-normal around this many widths of the box, with this standard deviation of its
# logarithm.
PRIOR_SCALE, PRIOR_LOG_STD = 2.5, 0.5


class Kernel(BaseModel, frozen=True, extra="forbid"):
    """A stationary covariance function on the unit cube with one length scale per parameter and unit variance."""

    family: Family
    lengthscale: tuple[float, ...]
    nugget: float = Field(1e-8, gt=0)

    def __call__(self, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
        squared = np.sum(((x[:, None] - y[None]) / np.asarray(self.lengthscale)) ** 2, axis=-1)
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
        return cholesky(self.kernel(self.x, self.x) + self.kernel.nugget * np.eye(len(self.x)), lower=True)

    @cached_property
    def mean_weights(self) -> Float[np.ndarray, " point"]:
        """Weights of the generalised least-squares mean."""
        w = cho_solve((self.factor, True), np.ones(len(self.x)))
        return w / w.sum()

    def leave_one_out(self, values: Float[np.ndarray, "point ..."]) -> Float[np.ndarray, "point ..."]:
        """Error at each training point of the prediction from the others, in closed form."""
        inverse = cho_solve((self.factor, True), np.eye(len(self.x)))
        row_sum = inverse.sum(axis=1)
        projected = inverse - np.outer(row_sum, row_sum) / row_sum.sum()
        errors = (projected @ values.reshape(len(self.x), -1)) / np.diag(projected)[:, None]
        return errors.reshape(values.shape)

    def weights(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n point"]:
        """Weights of the training values in the prediction at new points; each row sums to one."""
        simple = cho_solve((self.factor, True), self.kernel(self.x, x_new)).T
        return simple + np.outer(1 - simple.sum(axis=1), self.mean_weights)

    def variance(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Variance of the prediction, as a fraction of the process variance, the uncertain mean included."""
        half = solve_triangular(self.factor, self.kernel(self.x, x_new), lower=True)
        ones = solve_triangular(self.factor, np.ones(len(self.x)), lower=True)
        gap = 1 - ones @ half
        return np.clip(1 - np.sum(half**2, axis=0) + gap**2 / (ones @ ones), 0, None)

    def whiten(self, values: Float[np.ndarray, "point ..."]) -> Float[np.ndarray, "point ..."]:
        """Uncorrelated directions in which the values vary over the parameters.

        With E the result, `E^T E / (point - 1)` is the restricted maximum likelihood estimate of the covariance of the
        outputs; times `variance(mu)` it is the covariance of the prediction error at mu.
        """
        flat = values.reshape(len(self.x), -1)
        return solve_triangular(self.factor, flat - self.mean_weights @ flat, lower=True).reshape(values.shape)


def restricted_likelihood(
    x: Float[np.ndarray, "point d"],
    gram: Float[np.ndarray, "point point"],
    n_outputs: int,
    kernel: Kernel,
    noise: float = 0.0,
) -> float:
    """Negative log restricted likelihood, per output, of independent outputs that share `kernel`.

    The constant means are integrated out. The common variance is profiled, or where the variance of the `noise` is
    known, it is `noise` over the nugget. The outputs enter only through `gram = Y Y^T`, so the cost does not depend on
    their number.
    """
    n = len(x)
    kriging = Kriging(x, kernel)
    factor, mean_weights = kriging.factor, kriging.mean_weights
    centring = np.eye(n) - np.outer(np.ones(n), mean_weights)
    half = solve_triangular(factor, centring, lower=True)
    variance = np.trace(half @ gram @ half.T) / ((n - 1) * n_outputs)
    ones = solve_triangular(factor, np.ones(n), lower=True)
    determinant = 2 * np.log(np.diag(factor)).sum() + np.log(ones @ ones)
    if noise:
        known = noise / kernel.nugget
        return 0.5 * ((n - 1) * (np.log(known) + variance / known) + determinant)
    return 0.5 * ((n - 1) * np.log(max(variance, np.finfo(float).tiny)) + determinant)


def select_kernel(
    x: Float[np.ndarray, "point d"],
    y: Float[np.ndarray, "point output"],
    families: tuple[Family, ...] = FAMILIES,
    bounds: tuple[float, float] = (0.1, 20.0),
    noise: float = 0.0,
) -> Kernel:
    """Kernel for all outputs jointly: length scales by restricted likelihood, the rest by leave-one-out error.

    Chosen on the field (its POD coordinates at all times) instead of on latent coefficients, the length scales come out
    as long as smooth solutions allow. A log-normal prior decides what few points leave open: the data speak with the
    weight of as many outputs as they can have directions. On smooth fields the likelihood is flat, up to the nugget,
    along valleys in which each start of the search ends elsewhere; of these, and of the families, the leave-one-out
    error chooses.

    Args:
        noise: variance of the noise in an output, mean over the outputs; the nugget is chosen to match it.
    """
    n, d = x.shape
    if n < 2:
        return Kernel(family=families[0], lengthscale=(PRIOR_SCALE,) * d)
    gram, n_outputs = y @ y.T, y.shape[1]
    # Any factor of the Gram matrix has the same squared errors as the outputs themselves.
    values, vectors = np.linalg.eigh(gram)
    compressed = vectors * np.sqrt(np.clip(values, 0, None))

    def as_kernel(family: Family, logarithms: np.ndarray) -> Kernel:
        scales, nugget = logarithms[:d], logarithms[d:]
        given = {"nugget": float(np.exp(nugget[0]))} if noise else {}
        return Kernel(family=family, lengthscale=tuple(np.exp(scales).tolist()), **given)

    def fitted(family: Family, start: float) -> Kernel:
        def objective(logarithms: np.ndarray) -> float:
            prior = 0.5 * float(np.sum((logarithms[:d] - np.log(PRIOR_SCALE)) ** 2)) / PRIOR_LOG_STD**2
            return restricted_likelihood(x, gram, n_outputs, as_kernel(family, logarithms), noise) + prior / (n - 1)

        limits, first = [tuple(np.log(bounds))] * d, [np.log(start)] * d
        if noise:  # from the nugget that explains all variation by the process
            limits.append((np.log(1e-8), np.log(10.0)))
            first.append(np.clip(np.log(noise * n * n_outputs / np.trace(gram)), *limits[-1]))
        found = minimize(objective, np.array(first), method="L-BFGS-B", bounds=limits)
        return as_kernel(family, found.x)

    kernels = [fitted(family, start) for family in families for start in (1.0, 4.0)]
    return min(kernels, key=lambda kernel: float(np.sum(Kriging(x, kernel).leave_one_out(compressed) ** 2)))
