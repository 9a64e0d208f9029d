"""Maps of an error over the parameter box, with the solved points numbered in the order they were chosen."""

import textwrap
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
from mlasdi.solvers import ParameterSpace

# A corner plot of four parameters has six panels; more would be too small to read.
MAX_SHOWN = 4
_WORST: dict[str, Any] = {"marker": "X", "ms": 8, "mfc": "black", "mec": "white", "mew": 0.8, "ls": "none"}


@styled
def error_map(
    space: ParameterSpace,
    mu: Float[np.ndarray, "n n_params"],
    errors: Float[np.ndarray, " n"],
    solved: Float[np.ndarray, "point n_params"],
    n_initial: int,
    *,
    label: str = "max relative error",
) -> Figure:
    """Error over the parameter box.

    One parameter gives a curve; two a map; more a corner plot with a panel for each pair, which shows the largest error
    over the other parameters, for at most the four parameters along which the error varies most. On a tensor grid
    (holes allowed) a cell is a point; scattered points of two parameters colour what is nearest to them, and those of
    more are gathered in bins. Values that are not finite are left blank. With more than three parameters the initial
    design carries no numbers: many of its points fall on the same place of a panel.

    Args:
        mu: where the error is known, in physical units.
        errors: as fractions.
        solved: points where the solver ran for training, in the order they were chosen; the first `n_initial` are the
            initial design.
        label: of the error.
    """
    percent = 100 * errors
    if space.n_params == 1:
        return _curve(space, mu, percent, solved, n_initial, label)
    return _corner_plot(space, mu, percent, solved, n_initial, label)


def uncertainty_map(
    space: ParameterSpace,
    mu: Float[np.ndarray, "n n_params"],
    errors: Float[np.ndarray, " n"],
    solved: Float[np.ndarray, "point n_params"],
    n_initial: int,
    *,
    label: str = "estimated relative error",
) -> Figure:
    """The surrogate's own estimate of its error over the parameter box, drawn as `error_map` draws the error."""
    return error_map(space, mu, errors, solved, n_initial, label=label)


def _curve(
    space: ParameterSpace, mu: np.ndarray, percent: np.ndarray, solved: np.ndarray, n_initial: int, label: str
) -> Figure:
    """Error against the only parameter, above a strip with the solved points."""
    figure = new_figure(3.8)
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    order = np.argsort(mu[:, 0])
    axes.plot(mu[order, 0], percent[order], color=OKABE_ITO[0], marker="." if len(mu) < 60 else None)
    for value in solved[:, 0]:
        axes.axvline(value, color="0.8", lw=0.8, zorder=0)
    if isinstance(magnitude_norm(percent), LogNorm):
        log_error_axis(axes, percent)
    else:
        axes.set_ylim(0, 1.1 * (magnitude_norm(percent).vmax or 1.0))
    worst = _worst(percent)
    if worst is not None:
        axes.plot(mu[worst, 0], percent[worst], **_WORST)
    axes.set_ylabel(f"{label} [%]")
    axes.spines[["top", "right"]].set_visible(False)
    strip.set(yticks=[], ylim=(0, 1))
    strip.spines[["top", "left", "right"]].set_visible(False)
    _scale_axis(strip, space, 0, "x", margin=0.03)
    _describe(figure, space, mu, percent, len(solved), n_initial)
    figure.draw_without_rendering()
    number_points(strip, np.column_stack([solved[:, 0], np.full(len(solved), 0.5)]), n_initial, np.empty((0, 2)))
    return figure


def _corner_plot(
    space: ParameterSpace, mu: np.ndarray, percent: np.ndarray, solved: np.ndarray, n_initial: int, label: str
) -> Figure:
    """A map for each pair of parameters, in the lower triangle of a square of panels."""
    shown = _most_telling(space, mu, percent)
    n = len(shown) - 1
    figure = new_figure(*((4.9, WIDTH) if n == 1 else (6.2, 7.0)))
    grid = figure.subplots(n, n, sharex="col", sharey="row", squeeze=False)
    norm = magnitude_norm(percent)
    panels = []
    for row, y in enumerate(shown[1:]):
        for column, x in enumerate(shown[:-1]):
            if column > row:
                grid[row, column].set_axis_off()
                continue
            _map(grid[row, column], space, (x, y), mu, percent, norm)
            panels.append((grid[row, column], (x, y)))
            grid[row, column].label_outer()
    scale = ScalarMappable(norm, MAGNITUDE)
    below = bool((percent < (norm.vmin or 0.0)).any())
    bar_label = f"{label} [%]" if space.n_params == 2 else f"{label} [%], largest over the other parameters"
    magnitude_bar(figure, scale, list(grid.ravel()), bar_label, below=below)
    _describe(figure, space, mu, percent, len(solved), n_initial, within=grid[0, -1] if n > 1 else None)
    figure.draw_without_rendering()
    worst = _worst(percent)
    for axes, pair in panels:
        avoid = np.empty((0, 2)) if worst is None else mu[[worst]][:, pair]
        number_points(axes, solved[:, pair], n_initial, avoid, number_initial=space.n_params <= 3)
    return figure


