"""The common style of all figures: sizes, colours, ticks, and the numbered markers of solved points."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mlasdi.agent.records import ASSESS, CHOOSE, PUBLISH, SOLVE, TRAIN, VALIDATE, WASTED
from mlasdi.prediction import NotebookFigure
from mlasdi.solvers import ParameterSpace
from mlasdi.solvers.storage import atomic_write

WIDTH = 6.5  # inches: the text width of a page
DPI = 200
TEXT_PT = 8.0
MAGNITUDE, SPREAD, DIFFERENCE = "viridis", "cividis", "RdBu_r"
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INITIAL_COLOUR, CHOSEN_COLOUR = "#FFFFFF", "#E69F00"
MAX_NUMBERED = 200  # points of a map; more numbers would not be legible
ACTIVITY_COLOURS = {
    SOLVE: OKABE_ITO[0],
    VALIDATE: OKABE_ITO[5],
    TRAIN: OKABE_ITO[4],
    CHOOSE: OKABE_ITO[2],
    ASSESS: OKABE_ITO[3],
    PUBLISH: "#999999",
    WASTED: OKABE_ITO[1],
}

# Based on matplotlib's defaults, so that a user's settings have no effect, except for the backend.
_STYLE: Any = {
    **{key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")},
    "font.size": TEXT_PT,
    "axes.titlesize": TEXT_PT + 1,
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT_PT + 1,
    "figure.titlesize": TEXT_PT + 1,
    "xtick.labelsize": TEXT_PT,
    "ytick.labelsize": TEXT_PT,
    "legend.fontsize": TEXT_PT,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "axes.linewidth": 0.7,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
}
_DRAWING = ParamSpec("_DRAWING")


def styled(draw: Callable[_DRAWING, Figure]) -> Callable[_DRAWING, Figure]:
    """Draw in the style of the project, independently of the user's matplotlib settings."""

    @functools.wraps(draw)
    def in_style(*args: _DRAWING.args, **kwargs: _DRAWING.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            figure = draw(*args, **kwargs)
            for axes in figure.findobj(Axes):
                axes.tick_params(which="both", labelsize=TEXT_PT)  # ticks are created when drawn, outside the context
        return figure

    return in_style


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of the given size in inches, with automatic layout of its panels."""
    return NotebookFigure(figsize=(width, height), dpi=DPI, layout="constrained")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the ending of the path, which is returned; a missing folder is made."""
    # Text stays text in PDF (publishers refuse fonts of type 3).
    with atomic_write(Path(path)) as partial, matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(partial, format=Path(path).suffix[1:], dpi=DPI)
    return Path(path)


def with_unit(name: str, unit: str) -> str:
    """An axis label: `name [unit]`."""
    return f"{name} [{unit}]" if unit else name


def stage_kind(name: str) -> str:
    """Kind of a stage for short labels, from a name such as `sine-features (kappa 1, ridge 1e-05)`."""
    return name.partition(" (")[0]


def point_text(space: ParameterSpace, mu: Float[np.ndarray, " n_params"]) -> str:
    """Names, values and units of a parameter point."""
    return ", ".join(
        f"{p.name} = {x:.4g}{f' {p.unit}' if p.unit else ''}" for p, x in zip(space.parameters, mu, strict=True)
    )


def line_colours(n: int) -> list[tuple[float, ...]]:
    """`n` colours for curves: up to seven distinct ones, or a sequential colour map for more."""
    if n <= len(OKABE_ITO):
        return [matplotlib.colors.to_rgba(colour) for colour in OKABE_ITO[:n]]
    # The last tenth of the colour map is too light on white paper.
    return [tuple(colour) for colour in matplotlib.colormaps[MAGNITUDE](np.linspace(0, 0.9, n))]


def magnitude_norm(values: Float[np.ndarray, "*shape"]) -> Normalize:
    """Colour scale of non-negative values: linear from zero, or logarithmic if the maximum exceeds 10 times the median.

    The logarithmic scale covers at most three decades; non-finite values are ignored.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return Normalize(0, 1)
    top = float(positive.max())
    if top <= 10 * float(np.median(positive)):
        return Normalize(0, top)
    return LogNorm(max(float(positive.min()), top / 1000), top)


def plain_number(value: float, n_digits: int = 6) -> str:
    """A number without exponent if that is short, else with a typeset power of ten."""
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{value:.{n_digits}g}"
    mantissa, exponent = f"{value:.{n_digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = rf"10^{{{int(exponent)}}}"
    return rf"${power}$" if mantissa == "1" else rf"${mantissa} \times {power}$"


def _tick_label(value: float, _position: int | None = None) -> str:
    return plain_number(value)


def _log_locator(low: float, high: float) -> LogLocator | MaxNLocator:
    """Ticks at powers of ten; 1-2-5 below two decades; equidistant round numbers within a factor of five."""
    if high < 5 * low:
        return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    return LogLocator(subs=(1.0,) if high >= 100 * low else (1.0, 2.0, 5.0))


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis from `low` to `high` with plain numbers that do not overlap."""
    axis.set_major_locator(_log_locator(low, high))
    axis.set_major_formatter(FuncFormatter(_tick_label))
    axis.set_minor_formatter(NullFormatter())


def log_error_axis(axes: Axes, values: Sequence[float] | np.ndarray) -> None:
    """Make the y axis logarithmic, with a range that contains the positive ones of `values` and at least a decade."""
    positive = np.array([value for value in values if np.isfinite(value) and value > 0])
    axes.set_yscale("log")
    if not positive.size:
        positive = np.array([1.0])
    middle = float(np.sqrt(positive.min() * positive.max()))
    low = min(float(positive.min()) / 1.3, middle / 10**0.5)
    high = max(float(positive.max()) * 1.3, middle * 10**0.5)
    axes.set_ylim(low, high)
    log_ticks(axes.yaxis, low, high)


def magnitude_bar(
    figure: Figure, mappable: ScalarMappable, axes: Axes | list[Axes], label: str, *, below: bool = False
) -> Colorbar:
    """Colour bar of a `magnitude_norm`; `below`: some values lie below its lower end."""
    norm = mappable.norm
    bar = figure.colorbar(mappable, ax=axes, label=label, extend="min" if below else "neither")
    if isinstance(norm, LogNorm):
        bar.locator = _log_locator(*bar.ax.get_ylim())
        bar.formatter = FuncFormatter(_tick_label)
        bar.update_ticks()
        bar.minorticks_off()
    return bar


def cell_edges(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n_plus_1"]:
    """Cell borders half-way between neighbours, the outer ones at the outer points."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    return np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])


def number_points(
    axes: Axes, points: Float[np.ndarray, "point 2"], n_initial: int, avoid: np.ndarray, *, number_initial: bool = True
) -> None:
    """Number points from 1 in their order: squares for the first `n_initial`, discs for the others.

    A number that would cover another one moves to a free place nearby, connected to its point by a line; if there is no
    free place, or if there are more than `MAX_NUMBERED` points, only the point is drawn. The layout of the figure must
    be final, because distances are those on paper.

    Args:
        avoid: `[n, 2]`, points that no number may cover.
        number_initial: if false, the first `n_initial` are small squares without numbers.
    """
    plain: dict[str, Any] = {"ls": "", "ms": 3.5, "mec": "black", "mew": 0.6, "zorder": 3}
    if len(points) > MAX_NUMBERED:
        axes.plot(*points[:n_initial].T, marker="s", mfc=INITIAL_COLOUR, **plain)
        axes.plot(*points[n_initial:].T, marker="o", mfc=CHOSEN_COLOUR, **plain)
        return
    radius = 6.3 if len(points) < 100 else 8.3
    per_pixel = 72 / axes.figure.dpi
    anchors, taken = (
        list(axes.transData.transform(given) * per_pixel) if len(given) else [] for given in (points, avoid)
    )
    low, high = np.array(axes.bbox.extents).reshape(2, 2) * per_pixel + [[radius], [-radius]]
    for index, (point, anchor) in enumerate(zip(points, anchors, strict=True)):
        marker, colour = ("s", INITIAL_COLOUR) if index < n_initial else ("o", CHOSEN_COLOUR)
        numbered = number_initial or index >= n_initial
        place = _free_place(anchor, taken, radius, low, high) if numbered else None
        if place is None:
            axes.plot(*point, marker=marker, mfc=colour, **plain)
            continue
        taken.append(place)
        x, y = axes.transData.inverted().transform(place / per_pixel)
        if place is not anchor:
            axes.plot([point[0], x], [point[1], y], color="black", lw=0.7, zorder=3)
            axes.plot(*point, marker=marker, mfc=colour, **plain)
        # A square looks larger than a disc of the same width.
        size = 2 * radius if marker == "o" else 1.8 * radius
        axes.plot(x, y, marker, ms=size, mfc=colour, mec="black", mew=0.7, zorder=4)
        axes.text(x, y, str(index + 1), ha="center", va="center_baseline", fontsize=TEXT_PT, zorder=5)


def _free_place(
    anchor: Float[np.ndarray, "2"], taken: list[np.ndarray], radius: float, low: np.ndarray, high: np.ndarray
) -> Float[np.ndarray, "2"] | None:
    """The place nearest to the anchor, possibly the anchor itself, that is free and inside the panel."""
    rings = [
        anchor + step * 2.2 * radius * np.array([np.cos(angle), np.sin(angle)])
        for step in (1, 1.5, 2, 3, 4)
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False) + np.pi / 4
    ]
    for place in [anchor, *rings]:
        inside = bool((place >= low).all() and (place <= high).all())
        if inside and _is_free(place, taken, 2 * radius + 1):
            return place
    return None


def _is_free(place: Float[np.ndarray, "2"], taken: list[np.ndarray], distance: float) -> bool:
    return not taken or bool(np.linalg.norm(np.array(taken) - place, axis=1).min() >= distance)
