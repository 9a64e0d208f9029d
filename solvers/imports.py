"""Importing the user's own code by name: `package.module:name`."""

import importlib
import os
import sys
from typing import Any

from mlasdi.solvers.user_code import contained

GIVEN = "given"  # stands in place of a module for functions of this process
_given: dict[str, Any] = {}


def give(name: str, function: Any) -> str:
    """Make a function that no module has, such as a lambda, known to `imported` of this process; returns its name."""
    _given[name] = function
    return f"{GIVEN}:{name}"


def imported(name: str) -> Any:
    """What `package.module:name` stands for.

    A module is looked for where Python looks, and then in the working directory, which the command `mlasdi` would
    otherwise not search. Ray gives the agent's working directory to its workers.

    Raises:
        ValueError: there is no such module or name; the message is the importer's own.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ValueError(f"'{name}' must be package.module:name")
    if module == GIVEN and attribute in _given:
        return _given[attribute]
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that nothing installed is hidden by a file that happens to lie here
    try:
        with contained():
            return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's module may fail in its own ways
        raise ValueError(f"'{name}' cannot be loaded: {error}") from error
