"""The figures of the study on the sine layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from study_decoders import Case, Outcome

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis

WAYS = {"spectrum": "spectrum", "left-out": "left-out trajectories", "auto": "auto"}
SMOOTH = {"tanh": ("--", OKABE_ITO[2]), "softplus": (":", OKABE_ITO[3])}


@styled
def errors_by_kappa(cases: Sequence[Case]) -> Figure:
    """Training and test error against kappa, a panel for each problem."""
    figure = new_figure(3.3)
    for axes, one in zip(figure.subplots(1, len(cases)), cases, strict=True):
        kappas = list(one.sine)
        drawn: list[float] = []
        for measure, name, marker, colour in (
            ("train", "sine, training points", "s", OKABE_ITO[0]), ("test", "sine, test points", "o", OKABE_ITO[1]),
        ):  # fmt: skip
            errors = [100 * getattr(one.sine[kappa], measure) for kappa in kappas]
            axes.plot(kappas, errors, marker=marker, color=colour, label=name)
            drawn += errors
        levels = {name: (one.smooth[name], *style) for name, style in SMOOTH.items()}
        levels["no second stage"] = (one.alone, "-", "0.6")
        for name, (outcome, line, colour) in levels.items():
            axes.axhline(100 * outcome.test, ls=line, color=colour, label=f"{name}, test points")
            drawn.append(100 * outcome.test)
        _kappa_axis(axes, kappas)
        log_error_axis(axes, drawn)
        low, high = axes.get_ylim()
        axes.set_ylim(low / (high / low) ** 0.12, high)
        for (way, (kappa, _)), marker in zip(one.chosen.items(), ("^", "v", "D"), strict=True):
            axes.plot(
                kappa, 0.04 + 0.04 * "^vD".index(marker), marker, mfc="white", mec="black", ms=5,
                transform=axes.get_xaxis_transform(), ls="none", label=f"chosen: {WAYS[way]}", clip_on=False,
            )  # fmt: skip
        axes.set_title(one.problem.name)
    figure.axes[0].set_ylabel("max relative error [%]")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def convergence(cases: Sequence[Case]) -> Figure:
    """Training loss against steps, a panel for each problem."""
    figure = new_figure(3.0)
    panels = figure.subplots(1, len(cases))
    for axes, one in zip(panels, cases, strict=True):
        for name, (line, colour) in SMOOTH.items():
            axes.plot(*zip(*one.smooth[name].losses, strict=True), ls=line, color=colour, label=name)
        kappas = sorted({min(one.sine), 1.0, 10.0 if 10.0 in one.sine else max(one.sine), max(one.sine)})
        for kappa, colour in zip(kappas, (OKABE_ITO[5], OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[1]), strict=False):
            axes.plot(*zip(*one.sine[kappa].losses, strict=True), color=colour, label=rf"sine, $\kappa$ = {kappa:g}")
        log_error_axis(
            axes, [loss for outcome in (*one.smooth.values(), *one.sine.values()) for _, loss in outcome.losses]
        )
        axes.set(xlabel="step of Adam", title=one.problem.name)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean squared error,\nresidual scaled to 1")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def ringing(one: Case) -> Figure:
    """Overshoot and fast energy against kappa."""
    figure = new_figure(2.9)
    panels = figure.subplots(1, 2)
    measures = {
        "overshoot": "overshoot [% of the range]",
        "fast": "fast energy [% of all]",
    }
    for axes, (measure, label) in zip(panels, measures.items(), strict=True):
        kappas = list(one.sine)
        values = [100 * getattr(one.sine[kappa], measure) for kappa in kappas]
        axes.plot(kappas, values, "o-", color=OKABE_ITO[1], label="sine")
        levels = {name: (one.smooth[name], *style) for name, style in SMOOTH.items()}
        levels["no second stage"] = (one.alone, "-", "0.6")
        for name, (outcome, line, colour) in levels.items():
            axes.axhline(100 * getattr(outcome, measure), ls=line, color=colour, label=name)
            values.append(100 * getattr(outcome, measure))
        _kappa_axis(axes, kappas)
        log_error_axis(axes, values)
        axes.set_ylabel(label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def profiles(one: Case) -> Figure:
    """Errors of the field over time and space at one test point, for three decoders."""
    figure = new_figure(2.7)
    chosen: dict[str, Outcome] = {
        "tanh": one.smooth["tanh"],
        r"sine, $\kappa$ = 1": one.sine[1.0],
        rf"sine, $\kappa$ = {max(one.sine):g}": one.sine[max(one.sine)],
    }
    data = one.problem.test
    (x,) = data.layout.coordinates.values()
    panels = figure.subplots(1, len(chosen), sharey=True)
    errors = {name: 100 * (outcome.predicted[0] - data.u[0]) for name, outcome in chosen.items()}
    limit = max(float(np.abs(error).max()) for error in list(errors.values())[:2])
    for axes, (name, error) in zip(panels, errors.items(), strict=True):
        mesh = axes.pcolormesh(x, data.t, error, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
        axes.set(xlabel="x", title=name)
    panels[0].set_ylabel("t")
    figure.colorbar(mesh, ax=list(panels), label="prediction minus truth\n[% of the range]", extend="both")
    return figure


def _kappa_axis(axes: Axes, kappas: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(r"frequency factor $\kappa$")
    shown = [kappa for kappa in kappas if np.isclose(np.log10(kappa) % 1, 0)]
    axes.set_xticks(shown, [f"{kappa:g}" for kappa in shown])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
