"""Integrated variance reduction: the points whose solves most reduce the mean variance over the box.

The posterior variance of a Gaussian process depends on the points but not on the values there, so the gain of a point,
or of a batch jointly, is known before it is solved. The variance is the squared relative standard deviation of the
field, through the latent dynamics and all stages: the variance of the coefficient GPs times the squared sensitivity of
the field to the coefficients, which is assumed to stay constant. It is averaged over the feasible box.

References: S. Seo, M. Wallat, T. Graepel, K. Obermayer, Gaussian process regression: active data selection and test
point rejection. IJCNN (2000). BoTorch: arXiv 1910.06403.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from botorch.acquisition.active_learning import qNegIntegratedPosteriorVariance
from botorch.acquisition.objective import PosteriorTransform
from botorch.models import SingleTaskGP
from botorch.posteriors import GPyTorchPosterior
from botorch.posteriors.gpytorch import scalarize_posterior
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from jaxtyping import Float
from linear_operator.operators import DiagLinearOperator
from torch import Tensor

from mlasdi.interpolation import CoefficientGP, quiet_and_exact
from mlasdi.surrogate import Surrogate

# Number of integration points, and of times at which the sensitivity is evaluated, which varies slowly.
N_INTEGRATION, WEIGHED_TIMES = 128, 16
# Batches scored at once: each needs a covariance matrix of the integration points.
CHUNK = 64
# Lower bound of the relative standard deviation of the coefficients, by which the sensitivity is divided.
MIN_FRACTION = 1e-6


@dataclass(frozen=True)
class VarianceReduction:
    """The gain of solves at points of the unit cube, for one surrogate and given pending points.

    Attributes:
        gp: the coefficient GPs of the surrogate.
        x: integration points `[n, d]`.
        weights: squared sensitivity there: relative variance of the field per relative variance of the coefficients.
        pending: points of the unit cube that count as solved `[m, d]`.
    """

    gp: CoefficientGP
    x: Float[np.ndarray, "n d"]
    weights: Float[np.ndarray, " n"]
    pending: Float[np.ndarray, "m d"]

    @classmethod
    def of(cls, surrogate: Surrogate, pending: Float[np.ndarray, "m d"], seed: int = 0) -> "VarianceReduction":
        """For a surrogate and pending points of the unit cube.

        Args:
            seed: of the integration points, the feasible ones of a Sobol sequence.
        """
        gp = surrogate.model.latent.gp
        x = surrogate.space.unit_sobol(N_INTEGRATION, seed)
        fraction = np.maximum(gp.process_std(x), MIN_FRACTION)
        size = surrogate.relative_std(surrogate.space.from_unit(x), n_time=WEIGHED_TIMES) / fraction
        return cls(gp, x, size**2, pending)

    @cached_property
    def model(self) -> SingleTaskGP:
        return variance_model(self.gp)

    @cached_property
    def acquisition(self) -> qNegIntegratedPosteriorVariance:
        """BoTorch's acquisition function of batches `[batch, q, d]`, for the relative variance of the field."""
        return self._acquisition(torch.from_numpy(self.pending) if len(self.pending) else None)

    def _acquisition(self, pending: Float[Tensor, "m d"] | None) -> qNegIntegratedPosteriorVariance:
        return qNegIntegratedPosteriorVariance(self.model, torch.from_numpy(self.x), None, self._field, pending)

    @property
    def _field(self) -> "_FieldOf":
        return _FieldOf(torch.from_numpy(np.sqrt(self.weights)))

    @cached_property
    def _now(self) -> float:
        """The integral before further solves."""
        with torch.no_grad(), quiet_and_exact():
            if len(self.pending):
                return -self._acquisition(None)(torch.from_numpy(self.pending)[None]).item()
            x = torch.from_numpy(self.x)  # with the shape that BoTorch's function uses
            points = x[:, None] if self.model.num_outputs > 1 else x
            return self.model.posterior(points, posterior_transform=self._field).variance.mean().item()

    def _integral(self, x: Float[np.ndarray, "n q d"]) -> Float[np.ndarray, " n"]:
        """The integral after the solves of each batch."""
        with torch.no_grad(), quiet_and_exact():
            return np.concatenate([-self.acquisition(part).numpy() for part in torch.from_numpy(x).split(CHUNK)])

    def gain(self, x: Float[np.ndarray, "n q d"]) -> Float[np.ndarray, " n"]:
        """Root of the reduction of the integral by each batch, a relative error.

        Its gradients are computed by differences: those of BoTorch are dominated by rounding errors, because the nugget
        of solves without noise is small.
        """
        return np.sqrt(np.clip(self._now - self._integral(x), 0, None))


class _FieldOf(PosteriorTransform):
    """The posterior of the coefficients at the integration points, times the sensitivity of the field there.

    Several independent outputs become their sum divided by the root of their number, whose variance is their mean.
    """

    scalarize = True

    def __init__(self, size: Float[Tensor, " n"]) -> None:
        super().__init__()
        self.size = size

    def evaluate(self, Y: Tensor, X: Tensor | None = None) -> Tensor:
        raise NotImplementedError("only posteriors are transformed, not observed outcomes")

    def forward(self, posterior: Any, X: Tensor | None = None) -> GPyTorchPosterior:
        size, normal = self.size, posterior.distribution
        if isinstance(normal, MultitaskMultivariateNormal):  # then the first axis is that of the integration points
            share = torch.full((normal.num_tasks,), normal.num_tasks**-0.5, dtype=size.dtype)
            normal = scalarize_posterior(posterior, share).distribution
            size = size.reshape(-1, *(1 for _ in normal.mean.shape[1:]))
        scaling = DiagLinearOperator(size.expand(normal.mean.shape))
        scaled = scaling @ normal.lazy_covariance_matrix @ scaling
        return GPyTorchPosterior(MultivariateNormal(size * normal.mean, scaled))


def variance_model(gp: CoefficientGP) -> SingleTaskGP:
    """A BoTorch model with the variance of the coefficients, relative to their variation.

    Coefficients that share a kernel have the same variance, so that one output suffices; otherwise each has its own.
    """
    if gp.kernel is None:
        return gp.model
    return CoefficientGP(gp.x, np.linspace(-1, 1, len(gp.x))[:, None], gp.kernel).model
