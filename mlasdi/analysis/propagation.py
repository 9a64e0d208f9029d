"""Propagation of input distributions: moments and quantiles of fields and quantities, by randomised quasi-Monte Carlo.

The variance is that of the law of total variance, `Var[y] = Var[E[y | mu]] + E[Var[y | mu]]`: the first part comes from
the parameters, and the second from the error of the surrogate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from mlasdi.analysis.inputs import N_SETS, Inputs, scrambled_sets
from mlasdi.analysis.quantities import BLOCK_BYTES, Model, Quantity, drawn, predicted
from mlasdi.prediction import Probes, html_table, short_number
from mlasdi.solvers import StateLayout

if TYPE_CHECKING:
    import pandas as pd

# A share of a distribution that the box leaves out and that its user should know of.
MENTIONED = 0.001


@dataclass(frozen=True)
class Statistics:
    """Distribution of values over the parameters and the error of the surrogate, `[*shape]`.

    Attributes:
        mean: expected value.
        std: standard deviation by the law of total variance.
        inputs_std: its part by the distributions of the parameters.
        surrogate_std: its part by the error of the surrogate.
        quantiles: level -> quantile.
    """

    mean: np.ndarray
    std: np.ndarray
    inputs_std: np.ndarray
    surrogate_std: np.ndarray
    quantiles: Mapping[float, np.ndarray]

    def columns(self) -> dict[str, np.ndarray]:
        """By name, as in tables: `mean`, `std`, `inputs_std`, `surrogate_std`, `q5`, `q95`."""
        moments = {name: getattr(self, name) for name in ("mean", "std", "inputs_std", "surrogate_std")}
        return moments | {f"q{100 * level:g}": values for level, values in self.quantiles.items()}


@dataclass(frozen=True)
class QuantityStatistics(Statistics):
    """Distribution of a quantity `[column]`: a column for each time, or one.

    Attributes:
        t: times `[time]`; None for a quantity that is one number.
        values: at each point, by the mean of the surrogate `[point, column]`.
        mean_surrogate_std: standard deviation of `mean` by the error of the surrogate, whose errors at different points
            are correlated `[column]`.
        mean_sampling_std: standard error of `mean` by the finite number of points `[column]`.
    """

    t: Float[np.ndarray, " time"] | None
    values: Float[np.ndarray, "point column"]
    mean_surrogate_std: Float[np.ndarray, " column"]
    mean_sampling_std: Float[np.ndarray, " column"]


@dataclass(frozen=True, repr=False)
class Propagation:
    """Distribution of what the surrogate predicts, for distributions of its parameters.

    `propagation["mean(u)"]` has the statistics of a quantity, or of a field on its grid `[time, *grid]`.

    Attributes:
        distributions: parameter -> its distribution.
        outside: parameter -> share of its distribution outside of the trained box, which is left out.
        mu: the points `[point, n_params]`.
        t: times `[time]`.
        layout: fields and grid of the states.
        fields: statistics of whole states `[time, state]`; None where quantities were asked for.
        quantities: name -> its statistics.
        warnings: what limits the answer.
    """

    distributions: Mapping[str, str]
    outside: Mapping[str, float]
    mu: Float[np.ndarray, "point n_params"]
    t: Float[np.ndarray, " time"]
    layout: StateLayout
    fields: Statistics | None
    quantities: Mapping[str, QuantityStatistics]
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Statistics:
        """Statistics of a quantity `[column]`, or of a field on its grid `[time, *grid]`.

        Raises:
            ValueError: there is none of this name.
        """
        if name in self.quantities:
            return self.quantities[name]
        known = [*self.quantities, *(self.layout.fields if self.fields is not None else ())]
        if self.fields is None or name not in known:
            raise ValueError(f"'{name}' is not known; there are {', '.join(known)}")
        split = {key: self.layout.split(values)[name] for key, values in self.fields.columns().items()}
        levels = {level: split.pop(f"q{100 * level:g}") for level in self.fields.quantiles}
        return Statistics(**split, quantiles=levels)

    def to_dataframe(self) -> "pd.DataFrame":
        """A row for each quantity and time; without quantities, for each field, time and place.

        Columns are those of `Statistics.columns`, for quantities also `mean_surrogate_std` and `mean_sampling_std`.
        """
        import pandas as pd

        tables = [self._table(name, found) for name, found in self.quantities.items()]
        if self.fields is None:
            return pd.concat([pd.DataFrame(table) for table in tables], ignore_index=True)
        places = self._places()
        rows = [
            pd.DataFrame(
                {"field": name, "time": np.repeat(self.t, self.layout.n_points)}
                | {axis: np.tile(values, len(self.t)) for axis, values in places.items()}
                | {key: np.split(part, len(self.layout.fields), axis=-1)[k].ravel() for key, part in self._columns()}
            )
            for k, name in enumerate(self.layout.fields)
        ]
        return pd.concat(rows, ignore_index=True)

    def _columns(self) -> list[tuple[str, np.ndarray]]:
        return [] if self.fields is None else list(self.fields.columns().items())

    def _places(self) -> dict[str, Float[np.ndarray, " point"]]:
        """Coordinates of each value of a field."""
        layout = self.layout
        if layout.scattered:
            return {axis: np.asarray(values) for axis, values in layout.coordinates.items()}
        grids = np.meshgrid(*(np.asarray(values) for values in layout.coordinates.values()), indexing="ij")
        flat = [grid.ravel() if layout.mask is None else grid[layout.mask] for grid in grids]
        return dict(zip(layout.coordinates, flat, strict=True))

    @staticmethod
    def _table(name: str, found: QuantityStatistics) -> dict[str, Any]:
        time = {} if found.t is None else {"time": found.t}
        errors = {key: getattr(found, key) for key in ("mean_surrogate_std", "mean_sampling_std")}
        return {"quantity": name} | time | found.columns() | errors

    def _facts(self) -> dict[str, str]:
        inputs = (f"{name} {text}" + self._left_out(name) for name, text in self.distributions.items())
        facts = {"inputs": ", ".join(inputs), "points": str(len(self.mu))}
        for name, found in self.quantities.items():
            facts[name] = _in_words(found, "at the last time" if found.t is not None else "")
        if self.fields is not None:
            facts |= {f"{name}, largest std": short_number(np.nanmax(self[name].std)) for name in self.layout.fields}
        return facts

    def _left_out(self, name: str) -> str:
        share = self.outside.get(name, 0.0)
        return f" ({100 * share:.2g} % outside of the box)" if share >= MENTIONED else ""

    def __repr__(self) -> str:
        return "Propagation(" + "; ".join(f"{name}: {fact}" for name, fact in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Propagation", self._facts())


def _in_words(found: QuantityStatistics, where: str) -> str:
    mean, std, part = found.mean[-1], found.std[-1], found.surrogate_std[-1]
    return f"{short_number(mean)} with std {std:.3g} {where}, of which the surrogate {part:.2g}".replace(" ,", ",")


def propagated(
    model: Model,
    quantities: tuple[Quantity, ...],
    inputs: Inputs,
    t: Float[np.ndarray, " time"],
    *,
    n: int,
    levels: Sequence[float],
    draws: int,
    seed: int,
) -> Propagation:
    """See `Surrogate.propagate`; without quantities, of the fields."""
    inputs.check_free("propagation")
    if n < 2 * N_SETS or draws < 2:
        raise ValueError(f"n {n} and draws {draws}: give at least {2 * N_SETS} points and 2 draws")
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"quantiles {list(levels)}: give levels between 0 and 1, without both ends")
    mu, sets, scores, warnings = _points(inputs, n, seed)
    found = {}
    if quantities:
        values = zip(predicted(model, quantities, mu, t), drawn(model, quantities, mu, t, draws, seed), strict=True)
        for quantity, (mean, functions) in zip(quantities, values, strict=True):
            found[quantity.name] = _of_quantity(mean, functions, sets, t, levels)
    fields = None if quantities else _of_fields(model, mu, scores, t, levels)
    return Propagation(inputs.texts, inputs.outside, mu, t, model.layout, fields, found, tuple(warnings))


def _points(inputs: Inputs, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Points `[point, n_params]`, the set of each, a normal score of each, and warnings."""
    d, size = len(inputs.free), int(np.ceil(np.log2(n / N_SETS)))
    by_set = scrambled_sets(d + 1, size, seed)
    v = by_set.reshape(-1, d + 1)
    mu, sets = inputs.at(v[:, :d]), np.repeat(np.arange(N_SETS), by_set.shape[1])
    scores = ndtri(np.clip(v[:, d], 1e-12, 1 - 1e-12))
    warnings = [
        f"{100 * share:.2g} % of {inputs.texts[name]} lies outside of the trained range of {name} and is left out"
        for name, share in inputs.outside.items()
        if share >= MENTIONED
    ]
    holds = np.ones(len(mu), dtype=bool)
    for constraint in inputs.space.linear_constraints:
        holds &= constraint.holds(inputs.space.columns(mu))
    if len(np.unique(sets[holds])) < N_SETS:
        raise ValueError(
            "fewer than one point in a hundred meets the constraints of the trained region; give more points"
        )
    if not holds.all():
        warnings.append(
            f"{100 * (1 - holds.mean()):.2g} % of the points break constraints of the trained region and are left out"
        )
    return mu[holds], sets[holds], scores[holds], warnings


