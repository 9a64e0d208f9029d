"""Propagation of distributions of the inputs to the fields."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import qmc

from mlasdi.analysis.distributions import Inputs
from mlasdi.analysis.quantities import BLOCK_BYTES
from mlasdi.prediction import html_table
from mlasdi.solvers import StateLayout
from mlasdi.surrogate import Probes, Surrogate


@dataclass(frozen=True)
class Propagation:
    """Distribution of the fields, by that of the parameters and the surrogate's own deviation.

    Attributes:
        t: times `[time]`.
        layout: fields and grid.
        mean: states `[time, state]`.
        std: standard deviation by both causes, of the same shape.
        surrogate_std: the part of it by the surrogate: root of the mean of its variance.
        levels: of the quantiles, as fractions.
        quantiles: `[level, time, state]`, by both causes.
        share_outside: probability of parameters outside the trained box, which are left out.
        error_estimate: estimate of the surrogate's largest relative error, as a fraction; None where unknown.
    """

    t: Float[np.ndarray, " time"]
    layout: StateLayout
    mean: Float[np.ndarray, "time state"]
    std: Float[np.ndarray, "time state"]
    surrogate_std: Float[np.ndarray, "time state"]
    levels: tuple[float, ...]
    quantiles: Float[np.ndarray, "level time state"]
    share_outside: float
    error_estimate: float | None

    def field(
        self, name: str, kind: Literal["mean", "std", "surrogate_std", "quantiles"] = "mean"
    ) -> Float[np.ndarray, "*time_and_grid"]:
        """A field on its grid, `[time, *grid]`, with levels first for quantiles.

        Raises:
            ValueError: there is no such field or kind.
        """
        kinds = {
            "mean": self.mean, "std": self.std, "surrogate_std": self.surrogate_std, "quantiles": self.quantiles,
        }  # fmt: skip
        if name not in self.layout.fields or kind not in kinds:
            raise ValueError(
                f"'{kind}' of field '{name}': the fields are {', '.join(self.layout.fields)}, and kinds {list(kinds)}"
            )
        return self.layout.split(kinds[kind])[name]

    def __getitem__(self, name: str) -> Float[np.ndarray, "*time_and_grid"]:
        return self.field(name)

    def summary(self) -> dict[str, Any]:
        """Ranges of mean and deviations, as JSON."""
        return {
            "mean": [float(self.mean.min()), float(self.mean.max())],
            "largest_std": float(self.std.max()),
            "largest_surrogate_std": float(self.surrogate_std.max()),
            "share_outside": self.share_outside,
            "error_estimate": self.error_estimate,
        }

    def __repr__(self) -> str:
        return "Propagation(" + "; ".join(f"{name}: {value}" for name, value in self.summary().items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Propagation", self.summary())


def propagate(
    surrogate: Surrogate,
    distributions: Mapping[str, Any],
    t: ArrayLike | None = None,
    *,
    n: int = 1024,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    seed: int = 0,
) -> Propagation:
    """Mean, standard deviation and quantiles of the fields for random parameters.

    The variance is that of the predicted means over the parameters, plus the mean of the surrogate's variance.

    Args:
        surrogate: the model.
        distributions: name -> distribution of `scipy.stats`, such as `stats.norm(0.8, 0.02)`, conditioned on the
            trained box; parameters that are not named are uniform in their range.
        t: times `[time]`; the training times by default.
        n: number of points of a Sobol sequence, a power of two.
        quantiles: levels, as fractions.
        seed: of the sequence.

    Raises:
        ValueError: as `Inputs`; a level is not between 0 and 1; `n` is no power of two.

    Examples:
        >>> from scipy import stats
        >>> import mlasdi
        >>> model = mlasdi.load("model")  # doctest: +SKIP
        >>> mlasdi.propagate(model, {"a": stats.norm(0.8, 0.02)})["u"].shape  # doctest: +SKIP
        (51, 101)
    """
    levels = tuple(float(level) for level in quantiles)
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"quantiles {list(levels)}: give levels between 0 and 1, without both ends")
    inputs = Inputs(surrogate.space, distributions)
    u = _sequence(surrogate.space.n_params + 1, n, seed)
    mu, score = inputs.from_uniform(u[:, :-1]), ndtri(u[:, -1])
    times = surrogate.t if t is None else np.atleast_1d(np.asarray(t, dtype=float))
    shape = (len(times), surrogate.layout.n_state)
    mean, std, own = np.empty(shape), np.empty(shape), np.empty(shape)
    found = np.empty((len(levels), *shape))
    for when, entries in _blocks(n, *shape):
        probes = Probes(np.arange(shape[1])[entries, None], np.ones((entries.stop - entries.start, 1)))
        part = surrogate.predict(mu, times[when], probes=probes)
        assert part.std is not None  # asked for
        variance = np.square(part.std).mean(axis=0)
        mean[when, entries] = part.mean.mean(axis=0)
        std[when, entries] = np.sqrt(part.mean.var(axis=0) + variance)
        own[when, entries] = np.sqrt(variance)
        drawn = part.mean + score[:, None, None] * part.std
        found[:, when, entries] = np.quantile(drawn, levels, axis=0)
    return Propagation(
        times, surrogate.layout, mean, std, own, levels, found, inputs.share_outside, surrogate.error_estimate
    )


def _sequence(d: int, n: int, seed: int) -> Float[np.ndarray, "point d"]:
    """Scrambled Sobol points inside the unit cube."""
    if n < 2 or n & (n - 1):
        raise ValueError(f"n {n}: give a power of two, such as 1024")
    points = qmc.Sobol(d, rng=np.random.default_rng(seed)).random(n)
    return np.clip(points, np.finfo(float).eps, 1 - np.finfo(float).eps)  # normal scores of the ends are infinite


def _blocks(n: int, n_time: int, n_state: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of times and entries of the state, in which all points together take `BLOCK_BYTES`."""
    values = max(BLOCK_BYTES // (8 * n), 1)
    n_entries = min(values, n_state)
    n_times = min(max(values // n_entries, 1), n_time)
    for time in range(0, n_time, n_times):
        for entry in range(0, n_state, n_entries):
            yield slice(time, min(time + n_times, n_time)), slice(entry, min(entry + n_entries, n_state))
