"""Gaussian processes mu -> (Xi, z0) for latent coefficients and initial states."""

import copy
import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import solve_triangular

from mlasdi.interpolation.kriging import MEAN_VARIANCE, Kernel, Kriging

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

CHUNK = 64  # points evaluated at once: bounds the memory of the joint covariance that BoTorch forms for every output
PENDING_NOISE = 1e-6  # safety bound: noise variance of pending points, over that of the process
CONSTANT = 1e-12  # safety bound: outputs that vary less, relative to the largest value, are constant up to rounding


class CoefficientGP:
    """Independent or correlated GPs for the latent coefficients over the unit cube.

    With a shared kernel, means and variances are those of restricted maximum likelihood, and the correlation of the
    outputs is that of the training values: deviations are combinations of directions in which the coefficients vary.
    Without one, each output has its own length scales by maximum marginal likelihood, and outputs are independent, as
    in GPLaSDI (arXiv 2308.05882, section 2.4).

    Args:
        x: training points of the unit cube `[point, d]`.
        values: coefficients `[point, output]`.
        kernel: shared kernel, or None to fit one per output.
    """

    def __init__(
        self, x: Float[np.ndarray, "point d"], values: Float[np.ndarray, "point output"], kernel: Kernel | None
    ) -> None:
        self.x, self.values, self.kernel = x, values, kernel
        self.known = x  # the training points, and the pending ones
        if kernel is None:
            self._centre = values.mean(axis=0)
            spread = values.std(axis=0, ddof=1) if len(x) > 1 else np.zeros(values.shape[1])
        else:
            kriging = Kriging(x, kernel)
            self._whitened = kriging.whiten(values)
            self._centre = kriging.mean_weights @ values
            spread = np.sqrt(np.sum(self._whitened**2, axis=0) / max(len(x) - 1, 1))
        self.scale = np.where(spread > CONSTANT * np.abs(values).max(), spread, 1.0)
        self._varies = self.scale == spread

    @functools.cached_property
    def model(self) -> "SingleTaskGP":
        """The batched model of the standardised outputs."""
        from mlasdi.interpolation.gpytorch_model import fitted_model  # takes a second to import; few models need it

        return fitted_model(self.x, (self.values - self._centre) / self.scale, self.kernel)

    def _standardised(
        self, x_new: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, "n output"], Float[np.ndarray, "n output"]]:
        """Mean and standard deviation of the standardised outputs."""
        if self.kernel is not None:
            return self._in_closed_form(x_new, self.kernel)
        means, stds = [], []
        with torch.no_grad():
            for part in torch.from_numpy(x_new).split(CHUNK):
                posterior = self.model.posterior(part)
                means.append(posterior.mean.numpy())
                stds.append(posterior.variance.clamp_min(0).sqrt().numpy())
        return np.concatenate(means), np.concatenate(stds)

    def _in_closed_form(
        self, x_new: Float[np.ndarray, "n d"], kernel: Kernel
    ) -> tuple[Float[np.ndarray, "n output"], Float[np.ndarray, "n output"]]:
        """The posterior of `model` where all outputs share a kernel, by a few products in place of BoTorch.

        The values at pending points are the posterior mean, which therefore does not change; the variance does.
        """
        half = solve_triangular(self._factor, kernel(self.known, x_new), lower=True)
        # The Cholesky factor of the training points is the first block of that of all points.
        mean = half[: len(self.x)].T @ (self._whitened / self.scale)
        # The variance of the constant mean is added separately: as a part of the covariances it would lose digits by
        # cancellation.
        ones = solve_triangular(self._factor, np.ones(len(self.known)), lower=True)
        mean_variance = (1 - ones @ half) ** 2 / (1 / MEAN_VARIANCE + ones @ ones)
        variance = np.clip(1 - np.sum(half**2, axis=0) + mean_variance, 0, None)
        return mean, np.repeat(np.sqrt(variance)[:, None], mean.shape[1], axis=1)

    @functools.cached_property
    def _factor(self) -> Float[np.ndarray, "known known"]:
        assert self.kernel is not None  # only called with a shared kernel
        return Kriging(self.known, self.kernel).factor

    def posterior(
        self, x_new: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, "n output"], Float[np.ndarray, "n output"]]:
        """Mean and standard deviation of the coefficients at new points."""
        mean, std = self._standardised(x_new)
        return self._centre + self.scale * mean, np.where(self._varies, self.scale * std, 0.0)

    def process_std(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Posterior standard deviation over that of the process, mean over the outputs."""
        return self._standardised(x_new)[1].mean(axis=-1)

    def deviations(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "direction n output"]:
        """Directions of one standard deviation: the posterior covariance is the sum of their outer products.

        With a shared kernel there is one direction for each training point (the whitened training values); otherwise
        one for each output. One step along each propagates the uncertainty to first order, without random samples.
        """
        _, std = self.posterior(x_new)
        if self.kernel is None:
            return np.eye(std.shape[1])[:, None, :] * std
        directions = self._whitened / (self.scale * np.sqrt(max(len(self.x) - 1, 1)))
        return directions[:, None, :] * std

    def with_pending(self, x_pending: Float[np.ndarray, "q d"]) -> "CoefficientGP":
        """The same GPs, conditioned on points whose solves are under way, with the posterior mean as their values."""
        conditioned = copy.copy(self)
        conditioned.__dict__.pop("_factor", None)
        conditioned.known = np.concatenate([self.known, x_pending])
        if self.kernel is None:
            from mlasdi.interpolation.gpytorch_model import quiet_and_exact  # as in `model`

            x = torch.from_numpy(x_pending)
            with torch.no_grad(), quiet_and_exact():
                posterior = self.model.posterior(x)  # also computes the caches that conditioning needs
                conditioned.__dict__["model"] = self.model.condition_on_observations(
                    x, posterior.mean, noise=torch.full_like(posterior.mean, PENDING_NOISE)
                )
        return conditioned
