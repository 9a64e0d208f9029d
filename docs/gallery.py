"""Draws what a solution of each built-in problem looks like: writes `images/gallery-*.png`.

    python docs/gallery.py [FOLDER]

Each problem of `configs/` is solved once, in the middle of its box. The wake needs NGSolve and takes a minute or two;
it is left out where that is not installed.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from mlasdi.agent.cli.plan import centre
from mlasdi.agent.config import load_config
from mlasdi.agent.figures import MAGNITUDE, OKABE_ITO, cell_edges, new_figure, point_text, save, styled
from mlasdi.solvers import Snapshots, StateLayout, evenly_spread

CONFIGS = Path(__file__).parents[1] / "configs"
# Settings of a solver, name of the problem -> options, in addition to those of the configuration.
Options = Mapping[str, Mapping[str, Any]]
# From the solution and its layout; the text says at which parameters.
Drawing = Callable[[Snapshots, StateLayout, str], Figure]

# A picture of the wake needs a period, of about 0.31, and more points than a surrogate.
FULL: Options = {"wake": {"n_t": 33, "n_x": 353, "n_y": 72}}


@styled
def over_time(snapshots: Snapshots, layout: StateLayout, at: str, *, shown: Sequence[float]) -> Figure:
    """A field in one dimension: profiles at some times, and all of it over space and time.

    Args:
        shown: times of the profiles, as parts of the interval.
    """
    (axis, x), (field,) = next(iter(layout.coordinates.items())), layout.fields
    figure = new_figure(2.5)
    left, right = figure.subplots(1, 2)
    for k, colour in zip(_nearest(snapshots, shown), OKABE_ITO, strict=False):
        left.plot(x, snapshots.u[k], color=colour, lw=1.0, label=f"$t = {snapshots.t[k]:.3g}$")
    left.set(xlabel=axis, ylabel=field, xlim=(x[0], x[-1]))
    left.spines[["top", "right"]].set_visible(False)
    left.legend(loc="upper left", handlelength=1.2, labelspacing=0.3)
    # Cells finer than the dots of the picture would only make the file larger.
    keep = evenly_spread(snapshots.t.size, 201)
    edges = cell_edges(x), cell_edges(snapshots.t[keep])
    mesh = right.pcolormesh(*edges, snapshots.u[keep], cmap=MAGNITUDE, rasterized=True)
    right.set(xlabel=axis, ylabel="t")
    figure.colorbar(mesh, ax=right, label=field)
    figure.suptitle(at)
    return figure


@styled
def in_the_plane(
    snapshots: Snapshots, layout: StateLayout, at: str, *, shown: Sequence[float], labels: Sequence[str]
) -> Figure:
    """The first field of two dimensions at some times, side by side, on one scale of colours."""
    figure = new_figure(2.6)
    panels = figure.subplots(1, len(shown), sharey=True)
    fields = layout.split(snapshots.u)[layout.fields[0]]
    chosen = _nearest(snapshots, shown)
    limits = float(fields[chosen].min()), float(fields[chosen].max())
    for axes, k in zip(panels, chosen, strict=True):
        mesh = _map(axes, layout, fields[k], limits)
        axes.set_title(f"$t = {snapshots.t[k]:.3g}$")
        axes.set_xlabel(labels[0])
        if set(layout.coordinates) == {"x", "y"}:
            axes.set_aspect("equal")
    panels[0].set_ylabel(labels[1])
    figure.colorbar(mesh, ax=panels, label=layout.fields[0])
    figure.suptitle(at)
    return figure


@styled
def past_the_cylinder(snapshots: Snapshots, layout: StateLayout, at: str) -> Figure:
    """The speed in the channel, at the beginning of a period of the lift and half a period later."""
    from mlasdi.solvers.builtin.cylinder_flow import CENTRE, HEIGHT, LENGTH, RADIUS

    speed = layout.split(snapshots.u)["speed"]
    chosen = [0, _half_period(snapshots)]
    figure = new_figure(3.3)
    panels = figure.subplots(2, 1, sharex=True)
    limits = 0.0, float(np.nanmax(speed[chosen]))
    for axes, k in zip(panels, chosen, strict=True):
        mesh = _map(axes, layout, speed[k], limits)
        axes.set_facecolor("0.85")  # of cells that the cylinder cuts
        axes.add_patch(Circle(CENTRE, RADIUS, facecolor="0.85", edgecolor="black", lw=0.7))
        axes.set(title=f"$t = {snapshots.t[k]:.3g}$", ylabel="y", aspect="equal", xlim=(0, LENGTH), ylim=(0, HEIGHT))
    panels[-1].set_xlabel("x")
    figure.colorbar(mesh, ax=panels, label="speed")
    figure.suptitle(at)
    return figure


DRAWINGS: Mapping[str, Drawing] = {
    "multiscale": lambda *solution: over_time(*solution, shown=(0.0, 0.25)),
    "burgers1d": lambda *solution: over_time(*solution, shown=(0.0, 0.25, 0.5, 0.75, 1.0)),
    "burgers2d": lambda *solution: in_the_plane(*solution, shown=(0.0, 0.5, 1.0), labels=("x", "y")),
    "vlasov": lambda *solution: in_the_plane(*solution, shown=(0.0, 0.5, 0.7, 1.0), labels=("$k x$", "v")),
    "wake": past_the_cylinder,
}


def write(folder: Path, options: Options = FULL) -> list[Path]:
    """Solve and draw every problem; returns the pictures."""
    return [
        save(draw(*solution(name, options.get(name, {}))), folder / f"gallery-{name}.png")
        for name, draw in DRAWINGS.items()
        if name != "wake" or importlib.util.find_spec("ngsolve") is not None
    ]


def solution(name: str, options: Mapping[str, Any]) -> tuple[Snapshots, StateLayout, str]:
    """A problem in the middle of its box: the solution, its layout, and the parameters in words."""
    path = CONFIGS / f"{name}.yaml"
    problem = load_config(path, [f"problem.options.{key}={value}" for key, value in options.items()]).problem
    fom, mu = problem.spec.build(), centre(problem.space)
    layout = fom.layout
    assert layout is not None  # all built-in solvers have one
    return fom.solve(mu), layout, point_text(problem.space, np.array(list(mu.values())))


def _nearest(snapshots: Snapshots, parts: Sequence[float]) -> list[int]:
    """Indices of the times nearest to some parts of the interval."""
    return [round(part * (snapshots.t.size - 1)) for part in parts]


def _half_period(snapshots: Snapshots) -> int:
    """Index of the time at which the flow differs most from that at the beginning."""
    return int(np.argmax(np.linalg.norm(snapshots.u - snapshots.u[0], axis=1)))


def _map(
    axes: Axes, layout: StateLayout, image: Float[np.ndarray, "n m"], limits: tuple[float, float]
) -> ScalarMappable:
    edges = [cell_edges(x) for x in layout.coordinates.values()]
    return axes.pcolormesh(*edges, image.T, cmap=MAGNITUDE, vmin=limits[0], vmax=limits[1], rasterized=True)


if __name__ == "__main__":
    for picture in write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"):
        print(picture)
