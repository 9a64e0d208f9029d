"""What the pages of the benchmarks share: tables in Markdown, and on what was measured."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def circumstances(cores: str, packages: Sequence[str]) -> str:
    """A list of date, machine and versions.

    Args:
        cores: what they were for.
        packages: whose versions matter.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"- Date: {date.today().isoformat()}\n"
        f"- Machine: {cpu_name()}, {os.cpu_count()} cores {cores}; {platform.system()}\n"
        f"- Versions: Python {platform.python_version()}, {versions}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
