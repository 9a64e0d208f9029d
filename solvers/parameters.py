"""A parameter, and points in the forms in which users have them: names to values, tables by column, or rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
        values: the only numbers that are solved, increasing from `low` to `high`; empty for all.
        category: the solver's name of a parameter whose values are words. It has a parameter `category=word` here for
            each word, which is 1 at that word and 0 at others (`categories`); empty for numbers.
        vector: the solver's name of a list of numbers, of which this is one (`components`); empty for others.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False
    values: tuple[float, ...] = ()
    category: str = ""
    vector: str = ""

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
        if self.values:
            self._check_values()

    def _check_values(self) -> None:
        if self.integer:
            raise ValueError(f"parameter '{self.name}': give values or integer, not both")
        if list(self.values) != sorted(set(self.values)) or (self.values[0], self.values[-1]) != (self.low, self.high):
            raise ValueError(
                f"parameter '{self.name}': values {list(self.values)} must increase from low {self.low:g} to high "
                f"{self.high:g}, all different"
            )

    @property
    def input(self) -> str:
        """Name under which the solver receives the value, or the word or list that it belongs to."""
        return self.category or self.vector or self.name

    @property
    def word(self) -> str:
        """The word of a category for which this parameter is 1."""
        return self.name.removeprefix(f"{self.category}=")

    @property
    def is_discrete(self) -> bool:
        """Whether only some values between the bounds are solved."""
        return self.integer or bool(self.values) or bool(self.category)

    def nearest(self, values: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """The values that may be solved nearest to the given ones, on the scale of the parameter."""
        if not self.values:
            return np.asarray(np.round(values)) if self.integer else values
        allowed = np.array(self.values, dtype=float)
        is_log = self.scale == "log"
        middles = np.sqrt(allowed[1:] * allowed[:-1]) if is_log else 0.5 * (allowed[1:] + allowed[:-1])
        return np.asarray(allowed[np.searchsorted(middles, values)])

    @property
    def label(self) -> str:
        """Name and unit, as an axis label."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


def categories(name: str, words: Sequence[str]) -> tuple[Parameter, ...]:
    """The parameters of a category, one for each of its words.

    Raises:
        ValueError: there are fewer than two words, or a word comes twice or is empty.
    """
    if len(words) < 2 or len(set(words)) < len(words) or not all(words) or "," in "".join(words):
        raise ValueError(
            f"parameter '{name}': values {list(words)} must be two or more different words, without commas"
        )
    return tuple(Parameter(f"{name}={word}", 0.0, 1.0, category=name) for word in words)


def components(parameter: Parameter, size: int) -> tuple[Parameter, ...]:
    """The parameters `name[0]`, `name[1]`, ... of a list of `size` numbers, each with the bounds of `parameter`.

    Raises:
        ValueError: `size` is not at least 1.
    """
    if size < 1:
        raise ValueError(f"parameter '{parameter.name}': size {size} must be at least 1")
    name = parameter.name
    return tuple(replace(parameter, name=f"{name}[{i}]", vector=name) for i in range(size))


