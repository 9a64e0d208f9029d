"""Formats numbers, durations, sizes and parameter points for people."""

from collections.abc import Mapping
from typing import Any


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with three digits; below 0.01 %, as the fraction itself, such as `8.2e-8`."""
    if fraction is None:
        return "unknown"
    if 0 < abs(fraction) < 0.99995e-4:
        return short(fraction)
    return f"{100 * fraction:.3g} %" if abs(fraction) < 9.995 else f"{100 * fraction:.0f} %"


def short(value: float, n_digits: int = 3) -> str:
    """A number with significant digits, and an exponent without leading zeros: `8.2e-8`."""
    mantissa, exponent, power = f"{value:.{n_digits}g}".partition("e")
    return f"{mantissa}e{int(power)}" if exponent else mantissa


def seconds(duration: float) -> str:
    """A duration in microseconds, milliseconds, seconds, minutes or hours."""
    if 0 < duration < 0.01:
        return f"{1e3 * duration:.2g} ms" if duration >= 1e-4 else f"{1e6 * duration:.2g} µs"
    if duration < 100:
        return f"{duration:.2g} s" if duration < 10 else f"{duration:.0f} s"
    minutes = duration / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def size(n_bytes: float) -> str:
    """A size in bytes, kB, MB, GB or TB with three digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def point(mu: Mapping[str, Any]) -> str:
    """A parameter point as it is typed on the command line: `a=0.8 w=1`."""
    return " ".join(assignments(mu))


def assignments(mu: Mapping[str, Any]) -> list[str]:
    """The same as a list, with an entry for each number and each word."""
    return [one for name, value in mu.items() for one in _assignments(name, value)]


def _assignments(name: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"{name}[{i}]={one:.6g}" for i, one in enumerate(value)]
    return [f"{name}={value}" if isinstance(value, str) else f"{name}={value:.6g}"]


def counted(n: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one: `1 solver run`, `2,800 solver runs`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
