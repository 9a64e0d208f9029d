"""ACQUISITION.md and its figure: error against solver runs for every acquisition function."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from acquisition_problems import Study
from acquisition_study import SEEDS, Curve, levels_of
from markdown_page import cpu_name, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis

PACKAGES = ("numpy", "scipy", "torch", "gpytorch", "botorch")
DEFAULT, CONTROL = "field-std", "sobol"
SAVING = 0.2  # of the solver runs that the control needs to the target
STYLES = ("-", "--", "-.", "-", ":")
MARKERS = ("o", "s", "^", "D", "v")


@dataclass
class Findings:
    """All that one run of the benchmark found.

    Attributes:
        curves: by problem, one for each policy with one point a round.
        batches: by problem, policies with several points a round.
        with_default_model: curves of the model that a user gets, on the problem where it is affordable.
    """

    curves: dict[str, list[Curve]] = field(default_factory=dict)
    batches: dict[str, list[Curve]] = field(default_factory=dict)
    with_default_model: list[Curve] = field(default_factory=list)

    def curve(self, problem: str, label: str) -> Curve:
        return next(curve for curve in self.curves[problem] if curve.label == label)

    def runs_at_target(self, problem: str) -> tuple[float, float]:
        """Solver runs to the target by the default acquisition, and by the control."""
        default, control = self.curve(problem, DEFAULT), self.curve(problem, CONTROL)
        return default.runs_to(default.study.target), control.runs_to(control.study.target)

    def behind(self, problem: str, by_more_than: int = 0) -> list[float]:
        """Levels to which the default acquisition needs more runs than the control."""
        default, control = self.curve(problem, DEFAULT), self.curve(problem, CONTROL)
        levels = levels_of(default.study)
        return [level for level in levels if default.runs_to(level) > control.runs_to(level) + by_more_than]


def page(found: Findings, figure: Path) -> str:
    """The whole page."""
    parts = [
        _header(),
        f"![Largest error against solver runs]({figure.name})",
        "*Largest error over the test points against solver runs: median and range of five seeds. Dashed grey: the "
        "error at which runs are compared.*",
        _targets(found),
        *(_levels(curves) for curves in found.curves.values()),
        _batches(found),
        _default_model(found),
    ]
    return "\n\n".join(parts) + "\n"


def _header() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "# Acquisition functions, measured",
            "",
            "Written by `pytest -m bench tests/benchmarks/test_acquisition.py -s`; do not edit.",
            "",
            f"- Date: {date.today().isoformat()}",
            f"- Machine: {os.cpu_count()} cores, {cpu_name()}, {platform.system()} {platform.machine()}; one thread",
            f"- Versions: Python {platform.python_version()}, {versions}",
            "- Error: the largest over a dense grid of test points, of the largest relative L2 error over time",
            f"- Seeds: {len(SEEDS)}; they change Sobol sequences, the starts of the search, and the model",
            "- Model: `snapshot-gp`, which is fitted in half a second; the default model is at the end",
            "- All campaigns start from the four corners, but for `sobol, without corners`",
            "- Problems: `burgers1d` and `vlasov` (64 x 64, splines) with the boxes of arXiv 2308.05882; `rod`: heat "
            "equation, diffusivity 0.005 to 0.05 (log) and a hot spot at 0.3 to 0.7; `front`: a front whose speed "
            "rises steeply across a line of the box",
        ]
    )


def _targets(found: Findings) -> str:
    rows = []
    for name in found.curves:
        default, control = found.runs_at_target(name)
        target = found.curve(name, DEFAULT).study.target
        saved = f"{100 * (1 - default / control):.0f} %" if np.isfinite(control) else "-"
        behind = ", ".join(f"{100 * level:g} %" for level in found.behind(name)) or "none"
        rows.append([name, f"{100 * target:g} %", _runs(default), _runs(control), saved, behind])
    head = ["problem", "error", f"runs, {DEFAULT}", f"runs, {CONTROL}", "saved", "errors to which it needs more runs"]
    return f"## The default against the control\n\n{table(head, rows)}"


def _levels(curves: Sequence[Curve]) -> str:
    """Solver runs to each level that any of the curves reaches after its first round."""
    study = curves[0].study
    levels = [v for v in levels_of(study) if any(np.isfinite(c.runs_to(v)) and c.runs_to(v) > 4 for c in curves)]
    rows = [[c.label, *(_runs(c.runs_to(v)) for v in levels), _percent(c.median[-1])] for c in curves]
    head = ["acquisition", *(f"{100 * v:g} %" for v in levels), f"error at {study.most_runs}"]
    return f"## {study.name}: solver runs to an error\n\n{table(head, rows)}"


def _batches(found: Findings) -> str:
    rows = []
    for name, curves in found.batches.items():
        one_by_one = found.curve(name, DEFAULT)
        errors = {n: _percent(e) for n, e in zip(one_by_one.runs, one_by_one.median, strict=True)}
        rows.append([name, f"{DEFAULT}, one by one", *(errors.get(n, "") for n in range(8, 25, 4))])
        for c in curves:
            errors = {n: _percent(e) for n, e in zip(c.runs, c.median, strict=True)}
            rows.append([name, c.label, *(errors.get(n, "") for n in range(8, 25, 4))])
    head = ["problem", "acquisition", *(f"error at {n}" for n in range(8, 25, 4))]
    return f"## Batches\n\n{table(head, rows)}"


def _default_model(found: Findings) -> str:
    curves = found.with_default_model
    name, n_seeds = curves[0].study.name, len(curves[0].errors)
    rows = [[c.label, *(_percent(e) for e in c.median)] for c in curves]
    head = ["acquisition", *(str(n) for n in curves[0].runs)]
    return (
        f"## {name} with the default model: error by solver runs\n\nMedian of {n_seeds} seeds.\n\n{table(head, rows)}"
    )


def _runs(n: float) -> str:
    return f"{n:g}" if np.isfinite(n) else "-"


def _percent(error: float) -> str:
    return f"{100 * error:.3g} %"


@styled
def error_figure(found: Findings) -> Figure:
    """A panel for each problem, a curve for each acquisition function."""
    figure = new_figure(5.6)
    panels = figure.subplots(2, 2).ravel()
    for panel, curves in zip(panels, found.curves.values(), strict=True):
        _draw(panel, curves)
    for panel in panels[[0, 2]]:
        panel.set_ylabel("largest error [%]")
    for panel in panels[2:]:
        panel.set_xlabel("solver runs")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3.5)
    return figure


def _draw(panel: Axes, curves: Sequence[Curve]) -> None:
    study: Study = curves[0].study
    styles = zip(curves, OKABE_ITO, STYLES, MARKERS, strict=False)
    # The default lies on top: it is drawn last, and listed first.
    for order, (curve, colour, style, marker) in enumerate(styles):
        percent = 100 * curve.errors
        above = 10 - order
        panel.fill_between(curve.runs, percent.min(axis=0), percent.max(axis=0), color=colour, alpha=0.15, lw=0)
        panel.plot(
            curve.runs, np.median(percent, axis=0), style, color=colour, marker=marker, ms=3, label=curve.label,
            zorder=above,
        )  # fmt: skip
    panel.axhline(100 * study.target, color="0.5", ls="--", lw=0.8, zorder=0)
    log_error_axis(panel, np.concatenate([100 * curve.errors.ravel() for curve in curves]))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 4, 5, 10]))
    panel.set_title(study.name)
    panel.spines[["top", "right"]].set_visible(False)
