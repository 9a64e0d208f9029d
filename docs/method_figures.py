"""The figures of the page on the method, drawn from what `method_cases` and `method_stages` measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterMathtext, NullLocator
from method_cases import BURGERS_BOX, ErrorMap, Numbers
from method_stages import StageByStage

from mlasdi.agent import figures
from mlasdi.agent.figures import OKABE_ITO, line_colours, new_figure, styled
from mlasdi.agent.figures.style import DIFFERENCE, log_error_axis, log_ticks, plain_number

MARKERS = "osD^vP*"
# What is drawn of each variant: its name in the legend, marker, line and colour.
MEASURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "test": ("largest error, test points", {"marker": "o", "color": OKABE_ITO[1]}),
    "train": ("error at the training points", {"marker": "s", "color": OKABE_ITO[0]}),
    "leave-one-out": ("leave-one-out error", {"marker": "x", "ls": "--", "color": "0.35"}),
}


def draw(numbers: Numbers, found_map: ErrorMap, stages: StageByStage) -> dict[str, Figure]:
    """All figures, by name."""
    n_solved = len(found_map.solved)
    maps = (BURGERS_BOX, found_map.mu)
    return {
        "solves": solves(numbers["solves"]),
        "anchors": settings({f"{n} solves": rows for n, rows in numbers["anchors"].items()}, "anchors", evenly=True),
        "kernel": kernel(numbers["kernel"]),
        "kappa": settings(
            {"first stage: decoder of $z$": numbers["kappa"]["first stage"],
             r"second stage: features of $(z, \mu)$": numbers["kappa"]["second stage"]},
            r"frequency scale $\kappa$",
        ),
        "roughness": settings(
            {f"{n} solves": rows for n, rows in numbers["roughness"].items()},
            r"weight $\gamma$ of the roughness penalty",
        ),
        "stages": stage_by_stage(stages),
        "split": figures.error_split(
            stages.names,
            {
                "projection": np.full(len(stages.names), stages.split.projection),
                "autoencoder": stages.split.autoencoder,
                "latent dynamics": stages.split.latent_dynamics,
                "interpolation": stages.split.interpolation,
            },
            stages.split.total,
            label="largest relative L2 error over time [%]",
        ),
        "error-map": figures.error_map(*maps, found_map.error, found_map.solved, n_solved),
        "estimate-map": figures.uncertainty_map(*maps, found_map.estimate, found_map.solved, n_solved),
        "reliability": reliability(numbers["reliability"]),
    }  # fmt: skip


@styled
def solves(numbers: Numbers) -> Figure:
    """Largest error of the presets against the number of solves, and the default model's estimate of its own."""
    figure = new_figure(3.4)
    axes = figure.subplots()
    drawn: list[float] = []
    for (kind, rows), marker, colour in zip(numbers.items(), MARKERS, OKABE_ITO, strict=False):
        percent = [100 * row["max"] for row in rows.values()]
        axes.plot([int(n) for n in rows], percent, marker=marker, color=colour, label=kind)
        drawn += percent
    estimates = {int(n): 100 * row["estimate"] for n, row in numbers["mlasdi"].items() if row["estimate"]}
    axes.plot(
        list(estimates), list(estimates.values()), "x--", color="0.35", label="estimate of mlasdi,\nwithout tests"
    )
    _error_axis(axes, [*drawn, *estimates.values()])
    axes.set_xticks([int(n) for n in numbers["mlasdi"]])
    axes.set(xlabel="solver runs, on a tensor grid", ylabel="max relative error, test points [%]")
    figure.legend(loc="outside right upper")
    return figure


