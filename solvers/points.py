"""Parameter points in the forms in which users have them: names to values, tables with columns by name, or rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


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
        rows = np.atleast_2d(np.asarray(mu, dtype=float))
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
