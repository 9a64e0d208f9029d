"""The figure of truth, prediction, difference and standard deviation of a field."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mlasdi.agent.figures.style import (
    DIFFERENCE,
    MAGNITUDE,
    SPREAD,
    WIDTH,
    cell_edges,
    new_figure,
    point_text,
    styled,
    with_unit,
)
from mlasdi.solvers import ParameterSpace, StateLayout
from mlasdi.surrogate import NORMAL_90, relative_error

PANELS = ("truth", "prediction", "prediction minus truth", "standard deviation")
# Number of pixels along the longer side of a panel: more cells would not be visible.
_MAX_CELLS = 500


@dataclass(frozen=True, eq=False)
class Comparison:
    """Truth and prediction of one trajectory.

    Attributes:
        layout: fields and grid of the states.
        t: times.
        truth: full-order states.
        mean, std: predicted states, and their standard deviation.
        unit: of each value in the relative error; `[1]` if all have the same.
    """

    layout: StateLayout
    t: Float[np.ndarray, " time"]
    truth: Float[np.ndarray, "time state"]
    mean: Float[np.ndarray, "time state"]
    std: Float[np.ndarray, "time state"]
    unit: Float[np.ndarray, " unit"] = field(default_factory=lambda: np.ones(1))


@styled
def worst_point(compared: Comparison, space: ParameterSpace, mu: Float[np.ndarray, " n_params"]) -> Figure:
    """Truth, prediction, their difference and the predicted standard deviation at one parameter point.

    With one coordinate the panels span space and time. With two coordinates they show the time of the largest relative
    error, with more a slice through the largest difference at that time. Scattered points are coloured; their
    coordinates beyond the second are ignored. Shown is the first field that has coordinates; without any, and for a
    steady field with one coordinate, curves are drawn.
    """
    state, t, truth, mean = compared.layout, compared.t, compared.truth, compared.mean
    error = relative_error(truth / compared.unit, mean / compared.unit)
    time = int(np.argmax(error))
    shown = next((name for name in state.fields if state.of(name).shape), state.fields[0])
    fields = [state.split(u)[shown] for u in (truth, mean, mean - truth, compared.std)]
    layout = state.of(shown)
    grid = [(with_unit(name, layout.coordinate_units.get(name, "")), x) for name, x in layout.coordinates.items()]
    when = f"t = {t[time]:.4g} {layout.time_unit}".rstrip()
    places = []
    title = f"{point_text(space, mu)}: max relative error {100 * error[time]:.3g} %"
    title = textwrap.fill(title + (f", at {when}" if len(t) > 1 else ""), 95)
    if layout.steady:
        fields, time = [u[:1] for u in fields], 0
    moment = [when] if len(fields[0]) > 1 else []
    if not grid or (len(grid) == 1 and len(fields[0]) == 1):
        across = grid[0] if grid else (with_unit("t", layout.time_unit), t[: len(fields[0])])
        quantity = shown, layout.field_units.get(shown, "")
        return _curves(
            [u.ravel() for u in fields], across, with_unit(*quantity), title + _shown(state.fields, shown, ())
        )
    if layout.scattered and len(grid) > 1:
        images = [u[time] for u in fields]
        plane, places = grid[:2], moment
    elif len(grid) == 1:
        if layout.scattered:
            order = np.argsort(grid[0][1])
            grid, fields = [(grid[0][0], grid[0][1][order])], [u[:, order] for u in fields]
        images = [u.T for u in fields]
        plane = [grid[0], (with_unit("t", layout.time_unit), t)]
    else:
        peak = np.unravel_index(np.nanargmax(np.abs(fields[2][time])), layout.shape)
        images = [u[time][(slice(None), slice(None), *peak[2:])] for u in fields]
        plane = grid[:2]
        places = [*moment, *(f"{label} = {x[i]:.4g}" for (label, x), i in zip(grid[2:], peak[2:], strict=True))]
    is_space = len(grid) > 1 and set(list(layout.coordinates)[:2]) <= set("xyz")
    quantity = (shown, layout.field_units.get(shown, ""))
    return _four_panels(images, plane, quantity, title + _shown(state.fields, shown, places), is_space)


def _shown(fields: Sequence[str], field: str, places: Sequence[str]) -> str:
    """Second line of the title: the field and the place shown, if there are others."""
    which = f": field {field} (of {', '.join(fields)})" if len(fields) > 1 else ""
    where = f" at {', '.join(places)}" if places else ""
    return f"\nshown{which}{where}" if which or where else ""


def _curves(
    values: Sequence[Float[np.ndarray, " n"]], across: tuple[str, np.ndarray], quantity: str, title: str
) -> Figure:
    """Truth and prediction with its 90 % band, and below the difference, of a field with one axis."""
    truth, mean, difference, std = values
    label, x = across
    order, look = np.argsort(x), {"marker": "o"} if len(x) == 1 else {}
    figure = new_figure(4.6 + 0.18 * (1 + title.count("\n")))
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(x[order], truth[order], color="black", label=PANELS[0], **look)
    upper.plot(x[order], mean[order], linestyle="--", label=PANELS[1], **look)
    half = NORMAL_90 * std
    upper.fill_between(x[order], (mean - half)[order], (mean + half)[order], alpha=0.25, linewidth=0, label="90 % band")
    upper.set_ylabel(quantity)
    upper.legend()
    lower.plot(x[order], difference[order], **look)
    lower.fill_between(x[order], -half[order], half[order], alpha=0.25, linewidth=0)
    lower.set_title(PANELS[2])
    lower.set_xlabel(label)
    figure.suptitle(title, ha="center")
    return figure


def _four_panels(
    images: Sequence[Float[np.ndarray, "*shape"]],
    plane: Sequence[tuple[str, np.ndarray]],
    quantity: tuple[str, str],
    title: str,
    true_proportions: bool,
) -> Figure:
    """The images in the order of `PANELS`.

    Args:
        plane: label and coordinates of the x and of the y axis.
        quantity: name and unit of the field.
    """
    (x_label, x), (y_label, y) = plane
    height_over_width = float(np.ptp(y) / np.ptp(x)) if true_proportions else 0.75
    n_columns = 1 if height_over_width < 0.35 else 2
    panel_width = (WIDTH - 0.9) / n_columns - 0.75
    panel_height = float(np.clip(panel_width * height_over_width, 0.6, 3.4))
    figure = new_figure((panel_height + 0.35) * 4 / n_columns + 0.7 + 0.18 * (1 + title.count("\n")))
    grid = figure.subplots(4 // n_columns, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, image, panel, look in zip(grid.ravel(), images, PANELS, _looks(images), strict=True):
        _panel(axes, (x, y), image, look, quantity, panel_width)
        axes.set_title(panel)
        if true_proportions:
            axes.set_aspect("equal")
        axes.label_outer()
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    figure.suptitle(title, ha="center")
    if true_proportions:
        figure.draw_without_rendering()  # the layout needs a second pass for fixed proportions
    return figure


def _looks(images: Sequence[np.ndarray]) -> list[dict]:
    """Colour map and limits of each panel: one scale for truth and prediction, a symmetric one for the difference."""
    # The scale is that of the truth, so that a diverged prediction does not hide it.
    low, high = _range(images[0])
    if low == high:
        low, high = low - 0.5, high + 0.5
    largest = max(map(abs, _range(images[2]))) or 1.0
    common = {"cmap": MAGNITUDE, "vmin": low, "vmax": high}
    return [
        common,
        common,
        {"cmap": DIFFERENCE, "vmin": -largest, "vmax": largest},
        {"cmap": SPREAD, "vmin": 0.0, "vmax": _range(images[3])[1] or 1.0},
    ]


def _range(image: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite value; zeros if there is none."""
    finite = image[np.isfinite(image)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _coloured(
    axes: Axes, coordinates: tuple[np.ndarray, np.ndarray], image: Float[np.ndarray, "*shape"], look: Mapping
) -> ScalarMappable:
    """Draw an image as cells of a grid, or as coloured points if it has one value for each point."""
    if image.ndim == 1:
        return axes.scatter(*coordinates, c=image, s=min(4e4 / len(image), 20), linewidths=0, rasterized=True, **look)
    steps = [-(-n // _MAX_CELLS) for n in image.shape]
    edges = [cell_edges(x[::step]) for x, step in zip(coordinates, steps, strict=True)]
    for along, x in zip(edges, coordinates, strict=True):
        along[-1] = max(along[-1], x[-1])
    return axes.pcolormesh(*edges, image[:: steps[0], :: steps[1]].T, rasterized=True, **look)


def _panel(
    axes: Axes,
    coordinates: tuple[np.ndarray, np.ndarray],
    image: Float[np.ndarray, "*shape"],
    look: Mapping,
    quantity: tuple[str, str],
    width: float,
) -> None:
    """One image and its colour bar, with arrows for values beyond its ends; `width` of the panel is in inches."""
    mesh = _coloured(axes, coordinates, image, look)
    # Overshoots too small to be visible in the colours get no arrow.
    visible = 0.01 * (look["vmax"] - look["vmin"])
    low, high = _range(image)
    beyond = low < look["vmin"] - visible, high > look["vmax"] + visible
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    # As an inset, the colour bar keeps the height of the panel for all proportions.
    frame = axes.inset_axes((1 + 0.12 / width, 0, 0.14 / width, 1))
    name, unit = quantity
    exponent = int(np.floor(np.log10(max(abs(look["vmin"]), abs(look["vmax"])))))
    exponent = exponent if not -3 < exponent < 4 else 0
    label = with_unit(name, f"$10^{{{exponent}}}$ {unit}".strip() if exponent else unit)
    bar = axes.figure.colorbar(mesh, cax=frame, label=label, extend=extend[beyond])
    bar.locator = MaxNLocator(5)
    bar.formatter = FuncFormatter(lambda value, _: f"{value / 10.0**exponent:.4g}".replace("-", "\N{MINUS SIGN}"))
    bar.update_ticks()