@styled
def settings(panels: Mapping[str, Numbers], label: str, *, evenly: bool = False) -> Figure:
    """Errors against one setting, a panel for each of two cases.

    Args:
        panels: title -> value of the setting -> errors.
        label: of the setting.
        evenly: values at equal distances, where they begin with zero; else on a logarithmic axis.
    """
    figure = new_figure(3.1)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        x = np.arange(len(rows)) if evenly else np.array([float(value) for value in rows])
        for measure, (name, style) in MEASURES.items():
            axes.plot(x, [100 * row[measure] for row in rows.values()], label=name, **style)
        if evenly:
            axes.set_xticks(x, list(rows))
        else:
            axes.set_xscale("log")
            _thin_log_ticks(axes, x)
        axes.set_title(title)
        axes.set_xlabel(label)
    drawn = [100 * row[measure] for rows in panels.values() for row in rows.values() for measure in MEASURES]
    _error_axis(grid[0], drawn)
    for axes in grid[1:]:
        _clean(axes)
    grid[0].set_ylabel("relative error [%]")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def kernel(numbers: Numbers) -> Figure:
    """Kriging error by length scale with the choice made; first-stage error with kernels chosen in either way."""
    figure = new_figure(3.3)
    left, right = figure.subplots(1, 2)
    chosen = numbers["chosen"]
    drawn = []
    names = {"rbf": "RBF", "matern52": "Matérn 5/2"}
    for (family, errors), colour in zip(numbers["sweep"].items(), OKABE_ITO, strict=False):
        percent = [100 * error for error in errors.values()]
        left.plot([float(scale) for scale in errors], percent, color=colour, label=names[family])
        drawn += percent
    left.plot(chosen["lengthscale"], 100 * chosen["test"], "*", ms=11, color="black", mec="white", zorder=4,
              label=f"chosen ({names[chosen['family']]})")  # fmt: skip
    left.set_xscale("log")
    log_ticks(left.xaxis, *left.get_xlim())
    _error_axis(left, drawn)
    left.set(xlabel="length scale on the unit cube", ylabel="max relative error [%]", title="kriging of the field")
    left.legend()
    rows = numbers["interpolation"]
    for (way, by_solves), marker, colour in zip(rows.items(), "o^", OKABE_ITO[2:], strict=False):
        percent = [100 * row["test"] for row in by_solves.values()]
        name = {"field": "chosen on the field", "marginal-likelihood": "marginal likelihood\nof each coefficient"}[way]
        right.plot([int(n) for n in by_solves], percent, marker=marker, color=colour, label=name)
    _error_axis(right, [100 * row["test"] for by_solves in rows.values() for row in by_solves.values()])
    right.set_xticks([int(n) for n in rows["field"]])
    right.set(xlabel="solver runs", title="first stage alone")
    right.legend()
    return figure


def reliability(numbers: Numbers) -> Figure:
    """In similarity variables, with calibration for every number of solves, and without it for nine."""
    shares = {f"{n} solves": rows for n, rows in numbers["scaling learned"].items()}
    shares["9 solves,\nnot calibrated"] = numbers["not calibrated"]["9"]
    levels = [float(level) for level in shares["9 solves"]]
    return figures.reliability(levels, {name: np.array(list(rows.values())) for name, rows in shares.items()})


@styled
def stage_by_stage(found: StageByStage) -> Figure:
    """Latent trajectories, error over time by the number of stages, and what each number of stages leaves."""
    figure = new_figure(5.2)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.15], squeeze=False)[:, 0]
    left, right = top.subplots(1, 2)
    shown = found.z[:, : len(line_colours(4))]
    for latent, colour in zip(shown.T, line_colours(4), strict=False):
        left.plot(found.t, latent, color=colour)
    left.set(xlabel="t", ylabel="latent state", title=f"{shown.shape[1]} of {found.z.shape[1]} latent states")
    for k, (errors, colour) in enumerate(zip(found.errors, line_colours(len(found.errors)), strict=True), start=1):
        right.plot(found.t, 100 * errors, color=colour, label=_stages(k))
    _error_axis(right, (100 * found.errors).ravel())
    right.set(xlabel="t", ylabel="relative error [%]", title="error over time")
    right.legend()
    for axes in (left, right):
        axes.set_xlim(found.t[0], found.t[-1])
        _clean(axes)
    fields = [found.truth, *found.residuals]
    titles = ["truth", *(f"left by {_stages(k + 1)}" for k in range(len(found.residuals)))]
    limits = [np.abs(found.truth).max(), *[np.abs(found.residuals).max()] * len(found.residuals)]
    panels = bottom.subplots(1, len(fields), sharey=True)
    for axes, field, title, limit in zip(panels, fields, titles, limits, strict=True):
        label = "u" if field is found.truth else "truth minus prediction"
        mesh = axes.pcolormesh(found.x, found.t, field, cmap=DIFFERENCE, vmin=-limit, vmax=limit, rasterized=True)
        axes.set(xlabel="x", title=title)
        bottom.colorbar(mesh, ax=axes, location="bottom", aspect=25, label=label)
    panels[0].set_ylabel("t")
    return figure


def _stages(k: int) -> str:
    return f"{k} stage{'s' * (k > 1)}"


def _error_axis(axes: Axes, percent: Sequence[float] | np.ndarray) -> None:
    log_error_axis(axes, percent)
    _clean(axes)


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)


def _thin_log_ticks(axes: Axes, x: np.ndarray) -> None:
    """A tick at each value, with a number at those that are powers of ten."""
    axes.xaxis.set_major_locator(FixedLocator([value for value in x if np.isclose(np.log10(value) % 1, 0)]))
    many = max(x) > 1e4 * min(x)  # decades: written out, their numbers would run into each other
    axes.xaxis.set_major_formatter(
        LogFormatterMathtext() if many else FuncFormatter(lambda value, _: plain_number(value))
    )
    axes.xaxis.set_minor_locator(NullLocator())
