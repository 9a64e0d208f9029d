"""The contract of a full-order model: what it must offer, what it returns, and how it fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from mlasdi.solvers.layout import Json, StateLayout

# Squares of larger values, of which norms are made, are infinite in double precision, or their sums are.
MAX_STATE = 1e150
FAILURE_KINDS = {
    "bad-parameters": "the solver has no solution at these parameters",
    "not-converged": "an iteration of the solver did not converge",
    "exception": "the solver raised an exception, or could not be started",
    "exit-code": "the program ended with an exit code other than 0",
    "signal": "the program was ended by a signal",
    "time-out": "the solve exceeded its time limit",
    "out-of-memory": "memory was exhausted",
    "worker-lost": "the process that ran the solve died",
    "missing-output": "the program wrote no output file",
    "bad-output": "the output is empty, cut off, unreadable or of the wrong type",
    "bad-times": "times do not increase",
    "wrong-shape": "the shapes of the arrays do not match",
    "not-finite": "the solution has values that are infinite, not a number, or too large to be squared",
}
"""Kinds of failed solves, with their meaning."""


class SolverError(Exception):
    """A full-order solve failed.

    Attributes:
        kind: one of `FAILURE_KINDS`, or a kind of the solver's own, for programs to test.
        message: what happened and, if known, what to do about it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # both, or the exception cannot be unpickled on its way out of a worker
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


class Problem(str):
    """What is wrong with a solution or a solver: a text with a `kind`, one of `FAILURE_KINDS` or
    `mlasdi.solvers.verification.BREACH_KINDS`."""

    kind: str

    def __new__(cls, kind: str, text: str) -> "Problem":
        problem = super().__new__(cls, text)
        problem.kind = kind
        return problem


@dataclass(frozen=True, eq=False)
class Snapshots:
    """One trajectory u(t; mu) of the full-order model.

    Attributes:
        t: times `[time]`, strictly increasing.
        u: states `[time, state]`, float64.
        layout: fields and grid of the states; None if the solver's `layout` says it.
        restart: a solver's own array, from which it can start at other parameters (`Continuable`).
        mesh_interpolation_error: relative L2 error of fields that were mapped to a common mesh; 0 for others.
    """

    t: Float[np.ndarray, " time"]
    u: Float[np.ndarray, "time state"]
    layout: StateLayout | None = None
    restart: Float[np.ndarray, "..."] | None = None
    mesh_interpolation_error: float = 0.0

    def problems(self, layout: StateLayout | None) -> list[Problem]:
        """What is wrong with these snapshots; empty if they can be used.

        Args:
            layout: the solver's; None if it has none, so that `self.layout` counts.
        """
        layout = layout or self.layout
        if layout is None:
            return [Problem("bad-output", "neither the solver nor its solution has a layout")]
        n_state, found = layout.n_state, list[Problem]()
        if self.t.ndim != 1 or self.t.size < 1:
            shape = f"times have shape {self.t.shape}; expected [time] with at least one entry"
            found.append(Problem("bad-times", shape))
        elif not (np.isfinite(self.t).all() and (np.diff(self.t) > 0).all()):
            found.append(Problem("bad-times", "times must be finite and strictly increasing"))
        if self.u.shape != (self.t.size, n_state):
            expected = f"[time, state] = ({self.t.size}, {n_state})"
            found.append(Problem("wrong-shape", f"states have shape {self.u.shape}; expected {expected}"))
        if self.u.dtype != np.float64:
            found.append(Problem("bad-output", f"states have dtype {self.u.dtype}; expected float64"))
        elif not np.isfinite(self.u).all():
            first = int(np.argmax(~np.isfinite(self.u).reshape(self.u.shape[0], -1).all(axis=1)))
            found.append(Problem("not-finite", f"states are not finite from time index {first}"))
        elif self.u.size and (largest := float(max(self.u.max(), -self.u.min()))) > MAX_STATE:
            told = f"states reach {largest:.2g}; at most {MAX_STATE:g} is allowed, as squares of larger ones overflow"
            found.append(Problem("not-finite", told))
        return found

    def check(self, layout: StateLayout | None) -> None:
        """Raise an error if these snapshots cannot be used.

        Raises:
            SolverError: with the kind of the first problem.
        """
        problems = self.problems(layout)
        if problems:
            raise SolverError(problems[0].kind, "; ".join(problems))

    def thinned(self, n_time: int | None) -> "Snapshots":
        """At most `n_time` of the snapshots, evenly spread over the time indices, first and last included.

        Raises:
            ValueError: `n_time` is less than 2.
        """
        if n_time is not None and n_time < 2:
            raise ValueError(f"n_time {n_time}: at least 2 snapshots must be kept, the first and the last")
        if n_time is None or n_time >= self.t.size:
            return self
        keep = evenly_spread(self.t.size, n_time)
        return replace(self, t=self.t[keep], u=self.u[keep])


