"""The first part of RESULTS.md: problems that nobody tuned a method on, then those for development."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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
    "`mlasdi.operator_inference` bounds it since then); errors of curves on bore, by which their kernels are chosen "
    "by the errors of states (`mlasdi.curves`); and campaigns on bore, chain and ignition, which are no longer held "
    "out for the error estimate and the choice among models (`mlasdi.surrogate.local_calibration`).",
    "development": "Methods and constants were chosen by looking at these.",
}

Entry = Mapping[str, Any]


def unseen_sections() -> list[str]:
    """Sections of the page; none where nothing has been measured."""
    entries: dict[str, Entry] = json.loads(FILE.read_text()) if FILE.exists() else {}
    sections = []
    for use, title in TITLES.items():
        chosen = {label: entry for label, entry in entries.items() if entry["use"] == use}
        if chosen:
            sections.append(f"## {title}\n\n{NOTES[use]} {_summary(chosen)}\n\n{_table(chosen)}")
    return sections


def _table(entries: Mapping[str, Entry]) -> str:
    """The default model beside kriging and the best of the others; then all others."""
    rows = []
    for label, entry in entries.items():
        scores = entry["scores"]
        own, best = scores[DEFAULT], min(_peers(scores), key=lambda name: scores[name]["mean_error"])
        rows.append([
            label,
            f"**{_errors(own)}**",
            _errors(scores[PLAIN]),
            f"{_errors(scores[best])} ({best})",
            f"{own['mean_error'] / scores[PLAIN]['mean_error']:.2g}",
            f"{own['mean_error'] / scores[best]['mean_error']:.2g}",
            own["stages"][0].partition(" (")[0],
            f"{own['estimate'] / own['max_error']:.2g}" if own["estimate"] else "",
            f"{100 * own['coverage']:.0f} %",
            f"{own['train_s']:.0f}",
        ])  # fmt: skip
    head = [
        "largest / mean error in %", "default model", "kriging", "best of the others", "mean, to kriging",
        "mean, to best", "first stage", "estimate / largest", "90 % coverage", "training s",
    ]  # fmt: skip
    measured = f"Measured: {next(iter(entries.values()))['measured']}."
    return "\n\n".join([markdown(head, rows), "All others:", _others(entries), measured])


def _others(entries: Mapping[str, Entry]) -> str:
    names = dict.fromkeys(name for entry in entries.values() for name in entry["scores"])
    shown = [name for name in names if name not in (DEFAULT, PLAIN)]
    rows = [[label, *(_errors(entry["scores"].get(name)) for name in shown)] for label, entry in entries.items()]
    return markdown(["largest / mean error in %", *shown], rows)


def _peers(scores: Mapping[str, Any]) -> list[str]:
    """Names of the methods that are not the project's own, kriging included."""
    return [name for name in scores if not name.startswith(OWN)]


def _errors(score: Mapping[str, float] | None) -> str:
    return "" if score is None else f"{100 * score['max_error']:.3g} / {100 * score['mean_error']:.3g}"


def _summary(entries: Mapping[str, Entry]) -> str:
    """Means of the ratios of errors to plain kriging and to the best peer of each row."""
    to_kriging: dict[str, list[float]] = {"max_error": [], "mean_error": []}
    to_best = []
    for entry in entries.values():
        scores = entry["scores"]
        for key, ratios in to_kriging.items():
            ratios.append(scores[DEFAULT][key] / scores[PLAIN][key])
        to_best.append(scores[DEFAULT]["mean_error"] / min(scores[name]["mean_error"] for name in _peers(scores)))
    largest, mean = to_kriging.values()
    return (
        f"Default model over plain kriging: mean error {_geometric(mean)} (worst {max(mean):.2g}), largest error "
        f"{_geometric(largest)} (worst {max(largest):.2g}); mean error over that of the best other method of each row: "
        f"{_geometric(to_best)}, median {np.median(to_best):.2g} (geometric means, and medians where it is said)."
    )


def _geometric(ratios: Sequence[float]) -> str:
    return f"{np.exp(np.mean(np.log(ratios))):.2g}"
