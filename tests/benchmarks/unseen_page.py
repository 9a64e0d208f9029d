"""The first part of RESULTS.md: problems that nobody tuned a method on, then those for development."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown_page import table as markdown

FILE = Path(__file__).with_name("unseen.json")
DEFAULT, PLAIN = "mlasdi", "kriging"
TITLES = {"held out": "Held-out problems", "development": "Development problems"}
NOTES = {
    "held out": "Fixed before any tuning; no method or constant was chosen by looking at them.",
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
    names = list(dict.fromkeys(name for entry in entries.values() for name in entry["scores"]))
    rows = []
    for label, entry in entries.items():
        scores = entry["scores"]
        cells = [_errors(scores.get(name)) for name in names]
        own = scores[DEFAULT]
        ratio = f"{own['estimate'] / own['max_error']:.2g}" if own["estimate"] else ""
        rows.append([label, *cells, ratio, f"{100 * own['coverage']:.0f} %", f"{own['train_s']:.0f}"])
    head = ["largest / mean error in %", *names, "estimate / largest", "90 % coverage", "training s"]
    return markdown(head, rows) + f"\n\nMeasured: {next(iter(entries.values()))['measured']}."


def _errors(score: Mapping[str, float] | None) -> str:
    return "" if score is None else f"{100 * score['max_error']:.3g} / {100 * score['mean_error']:.3g}"


def _summary(entries: Mapping[str, Entry]) -> str:
    """Geometric means of the ratios of mean errors, to plain kriging and to the best peer of each problem."""
    plain, best = [], []
    for entry in entries.values():
        errors = {name: one["mean_error"] for name, one in entry["scores"].items()}
        own = errors[DEFAULT]
        plain.append(own / errors[PLAIN])
        peers = [error for name, error in errors.items() if not name.startswith(("mlasdi", "kriging, aligned"))]
        best.append(own / min(peers))
    return (
        f"Mean error of the default model, relative to plain kriging: {_geometric(plain)} (worst {max(plain):.2g}); "
        f"relative to the best other method of each row: {_geometric(best)} (geometric means)."
    )


def _geometric(ratios: Sequence[float]) -> str:
    return f"{np.exp(np.mean(np.log(ratios))):.2g}"
