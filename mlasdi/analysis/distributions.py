"""Distributions of the parameters, within the box on which a surrogate was trained."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from mlasdi.solvers import ParameterSpace

MAX_OUTSIDE = 0.05  # probability outside the box: with more, the answer is not that of the distribution that was given


@dataclass(frozen=True)
class Inputs:
    """Independent distributions of all parameters, each conditioned on its range in the box.

    Attributes:
        space: the box.
        given: name -> distribution of `scipy.stats`; the others are uniform in the box, in the logarithm where the
            scale is.

    Raises:
        ValueError: a name is unknown, a value is no distribution, or more than 5 % of one lie outside the box.
    """

    space: ParameterSpace
    given: Mapping[str, Any]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.given) - set(self.space.names))
        if unknown:
            raise ValueError(f"distribution of '{unknown[0]}': the parameters are {', '.join(self.space.names)}")
        for parameter in self.space.parameters:
            name, distribution = parameter.name, self.given.get(parameter.name)
            if distribution is not None and not (hasattr(distribution, "cdf") and hasattr(distribution, "ppf")):
                raise ValueError(f"distribution of '{name}': give one of scipy.stats, such as stats.norm(0.8, 0.02)")
            if self._outside(name) > MAX_OUTSIDE:
                raise ValueError(
                    f"distribution of '{name}': {100 * self._outside(name):.3g} % lie outside the trained range "
                    f"{parameter.low:g} to {parameter.high:g}; at most {100 * MAX_OUTSIDE:g} % may"
                )

    @property
    def share_outside(self) -> float:
        """Probability of a point outside the box, which is left out."""
        return float(1 - np.prod([1 - self._outside(name) for name in self.given]))

    def from_uniform(self, u: Float[np.ndarray, "point d"]) -> Float[np.ndarray, "point d"]:
        """Parameters, in physical units, of uniformly distributed points of the unit cube, by inverse distributions."""
        mu = self.space.from_unit(u)
        for column, parameter in enumerate(self.space.parameters):
            if parameter.name in self.given:
                low, high = self._range(parameter.name)
                drawn = self.given[parameter.name].ppf(low + (high - low) * u[:, column])
                mu[:, column] = np.clip(drawn, parameter.low, parameter.high)
        return mu

    def log_density(self, mu: Float[np.ndarray, "point d"]) -> Float[np.ndarray, " point"]:
        """Logarithm of the density up to a constant, with respect to uniform points of the box."""
        total = np.zeros(len(mu))
        for column, parameter in enumerate(self.space.parameters):
            if parameter.name in self.given:
                total += self.given[parameter.name].logpdf(mu[:, column])
                total += np.log(mu[:, column]) if parameter.scale == "log" else 0.0
        return total

    def _range(self, name: str) -> tuple[float, float]:
        parameter = self.space.parameters[self.space.names.index(name)]
        return float(self.given[name].cdf(parameter.low)), float(self.given[name].cdf(parameter.high))

    def _outside(self, name: str) -> float:
        if name not in self.given:
            return 0.0
        low, high = self._range(name)
        return 1 - (high - low)


@dataclass(frozen=True)
class _Kind:
    arguments: tuple[str, ...]
    build: Callable[..., Any]
    is_allowed: Callable[..., bool]


KINDS = {
    "normal": _Kind(("mean", "deviation"), stats.norm, lambda mean, deviation: deviation > 0),
    "uniform": _Kind(("low", "high"), lambda low, high: stats.uniform(low, high - low), lambda low, high: low < high),
    "loguniform": _Kind(("low", "high"), stats.loguniform, lambda low, high: 0 < low < high),
    "lognormal": _Kind(
        ("median", "deviation_of_log"),
        lambda median, deviation: stats.lognorm(deviation, scale=median),
        lambda median, deviation: median > 0 and deviation > 0,
    ),
    "triangular": _Kind(
        ("low", "mode", "high"),
        lambda low, mode, high: stats.triang((mode - low) / (high - low), low, high - low),
        lambda low, mode, high: low <= mode <= high and low < high,
    ),
}
_ASSIGNED = re.compile(r"\s*(?P<name>[^=]+?)\s*=\s*(?P<kind>[a-z]+)\((?P<numbers>[^()]*)\)\s*")


def parse_distributions(texts: Iterable[str]) -> dict[str, Any]:
    """`["a=normal(0.8,0.02)", "w=uniform(0.9,1.1)"]` as distributions of `scipy.stats`; nothing is evaluated.

    Raises:
        ValueError: not of this form, an unknown distribution, arguments that it does not allow, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        parts = _ASSIGNED.fullmatch(text)
        if parts is None or parts["kind"] not in KINDS:
            allowed = ", ".join(f"{name}({', '.join(kind.arguments)})" for name, kind in KINDS.items())
            raise ValueError(f"'{text}': write NAME=DISTRIBUTION, with one of {allowed}")
        kind, numbers = KINDS[parts["kind"]], _numbers(parts["numbers"], text)
        if len(numbers) != len(kind.arguments) or not kind.is_allowed(*numbers):
            raise ValueError(f"'{text}': {parts['kind']} does not allow these; give {', '.join(kind.arguments)}")
        if parts["name"] in found:
            raise ValueError(f"'{parts['name']}' is given twice")
        found[parts["name"]] = kind.build(*numbers)
    return found


def _numbers(text: str, whole: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"'{whole}': '{text}' are not numbers, separated by commas") from None
    if not all(map(isfinite, numbers)):
        raise ValueError(f"'{whole}': numbers must be finite")
    return numbers
