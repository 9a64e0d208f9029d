"""LATENCY.md: how fast surrogates answer, in Markdown."""

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version

from latency import SpeedUp
from markdown_page import cpu_name, table
from proposal_time import N_PARAMS, N_POINTS, ProposalTime

MOST_SECONDS = 2.0  # of a proposal
PACKAGES = ("numpy", "scipy", "torch", "numba", "mlflow")


def page(
    parts: Mapping[str, float],
    limits: Mapping[str, float],
    query_s: float,
    command_s: float,
    speed_ups: Sequence[SpeedUp],
    proposals: Sequence[ProposalTime],
) -> str:
    """The whole page.

    Args:
        parts, limits: milliseconds by what was done; and at most, where there is a limit.
        query_s, command_s: seconds of a query of 500 versions, from Python, and as a command.
    """
    sections = [_header(), _parts(parts, limits), _query(query_s, command_s), _speed_ups(speed_ups)]
    return "\n\n".join([*sections, _proposals(proposals)]) + "\n"


def _header() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "# How fast surrogates answer",
            "",
            "Written by `pytest -m bench tests/benchmarks/test_latency.py -s`; do not edit.",
            "",
            f"- Date: {date.today().isoformat()}",
            f"- Machine: {cpu_name()}, {platform.system()} {platform.machine()}; one thread",
            f"- Versions: Python {platform.python_version()}, {versions}",
            "- Processor time of loaded surrogates, and of compiled solvers; the best of many runs",
        ]
    )


def _parts(parts: Mapping[str, float], limits: Mapping[str, float]) -> str:
    rows = [[name, f"{ms:.2f}", f"{limits[name]:.3g}" if name in limits else ""] for name, ms in parts.items()]
    note = "The default model of burgers1d, trained on nine trajectories of 1001 values at 1001 times."
    return f"## One surrogate\n\n{note}\n\n{table(['what', 'ms', 'at most'], rows)}"


def _query(query_s: float, command_s: float) -> str:
    rows = [
        ["`mlasdi.agent.registry.registry.find`, MLflow imported before", f"{query_s:.2f}", "2"],
        ["`mlasdi models`, from its start to its end", f"{command_s:.2f}", "2"],
    ]
    note = "A query by error and parameters among 500 versions of 20 models, in an SQLite file."
    return f"## The registry\n\n{note}\n\n{table(['what', 's', 'at most'], rows)}"


def _speed_ups(speed_ups: Sequence[SpeedUp]) -> str:
    note = (
        "One trajectory at the times of the solver, with default settings; surrogates of nine solves (three of "
        "`multiscale`, which is a formula, five of the wake). The solvers are compiled; `SOLVERS.md` has plain "
        "implementations of the same schemes. Most of the time of a surrogate goes into the values of the trajectory: "
        "one sensor is faster. "
        "The time of the wake's solver is that of a solve which went on from the flow of another viscosity."
    )
    rows = [
        [
            s.problem,
            f"{s.n_time} x {s.n_state}",
            str(s.rank),
            *(f"{ms:,.0f}" if ms >= 1000 else f"{ms:.3g}" for ms in (s.solve_ms, s.predict_ms, s.std_ms, s.probe_ms)),
            f"{s.speed_up:,.0f}" if s.speed_up >= 100 else f"{s.speed_up:.1f}",
            f"{s.probe_speed_up:,.0f}",
        ]
        for s in speed_ups
    ]
    head = ["problem", "times x values", "POD rank", "solver, ms", "mean, ms", "with std, ms", "one sensor, ms"]
    return f"## Beside the solvers\n\n{note}\n\n{table([*head, 'speed-up, mean', 'speed-up, sensor'], rows)}"


def _proposals(proposals: Sequence[ProposalTime]) -> str:
    rows = [[one.acquisition, f"{one.seconds:.2g}", f"{MOST_SECONDS:g}"] for one in proposals]
    note = f"Of one point, by the default model in a box of {N_PARAMS} parameters, trained at {N_POINTS} points."
    return f"## The next point\n\n{note}\n\n{table(['acquisition', 's', 'at most'], rows)}"
