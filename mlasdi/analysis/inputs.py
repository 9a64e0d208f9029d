"""Distributions of the parameters, truncated to the trained box; parameters are independent of each other."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Parameter, ParameterSpace

# Smallest share of a distribution that must lie in the trained box: what is left of one that hardly meets it says more
# about the box than about the parameter.
MIN_INSIDE = 0.01
# Independently scrambled Sobol sequences, whose results differ by the error of sampling (Owen, SIAM J. Numer. Anal. 34,
# 1997).
N_SETS = 8
_CALL = re.compile(r"\s*([a-z]+)\s*\(([^()]*)\)\s*")
Given = Any
"""A distribution as users give it: text such as `normal(0.8, 0.02)`, `(low, high)`, a number, one of `scipy.stats`."""


def _stats() -> Any:
    """`scipy.stats`, imported on first use, because it is slow to import."""
    from scipy import stats

    return stats


def _normal(mean: float, std: float) -> Any:
    return _stats().norm(mean, _positive(std, "the standard deviation"))


def _lognormal(median: float, sigma: float) -> Any:
    return _stats().lognorm(_positive(sigma, "sigma"), scale=_positive(median, "the median"))


def _uniform(low: float, high: float) -> Any:
    return _stats().uniform(low, _positive(high - low, "high - low"))


def _loguniform(low: float, high: float) -> Any:
    return _stats().loguniform(_positive(low, "low"), low + _positive(high - low, "high - low"))


# Name -> its arguments, and the distribution of scipy.
_KINDS: dict[str, tuple[str, Callable[[float, float], Any]]] = {
    "normal": ("mean, standard deviation", _normal),
    "lognormal": ("median, standard deviation of the logarithm", _lognormal),
    "uniform": ("low, high", _uniform),
    "loguniform": ("low, high", _loguniform),
}


@dataclass(frozen=True)
class Input:
    """One parameter with its distribution, truncated to the box.

    Attributes:
        parameter: its name, bounds and scale.
        text: the distribution as people write it.
        law: the distribution before it is truncated, of `scipy.stats`; None for a fixed value.
        value: the fixed value.
    """

    parameter: Parameter
    text: str
    law: Any = None
    value: float = np.nan

    @property
    def is_fixed(self) -> bool:
        return self.law is None

    @property
    def _ends(self) -> tuple[float, float]:
        """Probabilities of smaller values than the box has, and of values up to its upper bound."""
        low, high = _bounds(self.parameter)
        return float(self.law.cdf(low)), float(self.law.cdf(high))

    @property
    def outside(self) -> float:
        """Share of the distribution outside of the box."""
        if self.is_fixed:
            return 0.0
        return float(self._ends[0] + self.law.sf(_bounds(self.parameter)[1]))

    def values(self, v: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Quantiles of the truncated distribution at probabilities `v`."""
        if self.is_fixed:
            return np.full(len(v), self.value)
        below, up_to = self._ends
        found = np.asarray(self.law.ppf(below + v * (up_to - below)), dtype=float)
        found = self.parameter.nearest(found)
        return np.clip(found, self.parameter.low, self.parameter.high)


