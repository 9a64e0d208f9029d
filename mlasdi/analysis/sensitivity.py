"""Variance-based sensitivity: Sobol indices, with the errors of their estimate and of the surrogate.

The estimators are those of Saltelli et al. (Comput. Phys. Commun. 181, 2010), by `scipy.stats.sobol_indices`. The error
by the number of points is that between independently scrambled sets of points. The error by the surrogate is the spread
of the indices of functions that are drawn from its distribution (Le Gratiet, Cannamela and Iooss, SIAM/ASA J.
Uncertain. Quantif. 2, 2014).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from mlasdi.analysis.inputs import N_SETS, Inputs, scrambled_sets
from mlasdi.analysis.quantities import Model, Quantity, drawn, predicted
from mlasdi.prediction import html_table

if TYPE_CHECKING:
    import pandas as pd

# Deviations below this, relative to the largest value over all times, are rounding errors: nothing varies there.
ROUNDING = 1e-9
DRAWN_SETS = 2  # sets of points at which drawn functions are evaluated: their spread needs fewer points than indices do
# Half of a 90 % interval in standard deviations: Student's t for the number of sets.
HALF_WIDTH = float(stdtrit(N_SETS - 1, 0.95))


@dataclass(frozen=True)
class Index:
    """Sobol indices `[column, param]` or `[param]`; NaN where the quantity does not vary.

    Attributes:
        value: of the mean of the surrogate.
        low, high: 90 % interval, with both sources of error.
        sampling_std: standard deviation by the finite number of points.
        surrogate_std: standard deviation by the error of the surrogate.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sampling_std: np.ndarray
    surrogate_std: np.ndarray


