"""Settings of the section `problem`: the solver, the parameter box, and its constraints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, field_serializer, field_validator

from mlasdi.agent.execution import SolverSpec
from mlasdi.solvers import (
    Constraint,
    Parameter,
    ParameterSpace,
    TabulatedModel,
    nearest,
    parameters_of,
    parse_constraint,
)


class ProblemSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The full-order solver, the parameter box, and its constraints."""

    solver: str = Field(description="a built-in solver, an adapter, or package.module:Class")
    options: dict[str, Any] = {}
    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = Field((), description="which points of the box may be solved")

    @field_validator("constraints", mode="before")
    @classmethod
    def _parsed(cls, given: Any) -> Any:
        """Entries `{a: 1, w: 2, max: 3}` or `package.module:function`."""
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise ValueError(
                f"give a list of {{name: weight, ..., max: limit}} and package.module:function, got {given!r}"
            )
        return tuple(parse_constraint(one) for one in given)

    @field_serializer("constraints")
    def _plain(self, constraints: tuple[Constraint, ...]) -> list[Any]:
        return [constraint.to_json() for constraint in constraints]

    @field_validator("parameters", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """`{name: [low, high]}` or `{name: {low, high, unit, scale}}`."""
        if not isinstance(given, Mapping):
            raise ValueError(f"give a mapping of names to [low, high], got {given!r}")
        if not given:
            raise ValueError("the parameter box is empty; give at least one name: [low, high]")
        parameters: list[Parameter] = []
        for name, value in given.items():
            if isinstance(value, Sequence) and not isinstance(value, str):
                if len(value) != 2:
                    raise ValueError(f"{name}: give [low, high], got {value}")
                value = {"low": value[0], "high": value[1]}
            if not isinstance(value, Mapping):
                raise ValueError(f"{name}: give [low, high] or a mapping, got {value!r}")
            known = ("low", "high", "unit", "scale", "integer", "values", "size")
            for key in value:
                if key not in known:
                    raise ValueError(f"{name}: unknown key '{key}'; {nearest(key, known)}")
            parameters += parameters_of(str(name), value)
        return tuple(parameters)

    @field_serializer("parameters")
    def _as_given(self, parameters: tuple[Parameter, ...]) -> list[dict[str, Any]]:
        """Words and lists as they are written in a configuration."""
        found: dict[str, dict[str, Any]] = {}
        for p in parameters:
            if p.category:
                found.setdefault(p.category, {"name": p.category, "values": []})["values"].append(p.word)
            else:
                one: dict[str, Any] = {"name": p.input, "low": p.low, "high": p.high, "unit": p.unit, "scale": p.scale}
                one["integer"] = p.integer
                if p.values:
                    one = {"name": p.input, "values": list(p.values), "unit": p.unit, "scale": p.scale}
                if p.vector:
                    one["size"] = found.get(p.input, {"size": 0})["size"] + 1
                found[p.input] = one
        return list(found.values())

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(self.parameters, self.constraints)

    def check_constraints(self) -> None:
        """Check that the constraints can be evaluated and that the box has a feasible point.

        Raises:
            ValueError: a constraint names an unknown parameter, its function fails, or no point is feasible.
        """
        for constraint in self.constraints:
            constraint.check_names(self.space.names)
        if self.constraints:
            self.space.sobol(1, seed=0)

    @property
    def spec(self) -> SolverSpec:
        return SolverSpec(self.solver, self.options)

    def available(self) -> np.ndarray | None:
        """Feasible points `[point, n_params]` of a solver that has solutions at certain points only; else None."""
        fom = self.spec.build()
        if not isinstance(fom, TabulatedModel):
            return None
        if self.space.inputs != self.space.names:
            raise ValueError("parameters: a data set has numbers only; give [low, high] for each of its parameters")
        order = [fom.parameter_names.index(name) for name in self.space.names]
        points = fom.available()[:, order]
        return points[self.space.feasible(points)]