@dataclass(frozen=True)
class Inputs:
    """Independent distributions of all parameters of a space."""

    space: ParameterSpace
    inputs: tuple[Input, ...]

    @classmethod
    def of(cls, space: ParameterSpace, given: Mapping[str, Given] | None) -> "Inputs":
        """Distributions by name; parameters that are not named are uniform over their range, on their scale.

        Raises:
            ValueError: an unknown parameter, a distribution that cannot be read, or one that hardly meets the box.
        """
        named = dict(given or {})
        for name, words in space.words.items():
            word = named.pop(name, None)
            if word not in words:
                raise ValueError(f"parameter '{name}': {word!r} given; fix it at one of its words: {', '.join(words)}")
            named |= {f"{name}={one}": float(one == word) for one in words}
        unknown = [name for name in named if name not in space.names]
        if unknown:
            raise ValueError(f"parameter '{unknown[0]}' is not known; the model has {', '.join(space.names)}")
        return cls(space, tuple(_input(p, named[p.name]) if p.name in named else _default(p) for p in space.parameters))

    @property
    def free(self) -> tuple[Input, ...]:
        """Those that are not fixed."""
        return tuple(one for one in self.inputs if not one.is_fixed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that are not fixed."""
        return tuple(one.parameter.name for one in self.free)

    @property
    def texts(self) -> dict[str, str]:
        """Parameter -> its distribution, as people write it."""
        return {one.parameter.name: one.text for one in self.inputs}

    @property
    def outside(self) -> dict[str, float]:
        """Parameter -> share of its distribution outside of the box; those without any are left out."""
        return {one.parameter.name: one.outside for one in self.inputs if one.outside > 0}

    def at(self, v: Float[np.ndarray, "n free"]) -> Float[np.ndarray, "n n_params"]:
        """Points of the parameter space from points of the unit cube; uniform `v` have these distributions."""
        columns = iter(v.T)
        return np.column_stack([one.values(v[:, 0] if one.is_fixed else next(columns)) for one in self.inputs])

    def check_free(self, purpose: str) -> None:
        """Check that a parameter is left to vary.

        Raises:
            ValueError: all are fixed.
        """
        if not self.free:
            raise ValueError(f"{purpose} needs a parameter that varies; all are fixed: {self.texts}")


def scrambled_sets(d: int, log2_size: int, seed: int) -> Float[np.ndarray, "set point d"]:
    """`N_SETS` independent sets of points of the unit cube, each the start of a scrambled Sobol sequence."""
    generators = np.random.default_rng(seed).spawn(N_SETS)
    return np.stack([_stats().qmc.Sobol(d, rng=one).random_base2(log2_size) for one in generators])


def parse_distribution(text: str) -> Any:
    """A distribution of `scipy.stats`, or a number, from text such as `normal(0.8, 0.02)` or `0.8`.

    `normal(mean, std)`, `lognormal(median, sigma)` with the standard deviation sigma of the logarithm,
    `uniform(low, high)`, `loguniform(low, high)`.

    Raises:
        ValueError: not of this form, or its arguments are not allowed.
    """
    try:
        return _finite(text)
    except ValueError:
        pass
    match = _CALL.fullmatch(text)
    if match is None or match[1] not in _KINDS:
        forms = ", ".join(f"{kind}({arguments})" for kind, (arguments, _) in _KINDS.items())
        raise ValueError(f"'{text}' is no distribution; write {forms}, or a number")
    arguments, law = _KINDS[match[1]]
    parts = match[2].split(",")
    try:
        first, second = (_finite(part) for part in parts)
        return law(first, second)
    except ValueError as error:
        raise ValueError(f"'{text}': {match[1]} takes {arguments} ({error})") from None


def _input(parameter: Parameter, given: Given) -> Input:
    try:
        law, text = _read(given)
    except ValueError as error:
        raise ValueError(f"parameter '{parameter.name}': {error}") from None
    low, high = parameter.low, parameter.high
    if isinstance(law, float):
        if not low <= law <= high:
            raise ValueError(
                f"parameter '{parameter.name}': {law:g} lies outside of the trained range {low:g} to {high:g}"
            )
        return Input(parameter, f"{law:g}", value=law)
    found = Input(parameter, text, law)
    if not found.outside <= 1 - MIN_INSIDE:  # NaN is refused, too
        raise ValueError(
            f"parameter '{parameter.name}': less than {MIN_INSIDE:.0%} of {text} lies in the trained range {low:g} to "
            f"{high:g}"
        )
    return found


def _read(given: Given) -> tuple[Any, str]:
    """A distribution of scipy or a number, and its text."""
    if isinstance(given, str):
        return parse_distribution(given), given.strip()
    if callable(getattr(given, "ppf", None)) and callable(getattr(given, "cdf", None)):
        name = getattr(getattr(given, "dist", None), "name", type(given).__name__)
        numbers = [*getattr(given, "args", ()), *getattr(given, "kwds", {}).values()]
        return given, f"{name}({', '.join(f'{float(one):g}' for one in numbers)})"
    values = np.asarray(given, dtype=float)
    if values.shape == (2,):
        return parse_distribution(f"uniform({values[0]},{values[1]})"), f"uniform({values[0]:g}, {values[1]:g})"
    if values.shape == () and np.isfinite(values):
        return float(values), ""
    raise ValueError(f"{given!r} is no distribution; give text, (low, high), a number or one of scipy.stats")


def _default(parameter: Parameter) -> Input:
    low, high = _bounds(parameter)
    kind = "loguniform" if parameter.scale == "log" else "uniform"
    return Input(parameter, f"{kind}({parameter.low:g}, {parameter.high:g})", _KINDS[kind][1](low, high))


def _bounds(parameter: Parameter) -> tuple[float, float]:
    """Bounds of the values that are in the box, once those of an integer parameter are rounded."""
    margin = 0.5 if parameter.integer else 0.0
    return parameter.low - margin, parameter.high + margin


def _finite(text: str) -> float:
    number = float(text)
    if not np.isfinite(number):
        raise ValueError(f"'{text.strip()}' must be finite")
    return number


def _positive(value: float, what: str) -> float:
    if not value > 0:
        raise ValueError(f"{what} must be positive, got {value:g}")
    return value
