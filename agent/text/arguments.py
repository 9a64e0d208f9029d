"""Parses points, ranges, times and percentages from the command line."""

from collections.abc import Container, Iterable
from math import isfinite
from typing import Any

import numpy as np
from jaxtyping import Float

MAX_TIMES = 10_000_000  # of a range; more are probably a typing error


def values(texts: Iterable[str], words: Container[str] = ()) -> dict[str, Any]:
    """`["a=0.8", "w=1.0"]`, or `["a=0.8,w=1.0"]`, as names and values.

    Args:
        words: names whose values are words, and not numbers.

    Raises:
        ValueError: not of this form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for name, text in _assignments(",".join(texts)):
        found[name] = text if name in words else _number(text, f"{name}={text}")
    return found


def texts(pairs: Iterable[str]) -> dict[str, str]:
    """`["reviewed=yes", "note=a, b"]` as names and texts.

    Raises:
        ValueError: not of this form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not (name.strip() and separator):
            raise ValueError(f"'{pair}': write name=value, for example reviewed=yes")
        if name.strip() in found:
            raise ValueError(f"'{name.strip()}' is given twice")
        found[name.strip()] = text.strip()
    return found


def ranges(text: str) -> dict[str, float | tuple[float, float]]:
    """`a=0.8,w=0.9:1.1` as names with a value or with (low, high).

    Raises:
        ValueError: not of this form, a name comes twice, or a range is reversed.
    """
    found: dict[str, float | tuple[float, float]] = {}
    for name, value in _assignments(text):
        low, separator, high = value.partition(":")
        if not separator:
            found[name] = _number(value, f"{name}={value}")
            continue
        bounds = _number(low, f"{name}={value}"), _number(high, f"{name}={value}")
        if bounds[0] > bounds[1]:
            raise ValueError(f"'{name}={value}': the range is reversed; write {name}={high}:{low}")
        found[name] = bounds
    return found


def time_points(text: str) -> Float[np.ndarray, " time"]:
    """`0:1:101` (start:stop:count, both ends included) or `0,0.5,1`.

    Raises:
        ValueError: not of this form, or too many.
    """
    if ":" not in text:
        return np.array([_number(part, text) for part in text.split(",")])
    parts = text.split(":")
    if len(parts) != 3 or not parts[2].isdecimal() or int(parts[2]) < 1:
        raise ValueError(f"times '{text}': write start:stop:count, for example 0:1:101, or a list such as 0,0.5,1")
    if int(parts[2]) > MAX_TIMES:
        raise ValueError(f"times '{text}': {parts[2]} times are more than the {MAX_TIMES} allowed")
    return np.linspace(_number(parts[0], text), _number(parts[1], text), int(parts[2]))


def sensors(texts: Iterable[str]) -> dict[str, Float[np.ndarray, " sensor"]]:
    """`["x=0.5,y=1", "x=0.7,y=1"]`, one sensor each, as coordinates by name.

    Raises:
        ValueError: not of this form, or the sensors have different coordinates.
    """
    found = [values([text]) for text in texts]
    for text, one in zip(texts, found, strict=True):
        if set(one) != set(found[0]):
            raise ValueError(f"sensor '{text}': give {', '.join(found[0])}, as for the first")
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def levels(text: str) -> tuple[float, ...]:
    """`5%,95%` or `0.05,0.95` as fractions.

    Raises:
        ValueError: not of this form, or not between 0 and 1.
    """
    found = tuple(fraction(part) for part in text.split(","))
    if not all(0 < level < 1 for level in found):
        raise ValueError(f"quantiles '{text}': give levels between 0 and 1, such as 0.05,0.95")
    return found


def fraction(text: str) -> float:
    """`1%` or `0.01`.

    Raises:
        ValueError: not of this form, or negative.
    """
    number = text.strip().removesuffix("%")
    value = _number(number, text) / (100 if number != text.strip() else 1)
    if value < 0:
        raise ValueError(f"'{text}': must not be negative")
    return value


def fractions(text: str) -> float | dict[str, float]:
    """`1%` as a number, or `voltage=1%,T=0.5%` as names with numbers; see `fraction`.

    Raises:
        ValueError: not of this form, negative, or a name comes twice.
    """
    if "=" not in text:
        return fraction(text)
    return {name: fraction(value) for name, value in _assignments(text)}


def _assignments(text: str) -> Iterable[tuple[str, str]]:
    seen = set()
    for part in text.split(","):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not (name and separator and value):
            raise ValueError(f"'{part}': write name=value, for example a=0.8")
        if name in seen:
            raise ValueError(f"'{name}' is given twice")
        seen.add(name)
        yield name, value


def _number(text: str, context: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"'{context}': '{text}' is not a number") from None
    if not isfinite(number):
        raise ValueError(f"'{context}': '{text}' must be finite")
    return number
