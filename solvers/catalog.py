"""The built-in solvers by name, and how a name and options from a configuration become a full-order model."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mlasdi.solvers.contract import FullOrderModel, SolverError
from mlasdi.solvers.user_code import contained, imported

# "module:Class", imported when built: a configuration can be checked without loading every solver's dependencies.
# Each class is a frozen dataclass whose fields are its options.
SOLVERS: dict[str, str] = {
    "burgers1d": "mlasdi.solvers.builtin.burgers1d:Burgers1D",
    "burgers2d": "mlasdi.solvers.builtin.burgers2d:Burgers2D",
    "multiscale": "mlasdi.solvers.builtin.multiscale:Multiscale",
    "vlasov": "mlasdi.solvers.builtin.vlasov:Vlasov",
    "wake": "mlasdi.solvers.builtin.wake:Wake",
}

# Adapters for the user's own Python code, programs and files, which their options name.
ADAPTERS: dict[str, str] = {
    "callable": "mlasdi.solvers.adapters.python_function:PythonFunction",
    "command": "mlasdi.solvers.adapters.command:Command",
    "data-set": "mlasdi.solvers.adapters.data_set:DataSet",
}


def build_solver(name: str, options: Mapping[str, Any]) -> FullOrderModel:
    """The solver called `name` with the given options; all other options keep their defaults.

    Args:
        name: one of `SOLVERS` or `ADAPTERS`, or "package.module:Class" for a frozen dataclass of the user's own.

    Raises:
        ValueError: there is no such solver or option, or a value is not allowed; the message names what is.
    """
    solver_class = _solver_class(name)
    known = [field.name for field in fields(solver_class)]
    for option in options:
        if option not in known:
            raise ValueError(f"solver '{name}' has no option '{option}'; {nearest(option, known)}")
    try:
        with contained():
            return TypeAdapter(solver_class).validate_python(dict(options))
    except SolverError as error:
        raise ValueError(f"solver '{name}': {error}") from error
    except ValidationError as error:
        raise ValueError(f"solver '{name}': {_first_reason(error)}") from error


def _solver_class(name: str) -> type:
    listed = SOLVERS | ADAPTERS
    if name not in listed and ":" not in name:
        raise ValueError(f"unknown solver '{name}'; {nearest(name, listed)}; or package.module:Class for your own")
    try:
        solver_class = imported(listed.get(name, name))
    except ValueError as error:
        raise ValueError(f"solver {error}") from error
    if not (isinstance(solver_class, type) and is_dataclass(solver_class)):
        raise ValueError(f"solver '{name}' must be a dataclass whose fields are its options")
    return solver_class


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped word: the most similar allowed word, if one is similar, and all allowed words."""
    allowed = sorted(known)
    similar = difflib.get_close_matches(word, allowed, n=1)
    return (f"did you mean '{similar[0]}'? " if similar else "") + f"allowed: {', '.join(allowed)}"


def _first_reason(error: ValidationError) -> str:
    """The first of pydantic's errors on one line, with the name of the option if it concerns one."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by the class itself, which names the option and the value
        return str(first["ctx"]["error"])
    option = ".".join(str(part) for part in first["loc"])
    return f"option {option} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
