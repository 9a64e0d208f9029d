"""The first part of RESULTS.md: problems that nobody tuned a method on, then those for development.

`unseen.json` has for each problem and number of solves, and for each method, one score a design of training points; of
methods that choose their own points, a single one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from markdown_page import table as markdown

FILE = Path(__file__).with_name("unseen.json")
OWN = ("mlasdi", "kriging, aligned")  # how the names of the project's own models begin
DEFAULT, PLAIN = "mlasdi", "kriging"
TITLES = {"held out": "Held-out problems", "development": "Development problems"}
NOTES = {
    "held out": "Fixed before any tuning. Six things were seen before a constant was set: times of fits of front2d "
    "(`MAX_RESIDUAL_RATIO` of `mlasdi.alignment`, then lowered from 4 to 2); that latent dynamics with a decoder took "
    "much of the time on source and gained nothing, as on development problems (they are trained with effort "
    "`thorough`, or with fewer than five points, since then); the coverage of their bands (`POWERS` of "
    "`mlasdi.stages`, then chosen on other problems); that powers of the parameters took the time of the search on "
    "ignition with 20 points, whose mean error rose from 4.1 to 6.5 % (`SHARE_OF_POWERS` of "
    "`mlasdi.dynamics_selection` bounds it since then); errors of curves on bore, by which their kernels are chosen "
    "by the errors of states (`mlasdi.curves`); and campaigns on bore, chain and ignition, which are no longer held "
    "out for the error estimate and the choice among models (`mlasdi.surrogate.local_calibration`).",
    "development": "Methods and constants were chosen by looking at these.",
}

DESIGNS = (
    "Medians over three designs of training points: the corners of the box, then a Sobol sequence, once as it is and "
    "twice scrambled; smallest to largest in brackets. The Chebyshev polynomial has points of its own."
)

Entry = Mapping[str, Any]
Scores = Sequence[Mapping[str, Any]]  # of one method, one a design


def unseen_sections() -> list[str]:
    """Sections of the page; none where nothing has been measured."""
    entries: dict[str, Entry] = json.loads(FILE.read_text()) if FILE.exists() else {}
    sections = []
    for use, title in TITLES.items():
        chosen = {label: entry for label, entry in entries.items() if entry["use"] == use}
        if chosen:
            text = f"{NOTES[use]} {DESIGNS}\n\n{_summary(chosen.values())}"
            sections.append(f"## {title}\n\n{text}\n\n{_table(chosen)}")
    return sections


def median_of(scores: Scores, key: str) -> float:
    """Over the designs."""
    return median(one[key] for one in scores)


def best_peer(scores: Mapping[str, Scores]) -> str:
    """Name of the best method, by the mean error, that is not the project's own; it may be plain kriging."""
    peers = [name for name in scores if not name.startswith(OWN)]
    return min(peers, key=lambda name: median_of(scores[name], "mean_error"))


def _ratios(scores: Scores, others: Scores, key: str) -> list[float]:
    """Of an error to that of another method with the same points, or with the points of its own."""
    paired = others if len(others) == len(scores) else [others[0]] * len(scores)
    return [one[key] / other[key] for one, other in zip(scores, paired, strict=True)]


def _table(entries: Mapping[str, Entry]) -> str:
    """The default model beside kriging and the best of the others; then all others."""
    rows = []
    for label, entry in entries.items():
        scores = entry["scores"]
        own, best = scores[DEFAULT], best_peer(scores)
        rows.append([
            label,
            f"**{_errors(own)}**",
            _errors(scores[PLAIN]),
            f"{_errors(scores[best])} ({best})",
            _spread(_ratios(own, scores[PLAIN], "mean_error")),
            _spread(_ratios(own, scores[best], "mean_error")),
            ", ".join(dict.fromkeys(one["stages"][0].partition(" (")[0] for one in own)),
            _spread(_estimates([own])),
            _spread([100 * one["coverage"] for one in own], "{:.0f}"),
            f"{median_of(own, 'train_s'):.0f}",
        ])  # fmt: skip
    head = [
        "largest / mean error in %", "default model", "kriging", "best of the others", "mean, to kriging",
        "mean, to best", "first stage", "estimate / largest", "90 % coverage in %", "training s",
    ]  # fmt: skip
    measured = f"Measured: {next(iter(entries.values()))['measured']}."
    return "\n\n".join([markdown(head, rows), "All others:", _others(entries), measured])


def _others(entries: Mapping[str, Entry]) -> str:
    names = dict.fromkeys(name for entry in entries.values() for name in entry["scores"])
    shown = [name for name in names if name not in (DEFAULT, PLAIN)]
    rows = [[label, *(_errors(entry["scores"].get(name)) for name in shown)] for label, entry in entries.items()]
    return markdown(["largest / mean error in %", *shown], rows)


def _errors(scores: Scores | None) -> str:
    if scores is None:
        return ""
    return " / ".join(f"{100 * median_of(scores, key):.3g}" for key in ("max_error", "mean_error"))


def _spread(values: Sequence[float], form: str = "{:.2g}") -> str:
    """Median, and smallest to largest in brackets."""
    if not values:
        return ""
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} [{low} to {high}]"


def _estimates(of_rows: Sequence[Scores]) -> list[float]:
    """Error estimates over the largest errors, of all fits that have one."""
    return [one["estimate"] / one["max_error"] for scores in of_rows for one in scores if one["estimate"]]


def _summary(entries: Iterable[Entry]) -> str:
    """Ratios of errors to those of plain kriging and of the best peer of each row; estimates; bands."""
    of_rows = [entry["scores"] for entry in entries]
    own = [scores[DEFAULT] for scores in of_rows]
    mean, largest = (
        [ratio for scores in of_rows for ratio in _ratios(scores[DEFAULT], scores[PLAIN], key)]
        for key in ("mean_error", "max_error")
    )
    to_best = [
        ratio for scores in of_rows for ratio in _ratios(scores[DEFAULT], scores[best_peer(scores)], "mean_error")
    ]
    estimates = _estimates(own)
    near = sum(0.5 <= ratio <= 2 for ratio in estimates)
    coverage = [100 * one["coverage"] for scores in own for one in scores]
    return "\n".join([
        f"- Over plain kriging, geometric means of {len(mean)} fits: mean error {_geometric(mean)} (worst "
        f"{max(mean):.2g}), largest error {_geometric(largest)} (worst {max(largest):.2g})",
        f"- Mean error over that of the best other method of each row: {_geometric(to_best)}, median "
        f"{np.median(to_best):.2g}",
        f"- Error estimate over largest error: {min(estimates):.2g} to {max(estimates):.2g}, within a factor of two in "
        f"{near} of {len(estimates)} fits",
        f"- 90 % bands hold {min(coverage):.0f} to {max(coverage):.0f} % of the values, {np.mean(coverage):.0f} % on "
        "average",
    ])  # fmt: skip


def _geometric(ratios: Sequence[float]) -> str:
    return f"{np.exp(np.mean(np.log(ratios))):.2g}"