@runtime_checkable
class FullOrderModel(Protocol):
    """A solver of the time-dependent PDE. Instances are cheap to build, picklable, and hold no open resources."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters that `solve` takes."""
        ...

    @property
    def layout(self) -> StateLayout | None:
        """Fields and grid of the state; None if each solution brings its own (`Snapshots.layout`)."""
        ...

    def identity(self) -> Json:
        """Name, scheme and every setting that changes the solution, as JSON; stored solutions are found again by it."""
        ...

    def solve(self, mu: Mapping[str, Any]) -> Snapshots:
        """Solve at one parameter point.

        Raises:
            SolverError: the solve failed; `kind` says why.
        """
        ...


@dataclass(frozen=True)
class Start:
    """An earlier solve by the same solver and settings, from whose `Snapshots.restart` a new solve can start.

    Attributes:
        mu: its parameters.
        load: reads `Snapshots.restart`; returns None if it cannot be read any more.
    """

    mu: Mapping[str, Any]
    load: Callable[[], Float[np.ndarray, "..."] | None]


@runtime_checkable
class Continuable(FullOrderModel, Protocol):
    """A full-order model that solves faster when it starts from the result of an earlier solve.

    The solution may depend on the start by less than the solver's error only, because it is stored under the
    parameters alone.
    """

    def solve_from(self, mu: Mapping[str, Any], starts: Sequence[Start]) -> Snapshots:
        """Solve at one parameter point, from one of `starts` or, if none is suitable, without.

        Raises:
            SolverError: the solve failed; `kind` says why.
        """
        ...


@runtime_checkable
class KnowsInitialState(FullOrderModel, Protocol):
    """A full-order model that gives the initial state at a parameter point without a solve."""

    def initial(self, mu: Mapping[str, Any]) -> Float[np.ndarray, " state"] | None:
        """The first state of the trajectory at one parameter point; None if it is not known without a solve.

        Raises:
            SolverError: it cannot be computed.
        """
        ...


def initial_state(fom: FullOrderModel, mu: Mapping[str, Any]) -> Float[np.ndarray, " state"] | None:
    """The initial state at a point where the solver gives it without a solve; else None.

    Raises:
        SolverError: it is not a vector of finite numbers (`bad-output`).
    """
    found = fom.initial(mu) if isinstance(fom, KnowsInitialState) else None
    if found is None:
        return None
    state = np.asarray(found, dtype=float)
    if state.ndim != 1 or not np.isfinite(state).all():
        raise SolverError("bad-output", f"initial({dict(mu)}) has shape {state.shape}; expected finite values [state]")
    return state


@runtime_checkable
class TabulatedModel(Protocol):
    """A full-order model that has solutions at certain points only, such as a data set."""

    def available(self) -> Float[np.ndarray, "point n_params"]:
        """These points, the parameters in the order of `parameter_names`."""
        ...


def evenly_spread(n: int, k: int) -> Int[np.ndarray, " kept"]:
    """At most `k` of the indices 0, ..., n - 1, evenly spread, the first and (from `k` = 2 on) the last included."""
    if k >= n:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, k).round().astype(int))
