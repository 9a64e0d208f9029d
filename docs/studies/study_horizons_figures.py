"""Figure of the study of prediction beyond the training times."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from study_horizons import DMD, LAST, LIMIT, MODELS, Measured

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis


@styled
def figure(found: Mapping[str, Measured]) -> Figure:
    """Errors over time, a panel for each problem."""
    drawn = new_figure(3.4)
    panels = drawn.subplots(1, len(found), sharey=True, squeeze=False)[0]
    styles = dict(
        zip([*MODELS, LAST, DMD], zip(OKABE_ITO, ("-", "--", "-", "-", ":", "-."), strict=False), strict=False)
    )
    for axes, (name, one) in zip(panels, found.items(), strict=True):
        share = (one.t - one.t[0]) / (one.t[-1] - one.t[0])
        for method, (colour, line) in styles.items():
            axes.plot(share, np.clip(100 * one.errors[method], 0, 300), line, color=colour, label=method)
        axes.axvspan(0, 0.5, color="0.94", zorder=0)
        axes.axhline(100 * LIMIT, color="0.4", lw=0.8)
        axes.set(xlabel="t / T", title=name.replace(" (", "\n("), xlim=(0, 1))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    log_error_axis(panels[0], [0.02, 250.0])
    panels[0].set_ylabel("relative error, test points [%]")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
