"""Quantities of interest: what is computed from the fields of a solution, by a sentence or by a Python function.

A sentence is one of

    max | min | mean | integral  over AXES of WHAT
    FIELD [at AXIS=VALUE, ...]

where WHAT is a sentence again, and AXES are names such as `time`, `x` or `space` (all coordinates), joined by `and`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import StateLayout, imported

TIME, SPACE, PLACE = "time", "space", "place"
_REDUCTION = re.compile(r"\s*(max|min|mean|integral)\s+over\s+(.+?)\s+of\s+(.+)", re.DOTALL)
_VALUE = re.compile(r"\s*(\S+)(?:\s+at\s+(.+))?", re.DOTALL)
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
TOLERANCE = 1e-9  # of coordinates at the ends of an axis, relative to its length


@dataclass(frozen=True)
class _Values:
    """Values with named axes.

    Attributes:
        values: one axis for each of `axes`; NaN at masked points.
        axes: name -> coordinates `[n]`, or `[n, dim]` of scattered places.
        names: coordinates of scattered places.
    """

    values: np.ndarray
    axes: Mapping[str, np.ndarray]
    names: tuple[str, ...] = ()

    def without(self, axes: Collection[str], values: np.ndarray | float) -> "_Values":
        return replace(
            self, values=np.asarray(values), axes={name: x for name, x in self.axes.items() if name not in axes}
        )


def is_function(text: str) -> bool:
    """Whether a quantity is `package.module:function`."""
    return _FUNCTION.fullmatch(text.strip()) is not None


def quantity(text: str, layout: StateLayout, t: Float[np.ndarray, " time"], u: Float[np.ndarray, "time state"]) -> Any:
    """A quantity of one solution: a number, or an array over the axes that are left.

    Args:
        text: a sentence as above, or `package.module:function`, which is called with the fields by name on their axes,
            with the times as `t` and coordinates by name, and returns a number or an array.
        layout: fields and grids of the states.
        t: times.
        u: states.

    Raises:
        ValueError: the sentence cannot be read, a field or axis is unknown, a place lies outside, or the function
            fails; the message names what is allowed.
    """
    if is_function(text):
        return np.asarray(_called(text.strip(), layout, t, u), dtype=float)
    return _evaluated(text, layout, t, u).values


def _called(name: str, layout: StateLayout, t: np.ndarray, u: np.ndarray) -> Any:
    function, fields = imported(name), layout.split(u)
    known = {axis: x for one in layout.fields for axis, x in layout.of(one).coordinates.items()}
    known |= {one: values[0] if layout.of(one).steady else values for one, values in fields.items()}
    try:
        return function({"t": t, **known})
    except Exception as error:  # the user's function may fail in its own ways
        raise ValueError(f"quantity {name}: {type(error).__name__}: {error}") from error


def _evaluated(text: str, layout: StateLayout, t: np.ndarray, u: np.ndarray) -> _Values:
    found = _REDUCTION.fullmatch(text)
    if found is not None:
        operation, axes, inner = found.groups()
        return _reduced(_evaluated(inner, layout, t, u), operation, _parts(axes), text)
    found = _VALUE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"quantity '{text}': write 'max over time of FIELD' (max, min, mean, integral; time, space or an axis), "
            "'FIELD at x=0.5', or package.module:function"
        )
    name, at = found.groups()
    if name not in layout.fields:
        raise ValueError(f"quantity '{text}': there is no field '{name}'; the fields are {', '.join(layout.fields)}")
    values, places = _field(layout, name, t, u), _places(at or "", text)
    if not set(values.names).isdisjoint(places):
        values = _at_nearest(values, places, text)
        places = {axis: place for axis, place in places.items() if axis not in values.names}
    for axis, place in places.items():
        values = _at(values, axis, place, text)
    return values


def _parts(text: str) -> list[str]:
    """Parts that are joined by commas or `and`."""
    return [part for part in re.split(r"\s*,\s*|\s+and\s+", text.strip()) if part]


def _places(at: str, text: str) -> dict[str, float]:
    found = {}
    for pair in _parts(at):
        axis, _, number = (piece.strip() for piece in pair.partition("="))
        try:
            found[axis] = float(number)
        except ValueError:
            raise ValueError(f"quantity '{text}': '{pair}' is no place; write for example x=0.5") from None
    return found


def _field(layout: StateLayout, name: str, t: np.ndarray, u: np.ndarray) -> _Values:
    one, values = layout.of(name), layout.split(u)[name]
    axes = {} if one.steady else {TIME: t}
    values = values[0] if one.steady else values
    coordinates = {axis: np.asarray(x, dtype=float) for axis, x in one.coordinates.items()}
    if one.scattered:
        return _Values(values, axes | {PLACE: np.column_stack(list(coordinates.values()))}, tuple(coordinates))
    return _Values(values, axes | coordinates)


def _reduced(values: _Values, operation: str, axes: list[str], text: str) -> _Values:
    """The maximum, minimum, mean or integral over some axes together; masked points do not count."""
    wanted = [axis for name in axes for axis in (_space(values) if name == SPACE else [name])]
    for axis in wanted:
        if axis not in values.axes:
            allowed = ", ".join([*values.axes, SPACE]) if values.axes else "none, it is a number"
            raise ValueError(f"quantity '{text}': there is no axis '{axis}'; the axes are {allowed}")
    if operation == "integral" and PLACE in wanted:
        raise ValueError(f"quantity '{text}': an integral needs a grid, and the points are scattered; take the mean")
    at = tuple(list(values.axes).index(axis) for axis in wanted)
    if operation in ("max", "min"):
        return values.without(wanted, getattr(np, f"nan{operation}")(values.values, axis=at))
    weights = np.ones((1,) * values.values.ndim)
    for k, axis in zip(at, wanted, strict=True):
        along = np.ones(len(values.axes[axis])) if axis == PLACE else _trapezoid(values.axes[axis])
        weights = weights * along.reshape(-1, *(1,) * (values.values.ndim - k - 1))
    total = np.nansum(values.values * weights, axis=at)
    if operation == "mean":
        total = total / np.sum(np.isfinite(values.values) * weights, axis=at)
    return values.without(wanted, total)


def _space(values: _Values) -> list[str]:
    return [axis for axis in values.axes if axis != TIME]


def _trapezoid(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weights of the trapezoidal rule; 1 for a single coordinate."""
    if len(x) == 1:
        return np.ones(1)
    steps = np.abs(np.diff(x))
    return 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps))


