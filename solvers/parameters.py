"""The parameter space: a named box with units and scales, and maps between it and the unit cube."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.stats import qmc


@dataclass(frozen=True)
class Parameter:
    """One parameter of the problem.

    Attributes:
        name: the name under which the solver receives the value.
        low, high: bounds, inclusive, in physical units; `low < high`.
        unit: for axis labels; empty when dimensionless.
        scale: `"log"` places points, and measures distances, in the logarithm.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log"):
            raise ValueError(f"parameter '{self.name}': scale '{self.scale}' must be 'linear' or 'log'")
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise ValueError(f"parameter '{self.name}': bounds [{self.low}, {self.high}] must be finite")
        if not self.low < self.high:
            raise ValueError(f"parameter '{self.name}': low {self.low} must be less than high {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"parameter '{self.name}': a log scale needs low > 0, got {self.low}")

    @property
    def label(self) -> str:
        """Name and unit, as an axis label."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class ParameterSpace:
    """A box of named parameters, mu in D.

    Arrays of parameters are `[..., n_params]` in the order of `parameters`; the unit cube is the box after each
    parameter's own scale, and is what designs, GPs and acquisition functions work in.
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("a parameter space needs at least one parameter")
        if len(set(self.names)) != len(self.parameters):
            raise ValueError(f"parameter names must differ, got {list(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def n_params(self) -> int:
        return len(self.parameters)

    @property
    def bounds(self) -> Float[np.ndarray, "2 n_params"]:
        """Lower bounds, then upper bounds, in physical units."""
        return np.array([[p.low for p in self.parameters], [p.high for p in self.parameters]])

    def _scaled(self, mu: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # log 0 = -inf: what is not positive lies below every log-scaled box
            return np.stack(
                [
                    np.log(np.maximum(mu[..., i], 0)) if p.scale == "log" else mu[..., i]
                    for i, p in enumerate(self.parameters)
                ],
                axis=-1,
            )

    def to_unit(self, mu: ArrayLike) -> Float[np.ndarray, "*batch n_params"]:
        """Map physical parameters to the unit cube; points outside the box map outside the cube (to -inf at worst)."""
        low, high = self._scaled(self.bounds)
        return (self._scaled(np.asarray(mu, dtype=float)) - low) / (high - low)

    def from_unit(self, x: ArrayLike) -> Float[np.ndarray, "*batch n_params"]:
        """Map points of the unit cube to physical parameters; the bounds are hit exactly."""
        x = np.asarray(x, dtype=float)
        low, high = self._scaled(self.bounds)
        scaled = low + x * (high - low)
        mu = np.stack(
            [np.exp(scaled[..., i]) if p.scale == "log" else scaled[..., i] for i, p in enumerate(self.parameters)],
            axis=-1,
        )
        # Rounding must not push a point of the cube out of the box, nor an end of the cube off its bound.
        lower, upper = self.bounds
        mu = np.where((x >= 0) & (x <= 1), np.clip(mu, lower, upper), mu)
        return np.where(x == 0, lower, np.where(x == 1, upper, mu))

    def contains(self, mu: ArrayLike, tolerance: float = 1e-9) -> Bool[np.ndarray, "*batch"]:
        """Whether points `[*batch, n_params]` lie in the box, up to `tolerance` of its width."""
        x = self.to_unit(mu)
        return np.asarray(np.all((x >= -tolerance) & (x <= 1 + tolerance), axis=-1))

    def as_array(self, mu: Mapping[str, float] | ArrayLike) -> Float[np.ndarray, "n_mu n_params"]:
        """Parameters from a mapping of names to values, or from one or many rows.

        Raises:
            ValueError: a name is unknown or missing, a row has the wrong length, or a value is not finite.
        """
        if isinstance(mu, Mapping):
            if set(mu) != set(self.names):
                raise ValueError(f"parameters {sorted(mu)} given; the model has {list(self.names)}")
            mu = [float(mu[name]) for name in self.names]
        rows = np.atleast_2d(np.asarray(mu, dtype=float))
        if rows.ndim != 2 or rows.shape[1] != self.n_params:
            raise ValueError(f"parameters of shape {rows.shape} given; expected [n_mu, {self.n_params}] {self.names}")
        if not np.isfinite(rows).all():
            raise ValueError(f"parameters must be finite, got {rows[~np.isfinite(rows).all(axis=1)][0].tolist()}")
        return rows

    def as_dict(self, mu: Sequence[float] | np.ndarray) -> dict[str, float]:
        """One point as a mapping of names to plain floats."""
        return {name: float(value) for name, value in zip(self.names, mu, strict=True)}

    def corners(self) -> Float[np.ndarray, "n_corners n_params"]:
        """The 2^n_params vertices of the box."""
        return self.from_unit(np.array(list(product((0.0, 1.0), repeat=self.n_params))))

    def grid(self, n_per_axis: int | Sequence[int]) -> Float[np.ndarray, "n_mu n_params"]:
        """Tensor grid, bounds included, equidistant in each parameter's scale; the last parameter varies fastest."""
        counts = [n_per_axis] * self.n_params if isinstance(n_per_axis, int) else list(n_per_axis)
        if len(counts) != self.n_params or min(counts) < 1:
            raise ValueError(f"grid {n_per_axis}: give one count of at least 1, or one for each of {self.names}")
        axes = [np.linspace(0, 1, n) if n > 1 else np.array([0.5]) for n in counts]
        return self.from_unit(np.array(list(product(*axes))))

    def sobol(self, n: int, seed: int) -> Float[np.ndarray, "n n_params"]:
        """`n` points of a scrambled Sobol sequence; the same seed gives the same points, and a prefix property in n."""
        sampler = qmc.Sobol(self.n_params, scramble=True, rng=np.random.default_rng(seed))
        n_power = max(n - 1, 0).bit_length()
        return self.from_unit(sampler.random_base2(n_power)[:n])
