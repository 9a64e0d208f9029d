"""A parameter, and points in the forms in which users have them: names to values, tables by column, or rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

MAX_NAME = 100  # characters of a parameter's name: a column of tables, and part of labels and tags


@dataclass(frozen=True)
class Parameter:
    """One parameter of the problem.

    Attributes:
        name: name under which the solver receives the value.
        low, high: bounds, inclusive, in physical units; `low < high`.
        unit: for axis labels; empty if dimensionless.
        scale: `"log"`: points are placed, and distances measured, in the logarithm of the parameter.
        integer: only whole numbers are solved; the bounds must be whole.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log"):
            raise ValueError(f"parameter '{self.name}': scale '{self.scale}' must be 'linear' or 'log'")
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise ValueError(f"parameter '{self.name}': bounds [{self.low}, {self.high}] must be finite")
        if len(self.name) > MAX_NAME:
            raise ValueError(
                f"parameter '{self.name[:MAX_NAME]}...': the name has {len(self.name)} characters, at most {MAX_NAME} "
                "are allowed"
            )
        with np.errstate(over="ignore"):
            if not np.isfinite(np.float64(self.high) - np.float64(self.low)):
                raise ValueError(f"parameter '{self.name}': the range [{self.low}, {self.high}] is too large")
        if not self.low < self.high:
            raise ValueError(f"parameter '{self.name}': low {self.low} must be less than high {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"parameter '{self.name}': a log scale needs low > 0, got {self.low}")
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ValueError(f"parameter '{self.name}': integer needs whole bounds, got [{self.low}, {self.high}]")

    @property
    def label(self) -> str:
        """Name and unit, as an axis label."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@runtime_checkable
class DataFrameLike(Protocol):
    """Columns by name, as a DataFrame has them."""

    @property
    def columns(self) -> Any: ...

    def __getitem__(self, name: Any) -> Any: ...


Points: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, float]] | DataFrameLike | ArrayLike
"""One or many parameter points; see `ParameterSpace.as_array`."""


def rows_of(mu: Points, names: Sequence[str]) -> Float[np.ndarray, "n_mu n_params"]:
    """A row for each point, its values in the order of `names`; see `ParameterSpace.as_array`.

    Raises:
        ValueError: a name is unknown or missing, a row has the wrong length, or a value is not finite.
    """
    if isinstance(mu, Mapping) or hasattr(mu, "columns"):
        rows = _rows_of_columns(mu, names)
    else:
        if isinstance(mu, Sequence) and any(isinstance(point, Mapping) for point in mu):
            mu = [_values(point, names) for point in mu]
        given = np.asarray(mu)
        if given.dtype.names is not None:
            raise ValueError(f"a structured array with {list(given.dtype.names)} given; give a mapping or a DataFrame")
        rows = np.atleast_2d(given.astype(float))
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise ValueError(f"parameters of shape {rows.shape} given; expected [n_mu, {len(names)}] {tuple(names)}")
    if not np.isfinite(rows).all():
        raise ValueError(f"parameters must be finite, got {rows[~np.isfinite(rows).all(axis=1)][0].tolist()}")
    return rows


def _rows_of_columns(mu: Any, names: Sequence[str]) -> Float[np.ndarray, "n_mu n_params"]:
    """Rows from values by name, of which each may be one or many, whatever their order."""
    if set(mu) != set(names):
        raise ValueError(f"parameters {sorted(map(str, mu))} given; the model has {list(names)}")
    columns = [np.atleast_1d(np.asarray(mu[name], dtype=float)) for name in names]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        sizes = {name: column.shape for name, column in zip(names, columns, strict=True)}
        raise ValueError(f"parameters of sizes {sizes} given; each needs one value a point")
    return np.stack(columns, axis=1)


def _values(mu: Any, names: Sequence[str]) -> list[float]:
    """The values of a mapping in the order of `names`."""
    if not isinstance(mu, Mapping) or set(mu) != set(names):
        given = sorted(mu) if isinstance(mu, Mapping) else mu
        raise ValueError(f"parameters {given} given; the model has {list(names)}")
    return [float(mu[name]) for name in names]
