"""One predicted trajectory as an animation."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.animation import FuncAnimation

from mlasdi.prediction.plots import (
    BAND,
    MEAN_COLOURS,
    NotebookFigure,
    axis_label,
    draw_plane,
    field_label,
    plane,
)
from mlasdi.solvers import evenly_spread

if TYPE_CHECKING:
    from mlasdi.prediction.trajectories import Prediction

INTERVAL_MS = 80  # between pictures


class NotebookAnimation(FuncAnimation):
    """An animation that a notebook shows, with buttons, when it is the value of a cell."""

    def _repr_html_(self) -> str:
        return str(self.to_jshtml())


def animation(prediction: "Prediction", field: str, row: int, frames: int) -> NotebookAnimation:
    """See `Prediction.animate`."""
    is_line = len(prediction.named_layout().of(field).coordinates) == 1
    figure = NotebookFigure(figsize=(6.0, 3.6), layout="constrained")
    times = evenly_spread(len(prediction.t), frames)
    return (_moving_line if is_line else _moving_plane)(figure, prediction, field, row, times)


def _title(prediction: "Prediction", row: int, time: float) -> str:
    when = f"t = {time:.4g} {prediction.named_layout().time_unit}".rstrip()
    return f"{prediction.point_text(row)}\n{when}".lstrip()


def _moving_line(
    figure: NotebookFigure, prediction: "Prediction", field: str, row: int, times: np.ndarray
) -> NotebookAnimation:
    layout, mean = prediction.named_layout().of(field), prediction[field][row]
    x = np.asarray(next(iter(layout.coordinates.values())))
    order = np.argsort(x)
    half = np.zeros_like(mean) if prediction.std is None else BAND * prediction.field(field, "std")[row]
    axes = figure.subplots()
    axes.set(xlabel=axis_label(layout, 0), ylabel=field_label(layout, field))
    low, high = float(np.nanmin(mean - half)), float(np.nanmax(mean + half))
    margin = 0.05 * (high - low) or 1.0

    def show(k: int) -> list:
        for artist in (*axes.lines, *axes.collections):
            artist.remove()
        axes.plot(x[order], mean[k, order], color="C0")
        axes.fill_between(
            x[order], (mean - half)[k, order], (mean + half)[k, order], color="C0", alpha=0.25, linewidth=0
        )
        axes.set_ylim(low - margin, high + margin)
        axes.set_title(_title(prediction, row, float(prediction.t[k])))
        return [*axes.lines, *axes.collections]

    return NotebookAnimation(figure, show, frames=times.tolist(), interval=INTERVAL_MS, blit=False)


def _moving_plane(
    figure: NotebookFigure, prediction: "Prediction", field: str, row: int, times: np.ndarray
) -> NotebookAnimation:
    layout = prediction.named_layout().of(field)
    images = [plane(layout, values) for values in prediction[field][row]]
    look = {"cmap": MEAN_COLOURS, "vmin": min(map(np.nanmin, images)), "vmax": max(map(np.nanmax, images))}
    axes = figure.subplots()
    drawn = draw_plane(axes, layout, images[0], look)
    figure.colorbar(drawn, ax=axes, label=field_label(layout, field))

    def show(k: int) -> list:
        drawn.set_array(images[k] if layout.scattered else images[k].T)
        axes.set_title(_title(prediction, row, float(prediction.t[k])))
        return [drawn]

    return NotebookAnimation(figure, show, frames=times.tolist(), interval=INTERVAL_MS, blit=False)