def _of_quantity(
    values: Float[np.ndarray, "point column"],
    functions: Float[np.ndarray, "draw point column"],
    sets: Int[np.ndarray, " point"],
    t: Float[np.ndarray, " time"],
    levels: Sequence[float],
) -> QuantityStatistics:
    """Statistics of a quantity from its values for the mean of the surrogate, and for functions drawn from it."""
    inputs_std, surrogate_std = values.std(axis=0), np.sqrt(functions.var(axis=0, ddof=1).mean(axis=0))
    quantiles = np.quantile(functions, list(levels), axis=(0, 1))
    set_means = np.stack([values[sets == k].mean(axis=0) for k in range(N_SETS)])
    return QuantityStatistics(
        mean=values.mean(axis=0),
        std=np.hypot(inputs_std, surrogate_std),
        inputs_std=inputs_std,
        surrogate_std=surrogate_std,
        quantiles=dict(zip(levels, quantiles, strict=True)),
        t=t if values.shape[1] == len(t) else None,
        values=values,
        mean_surrogate_std=functions.mean(axis=1).std(axis=0, ddof=1),
        mean_sampling_std=set_means.std(axis=0, ddof=1) / np.sqrt(N_SETS),
    )


def _of_fields(
    model: Model,
    mu: Float[np.ndarray, "point n_params"],
    scores: Float[np.ndarray, " point"],
    t: Float[np.ndarray, " time"],
    levels: Sequence[float],
) -> Statistics:
    """Statistics of all values of the states.

    Quantiles are those of the mixture of the normal distributions of all points: one value is taken of each.
    """
    shape = (len(t), model.layout.n_state)
    mean, inputs_std, surrogate_std = np.empty(shape), np.empty(shape), np.empty(shape)
    quantiles = {level: np.empty(shape) for level in levels}
    for times, values, probes in _blocks(model.layout.n_state, len(t), len(mu)):
        found = model.predict(mu, t[times], probes=probes)
        assert found.std is not None  # it is asked for
        mean[times, values], inputs_std[times, values] = found.mean.mean(axis=0), found.mean.std(axis=0)
        surrogate_std[times, values] = np.sqrt((found.std**2).mean(axis=0))
        mixed = found.mean + scores[:, None, None] * found.std
        for level, quantile in zip(levels, np.quantile(mixed, list(levels), axis=0), strict=True):
            quantiles[level][times, values] = quantile
    return Statistics(mean, np.hypot(inputs_std, surrogate_std), inputs_std, surrogate_std, quantiles)


def _blocks(n_state: int, n_time: int, n_points: int) -> Iterator[tuple[slice, slice, Probes | None]]:
    """Parts of times and values whose predictions at all points fit in memory."""
    most = max(BLOCK_BYTES // (8 * n_points), 1)
    n_values, n_times = min(most, n_state), max(most // n_state, 1)
    for start in range(0, n_time, n_times):
        for first in range(0, n_state, n_values):
            entries = np.arange(first, min(first + n_values, n_state))[:, None]
            probes = None if n_values == n_state else Probes(entries, np.ones(entries.shape))
            yield slice(start, start + n_times), slice(first, first + n_values), probes
