"""The table of results in `README.md`, from `tests/benchmarks/RESULTS.md`, which `make bench` writes.

python docs/results_table.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "tests/benchmarks/RESULTS.md"
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


def with_table(readme: str, results: str) -> str:
    """The README with its table brought up to date."""
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(results)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(), RESULTS.read_text()))
