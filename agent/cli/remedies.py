"""Remedies for failed solves and for breaches of a solver's contract."""

from collections.abc import Iterable, Mapping

from mlasdi.agent.terminal import described
from mlasdi.solvers import ADAPTERS, Problem, SolverError
from mlasdi.validation import Finding

# Each completes a sentence that starts with "try".
_ANY_SOLVER = {
    "bad-parameters": "a narrower box in problem.parameters, in which solutions exist",
    "not-converged": "smaller steps or a larger tolerance in problem.options, or a narrower box in problem.parameters",
    "exception": "--debug, which shows where it was raised",
    "out-of-memory": "a coarser grid in problem.options, or a machine with more memory",
    "not-finite": "smaller steps in problem.options, or a narrower box in problem.parameters",
    "wrong-parameters": "the names that the solver takes in problem.parameters",
    "not-repeatable": "a fixed seed for random numbers, and solves that do not read files of earlier ones; or, if "
    "solutions are noisy, model.noise: estimate",
}
# For a solver that is a class, whose code is to be changed.
_CLASS = {
    "bad-output": "returning Snapshots(t, u) with NumPy arrays of float64, for example u.astype(float)",
    "bad-times": "returning at least two different times in increasing order",
    "wrong-shape": "returning u as [time, state], where a state consists of the fields of `layout` one after the other",
    "other-initial-state": "returning the state at the first time of solve() from initial(), or None",
    "not-addressable": "only texts, finite numbers, lists and mappings in identity(); array.tolist() gives a list",
    "not-portable": "opening files, locks and handles in solve() instead of keeping them in the solver's fields",
}
# For an adapter, whose options describe the function, program or files.
_ADAPTER = {
    "bad-output": "the names of arrays in the output in problem.options: fields, time and coordinates",
    "bad-times": "the name of the array of times in problem.options.time, or times: [first, last] if there is none",
    "wrong-shape": "problem.options: time_axis (the axis of time) and coordinates (the other axes)",
    "not-finite": "problem.options.masked: true if points lie outside the domain; else smaller steps",
    "other-initial-state": "a function that returns the solution at its first time as the option initial_state",
    "not-addressable": "only texts, finite numbers, lists and mappings in problem.options",
    "not-portable": "only texts, finite numbers, lists and mappings in problem.options",
}
_COMMAND = {
    "exception": "the path of the program, relative to {here}, or its name on PATH in problem.options.argv",
    "exit-code": "the input that the program expects in problem.options: argv and files; compare its working folder",
    "signal": "running the program by hand in its working folder; memory and stack limits also end programs",
    "time-out": "a larger problem.options.time_limit_s, or null for no limit; or a coarser grid",
    "out-of-memory": "a larger problem.options.memory_limit_mb, or null for no limit; or a coarser grid",
    "missing-output": "the path of the output file, relative to the working folder, in problem.options.output",
}


def remedy(kind: str, solver: str) -> str:
    """The remedy for a kind of failure or breach; empty if there is no general one.

    Args:
        kind: of the failure or breach.
        solver: name of the solver in the configuration.
    """
    special = _ADAPTER if solver in ADAPTERS else _CLASS
    commands = _COMMAND if solver == "command" else {}
    return (_ANY_SOLVER | special | commands).get(kind, "")


def remedy_of(error: Exception, solver: str) -> str:
    """The remedy for an exception of the solver; may be empty."""
    if isinstance(error, SolverError):
        return remedy(error.kind, solver)
    return remedy("out-of-memory" if isinstance(error, MemoryError) else "exception", solver)


def failed_solve(solver: str, mu: Mapping[str, float], error: Exception) -> str:
    """The message about a solver that fails in a trial solve at `mu`."""
    helps = remedy_of(error, solver)
    return f"the solver fails at {dict(mu)}: {described(error)}" + (f"; try {helps}" if helps else "")


def with_remedies(problems: Iterable[Problem], solver: str) -> list[Finding]:
    """Breaches of the contract with their remedies."""
    return [Finding(problem.kind, str(problem), remedy(problem.kind, solver)) for problem in problems]
