"""The figures of the study on correlations of latent states with the residual."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from study_correlations import MEASURES, Cell, Line

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled

MARKERS = "os^D"
LOWEST = -100.0  # per cent: gains below are drawn there


@styled
def gains(cells: Sequence[Cell], lines: Mapping[str, Line | None], published: float, pays: float) -> Figure:
    """Gain of the second stage against each measure; colours are noise levels, markers problems."""
    figure = new_figure(5.2)
    panels = figure.subplots(2, 2, sharey=True).ravel()
    levels = sorted({cell.noise for cell in cells})
    problems = list(dict.fromkeys(cell.problem for cell in cells))
    for axes, (measure, name) in zip(panels, MEASURES.items(), strict=True):
        for cell in cells:
            axes.plot(
                cell.correlations[measure], max(100 * cell.gain, LOWEST), MARKERS[problems.index(cell.problem)],
                color=OKABE_ITO[levels.index(cell.noise)], mfc="none", ms=4.5,
            )  # fmt: skip
        axes.axvline(published, color="0.5", ls=":", lw=1)
        line = lines[measure]
        if line is not None:
            axes.axvspan(line.low, line.high, color="0.9", zorder=0)
        axes.axhline(100 * pays, color="0.5", lw=0.7)
        axes.set(xlabel=name, xlim=(-0.03, 1.03), ylim=(LOWEST - 8, 108))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[::2]:
        axes.set_ylabel("gain of stage 2 [%]")
    handles = [
        Line2D([], [], ls="none", marker="o", color=OKABE_ITO[k], label=f"{100 * level:g} % noise")
        for k, level in enumerate(levels)
    ]
    handles += [
        Line2D([], [], ls="none", marker=marker, color="black", mfc="none", label=problem)
        for marker, problem in zip(MARKERS, problems, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


@styled
def accuracies(cells: Sequence[Cell], pays: float, published: float) -> Figure:
    """How well each line tells stages that pay from others, for every measure."""
    figure = new_figure(2.8)
    axes = figure.subplots()
    good = np.array([cell.gain > pays for cell in cells])
    grid = np.linspace(0, 1, 201)
    for (measure, name), colour, style in zip(MEASURES.items(), OKABE_ITO, ("-", "--", "-.", ":"), strict=False):
        values = np.array([cell.correlations[measure] for cell in cells])
        if good.any() and not good.all():
            share = [50 * ((values[good] >= line).mean() + (values[~good] < line).mean()) for line in grid]
            axes.plot(grid, share, color=colour, ls=style, label=name)
    axes.axvline(published, color="0.5", ls=":", lw=1, label="published line")
    axes.set(xlabel="line", ylabel="told right [%]", xlim=(0, 1), ylim=(35, 103))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper")
    return figure
