"""Integrated variance reduction: the points whose solves together lower the error of the whole box most.

The variance that a Gaussian process has left after a solve depends on where the solve is and not on its result, so the
gain of a point, or of a batch jointly, is known before it is solved. Here it is the mean over the feasible box of the
squared relative standard deviation of the field, through the latent dynamics and all stages: that of the coefficient
GPs, times a size (field per coefficient) which is taken as it is now.

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

# Points of the integral; times at which the size of the field is looked for, which varies slowly.
N_INTEGRATION, WEIGHED_TIMES = 128, 16
# Batches scored at once: each takes a covariance matrix of the integration points.
CHUNK = 64
# Least standard deviation of the coefficients, as a fraction of their own, that the size of the field is divided by.
SMALLEST_FRACTION = 1e-6


@dataclass(frozen=True)
class VarianceReduction:
    """The gain of solves at points of the unit cube, for one surrogate and the points that are under way.

    Attributes:
        gp: the coefficient GPs of the surrogate.
        x: where the variance is integrated `[n, d]`.
        weights: squared size of the field there: its relative variance, per variance of the coefficients `[n]`.
        pending: points of the unit cube that count as known `[m, d]`.
    """

    gp: CoefficientGP
    x: Float[np.ndarray, "n d"]
    weights: Float[np.ndarray, " n"]
    pending: Float[np.ndarray, "m d"]

    @classmethod
    def of(cls, surrogate: Surrogate, pending: Float[np.ndarray, "m d"], seed: int = 0) -> "VarianceReduction":
        """For a surrogate, with pending points of the unit cube.

        Args:
            seed: of the points of the integral, which are feasible ones of a Sobol sequence.
        """
        gp = surrogate.model.latent.gp
        x = surrogate.space.unit_sobol(N_INTEGRATION, seed)
        fraction = np.maximum(gp.process_std(x), SMALLEST_FRACTION)
        size = surrogate.relative_std(surrogate.space.from_unit(x), n_time=WEIGHED_TIMES) / fraction
        return cls(gp, x, size**2, pending)

    @cached_property
    def model(self) -> SingleTaskGP:
        return variance_model(self.gp)

    @cached_property
    def acquisition(self) -> qNegIntegratedPosteriorVariance:
        """BoTorch's function of batches `[batch, q, d]`, with the variance of the field relative to the solution."""
        return self._acquisition(torch.from_numpy(self.pending) if len(self.pending) else None)

    def _acquisition(self, pending: Float[Tensor, "m d"] | None) -> qNegIntegratedPosteriorVariance:
        return qNegIntegratedPosteriorVariance(self.model, torch.from_numpy(self.x), None, self._field, pending)

    @property
    def _field(self) -> "_FieldOf":
        return _FieldOf(torch.from_numpy(np.sqrt(self.weights)))

    @cached_property
    def _now(self) -> float:
        """The integral before another solve."""
        with torch.no_grad(), quiet_and_exact():
            if len(self.pending):
                return -self._acquisition(None)(torch.from_numpy(self.pending)[None]).item()
            x = torch.from_numpy(self.x)  # shaped as BoTorch's function does it
            points = x[:, None] if self.model.num_outputs > 1 else x
            return self.model.posterior(points, posterior_transform=self._field).variance.mean().item()

    def _integral(self, x: Float[np.ndarray, "n q d"]) -> Float[np.ndarray, " n"]:
        """The same after solves at each batch."""
        with torch.no_grad(), quiet_and_exact():
            return np.concatenate([-self.acquisition(part).numpy() for part in torch.from_numpy(x).split(CHUNK)])

    def gain(self, x: Float[np.ndarray, "n q d"]) -> Float[np.ndarray, " n"]:
        """What each batch takes off the mean square relative error over the box, as its root: in units of error.

        To be maximised with differences: BoTorch's gradients of it are lost to rounding, since the nugget of solves
        without noise is small.
        """
        return np.sqrt(np.clip(self._now - self._integral(x), 0, None))


class _FieldOf(PosteriorTransform):
    """The coefficients' posterior at the points of the integral, times the size of the field there.

    Of several outputs the scaled sum is taken: they are independent, so its variance is the mean of theirs.
    """

    scalarize = True

    def __init__(self, size: Float[Tensor, " n"]) -> None:
        super().__init__()
        self.size = size

    def evaluate(self, Y: Tensor, X: Tensor | None = None) -> Tensor:
        raise NotImplementedError("only posteriors are transformed: no outcome is observed")

    def forward(self, posterior: Any, X: Tensor | None = None) -> GPyTorchPosterior:
        size, normal = self.size, posterior.distribution
        if isinstance(normal, MultitaskMultivariateNormal):  # then the first axis is that of the integral's points
            share = torch.full((normal.num_tasks,), normal.num_tasks**-0.5, dtype=size.dtype)
            normal = scalarize_posterior(posterior, share).distribution
            size = size.reshape(-1, *(1 for _ in normal.mean.shape[1:]))
        scaling = DiagLinearOperator(size.expand(normal.mean.shape))
        scaled = scaling @ normal.lazy_covariance_matrix @ scaling
        return GPyTorchPosterior(MultivariateNormal(size * normal.mean, scaled))


def variance_model(gp: CoefficientGP) -> SingleTaskGP:
    """A BoTorch model whose variance is that of the coefficients, as a fraction of their own.

    Coefficients that share a kernel have one variance, and one output is enough; the others keep one each.
    """
    if gp.kernel is None:
        return gp.model
    return CoefficientGP(gp.x, np.linspace(-1, 1, len(gp.x))[:, None], gp.kernel).model
