"""Predicts trajectories for a request, block by block, and summarises them."""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.agent.prediction.contents import Block, Contents
from mlasdi.agent.prediction.files import check_suffix, opened
from mlasdi.preprocessing import limited_threads
from mlasdi.solvers import StateLayout, field_parts
from mlasdi.surrogate import ExtrapolationWarning, Probes, Surrogate

# Largest size of the predicted values in memory.
BLOCK_BYTES = 1 << 26
# Number of points whose error is estimated at once: each needs a trajectory in POD coordinates per training point.
_ESTIMATED = 64


@dataclass(frozen=True)
class Selection:
    """Which values of the state to predict.

    Attributes:
        fields: names of fields; None for all.
        sensors: coordinate name -> coordinates of the sensors; None for the whole grid.
    """

    fields: tuple[str, ...] | None = None
    sensors: Mapping[str, Float[np.ndarray, " sensor"]] | None = None

    def probes(self, layout: StateLayout) -> Probes | None:
        """The values as probes of the state; None for the whole state.

        Raises:
            ValueError: an unknown field, or sensors that are not on the grid.
        """
        if self.sensors is not None:
            return Probes.at_points(layout, self.sensors, self.fields)
        return None if self.fields is None else Probes.of_fields(layout, self.fields)

    def layout(self, layout: StateLayout) -> StateLayout:
        """Layout of the predicted values: the fields on the grid, or at the sensors as scattered points."""
        probes = self.probes(layout)
        return layout if probes is None or probes.layout is None else probes.layout


@dataclass(frozen=True)
class Request:
    """What to predict.

    Attributes:
        points: parameters `[param, n_params]`, in physical units.
        times: None for those of training.
        std: whether to compute the standard deviation.
        levels: levels of quantiles to compute, as fractions.
        selection: fields and sensors.
        extrapolate: whether points and times outside the trained ranges are allowed.
    """

    points: Float[np.ndarray, "param n_params"]
    times: Float[np.ndarray, " time"] | None = None
    std: bool = True
    levels: tuple[float, ...] = ()
    selection: Selection = Selection()
    extrapolate: bool = False


def check_target(path: Path | None) -> None:
    """Check that a file can be written, before the prediction.

    Raises:
        ValueError: unknown suffix, no such folder, or a package that the format needs is not installed.
    """
    if path is None:
        return
    check_suffix(path)
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}")


@limited_threads()
def predict_to(surrogate: Surrogate, request: Request, path: Path | None) -> dict[str, Any]:
    """Predict for a request, write the values to a file if `path` is given, and return a summary as JSON.

    Memory is bounded for any number of points: blocks of points and times are computed and written one after the other.

    Raises:
        ValueError: parameters, times or sensors cannot be used, points lie outside the trained box without
            `extrapolate`, or the values do not fit on the disk.
    """
    contents = _contents(surrogate, request)
    extrapolation_note = surrogate.outside(request.points, contents.t)
    if extrapolation_note and not request.extrapolate:
        raise ValueError(f"{extrapolation_note}; use --extrapolate to predict there")
    probes = request.selection.probes(surrogate.layout)
    if path is None:
        summary = _summary(_predicted(surrogate, request, contents, probes), contents.layout)
    else:
        _check_room(path, contents)
        with opened(path, contents) as file:
            summary = _summary(_written(_predicted(surrogate, request, contents, probes), file.write), contents.layout)
    errors = _estimated_errors(surrogate, request.points)
    n_time, n_values = len(contents.t), contents.layout.n_state
    one = surrogate.space.as_dict(request.points[0]) if len(request.points) == 1 else None
    return {
        **({} if one is None else {"mu": one}),
        "shape": {"param": len(request.points), "time": n_time, "state": n_values},
        "times": [float(contents.t[0]), float(contents.t[-1])],
        **summary,
        **_ends(contents.ends),
        "estimated_relative_error": errors,
        "inside_box": bool(surrogate.space.contains(request.points).all()),
        "warnings": [extrapolation_note] if extrapolation_note else [],
    }


