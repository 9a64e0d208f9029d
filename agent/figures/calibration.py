"""Figures of an assessment: reliability of the bands, and parts of the error."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from mlasdi.agent.figures.style import OKABE_ITO, line_colours, new_figure, plain_number, styled

# A 90 % band that contains between 85 and 95 % of the values counts as calibrated.
TARGET_LEVEL, TARGET_LOW, TARGET_HIGH = 90.0, 85.0, 95.0
BAR = 0.16  # inches: height of a bar, equal to that of its number


@styled
def reliability(levels: Sequence[float], observed: Mapping[str, Float[np.ndarray, " level"]]) -> Figure:
    """Reliability diagram: share of the true values inside the central bands, against the probability of the bands.

    On the diagonal the standard deviations are calibrated, below it they are too small, above it too large.

    Args:
        levels: probabilities of the bands, as fractions.
        observed: name of each model -> shares of the values inside its bands, as fractions.
    """
    figure = new_figure(3.7, 5.4)
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="0.6", lw=0.9, zorder=1)
    axes.annotate("too wide", (0.02, 0.97), xycoords="axes fraction", va="top", rotation=90, color="0.4")
    axes.annotate("too narrow", (0.97, 0.02), xycoords="axes fraction", ha="right", color="0.4")
    width = 3.0
    axes.add_patch(
        Rectangle((TARGET_LEVEL - width / 2, TARGET_LOW), width, TARGET_HIGH - TARGET_LOW, fc="0.8", ec="none",
                  zorder=0, label=f"target at {TARGET_LEVEL:g} %:\n{TARGET_LOW:g} to {TARGET_HIGH:g} %")
    )  # fmt: skip
    nominal = 100 * np.asarray(levels)
    for (name, shares), marker, colour in zip(
        observed.items(), "osD^vP*" * len(observed), line_colours(len(observed)), strict=False
    ):
        # clip_on=False: markers at the edge of the axes are drawn whole.
        axes.plot(nominal, 100 * np.asarray(shares), marker=marker, color=colour, label=name, clip_on=False, zorder=3)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.set(xlabel="probability of the band [%]", ylabel="values inside the band [%]")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(20))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper")
    return figure


@styled
def error_split(
    stage_names: Sequence[str],
    parts: Mapping[str, Float[np.ndarray, " stage"]],
    total: Float[np.ndarray, " stage"],
    *,
    label: str = "mean over validation points of the largest relative L2 error over time [%]",
) -> Figure:
    """Parts of the error with the first stage, the first two stages, and so on, as groups of bars with numbers.

    The axis is linear, so that lengths can be compared. The total may be less than the sum of the parts, because parts
    can cancel.

    Args:
        stage_names: of the stages, in order.
        parts: name of a part -> its size with the first k stages, as fractions.
        total: error with the first k stages, as fractions.
        label: of the axis.
    """
    rows = {**parts, "total": total}
    pitch = len(rows) + 1  # bars of a group, and the space to the next
    figure = new_figure(BAR * pitch * len(stage_names) + 0.9)
    axes = figure.subplots()
    percent = np.array([100 * np.asarray(sizes, dtype=float) for sizes in rows.values()])
    finite = percent[np.isfinite(percent)]
    largest = float(finite.max()) if finite.any() else 1.0
    for row, (name, sizes) in enumerate(zip(rows, percent, strict=True)):
        colour = "0.35" if name == "total" else OKABE_ITO[row % len(OKABE_ITO)]
        at = row + pitch * np.arange(len(sizes))
        axes.barh(at, np.where(np.isfinite(sizes), sizes, 0.0), height=0.85, color=colour, label=name)
        for y, size in zip(at, sizes, strict=True):
            text = plain_number(float(f"{size:.2g}"), 2) if np.isfinite(size) else "not finite"
            axes.annotate(text, (size if np.isfinite(size) else 0.0, y), (3, 0), textcoords="offset points",
                          va="center_baseline")  # fmt: skip
    axes.set(xlim=(0, 1.15 * largest), ylim=(pitch * len(stage_names) - 1.4, -0.9))
    axes.set_yticks(pitch * np.arange(len(stage_names)) + (pitch - 2) / 2, [*_groups(stage_names)])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(rows))
    return figure


def _groups(stage_names: Sequence[str]) -> list[str]:
    """Label of each group: the number of stages, and the name of the last one."""
    return [
        f"{k} stage{'s' * (k > 1)}\n" + textwrap.fill(f"({'+ ' * (k > 1)}{name})", 22)
        for k, name in enumerate(stage_names, start=1)
    ]