def _at(values: _Values, axis: str, place: float, text: str) -> _Values:
    """Values at one coordinate, by linear interpolation."""
    if axis not in values.axes:
        raise ValueError(
            f"quantity '{text}': there is no axis '{axis}'; the axes are {', '.join(values.axes) or 'none'}"
        )
    k, x = list(values.axes).index(axis), values.axes[axis]
    order = np.argsort(x)
    low, high = float(x[order[0]]), float(x[order[-1]])
    slack = TOLERANCE * (high - low)
    if not low - slack <= place <= high + slack:
        raise ValueError(f"quantity '{text}': {axis}={place:g} lies outside; give {axis} from {low:g} to {high:g}")
    if len(x) == 1:
        return values.without([axis], np.take(values.values, 0, axis=k))
    right = int(np.clip(np.searchsorted(x[order], place), 1, len(x) - 1))
    before, after = order[right - 1], order[right]
    share = np.clip((place - x[before]) / (x[after] - x[before]), 0.0, 1.0)
    left, other = (np.take(values.values, i, axis=k) for i in (before, after))
    return values.without([axis], (1 - share) * left + share * other)


def _at_nearest(values: _Values, places: Mapping[str, float], text: str) -> _Values:
    """Values at the nearest of scattered points."""
    missing = [name for name in values.names if name not in places]
    if missing:
        raise ValueError(f"quantity '{text}': scattered points need all coordinates; {', '.join(missing)} is missing")
    distance = np.linalg.norm(values.axes[PLACE] - np.array([places[name] for name in values.names]), axis=1)
    k = list(values.axes).index(PLACE)
    return values.without([PLACE], np.take(values.values, int(np.argmin(distance)), axis=k))
