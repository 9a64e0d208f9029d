"""Several Gaussian processes as one batched BoTorch model, with a given kernel or one for each output."""

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

from mlasdi.interpolation.kriging import MEAN_VARIANCE, Kernel

MIN_NUGGET = 1e-12  # safety bound in place of GPyTorch's 1e-6: solves have no noise


def fitted_model(
    x: Float[np.ndarray, "point d"], values: Float[np.ndarray, "point output"], kernel: Kernel | None
) -> SingleTaskGP:
    """The batched model of standardised outputs; without a kernel, by maximum marginal likelihood of each output."""
    inputs, y = torch.from_numpy(x), torch.from_numpy(values)
    with torch.enable_grad(), quiet_and_exact():
        if kernel is None:
            model = SingleTaskGP(inputs, y, outcome_transform=None)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        else:
            model = SingleTaskGP(
                inputs, y, torch.full_like(y, kernel.nugget), outcome_transform=None,
                mean_module=ZeroMean(), covar_module=_gpytorch_kernel(kernel),
            )  # fmt: skip
    return model.eval()


@contextmanager
def quiet_and_exact() -> Iterator[None]:
    """Context in which GPyTorch keeps a small nugget, and in which warnings that do not apply here are ignored.

    BoTorch warns of outputs without unit variance over the samples: here they are standardised by the process variance.
    GPyTorch warns of negative variances: with very long length scales the posterior variance is below rounding, and the
    smallest positive number, which GPyTorch takes, is as good.
    """
    with warnings.catch_warnings(), gpytorch.settings.min_fixed_noise(double_value=MIN_NUGGET):
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
