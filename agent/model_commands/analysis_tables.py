"""Tables of the results of analyses: on the terminal, as JSON, and as files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from mlasdi.agent.terminal import print_facts
from mlasdi.solvers import evenly_spread

SUFFIXES = (".csv", ".parquet")
# Times of one quantity on the terminal; a file has all of them.
MAX_TIMES = 5
# Columns of files and of --json alone, by their ends: tables are to fit on a terminal.
HIDDEN = ("_sampling_std", "first_surrogate_std", "total_surrogate_std", "mean_surrogate_std")


def check_table(path: Path | None) -> None:
    """Check that a table can be written, before the work.

    Raises:
        ValueError: unknown suffix, or no such folder.
    """
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out {path}: give a file that ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet."""
    if path.suffix.lower() == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)


def as_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON; NaN is null."""
    rows = table.to_dict(orient="records")
    return [{str(name): None if _is_missing(value) else value for name, value in row.items()} for row in rows]


def show_analysis(console: Console, facts: Mapping[str, Any], table: pd.DataFrame, file: str | None) -> None:
    """The table of an analysis at few times, and the facts behind it."""
    hidden = [name for name in table if str(name).endswith(HIDDEN)]
    few = _few_times(table.drop(columns=hidden))
    shown = Table(*(str(name).replace("_", " ") for name in few))
    for _, row in few.iterrows():
        shown.add_row(*map(_cell, row))
    console.print(shown)
    lines = {name.replace("_", " "): _text(value) for name, value in facts.items() if value not in ({}, None)}
    print_facts(console, lines | ({} if file is None else {"written to": file}))


def _few_times(table: pd.DataFrame) -> pd.DataFrame:
    if "time" not in table or "quantity" not in table:
        return table
    parts = [group.iloc[evenly_spread(len(group), MAX_TIMES)] for _, group in table.groupby("quantity", sort=False)]
    return pd.concat(parts)


def _cell(value: Any) -> str:
    if _is_missing(value):
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    return _cell(value)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
