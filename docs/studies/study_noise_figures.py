"""Figures of the study of noise."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from study_noise import FORMS, TARGETS, Numbers, Size, noisy, settings
from study_problems import Problem

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis
from mlasdi.training import fit

SMALLEST = 0.01  # per cent; what is smaller is drawn there, or clean data would take most of the axes


def _percent(values: Iterable[float]) -> list[float]:
    return [max(100 * value, SMALLEST) for value in values]


def _axis(axes: Any, levels: Sequence[float], drawn: Sequence[float], title: str) -> None:
    axes.set_xticks(range(len(levels)), [f"{100 * level:g}" for level in levels])
    axes.set_xlim(-0.3, len(levels) - 0.7)
    axes.set(xlabel="noise [% of the values' standard deviation]", title=title)
    log_error_axis(axes, drawn)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)


def _lines(axes: Any, levels: Sequence[float], lines: Mapping[str, Mapping[float, float]], title: str) -> None:
    """One line for each name, over the levels at which it was measured."""
    looks = zip(("o-", "s--", "^-", "D--"), ("full", "none", "full", "none"), OKABE_ITO, strict=False)
    for (name, line), (look, fill, colour) in zip(lines.items(), looks, strict=False):
        at = [list(levels).index(level) for level in line]
        axes.plot(at, _percent(line.values()), look, fillstyle=fill, color=colour, label=name)
    _axis(axes, levels, _percent(value for line in lines.values() for value in line.values()), title)


@styled
def by_level_figure(numbers: Numbers, levels: Sequence[float]) -> Figure:
    """Errors of the default model and its variants over the noise."""
    figure = new_figure(3.2)
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("burgers1d", "multiscale"), strict=True):
        lines = {v: {level: row["error"] for level, row in rows.items()} for v, rows in numbers[name].items() if rows}
        _lines(axes, levels, lines, name)
    at = [(list(levels).index(level), 100 * target) for level, target in TARGETS.items() if level in levels]
    panels[0].plot(*zip(*at, strict=True), "_", ms=16, mew=2, color="black", label="target", zorder=4)
    panels[0].set_ylabel("max relative error, clean test points [%]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def weak_figure(numbers: Numbers, levels: Sequence[float]) -> Figure:
    """Coefficients of a known system, and surrogates with the published autoencoder, by the form of the equations."""
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2)
    rows = numbers["coefficients"]["1001"]
    _lines(left, levels, {FORMS[f]: {level: row[f] for level, row in rows.items()} for f in FORMS}, "a known system")
    left.set_ylabel("relative error of the coefficients [%]")
    left.legend(loc="lower right")
    names = {"estimate": "", "none": ",\nsnapshots as they are"}
    lines = {
        FORMS[key.partition("/")[2]] + names[key.partition("/")[0]]: values
        for key, values in numbers["published"].items()
    }
    _lines(right, levels, lines, "published autoencoder, burgers1d")
    right.set_ylabel("max relative error, clean test points [%]")
    right.legend(loc="best")
    return figure


@styled
def example(size: Size, problem: Problem) -> Figure:
    """One test point at the end, with the truth, the prediction, and the snapshot of the nearest training point."""
    level = size.levels[-1]
    data = noisy(problem, level, 0)
    surrogate = fit(data, settings(size, problem), seed=0)
    k, x = len(problem.test.mu) // 2 + 1, problem.test.layout.coordinates["x"]
    nearest = int(np.argmin(np.abs(problem.train.mu - problem.test.mu[k]).sum(axis=1)))
    figure = new_figure(2.8)
    axes = figure.subplots()
    axes.plot(x, data.u[nearest, -1], ".", ms=2, color="0.7", label="a training snapshot nearby")
    axes.plot(x, problem.test.u[k, -1], color="black", label="truth")
    predicted = surrogate.predict(problem.test.mu[k], problem.test.t[-1:], std=False).mean[0, 0]
    axes.plot(x, predicted, "--", color=OKABE_ITO[1], label="prediction")
    a, w = problem.test.mu[k]
    axes.set(xlabel="x", ylabel="u", xlim=(x[0], x[-1]), title=f"a = {a:.3g}, w = {w:.3g}, t = {problem.test.t[-1]:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", markerscale=3)
    return figure
