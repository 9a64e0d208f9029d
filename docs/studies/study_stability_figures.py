"""The figures of the study on stable latent dynamics."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from study_dynamics import Case

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis, log_ticks

STYLES = {
    "affine": ("-", "s", OKABE_ITO[0]),
    "quadratic, free": ("--", "x", OKABE_ITO[1]),
    "quadratic, bounded": ("-.", "o", OKABE_ITO[2]),
    "second order": (":", "^", OKABE_ITO[3]),
}
FARTHEST = 1e3


@styled
def samples(one: Case) -> Figure:
    """First latent coordinate of posterior samples all over the box, and of the training trajectories."""
    figure = new_figure(2.6)
    panels = figure.subplots(1, len(one.results), sharex=True, sharey=True)
    tau = one.problem.tau.numpy()
    size = 3 * float(np.abs(one.known).max())
    for axes, (name, result) in zip(panels, one.results.items(), strict=True):
        axes.plot(np.linspace(0, 3, result.shown.shape[1]), result.shown.T, color=STYLES[name][2], lw=0.4, alpha=0.4)
        axes.plot(tau, one.known.T, color="black", lw=0.7)
        axes.set(title=name, xlabel="t / T", ylim=(-size, size), xlim=(0, 3))
    panels[0].set_ylabel("first latent coordinate")
    return figure


@styled
def reach(one: Case) -> Figure:
    """Share of samples that go farther than some multiple of the training trajectories."""
    figure = new_figure(2.6)
    axes = figure.subplots()
    for name, result in one.results.items():
        line, _, colour = STYLES[name]
        ordered = np.sort(np.minimum(result.reach, 10 * FARTHEST))
        share = 100 * np.arange(len(ordered), 0, -1) / len(ordered)
        axes.plot(ordered, share, ls=line, color=colour, label=name, drawstyle="steps-post")
    axes.set_xscale("log")
    axes.set_xlim(0.5, FARTHEST)
    log_ticks(axes.xaxis, 0.5, FARTHEST)
    axes.set_yscale("log")
    axes.set_ylim(70 / len(ordered), 130)
    log_ticks(axes.yaxis, 70 / len(ordered), 130)
    axes.set(xlabel="multiple of the largest training state", ylabel="samples that go farther [%]")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper")
    return figure


@styled
def errors(cases: Sequence[Case]) -> Figure:
    """Misfit at the training points, at the test points, and error of the field, a panel for each problem."""
    figure = new_figure(2.9)
    measures = {"train": "latent,\ntraining", "latent": "latent,\ntest", "field": "field,\ntest"}
    for axes, one in zip(figure.subplots(1, len(cases)), cases, strict=True):
        for k, (name, result) in enumerate(one.results.items()):
            _, marker, colour = STYLES[name]
            x = np.arange(len(measures)) + 0.14 * (k - 1.5)
            values = [100 * getattr(result, measure) for measure in measures]
            axes.plot(x, values, marker, color=colour, label=name, ms=5)
        axes.plot([1.7, 2.3], [100 * one.kriging] * 2, color="black", label="kriging of the snapshots")
        drawn = [100 * getattr(r, m) for r in one.results.values() for m in measures] + [100 * one.kriging]
        log_error_axis(axes, drawn)
        axes.set_xticks(range(len(measures)), list(measures.values()))
        axes.set(title=one.problem.name, xlim=(-0.5, 2.5))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("relative error [%]")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
