"""Maps of an error over the parameter box, with solved points numbered in the order in which they were chosen."""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.spatial import cKDTree

from mlasdi.agent.figures.style import (
    CHOSEN_COLOUR,
    DIFFERENCE,
    INITIAL_COLOUR,
    MAGNITUDE,
    OKABE_ITO,
    WIDTH,
    log_error_axis,
    log_ticks,
    magnitude_bar,
    magnitude_norm,
    new_figure,
    number_points,
    point_text,
    styled,
)
from mlasdi.formatting import short
from mlasdi.solvers import ParameterSpace

# A corner plot of four parameters has six panels; more would be too small to read.
MAX_SHOWN = 4
_WORST: dict[str, Any] = {"marker": "X", "ms": 8, "mfc": "black", "mec": "white", "mew": 0.8, "ls": "none"}


@dataclass(frozen=True, eq=False)
class _Map:
    """What a map shows.

    Attributes:
        mu: points `[n, n_params]` at which the error is known, in physical units.
        values: the error there, in per cent, or a ratio.
        solved: training points; the first `n_initial` are the initial design.
        label: name of the values, with their unit.
        norm: colour scale.
        is_ratio: whether the values are ratios, for which 1 is in the middle of the colour scale.
    """

    space: ParameterSpace
    mu: Float[np.ndarray, "n n_params"]
    values: Float[np.ndarray, " n"]
    solved: Float[np.ndarray, "point n_params"]
    n_initial: int
    label: str
    norm: Normalize
    is_ratio: bool = False

    @property
    def worst(self) -> int | None:
        """Index of the largest finite value."""
        finite = np.isfinite(self.values)
        return int(np.nanargmax(np.where(finite, self.values, np.nan))) if finite.any() else None

    @property
    def worst_text(self) -> str:
        assert self.worst is not None
        value = float(self.values[self.worst])
        return short(value) + ("" if self.is_ratio else " %")  # the unit of the axis


@styled
def error_map(
    space: ParameterSpace,
    mu: Float[np.ndarray, "n n_params"],
    errors: Float[np.ndarray, " n"],
    solved: Float[np.ndarray, "point n_params"],
    n_initial: int,
    *,
    label: str = "max relative error",
    scale: Float[np.ndarray, " k"] | None = None,
) -> Figure:
    """Error over the parameter box.

    One parameter gives a curve, two a map. More give a corner plot with a panel for each pair of parameters, which
    shows the largest error over the other parameters, for the at most four parameters along which the error varies
    most. On a tensor grid, possibly with holes, each point is a cell. Scattered points of two parameters are coloured
    by the nearest point; those of more are shown as bins with their largest value. Non-finite values are left blank.
    With more than three parameters the initial design has no numbers, because many of its points coincide in a panel.

    Args:
        mu: points at which the error is known, in physical units.
        errors: as fractions.
        solved: training points in the order in which they were chosen; the first `n_initial` are the initial design.
        label: name of the error.
        scale: all errors that the colour scale is made for, so that several maps can be compared; None for `errors`.
    """
    norm = magnitude_norm(100 * (errors if scale is None else scale))
    return _drawn(_Map(space, mu, 100 * errors, solved, n_initial, f"{label} [%]", norm))


def uncertainty_map(
    space: ParameterSpace,
    mu: Float[np.ndarray, "n n_params"],
    errors: Float[np.ndarray, " n"],
    solved: Float[np.ndarray, "point n_params"],
    n_initial: int,
    *,
    label: str = "estimated relative error",
    scale: Float[np.ndarray, " k"] | None = None,
) -> Figure:
    """The surrogate's own estimate of its error over the parameter box, drawn as `error_map` draws the error."""
    return error_map(space, mu, errors, solved, n_initial, label=label, scale=scale)


@styled
def ratio_map(
    space: ParameterSpace,
    mu: Float[np.ndarray, "n n_params"],
    ratios: Float[np.ndarray, " n"],
    solved: Float[np.ndarray, "point n_params"],
    n_initial: int,
) -> Figure:
    """Error over its estimate, drawn as `error_map` draws the error: above 1, the estimate is too small."""
    found = ratios[np.isfinite(ratios) & (ratios > 0)]
    most = float(np.clip(np.abs(np.log10(found)).max(initial=0.0), np.log10(2), 2))
    norm = LogNorm(10**-most, 10**most)
    return _drawn(_Map(space, mu, ratios, solved, n_initial, "error over estimate", norm, is_ratio=True))