@dataclass(frozen=True)
class QuantityIndices:
    """Sobol indices of one quantity.

    Attributes:
        t: times `[time]`; None for a quantity that is one number.
        variance: of the quantity over the distributions of the parameters `[column]`.
        first, total: indices `[column, param]`: a column for each time, or one.
        first_overall, total_overall: indices `[param]` of all times together: means over time, weighted with the
            variance (Lamboni et al., Reliab. Eng. Syst. Saf. 96, 2011).
    """

    t: Float[np.ndarray, " time"] | None
    variance: Float[np.ndarray, " column"]
    first: Index
    total: Index
    first_overall: Index
    total_overall: Index


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """Sobol indices: which share of the variance of a quantity each parameter explains.

    `sensitivity["mean(u)"]` has the indices of one quantity over time, `to_dataframe()` all of them.

    Attributes:
        names: the parameters, in the order of the indices.
        distributions: parameter -> its distribution.
        quantities: name -> its indices.
        n: number of base points; `n (d + 2)` predictions were made for d parameters.
        draws: number of functions drawn from the distribution of the surrogate.
    """

    names: tuple[str, ...]
    distributions: Mapping[str, str]
    quantities: Mapping[str, QuantityIndices]
    n: int
    draws: int

    def __getitem__(self, name: str) -> QuantityIndices:
        """The indices of a quantity.

        Raises:
            ValueError: there is no such quantity.
        """
        if name not in self.quantities:
            raise ValueError(f"quantity '{name}' is not known; there are {', '.join(self.quantities)}")
        return self.quantities[name]

    def to_dataframe(self, *, over_time: bool = False) -> "pd.DataFrame":
        """A row for each quantity and parameter; with `over_time`, for each time too.

        Columns are `quantity`, `time`, `parameter`, and for each index `first` and `total`, with `_low` and `_high` of
        the 90 % interval, `_sampling_std` and `_surrogate_std`.
        """
        import pandas as pd

        return pd.DataFrame([row for name in self.quantities for row in self._rows(name, over_time)])

    def _rows(self, quantity: str, over_time: bool) -> list[dict[str, Any]]:
        found = self.quantities[quantity]
        first, total = (found.first, found.total) if over_time else (found.first_overall, found.total_overall)
        rows = []
        for where in np.ndindex(first.value.shape):
            time = {"time": found.t[where[0]]} if over_time and found.t is not None else {}
            row = {"quantity": quantity, **time, "parameter": self.names[where[-1]]}
            for label, index in (("first", first), ("total", total)):
                row |= {label: index.value[where]}
                row |= {
                    f"{label}_{part}": getattr(index, part)[where]
                    for part in ("low", "high", "sampling_std", "surrogate_std")
                }
            rows.append(row)
        return rows

    @cached_property
    def _facts(self) -> dict[str, str]:
        facts = {}
        for quantity, found in self.quantities.items():
            total = found.total_overall
            parts = zip(self.names, found.first_overall.value, total.value, total.low, total.high, strict=True)
            facts[quantity] = ", ".join(
                f"{name} {first:.2f} (total {value:.2f}, {low:.2f} to {high:.2f})"
                for name, first, value, low, high in parts
            )
        return facts

    def __repr__(self) -> str:
        return "Sensitivity(" + "; ".join(f"{name}: {fact}" for name, fact in self._facts.items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Sobol indices, first order (total, 90 % interval)", self._facts)


def sensitivity_of(
    model: Model,
    quantities: tuple[Quantity, ...],
    inputs: Inputs,
    t: Float[np.ndarray, " time"],
    *,
    n: int,
    draws: int,
    seed: int,
) -> Sensitivity:
    """See `Surrogate.sensitivity`."""
    inputs.check_free("sensitivity")
    constraints = model.space.linear_constraints
    if constraints:
        raise ValueError(
            f"Sobol indices need independent parameters; constraint '{constraints[0]}' makes them dependent"
        )
    if n < 2 * N_SETS or n & (n - 1) or draws < 2:
        raise ValueError(
            f"n {n} and draws {draws}: n must be a power of 2, at least {2 * N_SETS}, and draws at least 2"
        )
    d = len(inputs.free)
    sets = scrambled_sets(2 * d, (n // N_SETS).bit_length() - 1, seed)
    points, fewer = (inputs.at(_design(part.reshape(-1, 2 * d))) for part in (sets, sets[:DRAWN_SETS]))
    both = zip(predicted(model, quantities, points, t), drawn(model, quantities, fewer, t, draws, seed), strict=True)
    found = {
        quantity.name: _quantity_indices(values, functions, n, t)
        for quantity, (values, functions) in zip(quantities, both, strict=True)
    }
    return Sensitivity(inputs.names, inputs.texts, found, n, draws)


def _design(both: Float[np.ndarray, "n columns"]) -> Float[np.ndarray, "point d"]:
    """The halves A and B of the columns, and for each parameter A with the column of B, one after the other."""
    a, b = np.split(both, 2, axis=1)
    d = a.shape[1]
    mixed = np.repeat(a[None], d, axis=0)
    mixed[range(d), :, range(d)] = b.T
    return np.concatenate([a, b, *mixed])


def _quantity_indices(
    values: Float[np.ndarray, "point column"],
    functions: Float[np.ndarray, "draw fewer column"],
    n: int,
    t: Float[np.ndarray, " time"],
) -> QuantityIndices:
    """Indices from values for the mean of the surrogate, and for functions drawn from it."""
    n_columns = values.shape[-1]
    blocks = values.reshape(-1, n, n_columns)
    by_set = blocks.reshape(len(blocks), N_SETS, -1, n_columns).swapaxes(0, 1)
    by_function = functions.reshape(len(functions), len(blocks), -1, n_columns)
    found = [_indices(part) for part in (blocks[None], by_set, by_function)]
    variance = found[0][1][0]
    varies = np.sqrt(variance) > ROUNDING * np.abs(values).max()
    over_time = [_index(*(np.where(varies[:, None], one[order], np.nan) for one, _ in found)) for order in (0, 1)]
    overall = [_index(*(_weighted(one[order], v * varies) for one, v in found)) for order in (0, 1)]
    return QuantityIndices(t if n_columns == len(t) else None, variance, *over_time, *overall)


def _index(own: np.ndarray, by_set: np.ndarray, by_function: np.ndarray) -> Index:
    """Indices with their errors, from those of all points, of sets of points, and of drawn functions."""
    sampling_std = by_set.std(axis=0, ddof=1) / np.sqrt(N_SETS)
    surrogate_std = by_function.std(axis=0, ddof=1)
    half = HALF_WIDTH * np.hypot(sampling_std, surrogate_std)
    return Index(own[0], own[0] - half, own[0] + half, sampling_std, surrogate_std)


def _weighted(
    indices: Float[np.ndarray, "function column d"], variance: Float[np.ndarray, "function column"]
) -> Float[np.ndarray, "function d"]:
    """Means over the columns, weighted with the variance; NaN where nothing varies."""
    total = variance.sum(axis=1, keepdims=True)
    shares = np.divide(variance, total, out=np.full_like(variance, np.nan), where=total > 0)
    return np.einsum("fc,fcd->fd", shares, indices)


def _indices(
    values: Float[np.ndarray, "function block n column"],
) -> tuple[Float[np.ndarray, "2 function column d"], Float[np.ndarray, "function column"]]:
    """First-order and total indices, and the variance; the blocks are those of `_design`."""
    n_functions, n_blocks, n, n_columns = values.shape
    flat = values.transpose(1, 0, 3, 2).reshape(n_blocks, -1, n)
    # One output more: scipy drops axes of length one.
    flat = np.concatenate([flat, flat[:, :1]], axis=1)
    from scipy.stats import sobol_indices  # slow to import

    found = sobol_indices(func={"f_A": flat[0], "f_B": flat[1], "f_AB": flat[2:]}, n=n)
    both = np.stack([found.first_order, found.total_order]).reshape(2, -1, n_blocks - 2)[:, :-1]
    return both.reshape(2, n_functions, n_columns, -1), values[:, :2].var(axis=(1, 2))
