"""Checks of a solver against its contract: names, shapes, values, repeatability and transport to workers."""

import json
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlasdi.solvers.contract import FullOrderModel, Problem, Snapshots, initial_state
from mlasdi.solvers.layout import field_parts
from mlasdi.solvers.user_code import contained

BREACH_KINDS = {
    "wrong-parameters": "the solver takes parameters of other names",
    "not-repeatable": "two solves at the same parameters differ",
    "other-initial-state": "the initial state that is known without a solve is not the first state of the solution",
    "not-addressable": "identity() is not JSON, so that stored solutions cannot be found again",
    "not-portable": "the solver cannot be pickled, or its copy has another identity()",
}
"""Kinds of breaches of the contract other than a failed solve."""
SAME_START = 1e-6  # largest difference of two initial states that count as equal, relative to the largest value


@dataclass(frozen=True)
class ContractReport:
    """Result of `verify`: size and duration of one solve, and every breach of the contract.

    Attributes:
        n_time, n_state, n_bytes: size of the trajectory.
        solve_s: seconds of one solve.
        problems: breaches of the contract.
        noise: standard deviation of the white noise by which the two solves differ, relative to that of the values of
            the field where this ratio is largest; 0 if the solves are equal or cannot be compared.
        solution: what the first solve returned; None if that are no snapshots.
    """

    n_time: int
    n_state: int
    n_bytes: int
    solve_s: float
    problems: tuple[Problem, ...]
    noise: float = 0.0
    solution: Snapshots | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(fom: FullOrderModel, mu: Mapping[str, Any]) -> ContractReport:
    """Check a solver at one point: names, shapes, dtype, finiteness, times, determinism, identity, picklability.

    Solves twice; the second solve is timed, so that compilation does not count.

    Raises:
        SolverError: the solver itself fails at `mu`.
    """
    if set(mu) != set(fom.parameter_names):
        names = f"solver takes {list(fom.parameter_names)}, got {sorted(mu)}"
        return ContractReport(0, 0, 0, 0.0, (Problem("wrong-parameters", names),))
    with contained():
        first = fom.solve(mu)
        start = time.perf_counter()
        second = fom.solve(mu)
        solve_s = time.perf_counter() - start
    if not isinstance(first, Snapshots) or not (isinstance(first.t, np.ndarray) and isinstance(first.u, np.ndarray)):
        returned = Problem("bad-output", "solve() must return Snapshots of NumPy arrays")
        return ContractReport(0, 0, 0, solve_s, (returned,))
    alone = first.problems(fom.layout)
    differences = [] if alone else _differences(first, second)
    starts = [] if alone else _initial_problems(fom, mu, first)
    problems = (*alone, *differences, *starts, *_transport_problems(fom))
    layout = fom.layout or first.layout
    noise = _noise(first, second, layout.sizes) if differences and layout is not None else 0.0
    return ContractReport(first.t.size, first.u.shape[-1], first.u.nbytes, solve_s, problems, noise, first)


def _differences(first: Snapshots, second: Snapshots) -> list[Problem]:
    """Differences of two solves at the same parameters that exceed rounding errors."""
    if not np.array_equal(first.t, second.t):
        return [Problem("not-repeatable", "two solves at the same parameters return different times")]
    tolerance = 1e-12 * float(np.abs(first.u).max())
    if first.u.shape != second.u.shape or not np.allclose(first.u, second.u, rtol=0, atol=tolerance):
        return [Problem("not-repeatable", "two solves at the same parameters differ by more than 1e-12 (relative)")]
    return []


def _initial_problems(fom: FullOrderModel, mu: Mapping[str, Any], solution: Snapshots) -> list[Problem]:
    """Whether the initial state that the solver gives without a solve is that of its solution."""
    with contained():
        known = initial_state(fom, mu)
    first = solution.u[0]
    if known is None:
        return []
    if known.shape != first.shape:
        what = f"has shape {known.shape}, the first state of solve() has {first.shape}"
    elif np.abs(known - first).max() > SAME_START * np.abs(first).max():
        what = f"differs from the first state of solve() by {np.abs(known - first).max():.2g}"
    else:
        return []
    return [Problem("other-initial-state", f"initial() {what}; they must be equal")]


def _noise(first: Snapshots, second: Snapshots, sizes: Sequence[int]) -> float:
    """`ContractReport.noise`: the difference of two solves has twice the variance of the noise in one."""
    if first.u.shape != second.u.shape or not np.isfinite(second.u).all():
        return 0.0
    found = []
    for one, other in zip(field_parts(first.u, sizes), field_parts(second.u, sizes), strict=True):
        variance = float(np.mean((one - other) ** 2)) / 2
        # The mean of two solves contains half of the variance of the noise.
        clean = float(np.var(0.5 * (one + other))) - variance / 2
        found.append(np.sqrt(variance / max(clean, np.finfo(float).tiny)) if variance else 0.0)
    return float(max(found))


def _transport_problems(fom: FullOrderModel) -> list[Problem]:
    """Why solutions of this solver cannot be stored, or the solver cannot be sent to a worker."""
    try:
        json.dumps(fom.identity(), allow_nan=False)
    except (TypeError, ValueError) as error:
        return [Problem("not-addressable", f"identity() cannot be written as JSON: {error}")]
    try:
        clone = pickle.loads(pickle.dumps(fom))
    except Exception as error:  # pickling a user's objects may raise anything
        return [Problem("not-portable", f"solver cannot be sent to a worker: {error}")]
    if clone.identity() != fom.identity():
        return [Problem("not-portable", "a pickled copy has another identity()")]
    return []