def _drawn(shown: _Map) -> Figure:
    return _curve(shown) if shown.space.n_params == 1 else _corner_plot(shown)


def _curve(shown: _Map) -> Figure:
    """Error against the only parameter, and below it an axis with the solved points."""
    mu, values, solved, worst = shown.mu, shown.values, shown.solved, shown.worst
    figure = new_figure(3.8)
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    order = np.argsort(mu[:, 0])
    axes.plot(mu[order, 0], values[order], color=OKABE_ITO[0], marker="." if len(mu) < 60 else None)
    for at in solved[:, 0]:
        axes.axvline(at, color="0.8", lw=0.8, zorder=0)
    if isinstance(shown.norm, LogNorm):
        log_error_axis(axes, np.array([shown.norm.vmin, shown.norm.vmax, *values]))
    else:
        axes.set_ylim(0, 1.1 * (shown.norm.vmax or 1.0))
    if worst is not None:
        axes.plot(mu[worst, 0], values[worst], **_WORST)
    axes.set_ylabel(shown.label)
    axes.spines[["top", "right"]].set_visible(False)
    strip.set(yticks=[], ylim=(0, 1))
    strip.spines[["top", "left", "right"]].set_visible(False)
    _scale_axis(strip, shown.space, 0, "x", margin=0.03)
    _describe(figure, shown)
    figure.draw_without_rendering()
    at_half_height = np.column_stack([solved[:, 0], np.full(len(solved), 0.5)])
    number_points(strip, at_half_height, shown.n_initial, np.empty((0, 2)))
    return figure


def _corner_plot(shown: _Map) -> Figure:
    """A map for each pair of parameters, in the lower triangle of a square of panels."""
    space, norm, worst = shown.space, shown.norm, shown.worst
    parameters = _most_influential(shown)
    n = len(parameters) - 1
    figure = new_figure(*((4.9, WIDTH) if n == 1 else (6.2, 7.0)))
    grid = figure.subplots(n, n, sharex="col", sharey="row", squeeze=False)
    panels = []
    for row, y in enumerate(parameters[1:]):
        for column, x in enumerate(parameters[:-1]):
            if column > row:
                grid[row, column].set_axis_off()
                continue
            _panel(grid[row, column], shown, (x, y))
            panels.append((grid[row, column], (x, y)))
            grid[row, column].label_outer()
    scale = ScalarMappable(norm, DIFFERENCE if shown.is_ratio else MAGNITUDE)
    below = bool((shown.values < (norm.vmin or 0.0)).any())
    bar_label = shown.label + ("" if space.n_params == 2 else ", largest over the other parameters")
    magnitude_bar(figure, scale, list(grid.ravel()), bar_label, below=below)
    _describe(figure, shown, within=grid[0, -1] if n > 1 else None)
    figure.draw_without_rendering()
    for axes, pair in panels:
        avoid = np.empty((0, 2)) if worst is None else shown.mu[[worst]][:, pair]
        number_points(axes, shown.solved[:, pair], shown.n_initial, avoid, number_initial=space.n_params <= 3)
    return figure


def _panel(axes: Axes, shown: _Map, pair: tuple[int, int]) -> None:
    """One map: the largest error over all parameters other than `pair`."""
    space, (x, y) = shown.space, pair
    values = np.where(np.isfinite(shown.values), shown.values, np.nan)
    *edges, image = _image(space.to_unit(shown.mu)[:, pair], values, projected=space.n_params > 2)
    physical = [_from_unit(space, index, along) for index, along in zip(pair, edges, strict=True)]
    colours = DIFFERENCE if shown.is_ratio else MAGNITUDE
    axes.pcolormesh(*physical, image.T, norm=shown.norm, cmap=colours, rasterized=True)
    margin = 0.05 if min(space.n_params, MAX_SHOWN) == 2 else 0.09
    _scale_axis(axes, space, x, "x", margin)
    _scale_axis(axes, space, y, "y", margin)
    if shown.worst is not None:
        axes.plot(*shown.mu[shown.worst, list(pair)], **_WORST, zorder=6)


