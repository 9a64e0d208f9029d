"""Sobol indices of a scalar quantity, with the surrogate's own uncertainty.

References: I. M. Sobol, Math. Comput. Simul. 55 (2001) 271-280; A. Saltelli et al., Comput. Phys. Commun. 181 (2010)
259-270.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from mlasdi.analysis.distributions import Inputs
from mlasdi.analysis.quantities import Quantity, drawn_values, values
from mlasdi.prediction import html_table
from mlasdi.surrogate import Surrogate


@dataclass(frozen=True)
class SobolIndices:
    """Shares of the variance of a quantity by each parameter.

    Attributes:
        names: of the parameters.
        first_order: share by each parameter alone `[d]`.
        total_order: share with all interactions `[d]`.
        first_order_std, total_order_std: their standard deviations, by the surrogate's uncertainty and by the finite
            number of points.
        std: standard deviation of the quantity over the parameters.
        surrogate_std: root mean square over the parameters of the surrogate's deviation of the quantity. Where it is as
            large as `std`, the indices say little.
        error_estimate: estimate of the surrogate's largest relative error, as a fraction; None where unknown.
    """

    names: tuple[str, ...]
    first_order: Float[np.ndarray, " d"]
    total_order: Float[np.ndarray, " d"]
    first_order_std: Float[np.ndarray, " d"]
    total_order_std: Float[np.ndarray, " d"]
    std: float
    surrogate_std: float
    error_estimate: float | None

    def _facts(self) -> dict[str, str]:
        columns = zip(
            self.names, self.first_order, self.first_order_std, self.total_order, self.total_order_std, strict=True
        )
        return {
            name: f"first order {first:.3f} ± {first_std:.3f}, total {total:.3f} ± {total_std:.3f}"
            for name, first, first_std, total, total_std in columns
        } | {"deviation": f"{self.std:.3g}, of the surrogate {self.surrogate_std:.2g}"}

    def __repr__(self) -> str:
        return "SobolIndices(" + "; ".join(f"{name}: {fact}" for name, fact in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Sobol indices", self._facts())


def sensitivity(
    surrogate: Surrogate,
    quantity: Quantity,
    distributions: Mapping[str, Any] | None = None,
    *,
    n: int = 256,
    n_draws: int = 8,
    seed: int = 0,
) -> SobolIndices:
    """Sobol indices of a quantity, by `scipy.stats.sobol_indices`.

    Args:
        surrogate: the model; it is evaluated at `n (d + 2)` points.
        quantity: such as `"max of u"` or `"mean of u at the end"`; or a function of a `Prediction` that returns a value
            for each of its trajectories, `lambda p: p["u"][:, -1, 50]`.
        distributions: name -> distribution of `scipy.stats`; others are uniform in the box.
        n: number of points, a power of two.
        n_draws: trajectories that are drawn from the surrogate's own distribution at each point, at least 2.
        seed: of everything random.

    Raises:
        ValueError: the quantity cannot be evaluated or does not vary, a distribution is not allowed (see `propagate`),
            or `n` or `n_draws` is.
    """
    if n < 2 or n & (n - 1):
        raise ValueError(f"n {n}: give a power of two, such as 256")
    if n_draws < 2:
        raise ValueError(f"n_draws {n_draws}: at least 2 are needed for a deviation")
    inputs = Inputs(surrogate.space, distributions or {})
    spreads: list[float] = []

    def outputs(u: np.ndarray) -> np.ndarray:
        mu = inputs.from_uniform(u.T)
        mean, drawn = values(surrogate, quantity, mu), drawn_values(surrogate, quantity, mu, n_draws, seed)
        spreads.append(float(np.square(drawn.std(axis=0, ddof=1)).mean()))
        if not mean.std() > 0:
            raise ValueError("the quantity does not vary over the parameters: it has no Sobol indices")
        return np.concatenate([mean[None], drawn])

    uniform = [stats.uniform()] * surrogate.space.n_params
    found = stats.sobol_indices(func=outputs, n=n, dists=uniform, rng=np.random.default_rng(seed))
    sampling = found.bootstrap(n_resamples=100)
    variance = np.var(np.concatenate([found._f_A[0], found._f_B[0]]))
    return SobolIndices(
        surrogate.space.names,
        found.first_order[0],
        found.total_order[0],
        np.hypot(found.first_order[1:].std(axis=0, ddof=1), sampling.first_order.standard_error[0]),
        np.hypot(found.total_order[1:].std(axis=0, ddof=1), sampling.total_order.standard_error[0]),
        float(np.sqrt(variance)),
        float(np.sqrt(np.mean(spreads))),
        surrogate.error_estimate,
    )