def parameters_of(name: str, given: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters that a mapping describes, in place of bounds with `values` for a choice of numbers or of words.

    Args:
        given: `low`, `high`, `unit`, `scale`, `integer`; or `values`, with `unit` and `scale` for numbers; and `size`
            for a list of numbers.

    Raises:
        ValueError: keys exclude each other, or a value is not allowed.
    """
    given = dict(given)
    size, values = given.pop("size", None), given.pop("values", None)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
        raise ValueError(f"parameter '{name}': size {size!r} must be a whole number, at least 1")
    if values is not None:
        for key in ("low", "high", "integer"):
            if given.get(key) is not None and given[key] is not False:
                raise ValueError(f"parameter '{name}': give values, or {key}; not both")
        if isinstance(values, str) or not isinstance(values, Sequence) or len(values) < 2:
            raise ValueError(f"parameter '{name}': values {values!r} must be a list of at least two numbers or words")
        if all(isinstance(one, str) for one in values):
            if size is not None or given.get("unit") or given.get("scale", "linear") != "linear":
                raise ValueError(f"parameter '{name}': values that are words have no size, unit or scale")
            return categories(name, values)
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
            raise ValueError(f"parameter '{name}': values {list(values)} must be all numbers, or all words")
        ordered = tuple(sorted(float(one) for one in values))
        given = {**given, "low": ordered[0], "high": ordered[-1], "values": ordered}
        given.pop("integer", None)
    for key in ("low", "high"):
        if isinstance(given.get(key), bool) or not isinstance(given.get(key), int | float):
            raise ValueError(f"parameter '{name}': {key} {given.get(key)!r} must be a number")
        if not np.isfinite(given[key]):
            raise ValueError(f"parameter '{name}': {key} {given[key]} must be a finite number")
        given[key] = float(given[key])
    for key, kind, allowed in (("unit", str, "text"), ("integer", bool, "true or false")):
        if not isinstance(given.get(key, kind()), kind):
            raise ValueError(f"parameter '{name}': {key} {given[key]!r} must be {allowed}")
    single = Parameter(name, **given)
    return (single,) if size is None else components(single, size)


@runtime_checkable
class DataFrameLike(Protocol):
    """Columns by name, as a DataFrame has them."""

    @property
    def columns(self) -> Any: ...

    def __getitem__(self, name: Any) -> Any: ...


Points: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | DataFrameLike | ArrayLike
"""One or many parameter points; see `ParameterSpace.as_array`."""


def ungrouped(mu: Points, parameters: Sequence[Parameter]) -> Any:
    """The points with a number for each parameter, in place of words and lists.

    Raises:
        ValueError: a word is unknown, or a list has the wrong length.
    """
    if all(p.input == p.name for p in parameters):
        return mu
    if isinstance(mu, Mapping | DataFrameLike):
        names = list(mu) if isinstance(mu, Mapping) else [str(name) for name in mu.columns]
        return {key: one for name in names for key, one in _parts(name, mu[name], parameters)}
    if isinstance(mu, Sequence) and any(isinstance(point, Mapping) for point in mu):
        return [ungrouped(point, parameters) if isinstance(point, Mapping) else point for point in mu]
    return mu


def _parts(name: str, given: Any, parameters: Sequence[Parameter]) -> list[tuple[str, Any]]:
    """The value of one name as values of parameters."""
    members = [p for p in parameters if p.input == name and p.name != name]
    if not members:
        return [(name, given)]
    if members[0].vector:
        values = np.asarray(given, dtype=float)
        if values.ndim < 1 or values.shape[-1] != len(members):
            raise ValueError(f"{name} of shape {values.shape} given; it is a list of {len(members)} numbers")
        return [(p.name, values[..., i]) for i, p in enumerate(members)]
    words = [p.word for p in members]
    chosen = np.asarray(given, dtype=object)
    for one in chosen.ravel():
        if one not in words:
            raise ValueError(f"{name} {one!r} given; allowed: {', '.join(words)}")
    return [(p.name, (chosen == p.word).astype(float)) for p in members]


def point_of(parameters: Sequence[Parameter], mu: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """One point as the solver receives it: numbers, whole ones for integer parameters; words; and lists of numbers."""
    point: dict[str, Any] = {}
    highest: dict[str, float] = {}
    for p, value in zip(parameters, mu, strict=True):
        number = round(float(value)) if p.integer and float(value).is_integer() else float(value)
        if p.category:
            if number > highest.get(p.category, -np.inf):
                point[p.category], highest[p.category] = p.word, number
        elif p.vector:
            point.setdefault(p.vector, []).append(number)
        else:
            point[p.name] = number
    return point


def described_point(point: Mapping[str, Any], digits: int = 4) -> str:
    """A point as text, `fluid = oil, a = 0.8`, with this many digits."""
    return ", ".join(f"{name} = {_rounded(value, digits)}" for name, value in point.items())


def _rounded(value: Any, digits: int) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_rounded(one, digits) for one in value)}]"
    return value if isinstance(value, str) else f"{value:.{digits}g}"


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
