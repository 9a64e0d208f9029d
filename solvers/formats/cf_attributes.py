"""Decodes the values of NetCDF variables by their attributes: packing, missing values and units of time.

CF conventions 1.11, sections 2.5.1 (missing data), 4.4 (time coordinate) and 8.1 (packed data); `_Unsigned` is the
convention of the NetCDF user's guide. xarray decodes the same attributes.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

ATTRIBUTES = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "units")
_SINCE = re.compile(r"\s*(?P<unit>[A-Za-z]+)\s+since\s+\S", re.IGNORECASE)
_SECONDS = {
    ("d", "day", "days"): 86400.0,
    ("h", "hr", "hrs", "hour", "hours"): 3600.0,
    ("min", "mins", "minute", "minutes"): 60.0,
    ("s", "sec", "secs", "second", "seconds"): 1.0,
    ("ms", "msec", "msecs", "millisecond", "milliseconds"): 1e-3,
    ("us", "microsecond", "microseconds"): 1e-6,
    ("ns", "nanosecond", "nanoseconds"): 1e-9,
}


def decoded(values: np.ndarray, attributes: Mapping[str, Any]) -> np.ndarray:
    """The values that a NetCDF variable means: `scale_factor * stored + add_offset`, NaN where a value is missing.

    Args:
        values: as they are stored, of any shape.
        attributes: of the variable. Without any of `ATTRIBUTES` the values are returned as they are.

    Returns:
        Values as float64 if something was decoded. Times in `UNIT since DATE` are seconds from that date on.

    Raises:
        ValueError: an attribute is no number, or the unit of a time has no fixed length (months, years).
    """
    given = {name: attributes[name] for name in ATTRIBUTES if name in attributes}
    if values.dtype.kind not in "iuf" or not given:
        return values
    stored = _with_sign(values, _text(given.get("_Unsigned", "")))
    missing = np.zeros(stored.shape, dtype=bool)
    for name in ("_FillValue", "missing_value"):
        if name in given:
            missing |= _is_one_of(stored, _numbers(name, given[name]), wraps=stored.dtype != values.dtype)
    factor, offset = (
        _number(name, given.get(name, default)) for name, default in (("scale_factor", 1), ("add_offset", 0))
    )
    if factor == 0:
        raise ValueError(f"attribute scale_factor = {given['scale_factor']!r} must not be 0: all values would be equal")
    seconds = _seconds(_text(given.get("units", "")))
    if not missing.any() and (factor, offset, seconds) == (1, 0, None):
        return stored
    physical = np.where(missing, np.nan, stored.astype(np.float64) * factor + offset)
    return physical if seconds is None else physical * seconds


def _with_sign(values: np.ndarray, unsigned: str) -> np.ndarray:
    """Integers with the sign that `_Unsigned` says; NetCDF 3 has no unsigned types, and DAP2 no signed bytes."""
    kind = {"true": "u", "false": "i"}.get(unsigned.lower())
    if kind is None or values.dtype.kind not in "iu" or values.dtype.kind == kind:
        return values
    return values.astype(values.dtype.newbyteorder("=").str.replace(values.dtype.kind, kind))


def _is_one_of(stored: np.ndarray, marks: np.ndarray, wraps: bool) -> Bool[np.ndarray, "..."]:
    """Where values mark something missing.

    Args:
        wraps: whether the marks have another sign than the values, and wrap around as these did.
    """
    if stored.dtype.kind == "f" or (wraps and marks.dtype.kind in "iu"):
        marks = marks.astype(stored.dtype)  # a mark in double precision stands for the nearest value that is stored
    return np.isin(stored, marks)


def _seconds(units: str) -> float | None:
    """Seconds in the unit of times since a date; None of other units."""
    match = _SINCE.match(units)
    if match is None:
        return None
    unit = match["unit"]
    for names, length in _SECONDS.items():
        if unit.lower() in names:
            return length
    raise ValueError(f"units '{units}': '{unit}' has no fixed length; write the times in days, hours or seconds")


def _number(name: str, value: Any) -> float:
    found = _numbers(name, value)
    if found.size != 1 or not np.isfinite(found[0]):
        raise ValueError(f"attribute {name} = {value!r} must be one finite number")
    return float(found[0])


def _numbers(name: str, value: Any) -> np.ndarray:
    """The numbers of an attribute `[n]`; some programs write them as text."""
    found = np.atleast_1d(np.asarray(value)).ravel()
    if found.dtype.kind in "iuf":
        return found
    try:
        return np.array([float(_text(one)) for one in found])
    except ValueError:
        raise ValueError(f"attribute {name} = {value!r} is not a number") from None


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
