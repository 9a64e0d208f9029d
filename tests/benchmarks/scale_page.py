"""SCALE.md: memory and time by the size of a state, in Markdown."""

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from typing import Any

from markdown_page import cpu_name, table

N_RUNS, N_TIME = 9, 101
MOST_TRAINING_MB, MOST_SENSOR_MB, MOST_RATIO = 2500, 1000, 1.1
Row = Mapping[str, Any]


def page(rows: Sequence[Row]) -> str:
    """The whole page, of the rows that `scale.py` prints."""
    return "\n\n".join([_header(), _steps(rows), _bases(rows), _campaigns(rows)]) + "\n"


def _header() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torch", "h5py"))
    return "\n".join(
        [
            "# Large states",
            "",
            "Measured by `tests/benchmarks/scale.py [SIZE ...]`; `pytest -m bench tests/benchmarks/test_scale.py -s` "
            "writes this page for all sizes.",
            "",
            f"- Date: {date.today().isoformat()}",
            f"- Machine: {cpu_name()}, {platform.system()} {platform.machine()}; one thread",
            f"- Versions: Python {platform.python_version()}, {versions}",
            f"- {N_RUNS} runs of {N_TIME} times, written one by one; an exact solution: a plume that a flow carries",
            "- Default settings; each step in a process of its own. Peaks are resident memory with all libraries and "
            "mapped files",
        ]
    )


def _of(rows: Sequence[Row], step: str) -> dict[int, Row]:
    return {row["n_state"]: row for row in rows if row["step"] == step}


def _steps(rows: Sequence[Row]) -> str:
    steps = {name: _of(rows, name) for name in ("solve", "train", "sensor", "validate")}
    head = ["values", "GB of runs", "POD rank", "error, %"]
    head += [f"{name}, {unit}" for name in steps for unit in ("MB", "s")]
    lines = []
    for n_state, trained in steps["train"].items():
        line = [f"{n_state:,}", f"{8e-9 * n_state * N_TIME * N_RUNS:.2g}", str(trained["rank"])]
        line.append(f"{100 * steps['validate'][n_state]['error']:.3f}")
        for found in steps.values():
            line += [f"{found[n_state]['peak_mb']:,.0f}", f"{found[n_state]['seconds']:.3g}"]
        lines.append(line)
    note = (
        "Solves: one worker, all runs and two for validation. Training: one worker, from the stored runs to the saved "
        f"model; at most {MOST_TRAINING_MB:,} MB. Sensor: one point in space at all times with its standard deviation, "
        f"from the saved model on; at most {MOST_SENSOR_MB:,} MB. Validation: errors and coverage at two points. The "
        "error is the largest of these."
    )
    return f"## Memory and time\n\n{note}\n\n{table(head, lines)}"


def _bases(rows: Sequence[Row]) -> str:
    note = (
        "Error of the POD basis that is computed from blocks and stored in single precision, over that of the basis of "
        f"the same rank from all snapshots at once; at most {MOST_RATIO:g}."
    )
    lines = [[f"{n_state:,}", f"{row['ratio']:.3f}"] for n_state, row in _of(rows, "compare").items()]
    return f"## The basis from blocks\n\n{note}\n\n{table(['values', 'ratio'], lines)}"


def _campaigns(rows: Sequence[Row]) -> str:
    note = (
        "Whole campaigns of nine solves with two validation points, two rounds, figures and reports. The agent trains, "
        "validates and draws; a worker solves."
    )
    lines = [
        [f"{n_state:,}", f"{row['peak_mb']:,.0f}", f"{row['worker_mb']:,.0f}", f"{row['seconds']:.0f}"]
        for n_state, row in _of(rows, "campaign").items()
    ]
    return f"## Campaigns\n\n{note}\n\n{table(['values', 'agent, MB', 'worker, MB', 's'], lines)}"
