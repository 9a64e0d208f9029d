"""The figure of the activities of workers over time: a lane for each worker, a bar for each activity."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mlasdi.agent.figures.style import ACTIVITY_COLOURS, new_figure, styled
from mlasdi.agent.records import UNKNOWN, Span

# Units of time, their seconds, and the smallest total duration in that unit for which it is used.
_UNITS = (("h", 3600.0, 2.0), ("min", 60.0, 3.0), ("s", 1.0, 0.0))
_LANE_INCHES, _MAX_INCHES = 0.13, 7.0


@styled
def timeline(spans: Sequence[Span]) -> Figure:
    """Activities over time by worker, and below them the share of the workers that are busy.

    Activities of unknown workers (lost or interrupted) are left out.
    """
    shown = [one for one in spans if one.worker != UNKNOWN]
    lanes = sorted({(one.host, one.lane) for one in shown})
    end_s = max((one.end_s for one in shown), default=1.0)
    unit, scale = next((name, s) for name, s, least in _UNITS if end_s / s >= least)
    height = min(max(_LANE_INCHES * len(lanes), 0.5), _MAX_INCHES - 1.9)
    figure = new_figure(height + 1.9)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(height, 0.9))
    _draw_lanes(above, shown, lanes, scale)
    _draw_busy(below, shown, len(lanes), scale)
    below.set(xlabel=f"time since the start [{unit}]", xlim=(0, end_s / scale))
    drawn = [name for name in ACTIVITY_COLOURS if any(one.activity == name for one in shown)]
    figure.legend(handles=[Patch(color=ACTIVITY_COLOURS[name], label=name) for name in drawn],
                  loc="outside upper right", ncols=max(len(drawn), 1))  # fmt: skip
    return figure


def _draw_lanes(axes: Axes, spans: Sequence[Span], lanes: Sequence[tuple[str, int]], scale: float) -> None:
    row = {lane: number for number, lane in enumerate(lanes)}
    for activity, colour in ACTIVITY_COLOURS.items():
        bars = [
            [(x0, y - 0.4), (x1, y - 0.4), (x1, y + 0.4), (x0, y + 0.4)]
            for one in spans
            if one.activity == activity
            for x0, x1, y in [(one.start_s / scale, one.end_s / scale, row[one.host, one.lane])]
        ]
        # Thin white edges separate consecutive solves; thick ones would cover many short bars.
        axes.add_collection(PolyCollection(bars, facecolors=colour, edgecolors="white", linewidths=0.15))
    hosts = sorted({host for host, _ in lanes})
    first = [row[next(lane for lane in lanes if lane[0] == host)] for host in hosts]
    if len(hosts) > 1:
        every = 1 + len(hosts) // 25
        axes.set_yticks(first[::every], hosts[::every])
    else:
        axes.set_yticks([number for number in range(len(lanes)) if number % (1 + len(lanes) // 12) == 0])
    axes.set(ylabel="worker", ylim=(len(lanes) - 0.4, -0.6))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_busy(axes: Axes, spans: Sequence[Span], n_lanes: int, scale: float) -> None:
    """Share of the lanes in use over time, averaged over hundredths of the total duration."""
    end_s = max((one.end_s for one in spans), default=1.0)
    edges = np.linspace(0, end_s, 101)
    starts, ends = (np.array([getattr(one, name) for one in spans]) for name in ("start_s", "end_s"))
    inside = [np.clip(np.minimum(ends, b) - np.maximum(starts, a), 0, None).sum() for a, b in pairwise(edges)]
    share = 100 * np.array(inside) / (np.diff(edges) * max(n_lanes, 1))
    axes.stairs(share, edges / scale, fill=True, color="0.6", lw=0)
    axes.set(ylabel="busy [%]", ylim=(0, 102), yticks=(0, 50, 100))
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
