"""Curves over solver runs, times and training steps. Each function takes arrays and returns a figure.

Sizes are for print: the text width of a page, and letters of at least 8 points. Colours are suitable for colour-blind
readers. Errors are given as fractions and shown in per cent.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlasdi.agent.figures.style import (
    OKABE_ITO,
    WIDTH,
    line_colours,
    log_error_axis,
    new_figure,
    plain_number,
    stage_kind,
    styled,
    with_unit,
)

MAX_LATENTS = 6


@styled
def convergence(
    solver_runs: Sequence[int],
    stage_errors: Sequence[Mapping[str, float]],
    estimates: Sequence[float | None],
    target: float | None,
    validated: bool,
    found: Sequence[tuple[int, float]] = (),
) -> Figure:
    """Error against solver runs, one line per number of stages.

    Args:
        solver_runs: number of solves up to each round.
        stage_errors: for each round, stage name -> error with all stages up to this one, in order.
        estimates: the surrogate's own estimate of its largest error; None if unknown.
        target: error at which the campaign stops; None for no target.
        validated: whether `stage_errors` are errors at validation points; else they are leave-one-out errors.
        found: errors at points that were solved later: number of solves that the model had, and its error there.
    """
    figure = new_figure(3.8)
    axes = figure.subplots()
    runs = np.asarray(solver_runs)
    most = max((len(errors) for errors in stage_errors), default=0)
    drawn: list[float] = [] if target is None else [100 * target]
    for n_stages, marker, colour in zip(range(1, most + 1), "osD^vP*" * most, line_colours(most), strict=False):
        percent = np.array([_nth(errors, n_stages - 1) for errors in stage_errors])
        axes.plot(runs, percent, marker=marker, color=colour, label=_stages_label(stage_errors, n_stages))
        drawn += percent.tolist()
    estimate = np.array([np.nan if value is None else 100 * value for value in estimates])
    if np.isfinite(estimate).any():
        axes.plot(runs, estimate, "x--", color="0.35", label="estimate, without validation")
        drawn += estimate.tolist()
    if found:
        before, errors = np.array(found).T
        axes.plot(before, 100 * errors, "d", mfc="none", color="black", label="found at the next points")
        drawn += (100 * errors).tolist()
    if target is not None:
        axes.axhline(100 * target, color="black", lw=0.9, ls=":", label=f"target {100 * target:.3g} %")
    log_error_axis(axes, drawn)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(runs):
        axes.set_xlim(runs.min() - 0.5, runs.max() + 0.5)
    kind = "max relative error, validation set" if validated else "relative error, leave-one-out"
    axes.set(xlabel="solver runs", ylabel=f"{kind} [%]")
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        figure.legend(loc="outside right upper")
    return figure


def _nth(errors: Mapping[str, float], index: int) -> float:
    """Error in per cent with the first `index + 1` stages; NaN where a round has fewer."""
    return 100 * list(errors.values())[index] if index < len(errors) else np.nan


def _stages_label(stage_errors: Sequence[Mapping[str, float]], n_stages: int) -> str:
    """Number of stages and, on the next line, the kinds of the last one in all rounds that have it."""
    named = (list(errors)[n_stages - 1] for errors in stage_errors if len(errors) >= n_stages)
    last = dict.fromkeys(map(stage_kind, named))
    return f"{n_stages} stage{'s' * (n_stages > 1)}\n({'+ ' * (n_stages > 1)}{' or '.join(last)})"


@styled
def latent_trajectories(
    t: Float[np.ndarray, " time"],
    mean: Float[np.ndarray, "param time latent"],
    std: Float[np.ndarray, "param time latent"],
    labels: Sequence[str],
    *,
    time_unit: str = "",
) -> Figure:
    """Latent states over time, a panel for each of the first six, with bands of two standard deviations.

    Args:
        labels: of the parameter points.
    """
    n_shown = min(mean.shape[2], MAX_LATENTS)
    n_columns = n_shown if n_shown <= 3 else (n_shown + 1) // 2
    n_rows = -(-n_shown // n_columns)
    # Width of a column of the legend in points: 4.6 for a letter, 45 for the line sample with spaces.
    n_legend_columns = max(1, min(len(labels), int(WIDTH * 72 / (4.6 * max(map(len, labels), default=1) + 45))))
    n_legend_rows = -(-len(labels) // n_legend_columns)
    figure = new_figure(2.3 * n_rows + 0.16 * n_legend_rows + 0.3)
    grid = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False)
    for latent, axes in enumerate(grid.ravel()):
        if latent >= n_shown:
            axes.set_axis_off()
            continue
        # Dashes, too: where all curves are alike, the one drawn last would cover the others.
        styles = cycle(("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2))))
        for curve, spread, label, colour, dash in zip(
            mean, std, labels, line_colours(len(mean)), islice(styles, len(mean)), strict=True
        ):
            centre, band = curve[:, latent], 2 * spread[:, latent]
            axes.fill_between(t, centre - band, centre + band, color=colour, alpha=0.25, lw=0)
            axes.plot(t, centre, color=colour, ls=dash, label=label)
        axes.set(ylabel=f"$z_{{{latent + 1}}}$", xlim=(t[0], t[-1]))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.ravel()[:n_shown][-n_columns:]:  # the lowest panel of each column
        axes.set_xlabel(with_unit("t", time_unit))
        axes.tick_params(labelbottom=True)
    shown = "" if n_shown == mean.shape[2] else f", the first {n_shown} of {mean.shape[2]}"
    figure.suptitle(f"latent states{shown}; bands: ± 2 standard deviations, at most ± {2 * np.max(std):.1g}")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=n_legend_columns)
    return figure


@styled
def training_loss(history: Mapping[str, Sequence[Sequence[int | float]]]) -> Figure:
    """Loss of each stage against its training steps; stages solved in closed form share one panel with markers.

    Args:
        history: stage name -> (step, loss) pairs, in the order of the stages.
    """
    losses = {name: np.asarray(pairs, dtype=float).reshape(-1, 2) for name, pairs in history.items() if len(pairs)}
    iterated = {name: pairs for name, pairs in losses.items() if len(pairs) > 1}
    closed = {name: float(pairs[0, 1]) for name, pairs in losses.items() if len(pairs) == 1}
    n_panels = max(1, len(iterated) + bool(closed))
    n_columns = min(n_panels, 3)
    n_rows = -(-n_panels // n_columns)
    figure = new_figure(2.9 * n_rows, WIDTH if n_columns > 1 else 4.5)
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    for axes, (name, pairs) in zip(panels, iterated.items(), strict=False):
        axes.plot(*pairs.T, color=OKABE_ITO[0], lw=1)
        _loss_axis(axes, pairs[:, 1], name)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("step")
    if closed:
        _closed_form_panel(panels[len(iterated)], closed)
    for axes in panels[::n_columns]:
        axes.set_ylabel("loss")
    return figure


def _closed_form_panel(axes: Axes, losses: Mapping[str, float]) -> None:
    """A marker and its value for each stage that was solved in closed form."""
    values = np.array(list(losses.values()))
    _loss_axis(axes, values, "closed form")
    floor, top = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(floor, top * (top / floor) ** 0.1)  # space for the number above the largest value
    for x, value in enumerate(values):
        # A loss of zero, for example of an interpolating stage, is drawn at the lower end of a logarithmic axis.
        drawn = axes.get_yscale() == "linear" or value > 0
        axes.plot(x, value if drawn else floor, "_" if drawn else "v", ms=16 if drawn else 6, mew=1.5, clip_on=False,
                  color=OKABE_ITO[1])  # fmt: skip
        axes.annotate(
            plain_number(value, 2), (x, value if drawn else floor), (0, 6), textcoords="offset points", ha="center"
        )
    axes.set(xlim=(-0.6, len(values) - 0.4), xticks=range(len(values)))
    axes.set_xticklabels([stage_kind(name).replace("-", "-\n") for name in losses])


def _loss_axis(axes: Axes, losses: Float[np.ndarray, " n"], title: str) -> None:
    """Logarithmic, unless a loss is negative."""
    if (losses < 0).any():
        axes.margins(y=0.15)
    else:
        log_error_axis(axes, losses)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.6)
