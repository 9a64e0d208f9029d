"""A user's Python function as a full-order model."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Snapshots, SolverError, imported
from mlasdi.solvers.outputs import NamedArrays


@dataclass(frozen=True, kw_only=True)
class PythonFunction(NamedArrays):
    """Calls `function(**parameters, **arguments)`, which returns a trajectory in one of these forms.

    - `t, u`: times `[time]` and an array `[time, ...]`; the field is called u, or as `fields` says
    - `t, {name: array}`: several fields, each with axes of its own, and the arrays that `coordinates` names
    - `{name: array}`: the same, with the times among the arrays; without times it is a steady solution, of numbers and
      of fields with one axis, or with more where the option `times` or `axes` says it
    - a number, or the array of a steady field
    - an xarray DataArray or Dataset, whose dimensions and coordinates are used
    - `Snapshots` with a layout

    Stored solutions are found again by the name of the function, its arguments and `version`, not by its code: after a
    change of the code that changes solutions, change `version`.

    Attributes:
        function: `package.module:name`, installed or in the working directory.
        parameters: names of the arguments that are parameters; by default those without a default value.
        arguments: further keyword arguments, the same in every call.
        version: of the code.
        initial_state: `package.module:name` of a function that takes the same arguments and returns the solution at its
            first time alone, in the same form, without a solve. Models then start from these states.

    Raises:
        ValueError: the function cannot be loaded, or does not take these arguments.
    """

    function: str
    parameters: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    initial_state: str = ""

    layout = None  # each solution brings its own

    def __post_init__(self) -> None:
        self._check_arguments()
        _ = self.target  # an error of the option is told at once
        if self.initial_state:
            _function(self.initial_state)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self.parameters or tuple(
            name
            for name, argument in _arguments(self._load()).items()
            if argument.default is argument.empty and name not in self.arguments
        )

    def identity(self) -> Json:
        return {
            "solver": "callable",
            "function": self.function,
            "arguments": dict(self.arguments),
            "version": self.version,
            **self.naming(),
        }

    def source(self) -> Path | None:
        """The file of the module; None for a function of this process."""
        self._load()
        module = sys.modules.get(self.function.partition(":")[0])
        file = getattr(module, "__file__", None)
        return None if file is None else Path(file)

    def solve(self, mu: Mapping[str, Any]) -> Snapshots:
        """Call the function and convert what it returns.

        Raises:
            SolverError: it returns none of the forms above. Exceptions of the function pass through.
        """
        return self.converted(self._load()(**mu, **self.arguments))

    def initial(self, mu: Mapping[str, Any]) -> Float[np.ndarray, " state"] | None:
        """The state that the function of the option `initial_state` returns; None without that option.

        Raises:
            SolverError: it returns none of the forms above.
        """
        if not self.initial_state:
            return None
        first: Float[np.ndarray, " state"] = self.converted(_function(self.initial_state)(**mu, **self.arguments)).u[0]
        return first

    def converted(self, returned: Any) -> Snapshots:
        """The trajectory in what a function returns.

        Raises:
            SolverError: it is none of the forms above.
        """
        if isinstance(returned, Snapshots):
            return returned
        if hasattr(returned, "dims") and hasattr(returned, "coords"):
            return _from_xarray(self, returned)
        match returned:
            case dict():
                return self.snapshots(returned)
            case (t, dict() as fields):
                return self.snapshots({self.time: t, **fields})
            case (t, u):
                (name,) = self.fields or ("u",)
                return self.snapshots({self.time: t, name: u})
            case int() | float() | np.number() | np.ndarray():
                (name,) = self.fields or ("u",)
                return replace(self, times="steady").snapshots({name: returned})
        raise SolverError(
            "bad-output",
            f"{self.function} returned {_form(returned)}; expected t, u or t, {{name: array}} or {{name: array}} or an "
            "xarray object",
        )

    def _load(self) -> Callable[..., Any]:
        return _function(self.function)

    def _check_arguments(self) -> None:
        function = self._load()
        names = self.parameter_names
        if not names:
            raise ValueError(f"option parameters: {self.function} has no argument without a default value; name some")
        try:
            inspect.signature(function).bind(**dict.fromkeys(names, 0.0), **self.arguments)
        except TypeError as error:
            raise ValueError(
                f"options parameters {list(names)} and arguments {list(self.arguments)}: {self.function} {error}"
            ) from error


def _function(name: str) -> Callable[..., Any]:
    function = imported(name)
    if not callable(function):
        raise ValueError(f"'{name}' is {type(function).__name__}, not a function")
    return function


def _arguments(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Arguments that can be passed by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: one for name, one in inspect.signature(function).parameters.items() if one.kind in by_name}


def _form(value: Any) -> str:
    return f"{type(value).__name__} of length {len(value)}" if isinstance(value, tuple | list) else type(value).__name__


def _from_xarray(naming: NamedArrays, found: Any) -> Snapshots:
    """The trajectory in a DataArray or Dataset; xarray itself is not imported and need not be installed.

    Coordinates and units that are not among the options are taken from the object.
    """
    data = dict(found.data_vars) if hasattr(found, "data_vars") else {(naming.fields or (found.name or "u",))[0]: found}
    names = naming.fields or tuple(str(name) for name in data)
    missing = [name for name in names if name not in data]
    if missing or not names:
        raise SolverError("bad-output", f"the xarray object has no field {missing}; found {list(data)}")
    dims = {name: tuple(str(axis) for axis in data[name].dims) for name in names}
    every = [axis for axes in dims.values() for axis in axes]
    time = naming.time if naming.time in every or naming.time != "t" else "time"
    axes = list(dict.fromkeys(axis for axis in every if axis != time))
    held = [name for name in (time, *axes) if name in found.coords]
    arrays = {name: data[name].values for name in names} | {name: found.coords[name].values for name in held}
    units = {name: str(data[name].attrs.get("units", "")) for name in names}
    units |= {name: str(found.coords[name].attrs.get("units", "")) for name in held}
    units = {"time" if name == time else name: unit for name, unit in units.items() if unit}
    if naming.coordinates:  # in the order of the axes, whatever these are called
        for name, one in dims.items():
            if set(one) != {time, *axes}:
                raise SolverError("wrong-shape", f"field '{name}' has dimensions {one}; expected {(time, *axes)}")
            arrays[name] = data[name].transpose(time, *axes).values
    naming = NamedArrays(
        time=time,
        fields=names,
        coordinates=naming.coordinates or {axis: axis for axis in axes if axis in held},
        times=naming.times,
        axes={} if naming.coordinates else dims,
        masked=naming.masked,
        units={**units, **naming.units},
    )
    return naming.snapshots(arrays)