def _map(
    axes: Axes,
    space: ParameterSpace,
    pair: tuple[int, int],
    mu: np.ndarray,
    percent: np.ndarray,
    norm: Normalize,
) -> None:
    """One panel: the largest error over all parameters but the two of `pair`."""
    x, y = pair
    unit = space.to_unit(mu)[:, pair]
    *edges, image = _image(unit, np.where(np.isfinite(percent), percent, np.nan), projected=space.n_params > 2)
    physical = [_from_unit(space, index, along) for index, along in zip(pair, edges, strict=True)]
    axes.pcolormesh(*physical, image.T, norm=norm, cmap=MAGNITUDE, rasterized=True)
    margin = 0.05 if min(space.n_params, MAX_SHOWN) == 2 else 0.09
    _scale_axis(axes, space, x, "x", margin)
    _scale_axis(axes, space, y, "y", margin)
    worst = _worst(percent)
    if worst is not None:
        axes.plot(*mu[worst, list(pair)], **_WORST, zorder=6)


def _image(
    x: Float[np.ndarray, "n 2"], values: Float[np.ndarray, " n"], *, projected: bool
) -> tuple[Float[np.ndarray, " n_u"], Float[np.ndarray, " n_v"], Float[np.ndarray, "cell_u cell_v"]]:
    """Cell borders along both axes of the unit square, and the largest value in each cell; NaN where there is none.

    Args:
        projected: several points of the full space share a place in this plane.
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


def _most_telling(space: ParameterSpace, mu: np.ndarray, percent: np.ndarray) -> list[int]:
    """At most `MAX_SHOWN` parameters, in their order: those along which the largest error varies most."""
    if space.n_params <= MAX_SHOWN:
        return list(range(space.n_params))
    finite = np.isfinite(percent)
    n_bins = int(np.clip(finite.sum() / 8, 1, 8))
    bins = np.clip((space.to_unit(mu[finite]) * n_bins).astype(int), 0, n_bins - 1)
    variation = []
    for along in bins.T:
        largest = np.full(n_bins, np.nan)
        np.fmax.at(largest, along, percent[finite])
        variation.append(np.nanmax(largest) - np.nanmin(largest) if finite.any() else 0.0)
    return sorted(np.argsort(variation)[::-1][:MAX_SHOWN].tolist())


def _from_unit(space: ParameterSpace, index: int, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """One parameter's values at the given coordinates of the unit cube."""
    points = np.full((len(x), space.n_params), 0.5)
    points[:, index] = x
    return space.from_unit(points)[:, index]


def _scale_axis(axes: Axes, space: ParameterSpace, index: int, which: str, margin: float) -> None:
    """Scale, limits, ticks and label of a parameter's axis; the margin keeps numbers at the rim inside the panel."""
    parameter = space.parameters[index]
    low, high = _from_unit(space, index, np.array([-margin, 1 + margin]))
    axes.set(**{f"{which}scale": parameter.scale, f"{which}label": parameter.label})
    axes.set(**{f"{which}lim": (low, high)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    if parameter.scale == "log":
        log_ticks(axis, low, high)
    else:
        axis.set_major_locator(MaxNLocator(5 if margin < 0.09 else 4, steps=[1, 2, 2.5, 5, 10]))


def _worst(percent: Float[np.ndarray, " n"]) -> int | None:
    """Index of the largest finite value."""
    return int(np.nanargmax(np.where(np.isfinite(percent), percent, np.nan))) if np.isfinite(percent).any() else None


def _describe(
    figure: Figure,
    space: ParameterSpace,
    mu: np.ndarray,
    percent: np.ndarray,
    n_solved: int,
    n_initial: int,
    within: Axes | None = None,
) -> None:
    """Title with the largest value and its place; legend of the markers, in a panel or below the figure."""
    entries = []
    for name, marker, colour, n in (
        ("initial design", "s", INITIAL_COLOUR, min(n_initial, n_solved)),
        ("chosen by the agent", "o", CHOSEN_COLOUR, n_solved - n_initial),
    ):
        if n > 0:
            entries.append(Line2D([], [], ls="none", marker=marker, ms=9, mfc=colour, mec="black", mew=0.7, label=name))
    worst = _worst(percent)
    if worst is not None:
        entries.append(Line2D([], [], **_WORST, label="largest value"))
        figure.suptitle(
            textwrap.fill(f"largest: {percent[worst]:.3g} % at {point_text(space, mu[worst])}", 95), ha="center"
        )
    if within is not None:
        within.legend(handles=entries, loc="center")
    elif entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=3)
