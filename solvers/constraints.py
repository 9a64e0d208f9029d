"""Constraints on parameters: which points of a parameter box may be solved."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mlasdi.solvers.contract import SolverError
from mlasdi.solvers.user_code import contained, imported

# Tolerance of a limit, relative to the sum of the absolute terms: rounding must not make a point on the limit
# infeasible.
TOLERANCE = 1e-9

Columns = Mapping[str, Float[np.ndarray, " n"]]
"""Values of each parameter by name, in physical units."""


@dataclass(frozen=True)
class LinearConstraint:
    """`low <= sum of weight times parameter <= high`, in physical units.

    Attributes:
        weights: pairs of a parameter's name and its weight.
        low, high: limits, inclusive; None for no limit.
    """

    weights: tuple[tuple[str, float], ...]
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not self.weights or not any(weight for _, weight in self.weights):
            raise ValueError(f"constraint '{self}': give at least one parameter a weight other than 0")
        given = [weight for _, weight in self.weights] + [limit for limit in (self.low, self.high) if limit is not None]
        if not np.isfinite(given).all():
            raise ValueError(f"constraint '{self}': weights and limits must be finite")
        if self.low is None and self.high is None:
            raise ValueError(f"constraint '{self}': give min, max or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"constraint '{self}': min {self.low:g} must not be more than max {self.high:g}")

    def __str__(self) -> str:
        total = " + ".join(f"{weight:g} {name}" for name, weight in self.weights).replace("+ -", "- ")
        below = "" if self.low is None else f"{self.low:g} <= "
        above = "" if self.high is None else f" <= {self.high:g}"
        return f"{below}{total}{above}"

    def check_names(self, names: Sequence[str]) -> None:
        """Check that each weight belongs to a parameter, and that no parameter is called `min` or `max`.

        Raises:
            ValueError: otherwise.
        """
        if {"min", "max"} & set(names):
            raise ValueError(f"constraint '{self}': with parameters called min or max, write package.module:function")
        for name, _ in self.weights:
            if name not in names:
                raise ValueError(f"constraint '{self}': '{name}' is no parameter; allowed: {', '.join(names)}")

    def holds(self, columns: Columns) -> Bool[np.ndarray, " n"]:
        """Whether each of `n` points satisfies the constraint."""
        terms = np.array([weight * columns[name] for name, weight in self.weights])
        total, slack = terms.sum(axis=0), TOLERANCE * np.abs(terms).sum(axis=0)
        above = True if self.low is None else total >= self.low - slack
        below = True if self.high is None else total <= self.high + slack
        return np.broadcast_to(np.logical_and(above, below), total.shape)

    def to_json(self) -> dict[str, float]:
        """As written in a configuration: `{a: 1, w: 2, max: 3}`."""
        limits = {"min": self.low, "max": self.high}
        return dict(self.weights) | {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class Predicate:
    """A Python function of the parameters that returns whether a point may be solved.

    The function is imported on its first call, so that a model trained under it can be used without it.

    Attributes:
        function: `package.module:name`; its arguments are names of parameters, not necessarily all of them.
    """

    function: str

    def __str__(self) -> str:
        return self.function

    def check_names(self, names: Sequence[str]) -> None:
        """Check that the function can be called with these parameters.

        Raises:
            ValueError: it cannot be loaded, or an argument without default value is no parameter.
        """
        for argument in inspect.signature(self._call).parameters.values():
            is_open = argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
            if argument.default is argument.empty and not is_open and argument.name not in names:
                raise ValueError(
                    f"constraint '{self}': its argument '{argument.name}' is no parameter; allowed: {', '.join(names)}"
                )

    @cached_property
    def _call(self) -> Callable[..., Any]:
        try:
            function = imported(self.function)
        except ValueError as error:
            raise ValueError(f"constraint {error}") from error
        if not callable(function):
            raise ValueError(f"constraint '{self}' must be a function of parameters, got {type(function).__name__}")
        return function

    @cached_property
    def _takes(self) -> frozenset[str] | None:
        """Names of its arguments; None if it has `**kwargs`."""
        arguments = inspect.signature(self._call).parameters.values()
        if any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
            return None
        return frozenset(argument.name for argument in arguments)

    def holds(self, columns: Columns) -> Bool[np.ndarray, " n"]:
        """Whether the function returns True at each of `n` points.

        Raises:
            ValueError: the function raises, or returns something else than True or False.
        """
        names = [name for name in columns if self._takes is None or name in self._takes]
        rows = zip(*(columns[name].tolist() for name in names), strict=True)
        n = len(next(iter(columns.values())))
        points = (dict(zip(names, row, strict=True)) for row in rows) if names else ({} for _ in range(n))
        try:
            with contained():
                return np.array([self._answer(point) for point in points], dtype=bool)
        except SolverError as error:
            raise ValueError(f"constraint '{self}' fails: {error}") from error

    def _answer(self, point: Mapping[str, Any]) -> bool:
        try:
            answer = self._call(**point)
        except Exception as error:  # the user's function may fail in its own ways
            raise ValueError(f"constraint '{self}' fails at {dict(point)}: {type(error).__name__}: {error}") from error
        if not isinstance(answer, bool | np.bool_):
            raise ValueError(f"constraint '{self}' must return True or False; at {dict(point)} it returns {answer!r}")
        return bool(answer)

    def to_json(self) -> str:
        """As written in a configuration."""
        return self.function


Constraint = LinearConstraint | Predicate


def parse_constraint(given: Any) -> Constraint:
    """A constraint as written in a configuration: `{a: 1, w: 2, max: 3}`, or `package.module:function`.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(given, LinearConstraint | Predicate):
        return given
    if isinstance(given, str):
        return Predicate(given)
    if not isinstance(given, Mapping):
        raise ValueError(f"constraint {given!r}: give {{name: weight, ..., max: limit}} or package.module:function")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"constraint {dict(given)}: {name}: give a number, got {value!r}")
    numbers = {str(name): float(value) for name, value in given.items()}
    low, high = numbers.pop("min", None), numbers.pop("max", None)
    return LinearConstraint(tuple(numbers.items()), low, high)
