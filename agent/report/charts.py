"""The simple charts of the HTML report as Plotly traces: convergence, error split, reliability, cost, timeline.

Errors are given as fractions and shown in per cent. The page sets the colours of axes and text.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, log10
from typing import Any

from mlasdi.agent.figures import ACTIVITY_COLOURS, OKABE_ITO
from mlasdi.agent.records import UNKNOWN, Span

Chart = dict[str, Any]
MAX_BARS = 5000  # of the timeline
_PARTS = ("projection", "autoencoder", "latent_dynamics", "interpolation")
BLUE, VERMILION, GREEN, PINK, ORANGE, SKY = OKABE_ITO[:6]


def convergence(rounds: Sequence[Mapping[str, Any]], target: float | None) -> Chart | None:
    """Error against solver runs; None before the first error is known.

    Args:
        rounds: `solver_runs`, `estimate`, `max_error`, `mean_error` and `found` (at points that were solved next) of
            each assessed round; errors may be None.
        target: error at which the campaign stops.
    """
    runs = [round["solver_runs"] for round in rounds]
    lines = {
        "validated, largest": ("max_error", {"color": BLUE}, "circle"),
        "validated, mean": ("mean_error", {"color": SKY}, "square"),
        "estimate": ("estimate", {"color": ORANGE, "dash": "dash"}, "x"),
        "found at the next points": ("found", {"color": VERMILION, "dash": "dot"}, "diamond"),
    }
    traces = []
    for name, (key, line, symbol) in lines.items():
        percent = [_percent(round.get(key)) for round in rounds]
        if any(value is not None for value in percent):
            traces.append(
                {"type": "scatter", "mode": "lines+markers", "name": name, "x": runs, "y": percent, "line": line,
                 "marker": {"symbol": symbol, "size": 8}, "hovertemplate": "%{x} solver runs: %{y:.3g} %"}
            )  # fmt: skip
    if not traces:
        return None
    layout: Chart = {
        "xaxis": {"title": {"text": "solver runs"}, "dtick": 1 if max(runs) - min(runs) < 15 else None},
        "yaxis": {"title": {"text": "relative error [%]"}, "type": "log"},
    }
    chart: Chart = {"traces": traces, "layout": layout, "target": _percent(target)}
    if target is not None:
        layout["shapes"] = [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 100 * target, "y1": 100 * target,
             "line": {"dash": "dot", "width": 1.5, "color": GREEN}}
        ]  # fmt: skip
        # On a logarithmic axis, annotations are placed by the exponent.
        layout["annotations"] = [
            {"xref": "paper", "x": 1, "xanchor": "right", "y": log10(100 * target), "yanchor": "bottom",
             "text": f"target {100 * target:.3g} %", "showarrow": False}
        ]  # fmt: skip
    return chart


def error_split(stages: Sequence[str], split: Sequence[Mapping[str, float | None]] | None) -> Chart | None:
    """Parts of the error by number of stages, a bar for each part; None without a split."""
    if not split:
        return None
    labels = [f"{k} stage{'s' * (k > 1)}" for k in range(1, len(stages) + 1)]
    rows = [*zip((*_PARTS, "total"), (BLUE, VERMILION, GREEN, PINK, "#888888"), strict=True)]
    traces = [
        {"type": "bar", "name": part.replace("_", " "), "x": labels, "y": [_percent(row[part]) for row in split],
         "marker": {"color": colour}, "hovertemplate": "%{x}: %{y:.3g} %"}
        for part, colour in rows
    ]  # fmt: skip
    return {"traces": traces, "layout": {"barmode": "group", "yaxis": {"title": {"text": "mean error [%]"}}}}


def reliability(shares: Mapping[str, float] | None) -> Chart | None:
    """Share of the values inside the bands against the probability of the bands; None without validation."""
    if not shares:
        return None
    nominal, observed = [100 * float(level) for level in shares], [_percent(share) for share in shares.values()]
    ideal = {"type": "scatter", "mode": "lines", "name": "ideal", "x": [0, 100], "y": [0, 100], "hoverinfo": "skip",
             "line": {"color": "#888888", "dash": "dot"}}  # fmt: skip
    measured = {"type": "scatter", "mode": "lines+markers", "name": "observed", "x": nominal, "y": observed,
                "line": {"color": BLUE}, "hovertemplate": "the %{x:.3g} % band contains %{y:.3g} %"}  # fmt: skip
    axis = {"range": [0, 102], "dtick": 20}
    layout = {
        "xaxis": axis | {"title": {"text": "probability of the band [%]"}},
        "yaxis": axis | {"title": {"text": "values inside [%]"}},
    }
    return {"traces": [ideal, measured], "layout": layout}


def cost(seconds: Mapping[str, float]) -> Chart | None:
    """Wall time by activity, the largest at the top; None before any was spent."""
    spent = sorted((s, name) for name, s in seconds.items() if name != "total")
    if not spent:
        return None
    bars = {"type": "bar", "orientation": "h", "x": [s for s, _ in spent], "y": [name for _, name in spent],
            "marker": {"color": BLUE}, "hovertemplate": "%{y}: %{x:.3g} s"}  # fmt: skip
    return {"traces": [bars], "layout": {"xaxis": {"title": {"text": "seconds"}}, "showlegend": False}}


def timeline(spans: Sequence[Span]) -> Chart | None:
    """Activities of the workers over time: a bar for each, a row for each lane of a host; None without any.

    Activities of unknown workers (lost or interrupted) are left out. At most `MAX_BARS` are shown, the longest ones.
    """
    shown = sorted((one for one in spans if one.worker != UNKNOWN), key=lambda one: one.start_s - one.end_s)[:MAX_BARS]
    if not shown:
        return None
    traces = []
    for activity, colour in ACTIVITY_COLOURS.items():
        bars = sorted((one for one in shown if one.activity == activity), key=lambda one: one.start_s)
        if bars:
            traces.append(
                {"type": "bar", "orientation": "h", "name": activity, "marker": {"color": colour},
                 "base": [round(one.start_s, 3) for one in bars],
                 "x": [round(one.end_s - one.start_s, 3) for one in bars],
                 "y": [f"{one.host} {one.lane + 1}" for one in bars],
                 "hovertemplate": "%{y}: %{x:.3g} s from %{base:.3g} s"}
            )  # fmt: skip
    rows = sorted({(one.host, one.lane) for one in shown}, reverse=True)
    axis = {"categoryorder": "array", "categoryarray": [f"{host} {lane + 1}" for host, lane in rows]}
    time = {"title": {"text": "seconds since the start"}, "range": [0, max(one.end_s for one in shown)]}
    layout = {"barmode": "overlay", "xaxis": time, "yaxis": axis}
    return {"traces": traces, "layout": layout}


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None or not isfinite(fraction) else float(f"{100 * fraction:.4g}")
