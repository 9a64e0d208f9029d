"""Figures of the study of stages."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from study_splits import SELECTED, SPLITS, Trained

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis, log_ticks

STYLES = dict(zip((*SPLITS, SELECTED), zip("os^*", OKABE_ITO, strict=False), strict=True))


@styled
def errors(found: Sequence[Trained]) -> Figure:
    """Test error by the number of stages, and by seconds, a column for each problem."""
    problems = list(dict.fromkeys(one.problem for one in found))
    figure = new_figure(5.0)
    panels = figure.subplots(2, len(problems), squeeze=False)
    for column, problem in zip(panels.T, problems, strict=True):
        mine = [one for one in found if one.problem == problem]
        _by_stages(column[0], mine)
        _by_seconds(column[1], mine)
        column[0].set_title(problem)
        for axes in column:
            axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("max relative error [%]")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _by_stages(axes: Axes, found: Sequence[Trained]) -> None:
    """Test errors with the largest budget, and with equal split the errors at the training points."""
    top = max(one.budget for one in found)
    largest = [one for one in found if one.budget == top]
    drawn = [100 * one.test for one in largest]
    for split, (marker, colour) in STYLES.items():
        rows = _of(largest, split)
        x = [one.kept if split == SELECTED else one.n_stages for one in rows]
        axes.plot(
            x, [100 * one.test for one in rows], marker, ls="-", color=colour, label=split, ms=_size(marker)
        )  # fmt: skip
        if split == "equal":
            train = [100 * one.train for one in rows]
            axes.plot(x, train, ls="--", color=colour, label="equal, training points")
            drawn += train
    log_error_axis(axes, drawn)
    axes.set_xlabel("stages")
    axes.set_xticks(sorted({one.n_stages for one in found}))


def _by_seconds(axes: Axes, found: Sequence[Trained]) -> None:
    """Test errors of all models."""
    for split, (marker, colour) in STYLES.items():
        rows = _of(found, split)
        axes.plot(
            [one.seconds for one in rows], [100 * one.test for one in rows], marker, color=colour, ls="none",
            ms=_size(marker), mfc=colour if marker == "*" else "none",
        )  # fmt: skip
    log_error_axis(axes, [100 * one.test for one in found])
    axes.set_xscale("log")
    log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel("training [s]")


def _of(found: Sequence[Trained], split: str) -> list[Trained]:
    """Models of a split; one stage alone has any."""
    return [one for one in found if one.split == split or (split in SPLITS and one.n_stages == 1)]


def _size(marker: str) -> float:
    return 9 if marker == "*" else 4.5
