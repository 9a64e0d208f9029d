"""The tables of results in `README.md`, from files in `tests/benchmarks` that `make bench` writes.

python docs/results_table.py
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "tests/benchmarks/RESULTS.md"
UNSEEN = ROOT / "tests/benchmarks/unseen.json"
HELD_OUT = "<!-- held-out problems: written by docs/results_table.py -->\n"
# Problem in unseen.json -> what it is.
KINDS = {
    "front2d": "reaction front, 2D",
    "chain": "oscillator chain",
    "bore": "dispersive bore",
    "source": "moving source",
    "chaos": "chaotic transient",
    "ignition": "ignition",
}
BEGIN, END = "<!-- results: written by docs/results_table.py -->\n", "<!-- end of results -->\n"
# Method in RESULTS.md -> head of its column.
METHODS = {
    "mlasdi": "mlasdi",
    "snapshot-gp": "plain kriging",
    "ezyrb POD + RBF": "EZyRB, POD + RBF",
    "ezyrb POD + GPR": "EZyRB, POD + GPR",
}


def largest_errors(results: str) -> dict[str, dict[str, str]]:
    """Problem and number of solves -> method -> largest error, as RESULTS.md has it; medians of several seeds."""
    found = {}
    for title, text in re.findall(r"^## ([^\n]*, \d+ solves)\n(.*?)(?=^## |\Z)", results, re.MULTILINE | re.DOTALL):
        rows = re.findall(r"^\| ([^|]+?) \| ([\d.e+-]+ %)", text, re.MULTILINE)
        found[title] = dict(rows)
    return found


def table(results: str) -> str:
    """The table in Markdown."""
    rows = [f"| problem | {' | '.join(METHODS.values())} |", "|---" + "|---:" * len(METHODS) + "|"]
    for title, errors in largest_errors(results).items():
        rows.append(f"| {title} | {' | '.join(errors[name] for name in METHODS)} |")
    return "\n".join(rows) + "\n"


def held_out_table(unseen: Mapping[str, Mapping[str, Any]]) -> str:
    """Largest and mean errors on the held-out problems, in Markdown: default model, kriging, the best of the others."""
    rows = ["| problem | mlasdi | plain kriging | best of the others |", "|---" + "|---:" * 3 + "|"]
    for label, entry in unseen.items():
        if entry["use"] == "held out":
            name, _, solves = label.partition(", ")
            errors = {method: (one["max_error"], one["mean_error"]) for method, one in entry["scores"].items()}
            others = [pair for method, pair in errors.items() if not method.startswith(("mlasdi", "kriging"))]
            cells = errors["mlasdi"], errors["kriging"], min(others, key=lambda pair: pair[1])
            shown = " | ".join(f"{100 * largest:.3g} / {100 * mean:.3g} %" for largest, mean in cells)
            rows.append(f"| {KINDS[name].capitalize()}, {solves} | {shown} |")
    return "\n".join(rows) + "\n"


def with_table(readme: str, results: str, unseen: Mapping[str, Mapping[str, Any]]) -> str:
    """The README with its tables brought up to date."""
    for begin, lines in ((HELD_OUT, held_out_table(unseen)), (BEGIN, table(results))):
        before, _, rest = readme.partition(begin)
        readme = f"{before}{begin}\n{lines}\n{END}{rest.partition(END)[2]}"
    return readme


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(), RESULTS.read_text(), json.loads(UNSEEN.read_text())))