def _image(
    x: Float[np.ndarray, "n 2"], values: Float[np.ndarray, " n"], *, projected: bool
) -> tuple[Float[np.ndarray, " n_u"], Float[np.ndarray, " n_v"], Float[np.ndarray, "cell_u cell_v"]]:
    """Cell borders along both axes of the unit square, and the largest value in each cell; NaN in empty cells.

    Args:
        projected: several points of the full space may coincide in this plane.
    """
    if not len(x):
        return np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.full((1, 1), np.nan)
    (u, i), (v, j) = (np.unique(column.round(9), return_inverse=True) for column in x.T)
    if 2 * len({*zip(i.tolist(), j.tolist(), strict=True)}) > len(u) * len(v):
        edges = [np.concatenate([[min(0, c[0])], (c[1:] + c[:-1]) / 2, [max(1, c[-1])]]) for c in (u, v)]
    elif projected:
        n_bins = int(np.clip(np.sqrt(len(x) / 4), 2, 12))
        edges = [np.linspace(0, 1, n_bins + 1)] * 2
        i, j = np.clip((x * n_bins).astype(int), 0, n_bins - 1).T
    else:
        along = np.linspace(0, 1, 201)
        centres = (along[1:] + along[:-1]) / 2
        nearest = cKDTree(x).query(np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1))[1]
        return along, along, values[nearest]
    image = np.full((len(edges[0]) - 1, len(edges[1]) - 1), np.nan)
    np.fmax.at(image, (i, j), values)
    return edges[0], edges[1], image


def _most_influential(shown: _Map) -> list[int]:
    """At most `MAX_SHOWN` parameters, in their order: those along which the largest error varies most."""
    space, mu, values = shown.space, shown.mu, shown.values
    if space.n_params <= MAX_SHOWN:
        return list(range(space.n_params))
    finite = np.isfinite(values)
    n_bins = int(np.clip(finite.sum() / 8, 1, 8))
    bins = np.clip((space.to_unit(mu[finite]) * n_bins).astype(int), 0, n_bins - 1)
    variation = []
    for along in bins.T:
        largest = np.full(n_bins, np.nan)
        np.fmax.at(largest, along, values[finite])
        variation.append(np.nanmax(largest) - np.nanmin(largest) if finite.any() else 0.0)
    return sorted(np.argsort(variation)[::-1][:MAX_SHOWN].tolist())


def _from_unit(space: ParameterSpace, index: int, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """One parameter's values at the given coordinates of the unit cube."""
    points = np.full((len(x), space.n_params), 0.5)
    points[:, index] = x
    return space.from_unit(points)[:, index]


def _scale_axis(axes: Axes, space: ParameterSpace, index: int, which: str, margin: float) -> None:
    """Scale, limits, ticks and label of a parameter's axis; the margin keeps numbers at the edge inside the panel."""
    parameter = space.parameters[index]
    low, high = _from_unit(space, index, np.array([-margin, 1 + margin]))
    axes.set(**{f"{which}scale": parameter.scale, f"{which}label": parameter.label})
    axes.set(**{f"{which}lim": (low, high)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    if parameter.scale == "log":
        log_ticks(axis, low, high)
    else:
        axis.set_major_locator(MaxNLocator(5 if margin < 0.09 else 4, steps=[1, 2, 2.5, 5, 10]))


def _describe(figure: Figure, shown: _Map, within: Axes | None = None) -> None:
    """Title with the largest value and its place; legend of the markers, in a panel or below the figure."""
    entries, n_solved = [], len(shown.solved)
    for name, marker, colour, n in (
        ("initial design", "s", INITIAL_COLOUR, min(shown.n_initial, n_solved)),
        ("chosen by the agent", "o", CHOSEN_COLOUR, n_solved - shown.n_initial),
    ):
        if n > 0:
            entries.append(Line2D([], [], ls="none", marker=marker, ms=9, mfc=colour, mec="black", mew=0.7, label=name))
    worst = shown.worst
    if worst is not None:
        entries.append(Line2D([], [], **_WORST, label="largest value"))
        place = point_text(shown.space, shown.mu[worst])
        figure.suptitle(textwrap.fill(f"largest: {shown.worst_text} at {place}", 95), ha="center")
    if within is not None:
        within.legend(handles=entries, loc="center")
    elif entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=3)
