"""Figures of one predicted trajectory, for notebooks; matplotlib is imported when one is drawn."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlasdi.solvers import StateLayout, evenly_spread

if TYPE_CHECKING:
    from mlasdi.prediction.trajectories import Prediction

# Largest number of lines that can be told from each other by colour.
MAX_LINES = 8
# Half the width of a normal distribution's central 90 %, in standard deviations.
BAND = 1.645
MEAN_COLOURS, STD_COLOURS = "viridis", "cividis"


class NotebookFigure(Figure):
    """A figure that a notebook shows when it is the value of a cell; pyplot does not know it, so it is not kept."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=110)
        return stream.getvalue()


def draw(prediction: "Prediction", field: str, row: int) -> NotebookFigure:
    """See `Prediction.plot`."""
    layout, mean, std = prediction.named_layout().of(field), prediction[field][row], prediction.field(field, "std")[row]
    if layout.steady:
        mean, std = mean[None], std[None]
    if not layout.shape:
        figure = _lines(layout, prediction.t[: len(mean)], mean[:, None], std[:, None], field)
    elif layout.scattered and layout.n_points <= MAX_LINES:
        figure = _lines(layout, prediction.t, mean, std, field)
    elif len(layout.coordinates) == 1:
        figure = _space_time(layout, prediction.t, mean, std, field)
    else:
        figure = _snapshots(layout, prediction.t, mean, std, field)
    figure.suptitle(prediction.point_text(row))
    return figure


def labelled(name: str, unit: str) -> str:
    """An axis label."""
    return f"{name} [{unit}]" if unit else name


def field_label(layout: StateLayout, field: str) -> str:
    """Name and unit of a field."""
    return labelled(field, layout.field_units.get(field, ""))


def axis_label(layout: StateLayout, axis: int) -> str:
    """Name and unit of an axis of the grid."""
    name = list(layout.coordinates)[axis]
    return labelled(name, layout.coordinate_units.get(name, ""))


def _lines(layout: StateLayout, t: np.ndarray, mean: np.ndarray, std: np.ndarray, field: str) -> NotebookFigure:
    figure = NotebookFigure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for k in range(layout.n_points):
        label = ", ".join(f"{name} = {x[k]:.4g}" for name, x in layout.coordinates.items()) or field
        if len(mean) == 1:
            axes.errorbar(label, mean[0, k], BAND * std[0, k], marker="o", capsize=4)
            continue
        (line,) = axes.plot(t, mean[:, k], label=label)
        low, high = mean[:, k] - BAND * std[:, k], mean[:, k] + BAND * std[:, k]
        axes.fill_between(t, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    axes.set_ylabel(field_label(layout, field))
    if len(mean) == 1:
        axes.set_title("mean and 90 % band")
        return figure
    axes.set_xlabel(labelled("t", layout.time_unit))
    axes.legend(title="mean and 90 % band")
    return figure


def _space_time(layout: StateLayout, t: np.ndarray, mean: np.ndarray, std: np.ndarray, field: str) -> NotebookFigure:
    x = np.asarray(next(iter(layout.coordinates.values())))
    order = np.argsort(x)
    figure = NotebookFigure(figsize=(7.2, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for axes, values, title, colours in zip(
        panels, (mean, std), ("mean", "standard deviation"), (MEAN_COLOURS, STD_COLOURS), strict=True
    ):
        if len(mean) > 1:
            image = axes.pcolormesh(x[order], t, values[:, order], cmap=colours, shading="nearest", rasterized=True)
            figure.colorbar(image, ax=axes, label=field_label(layout, field))
            axes.set_ylabel(labelled("t", layout.time_unit))
        else:
            axes.plot(x[order], values[0, order])
            axes.set_ylabel(field_label(layout, field))
        axes.set_title(title)
        axes.set_xlabel(axis_label(layout, 0))
    return figure


def _snapshots(layout: StateLayout, t: np.ndarray, mean: np.ndarray, std: np.ndarray, field: str) -> NotebookFigure:
    times = evenly_spread(len(mean), 3)
    figure = NotebookFigure(figsize=(2.6 * len(times) + 0.8, 4.6), layout="constrained")
    grid = figure.subplots(2, len(times), sharex=True, sharey=True, squeeze=False)
    for panels, values, kind, colours in zip(
        grid, (mean, std), ("mean", "deviation"), (MEAN_COLOURS, STD_COLOURS), strict=True
    ):
        images = [plane(layout, values[k]) for k in times]
        look = {"cmap": colours, "vmin": min(map(np.nanmin, images)), "vmax": max(map(np.nanmax, images))}
        for axes, image, time in zip(panels, images, t[times], strict=True):
            drawn = draw_plane(axes, layout, image, look)
            axes.set_title(f"t = {time:.4g} {layout.time_unit}".rstrip())
            axes.label_outer()
        figure.colorbar(drawn, ax=panels, label=f"{kind} of {field_label(layout, field)}")
    return figure


def plane(layout: StateLayout, values: Float[np.ndarray, "*grid"]) -> Float[np.ndarray, "*plane"]:
    """A field on its first two axes, at the middle of all others."""
    middle: tuple[Any, ...] = () if layout.scattered else tuple(n // 2 for n in layout.shape[2:])
    return values[(..., *middle)]


def draw_plane(axes: Axes, layout: StateLayout, image: Float[np.ndarray, "*plane"], look: dict[str, Any]) -> Any:
    """A field in a plane, with labels: cells of a grid, or coloured points."""
    x, y = list(layout.coordinates.values())[:2]
    axes.set_xlabel(axis_label(layout, 0))
    axes.set_ylabel(axis_label(layout, 1))
    if layout.scattered:
        return axes.scatter(x, y, c=image, s=min(2e4 / len(image), 15), linewidths=0, rasterized=True, **look)
    return axes.pcolormesh(x, y, image.T, shading="nearest", rasterized=True, **look)
