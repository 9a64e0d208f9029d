"""SOLVERS.md: the solvers against their references, in Markdown."""

import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version

from markdown_page import cpu_name, table
from solver_proof import Check, Timing

PACKAGES = ("numpy", "scipy", "numba")


def page(checks: Sequence[Check], timings: Sequence[Timing]) -> str:
    """The whole page."""
    return "\n\n".join([_header(), _proof(checks), _speed(timings)]) + "\n"


def _header() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "# The built-in solvers, measured",
            "",
            "Written by `pytest -m bench tests/benchmarks/test_solver_proof.py -s`; do not edit.",
            "",
            f"- Date: {date.today().isoformat()}",
            f"- Machine: {cpu_name()}, {platform.system()} {platform.machine()}; one thread",
            f"- Versions: Python {platform.python_version()}, {versions}",
        ]
    )


def _proof(checks: Sequence[Check]) -> str:
    rows = [
        [c.problem, c.quantity, f"{c.measured:.5g}", _reference(c), c.source, "yes" if c.holds else "**no**"]
        for c in checks
    ]
    head = ["problem", "quantity", "measured", "reference", "source", "within"]
    return f"## Against references\n\n{table(head, rows)}"


def _reference(check: Check) -> str:
    if check.at_least:
        return f"at least {check.reference - check.within:.5g}"
    if check.reference == 0:
        return f"0, to {check.within:.2g}"
    return f"{check.reference:.5g} ± {check.within:.2g}"


def _speed(timings: Sequence[Timing]) -> str:
    rows = [
        [t.problem, f"{t.seconds:.3g}", f"{t.must_s:g}", t.plain, *_contest(t), "yes" if t.holds else "**no**"]
        for t in timings
    ]
    head = ["problem", "s a trajectory", "must", "plain implementation", "its s", "ratio", "difference", "within"]
    note = (
        "Default settings; the fastest of five runs, compiled before. The plain implementation is the same scheme with "
        "NumPy and SciPy alone; the difference is the largest absolute one of the two trajectories."
    )
    return f"## Speed\n\n{note}\n\n{table(head, rows)}"


def _contest(timing: Timing) -> list[str]:
    if not timing.plain:
        return ["", "", ""]
    return [f"{timing.plain_s:.3g}", f"{timing.ratio:.0f}", f"{timing.difference:.1e}"]
