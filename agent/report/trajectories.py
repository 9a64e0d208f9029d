"""Truth and prediction over time as JSON, thinned and quantised, for the player of the HTML report."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.agent.report.maps import plain
from mlasdi.solvers import Snapshots, StateLayout, evenly_spread
from mlasdi.solvers.storage import BLOCK_VALUES, StoredRun
from mlasdi.surrogate import Surrogate, relative_error

FRAMES = 31
MAX_FIELDS = 3
LINE_POINTS = 240
# Length of all trajectories as text, so that the page stays well below 5 MB.
MAX_CHARACTERS = 2_000_000
# A value takes two bytes, three bytes take four characters, and each field has three quantities.
_CHARACTERS_PER_VALUE = 3 * 2 * 4 / 3
_MISSING = 65535


@dataclass(frozen=True)
class ShownTrajectory:
    """A trajectory to show.

    Attributes:
        label: its name in the player.
        mu: its parameters.
        truth: the full-order solution, in the time interval of the surrogate.
        error: its relative error from the assessment; None for the error at the times shown.
    """

    label: str
    mu: Mapping[str, float]
    truth: Snapshots | StoredRun
    error: float | None = None


def trajectories(surrogate: Surrogate, shown: Sequence[ShownTrajectory]) -> list[dict[str, Any]]:
    """Truth, difference and standard deviation of each trajectory, at some times and points."""
    n_fields = len(shown_fields(surrogate.layout))
    n_values = MAX_CHARACTERS / (_CHARACTERS_PER_VALUE * FRAMES * n_fields * max(len(shown), 1))
    return [_trajectory(surrogate, one, int(n_values)) for one in shown]


def _trajectory(surrogate: Surrogate, shown: ShownTrajectory, max_places: int) -> dict[str, Any]:
    keep = evenly_spread(len(shown.truth.t), min(FRAMES, max(BLOCK_VALUES // surrogate.layout.n_state, 2)))
    t, truth = shown.truth.t[keep], shown.truth.u[keep]
    prediction = surrogate.ending_at(float(shown.truth.t[-1])).predict(shown.mu, t)
    assert prediction.std is not None
    mean, std = prediction.mean[0], prediction.std[0]
    unit = surrogate.reconstruction.norm_unit
    errors = relative_error(truth / unit, mean / unit)
    layout, names = surrogate.layout, shown_fields(surrogate.layout)
    split = {name: layout.split(u) for name, u in (("truth", truth), ("difference", mean - truth), ("std", std))}
    places = Places.of(layout.of(names[0]), np.abs(split["difference"][names[0]]), max_places)
    fields = [
        {"name": name, "unit": layout.field_units.get(name, "")}
        | {quantity: packed(places.take(values[name])) for quantity, values in split.items()}
        for name in names
    ]
    return {
        "label": shown.label,
        "mu": dict(shown.mu),
        "error": plain(np.array([errors.max() if shown.error is None else shown.error]))[0],
        "t": plain(t, digits=6),
        "time_unit": layout.time_unit,
        "errors": plain(errors),
        "fields": fields,
        "n_fields": len(layout.fields),
        "space": places.describe(),
    }


def shown_fields(layout: StateLayout) -> tuple[str, ...]:
    """The fields that are shown, which have one grid: that of the first field with coordinates and times."""
    first = max(layout.fields, key=lambda name: (bool(layout.of(name).shape), not layout.of(name).steady))
    return (layout.own if first in layout.own else (first,))[:MAX_FIELDS]


@dataclass(frozen=True)
class Places:
    """The points at which fields are shown: on a line, in a plane through the grid, or scattered.

    Attributes:
        kind: `line`, `grid` or `points`.
        axes: label -> coordinates; one axis of a line, else two.
        index: index of the points in the array of a field, after its time axis.
        elsewhere: text with the coordinates that are held fixed.
        to_scale: whether both axes are lengths and get the same scale.
    """

    kind: str
    axes: Mapping[str, Float[np.ndarray, " n"]]
    index: tuple[Any, ...]
    elsewhere: str
    to_scale: bool

    @classmethod
    def of(cls, layout: StateLayout, difference: Float[np.ndarray, "*time_and_grid"], max_places: int) -> "Places":
        """At most `max_places` points of a field, evenly thinned.

        A grid with more than two axes is cut at the largest difference. Scattered points with more than two coordinates
        are projected to the first two.
        """
        names = list(layout.coordinates)
        labels = [_labelled(name, layout.coordinate_units.get(name, "")) for name in names]
        x = list(layout.coordinates.values())
        to_scale = len(names) > 1 and set(names[:2]) <= set("xyz")
        if not names:
            return cls("line", {"value": np.zeros(1)}, (None,), "", False)
        if len(names) == 1:
            order = np.argsort(x[0], kind="stable")[:: _step(len(x[0]), min(LINE_POINTS, max_places))]
            return cls("line", {labels[0]: x[0][order]}, (order,), "", False)
        if layout.scattered:
            keep = slice(None, None, _step(len(x[0]), max_places))
            axes = {label: values[keep] for label, values in zip(labels[:2], x[:2], strict=True)}
            return cls("points", axes, (keep,), "", to_scale)
        cut: tuple[int, ...] = ()
        if len(names) > 2:
            finite = np.where(np.isfinite(difference), difference, -1.0)
            cut = tuple(int(i) for i in np.unravel_index(finite.argmax(), difference.shape)[3:])
        steps = _plane_steps(layout.shape[:2], max_places)
        keeps = [slice(None, None, step) for step in steps]
        axes = {label: values[keep] for label, values, keep in zip(labels[:2], x[:2], keeps, strict=True)}
        fixed = [f"{label} = {values[i]:.4g}" for label, values, i in zip(labels[2:], x[2:], cut, strict=True)]
        return cls("grid", axes, (*keeps, *cut), ", ".join(fixed), to_scale)

    def take(self, values: Float[np.ndarray, "*time_and_grid"]) -> Float[np.ndarray, "time place"]:
        taken = values[(slice(None), *self.index)]
        return taken.reshape(len(taken), -1)

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "labels": list(self.axes),
            "axes": [plain(values, digits=6) for values in self.axes.values()],
            "elsewhere": self.elsewhere,
            "to_scale": self.to_scale,
        }


def packed(values: Float[np.ndarray, "time place"]) -> dict[str, Any]:
    """Values as 16-bit integers between the smallest and the largest value, in base64; 65535 for non-finite values.

    The error is at most `(high - low) / 131068`.
    """
    is_finite = np.isfinite(values)
    low, high = (float(values[is_finite].min()), float(values[is_finite].max())) if is_finite.any() else (0.0, 0.0)
    width = high - low
    if not np.isfinite(width):  # the range of a diverged prediction can overflow
        low, high, width = 0.0, 0.0, 0.0
        is_finite = np.zeros_like(is_finite)
    scaled = np.where(is_finite, values - low, 0.0) * ((_MISSING - 1) / width if width > 0 else 0.0)
    codes = np.where(is_finite, scaled.round(), _MISSING).astype("<u2")
    return {"low": low, "high": high, "codes": base64.b64encode(codes.tobytes()).decode()}


def _step(n: int, most: int) -> int:
    """The stride that keeps at most `most` of `n` points."""
    return max(-(-n // max(most, 1)), 1)


def _plane_steps(shape: tuple[int, ...], most: int) -> tuple[int, int]:
    """Strides along two axes that keep at most `most` points; the longer axis is thinned first."""
    steps = [1, 1]
    while prod(counts := [-(-n // step) for n, step in zip(shape, steps, strict=True)]) > most and max(counts) > 1:
        steps[int(np.argmax(counts))] += 1
    return steps[0], steps[1]


def _labelled(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name
