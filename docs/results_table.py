"""The table of results in `README.md`, from `tests/benchmarks/unseen.json`, which `make bench` writes.

python docs/results_table.py
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
README, UNSEEN = ROOT / "README.md", ROOT / "tests/benchmarks/unseen.json"
BEGIN, END = "<!-- results: written by docs/results_table.py -->\n", "<!-- end of results -->\n"
# Problem in unseen.json -> what it is.
KINDS = {
    "front2d": "Reaction front in 2D",
    "chain": "Oscillator chain",
    "bore": "Dispersive bore",
    "source": "Moving source",
    "chaos": "Chaotic transient",
    "ignition": "Ignition",
}


def table(unseen: Mapping[str, Mapping[str, Any]]) -> str:
    """Largest and mean errors on the held-out problems, in Markdown: default model, kriging, the best of the others."""
    rows = ["| problem | mlasdi | plain kriging | best of the others |", "|---" + "|---:" * 3 + "|"]
    for label, entry in unseen.items():
        if entry["use"] == "held out":
            name, _, solves = label.partition(", ")
            errors = {
                method: tuple(median(one[key] for one in scores) for key in ("max_error", "mean_error"))
                for method, scores in entry["scores"].items()
            }
            others = [pair for method, pair in errors.items() if not method.startswith(("mlasdi", "kriging"))]
            cells = errors["mlasdi"], errors["kriging"], min(others, key=lambda pair: pair[1])
            shown = " | ".join(f"{100 * largest:.3g} / {100 * mean:.3g} %" for largest, mean in cells)
            rows.append(f"| {KINDS[name]}, {solves} | {shown} |")
    return "\n".join(rows) + "\n"


def with_table(readme: str, unseen: Mapping[str, Mapping[str, Any]]) -> str:
    """The README with its table brought up to date."""
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(unseen)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(), json.loads(UNSEEN.read_text())))
