"""What helps against a solve that failed, and against a breach of the solver's contract."""

from collections.abc import Iterable

from mlasdi.solvers import ADAPTERS, Problem, SolverError
from mlasdi.validation import Finding

# Each completes a sentence that begins with "try".
_ANY_SOLVER = {
    "bad-parameters": "problem.parameters: a narrower box, where there are solutions",
    "not-converged": "problem.options: smaller steps or a looser tolerance; or a narrower box in problem.parameters",
    "exception": "--debug, which shows where it was raised",
    "out-of-memory": "problem.options: a coarser grid; or a machine with more memory",
    "not-finite": "problem.options: smaller steps; or a narrower box in problem.parameters",
    "wrong-parameters": "problem.parameters: the names that the solver takes",
    "not-repeatable": "a fixed seed for whatever is random, and solves that find nothing an earlier one has left; or "
    "model.noise: estimate, where solutions are noisy",
}
# A solver that is a class: what to change is its code.
_CLASS = {
    "bad-output": "returning Snapshots(t, u) with NumPy arrays of float64, as u.astype(float) makes them",
    "bad-times": "returning at least two times, once each and in increasing order",
    "wrong-shape": "returning u as [time, state], where a state is the fields of `layout` one after the other",
    "not-addressable": "texts, finite numbers, lists and mappings in identity(); tolist() makes lists of arrays",
    "not-portable": "making open files, locks and handles in solve(), and keeping none in the solver's fields",
}
# An adapter: what to change is how the configuration describes the function, program or files.
_ADAPTER = {
    "bad-output": "problem.options: in fields, time and coordinates, names of arrays in the output",
    "bad-times": "problem.options.time: the name of the array of times; or times: [first, last], where there is none",
    "wrong-shape": "problem.options: time_axis, the axis that is time, and coordinates, what the others are",
    "not-finite": "problem.options.masked: true where points lie outside the domain; else smaller steps",
    "not-addressable": "problem.options: texts, finite numbers, lists and mappings, and nothing else",
    "not-portable": "problem.options: texts, finite numbers, lists and mappings, and nothing else",
}
_COMMAND = {
    "exception": "problem.options.argv: the path of the program, from {here}, or its name on PATH",
    "exit-code": "problem.options: in argv and files, what the program expects; its working folder has what it got",
    "signal": "the program by hand in its working folder; memory and stack limits end programs, too",
    "time-out": "problem.options.time_limit_s: more seconds, or null for no limit; or a coarser grid",
    "out-of-memory": "problem.options.memory_limit_mb: more, or null for no limit; or a coarser grid",
    "missing-output": "problem.options.output: the file that the program writes, as seen from its working folder",
}


def remedy(kind: str, solver: str) -> str:
    """What helps; empty where nothing general does, and the message alone has to tell.

    Args:
        kind: of the failure or breach.
        solver: its name in the configuration.
    """
    special = _ADAPTER if solver in ADAPTERS else _CLASS
    commands = _COMMAND if solver == "command" else {}
    return (_ANY_SOLVER | special | commands).get(kind, "")


def remedy_of(error: Exception, solver: str) -> str:
    """What helps against an exception of the solver's; empty as in `remedy`."""
    if isinstance(error, SolverError):
        return remedy(error.kind, solver)
    return remedy("out-of-memory" if isinstance(error, MemoryError) else "exception", solver)


def with_remedies(problems: Iterable[Problem], solver: str) -> list[Finding]:
    """Breaches of the contract, each with what helps."""
    return [Finding(problem.kind, str(problem), remedy(problem.kind, solver)) for problem in problems]
