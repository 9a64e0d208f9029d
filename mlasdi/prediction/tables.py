"""Facts as a small HTML table, for notebooks."""

from collections.abc import Mapping
from html import escape
from typing import Any


def html_table(title: str, facts: Mapping[str, Any]) -> str:
    """A table with a row for each fact; all text is escaped."""
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def short_number(value: float) -> str:
    """Four digits of a number."""
    return f"{value:.4g}"