@limited_threads()
def quantities_of(surrogate: Surrogate, request: Request, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Quantities of interest at the points of a request, as JSON: `value`, `std` and the 90 % band `low` to `high`.

    Each is a number for one point, and a list for several points or over the axes that are left.

    Args:
        wanted: names of the model's, `all` of these, or how one is computed.

    Raises:
        ValueError: one cannot be computed, or the model has none.
    """
    names = [name for one in wanted for name in (surrogate.quantities if one == "all" else [one])]
    if not names:
        raise ValueError("--qoi all: the model was trained without quantities; give for example 'max over time of u'")
    found: dict[str, dict[str, Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # the prediction has checked this
        for point in request.points:
            prediction = surrogate.predict(point[None], request.times)
            for name in names:
                one = prediction.quantity(name)
                values = {"value": one.mean, "std": one.std, "low": one.quantile(0.05), "high": one.quantile(0.95)}
                for key, value in values.items():
                    found.setdefault(name, {}).setdefault(key, []).append(value[0].tolist())
    if len(request.points) > 1:
        return found
    return {name: {key: values[0] for key, values in one.items()} for name, one in found.items()}


def _contents(surrogate: Surrogate, request: Request) -> Contents:
    t = surrogate.default_times(request.points) if request.times is None else request.times
    layout, ends = (
        request.selection.layout(surrogate.layout),
        surrogate.run_times.ends(surrogate.space.to_unit(request.points)),
    )
    return Contents(surrogate.space, layout, t, request.points, request.std, request.levels, ends)


def _predicted(surrogate: Surrogate, request: Request, contents: Contents, probes: Probes | None) -> Iterator[Block]:
    """Predict blocks of points and times."""
    n_points, n_time = len(contents.points), len(contents.t)
    n_times = min(max(BLOCK_BYTES // contents.bytes_per_time, 1), n_time)
    n_rows = min(max(BLOCK_BYTES // (contents.bytes_per_time * n_times), 1), n_points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # checked before for all points
        for row in range(0, n_points, n_rows):
            for time in range(0, n_time, n_times):
                rows, times = slice(row, row + n_rows), slice(time, time + n_times)
                wants_std = contents.has_std or bool(contents.levels)
                found = surrogate.predict(contents.points[rows], contents.t[times], std=wants_std, probes=probes)
                quantiles = found.quantiles(contents.levels) if contents.levels else None
                yield Block(rows, times, found.mean, found.std if contents.has_std else None, quantiles)


def _written(blocks: Iterator[Block], write: Any) -> Iterator[Block]:
    for block in blocks:
        write(block)
        yield block


def _summary(blocks: Iterator[Block], layout: StateLayout) -> dict[str, Any]:
    """Ranges and largest standard deviations, of all values together and of each field."""
    low, high = np.full(len(layout.fields), np.inf), np.full(len(layout.fields), -np.inf)
    spread: Float[np.ndarray, " field"] | None = None
    for block in blocks:
        # Values after the end of a run are NaN; where all are, nothing is known yet.
        low = np.fmin(low, [np.fmin.reduce(part, axis=None) for part in field_parts(block.mean, layout.sizes)])
        high = np.fmax(high, [np.fmax.reduce(part, axis=None) for part in field_parts(block.mean, layout.sizes)])
        if block.std is not None:
            largest = np.array([np.fmax.reduce(part, axis=None) for part in field_parts(block.std, layout.sizes)])
            spread = largest if spread is None else np.fmax(spread, largest)
    stds = [None] * len(low) if spread is None else spread.tolist()
    of_fields = {
        name: {
            "axes": list(layout.of(name).axes),
            "range": [float(low[k]), float(high[k])],
            "max_std": stds[k],
        }
        for k, name in enumerate(layout.fields)
    }
    whole = {"range": [float(low.min()), float(high.max())], "max_std": None if spread is None else float(spread.max())}
    return {**whole, "fields": of_fields}


def _ends(ends: Mapping[str, Float[np.ndarray, " param"]]) -> dict[str, Any]:
    """End times and their standard deviations as JSON: numbers for one point, lists for several."""
    return {name: values[0].item() if len(values) == 1 else values.tolist() for name, values in ends.items()}


def _estimated_errors(surrogate: Surrogate, points: Float[np.ndarray, "param n_params"]) -> float | None:
    """The largest error estimate of the points; None with fewer than three training points."""
    if surrogate.error_estimate is None:
        return None
    parts: Sequence[np.ndarray] = [points[k : k + _ESTIMATED] for k in range(0, len(points), _ESTIMATED)]
    return max(float(surrogate.relative_std(part).max()) for part in parts)


def _check_room(path: Path, contents: Contents) -> None:
    needed, free = contents.n_bytes, shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(
            f"--out {path}: the values take {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; "
            "ask for fewer points, times, fields or sensors"
        )
