"""The figure of one prediction: a field and its standard deviation, or the values at sensors over time."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlasdi.agent.figures import (
    MAGNITUDE,
    SPREAD,
    WIDTH,
    cell_edges,
    line_colours,
    new_figure,
    point_text,
    save,
    styled,
    with_unit,
)
from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.solvers import StateLayout, evenly_spread
from mlasdi.surrogate import ExtrapolationWarning, Prediction, Surrogate

# Largest number of lines with distinguishable colours, and of times that are visible.
MAX_SENSORS, _MAX_TIMES = 8, 300


def check_figure(path: Path, request: Request) -> None:
    """Check that a figure can be drawn, before the prediction.

    Raises:
        ValueError: unknown suffix, no such folder, several points, or too many sensors.
    """
    if path.suffix != ".png":
        raise ValueError(f"--plot {path}: give a file that ends in .png")
    if not path.parent.is_dir():
        raise ValueError(f"--plot {path}: there is no folder {path.parent}")
    if len(request.points) > 1:
        raise ValueError(f"--plot {path}: it shows one trajectory, and {len(request.points)} points are given")
    sensors = request.selection.sensors
    if sensors and len(next(iter(sensors.values()))) > MAX_SENSORS:
        raise ValueError(f"--plot {path}: it shows at most {MAX_SENSORS} sensors")


def draw_prediction(surrogate: Surrogate, request: Request, path: Path) -> None:
    """Draw the trajectory of the first requested field, at the only point of the request."""
    t = surrogate.t if request.times is None else request.times
    whole = request.selection.layout(surrogate.layout)
    selection = Selection(whole.fields[:1], request.selection.sensors)
    is_curve = selection.sensors is not None or len(whole.coordinates) == 1
    shown = evenly_spread(len(t), _MAX_TIMES if is_curve else 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # the summary of the prediction contains it
        found = surrogate.predict(request.points, t[shown], probes=selection.probes(surrogate.layout))
    title = point_text(surrogate.space, request.points[0])
    draw = _series if selection.sensors is not None else _space_time if is_curve else _snapshots
    save(draw(selection.layout(surrogate.layout), found, title), path)


@styled
def _series(layout: StateLayout, found: Prediction, title: str) -> Figure:
    """Mean and 90 % band of each sensor over time."""
    field = layout.fields[0]
    figure = new_figure(3.4)
    axes = figure.subplots()
    assert found.std is not None
    for k, colour in enumerate(line_colours(found.mean.shape[-1])):
        mean, half_width = found.mean[0, :, k], 1.645 * found.std[0, :, k]
        label = ", ".join(f"{name} = {x[k]:.4g}" for name, x in layout.coordinates.items())
        axes.plot(found.t, mean, color=colour, label=label)
        axes.fill_between(found.t, mean - half_width, mean + half_width, color=colour, alpha=0.25, linewidth=0)
    axes.set_xlabel(with_unit("t", layout.time_unit))
    axes.set_ylabel(with_unit(field, layout.field_units.get(field, "")))
    axes.legend(title="mean and 90 % band")
    figure.suptitle(title)
    return figure


@styled
def _space_time(layout: StateLayout, found: Prediction, title: str) -> Figure:
    """Mean and standard deviation over space and time; over space only if there is a single time."""
    field, (name, x) = layout.fields[0], next(iter(layout.coordinates.items()))
    order = np.argsort(x)
    quantity = with_unit(field, layout.field_units.get(field, ""))
    figure = new_figure(3.2)
    panels = figure.subplots(1, 2, sharex=True)
    for axes, values, label, colours in zip(
        panels, (found.mean, found.std), ("mean", "standard deviation"), (MAGNITUDE, SPREAD), strict=True
    ):
        assert values is not None
        image = layout.split(values[0])[field][:, order]
        if len(found.t) > 1:
            edges = cell_edges(x[order]), cell_edges(found.t)
            figure.colorbar(axes.pcolormesh(*edges, image, cmap=colours, rasterized=True), ax=axes, label=quantity)
            axes.set_ylabel(with_unit("t", layout.time_unit))
        else:
            axes.plot(x[order], image[0])
            axes.set_ylabel(quantity)
        axes.set_title(label)
        axes.set_xlabel(with_unit(name, layout.coordinate_units.get(name, "")))
    figure.suptitle(title)
    return figure


@styled
def _snapshots(layout: StateLayout, found: Prediction, title: str) -> Figure:
    """Mean and standard deviation over the first two coordinates, at up to three times."""
    field, names = layout.fields[0], list(layout.coordinates)[:2]
    figure = new_figure(WIDTH * 1.5 / max(len(found.t), 2))
    grid = figure.subplots(2, len(found.t), sharex=True, sharey=True, squeeze=False)
    for row, values, kind, colours in zip(
        grid, (found.mean, found.std), ("mean", "standard deviation"), (MAGNITUDE, SPREAD), strict=True
    ):
        assert values is not None
        images = [_plane(layout, u) for u in values[0]]
        look = {"cmap": colours, "vmin": min(map(np.nanmin, images)), "vmax": max(map(np.nanmax, images))}
        for axes, image, t in zip(row, images, found.t, strict=True):
            mesh = _draw_plane(axes, layout, image, look)
            axes.set_title(f"t = {t:.4g} {layout.time_unit}".rstrip())
            axes.set_xlabel(with_unit(names[0], layout.coordinate_units.get(names[0], "")))
            axes.set_ylabel(with_unit(names[1], layout.coordinate_units.get(names[1], "")))
            axes.label_outer()
        figure.colorbar(mesh, ax=row, label=f"{kind} of {with_unit(field, layout.field_units.get(field, ''))}")
    figure.suptitle(title)
    return figure


def _plane(layout: StateLayout, u: Float[np.ndarray, " state"]) -> Float[np.ndarray, "*plane"]:
    """The first field on its first two axes, at the middle of all others."""
    on_grid = layout.split(u)[layout.fields[0]]
    middle: tuple[Any, ...] = () if layout.scattered else tuple(n // 2 for n in layout.shape[2:])
    return on_grid[(..., *middle)]


def _draw_plane(axes: Axes, layout: StateLayout, image: Float[np.ndarray, "*plane"], look: dict[str, Any]) -> Any:
    x, y = list(layout.coordinates.values())[:2]
    if image.ndim == 1:
        return axes.scatter(x, y, c=image, s=min(2e4 / len(image), 15), linewidths=0, rasterized=True, **look)
    return axes.pcolormesh(cell_edges(x), cell_edges(y), image.T, rasterized=True, **look)
