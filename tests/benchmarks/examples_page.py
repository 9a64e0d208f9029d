"""EXAMPLES.md: what the examples with solvers of others measure, from `examples.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_page import table

PAGE = Path(__file__).with_name("EXAMPLES.md")
ABOUT = """# Examples with solvers of others

Written by `make examples`. Each folder of `examples/` is run with default settings, as its user would;
its model then predicts {n} runs at points that the campaign did not see. Errors are relative to the norm of the output,
the largest over time (over equal parts of runs that end at different times); *largest* and *mean* are over the {n}
runs. The estimate is the model's own, of the largest error in the box. Coverage is the share of the values in the 90 %
bands. *Lines* are those of the configuration and of the reader or function that it names, without blank ones.

Three examples were changed after a first look at these errors, so they show what is within reach, and are no test of
the method. `scalar-outputs` had a wider box and 24 runs (largest error 4.1 %). `scikit-fem-plate` had angles from 0 and
20 runs (7.6 %; 1.9 % with angles from 45). `cantera-ignition` had equivalence ratios from 0.5 to 2: the delay
erred by 8.2 % when a campaign was interrupted after ten runs, and by 7.1 % with a fixed design of twelve; small mole
fractions, then outputs of their own and interpolated to equidistant times, erred by more than 100 %.
"""


def write_page(entries: Mapping[str, Mapping[str, Any]], missing: Mapping[str, Sequence[str]], n_unseen: int) -> None:
    """Write the page.

    Args:
        entries: example -> what was measured.
        missing: example -> what its code needs and is not installed here.
        n_unseen: number of runs that the campaigns did not see.
    """
    head = [
        "example",
        "code",
        "lines",
        "runs",
        "output",
        "largest %",
        "mean %",
        "estimate %",
        "coverage",
        "allowed",
        "",
    ]
    rows = [row for name, entry in entries.items() for row in _rows(name, entry)]
    absent = [
        f"- {name}: not measured, because {' and '.join(programs)} {'is' if len(programs) == 1 else 'are'} missing."
        for name, programs in missing.items()
        if programs and name not in entries
    ]
    measured = [
        f"- {name}: {entry['seconds']:.0f} s in all; stages {', '.join(entry['stages'])}; {entry['measured']}."
        for name, entry in entries.items()
    ]
    parts = [ABOUT.format(n=n_unseen), table(head, rows), "\n".join(absent), "\n".join(measured)]
    PAGE.write_text("\n\n".join(part.strip() for part in parts if part) + "\n")


def _rows(name: str, entry: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for k, (output, one) in enumerate(entry["outputs"].items()):
        first = [name, entry["code"], str(entry["lines"]), str(entry["solver_runs"])] if k == 0 else [""] * 4
        numbers = [_percent(one[key]) for key in ("max_error", "mean_error", "error_estimate")]
        coverage = "" if one["coverage"] is None else f"{100 * one['coverage']:.0f} %"
        verdict = "" if one["max_error"] <= one["must"] else "**missed**"
        rows.append([*first, output, *numbers, coverage, f"{100 * one['must']:g} %", verdict])
    return rows


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2g}"
