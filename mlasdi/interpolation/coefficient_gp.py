"""Gaussian processes mu -> (Xi, z0), all outputs in one batched BoTorch model."""

import copy
import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import gpytorch
import numpy as np
import torch
from botorch.exceptions.warnings import InputDataWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.kernels import ConstantKernel, MaternKernel, RBFKernel
from gpytorch.kernels import Kernel as GPyTorchKernel
from gpytorch.means import ZeroMean
from gpytorch.mlls import ExactMarginalLogLikelihood
from jaxtyping import Float
from linear_operator.utils.warnings import NumericalWarning
from scipy.linalg import solve_triangular

from mlasdi.interpolation.kriging import Kernel, Kriging

# An uncertain constant mean, as a kernel: ten times the standard deviation of the process is flat enough, and keeps
# the covariance matrix well conditioned.
MEAN_VARIANCE = 100.0
# Points evaluated at once: BoTorch forms their joint covariance for every output, though only its diagonal is used.
CHUNK = 64


class CoefficientGP:
    """Independent or correlated GPs for the latent coefficients over the unit cube.

    With a `kernel`, all outputs share it, their means and variances are the restricted-maximum-likelihood ones, and
    their correlation is that of the training values: a posterior deviation moves the coefficients together, along
    directions in which they do vary. Without one, each output gets its own length scales by maximum marginal
    likelihood and outputs are independent, as the LaSDI family has it (arXiv 2308.05882, section 2.4).

    Args:
        x: training points of the unit cube `[point, d]`.
        values: coefficients `[point, output]`.
        kernel: shared kernel, or None to fit one per output.
    """

    def __init__(
        self, x: Float[np.ndarray, "point d"], values: Float[np.ndarray, "point output"], kernel: Kernel | None
    ) -> None:
        self.x, self.values, self.kernel = x, values, kernel
        self.known = x  # the pending points as well
        if kernel is None:
            self._centre = values.mean(axis=0)
            spread = values.std(axis=0, ddof=1) if len(x) > 1 else np.zeros(values.shape[1])
        else:
            kriging = Kriging(x, kernel)
            self._whitened = kriging.whiten(values)
            self._centre = kriging.mean_weights @ values
            spread = np.sqrt(np.sum(self._whitened**2, axis=0) / max(len(x) - 1, 1))
        self.scale = np.where(spread > 1e-12 * np.abs(values).max(), spread, 1.0)
        self._varies = self.scale == spread

    @functools.cached_property
    def model(self) -> SingleTaskGP:
        """The batched model of the standardised outputs."""
        x = torch.from_numpy(self.x)
        y = torch.from_numpy((self.values - self._centre) / self.scale)
        with torch.enable_grad(), quiet_and_exact():
            if self.kernel is None:
                model = SingleTaskGP(x, y, outcome_transform=None)
                fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            else:
                model = SingleTaskGP(
                    x, y, torch.full_like(y, self.kernel.nugget), outcome_transform=None,
                    mean_module=ZeroMean(), covar_module=_gpytorch_kernel(self.kernel),
                )  # fmt: skip
        return model.eval()

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
        """The posterior of `model` where all outputs share a kernel: a few small products, in place of milliseconds.

        Pending points come out at the posterior mean, which therefore stays as it is; the variance knows of them.
        """
        half = solve_triangular(self._factor, kernel(self.known, x_new), lower=True)
        # The factor of the first points is the first block of that of all. Their values are centred, and so whitened.
        mean = half[: len(self.x)].T @ (self._whitened / self.scale)
        # The mean's share by itself, not in the covariances: it would be taken off numbers a hundred times as large.
        ones = solve_triangular(self._factor, np.ones(len(self.known)), lower=True)
        of_mean = (1 - ones @ half) ** 2 / (1 / MEAN_VARIANCE + ones @ ones)
        variance = np.clip(1 - np.sum(half**2, axis=0) + of_mean, 0, None)
        return mean, np.repeat(np.sqrt(variance)[:, None], mean.shape[1], axis=1)

    @functools.cached_property
    def _factor(self) -> Float[np.ndarray, "known known"]:
        assert self.kernel is not None  # each output has its own otherwise
        return Kriging(self.known, self.kernel).factor

    def posterior(
        self, x_new: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, "n output"], Float[np.ndarray, "n output"]]:
        """Mean and standard deviation of the coefficients at new points."""
        mean, std = self._standardised(x_new)
        return self._centre + self.scale * mean, np.where(self._varies, self.scale * std, 0.0)

    def process_std(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Posterior standard deviation as a fraction of that of the process; one for all outputs of a shared kernel."""
        return self._standardised(x_new)[1].mean(axis=-1)

    def deviations(self, x_new: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "direction n output"]:
        """Directions of one standard deviation, such that the posterior covariance is the sum of their outer products.

        With a shared kernel there is one direction a training point (the whitened training values); otherwise one an
        output. Moving along each once propagates the uncertainty to first order, without the noise of random samples.
        """
        _, std = self.posterior(x_new)
        if self.kernel is None:
            return np.eye(std.shape[1])[:, None, :] * std
        directions = self._whitened / (self.scale * np.sqrt(max(len(self.x) - 1, 1)))
        return directions[:, None, :] * std

    def with_pending(self, x_pending: Float[np.ndarray, "q d"]) -> "CoefficientGP":
        """The same GPs, conditioned on points whose solves are under way, as if they came out at the posterior mean."""
        conditioned = copy.copy(self)
        conditioned.__dict__.pop("_factor", None)
        conditioned.known = np.concatenate([self.known, x_pending])
        if self.kernel is None:
            x = torch.from_numpy(x_pending)
            with torch.no_grad(), quiet_and_exact():
                posterior = self.model.posterior(x)  # also fills the caches that conditioning needs
                conditioned.__dict__["model"] = self.model.condition_on_observations(
                    x, posterior.mean, noise=torch.full_like(posterior.mean, 1e-6)
                )
        return conditioned


@contextmanager
def quiet_and_exact() -> Iterator[None]:
    """GPyTorch would raise a nugget below 1e-6; BoTorch would warn that outputs lack the sample's unit variance.

    The nugget is small because solves have no noise, and outputs are standardised by the process variance instead.
    With length scales of many boxes the variance that is left drowns in rounding, and where that makes it negative
    GPyTorch takes the least positive one, which is as good.
    """
    with warnings.catch_warnings(), gpytorch.settings.min_fixed_noise(double_value=1e-12):
        warnings.simplefilter("ignore", InputDataWarning)
        warnings.filterwarnings("ignore", "Negative variance values detected", NumericalWarning)
        yield


def _gpytorch_kernel(kernel: Kernel) -> GPyTorchKernel:
    d = len(kernel.lengthscale)
    shape = RBFKernel(ard_num_dims=d) if kernel.family == "rbf" else MaternKernel(nu=2.5, ard_num_dims=d)
    shape.lengthscale = torch.tensor(kernel.lengthscale, dtype=torch.float64)
    mean = ConstantKernel()
    mean.constant = torch.tensor(MEAN_VARIANCE, dtype=torch.float64)
    return (shape + mean).double()
