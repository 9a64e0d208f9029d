"""The configuration of a campaign: one YAML file, validated as a whole before anything starts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from agent.acquisition import SamplingSettings, initial_design
from agent.budget import BudgetSettings
from agent.cluster import ClusterSettings
from agent.tasks import SolverSpec
from agent.tracking import TrackingSettings
from mlasdi.training import ModelSettings
from solvers.catalog import nearest
from solvers.contract import FixedPoints
from solvers.parameters import Parameter, ParameterSpace


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the key, the value, and what is allowed."""


class ProblemSettings(BaseModel, frozen=True, extra="forbid"):
    """The full-order solver and the parameter box."""

    solver: str = Field(description="a built-in solver, or package.module:Class")
    options: dict[str, Any] = {}
    parameters: tuple[Parameter, ...]

    @field_validator("parameters", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """`{name: [low, high]}` or `{name: {low, high, unit, scale}}`."""
        if not isinstance(given, Mapping):
            raise ValueError(f"give a mapping of names to [low, high], got {given!r}")
        if not given:
            raise ValueError("the parameter box is empty; give at least one name: [low, high]")
        parameters = []
        for name, value in given.items():
            if isinstance(value, Sequence) and not isinstance(value, str):
                if len(value) != 2:
                    raise ValueError(f"{name}: give [low, high], got {value}")
                value = {"low": value[0], "high": value[1]}
            if not isinstance(value, Mapping):
                raise ValueError(f"{name}: give [low, high] or a mapping, got {value!r}")
            known = ("low", "high", "unit", "scale")
            for key in value:
                if key not in known:
                    raise ValueError(f"{name}: unknown key '{key}'; {nearest(key, known)}")
            parameters.append({"name": str(name), **value})
        return tuple(parameters)

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(self.parameters)

    @property
    def spec(self) -> SolverSpec:
        return SolverSpec(self.solver, self.options)

    def available(self) -> np.ndarray | None:
        """Points of the box at which the solver has solutions `[point, n_params]`; None where it solves anywhere."""
        fom = self.spec.build()
        if not isinstance(fom, FixedPoints):
            return None
        order = [fom.parameter_names.index(name) for name in self.space.names]
        points = fom.available()[:, order]
        return points[self.space.contains(points)]


class ValidationSettings(BaseModel, frozen=True, extra="forbid"):
    """Solves that only judge the surrogate; never candidates, never training data, and not part of the budget."""

    grid: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="points per parameter of a tensor grid"
    )
    rest: bool = Field(False, description="the solutions of a data set that are not training data")
    n_time: int | None = Field(101, ge=2, description="times at which a validation solve is kept; null: all")

    @property
    def wanted(self) -> bool:
        """Whether there is any validation."""
        return self.rest or self.grid is not None


class Config(BaseModel, frozen=True, extra="forbid"):
    """A whole campaign."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    root: Path = Field(Path("mlruns"), description="folder of all state")
    seed: int = Field(0, ge=0)
    problem: ProblemSettings
    budget: BudgetSettings
    sampling: SamplingSettings = SamplingSettings()
    model: ModelSettings = Field(default_factory=lambda: ModelSettings.model_validate({}))
    validation: ValidationSettings = ValidationSettings()
    cluster: ClusterSettings = ClusterSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _feasible(self) -> "Config":
        try:
            fom = self.problem.spec.build()
        except ValueError as error:
            raise ValueError(f"problem: {error}") from None
        given, wanted = self.problem.space.names, fom.parameter_names
        if set(given) != set(wanted):
            raise ValueError(
                f"problem.parameters: got {list(given)}, solver '{self.problem.solver}' takes {list(wanted)}"
            )
        available = self.problem.available()
        if self.validation.rest and available is None:
            raise ValueError("validation.rest: true is for a data set; give validation.grid")
        if self.validation.grid is not None and available is not None:
            raise ValueError("validation.grid: a data set has solutions at its own points only; use validation.rest")
        n_initial = len(initial_design(self.problem.space, self.sampling, self.seed, available))
        if n_initial < 2:
            raise ValueError(
                f"sampling.initial: the initial design has {n_initial} points; a surrogate needs at least 2"
            )
        if self.budget.solver_runs < n_initial:
            raise ValueError(
                f"budget.solver_runs: {self.budget.solver_runs} is less than the {n_initial} points of the initial "
                f"design (sampling.initial: {self.sampling.initial})"
            )
        if isinstance(self.validation.grid, tuple) and len(self.validation.grid) != len(given):
            raise ValueError(f"validation.grid: {list(self.validation.grid)} needs one count for each of {list(given)}")
        return self

    @property
    def folder(self) -> Path:
        """The campaign's folder."""
        return self.root / "campaigns" / self.name

    @property
    def snapshot_folder(self) -> Path:
        """The folder of its solutions, which workers write."""
        storage = self.cluster.storage
        return (self.folder if storage is None else storage / self.name) / "snapshots"


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate a configuration.

    Args:
        path: YAML file. The campaign takes its name from the file where `name` is not given.
        overrides: `dotted.key=value`, with values in YAML.

    Raises:
        ConfigError: the file is missing or not YAML, or a key or value is not allowed.
    """
    path = Path(path)
    try:
        given = yaml.safe_load(path.read_text())
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(given).__name__}")
    given.setdefault("name", path.stem)
    for override in overrides:
        _apply(given, override)
    try:
        return Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_complaints(error))) from None


def dump_config(config: Config) -> str:
    """The complete configuration, defaults included, as YAML that `load_config` reads."""
    plain = config.model_dump(mode="json")
    plain["problem"]["parameters"] = {p.pop("name"): p for p in plain["problem"]["parameters"]}
    return yaml.safe_dump(plain, sort_keys=False)


def _apply(given: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override '{override}': write dotted.key=value, for example budget.solver_runs=12")
    *sections, last = key.split(".")
    target: Any = given
    for section in sections:
        target = target.setdefault(section, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise ConfigError(f"override '{override}': {section} is not a section")
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{override}': {' '.join(str(error).split())}") from None


def _complaints(error: ValidationError) -> Iterator[str]:
    """Each complaint of pydantic as `key: what is wrong, and what is allowed`."""
    for found in error.errors():
        location = [part for part in found["loc"] if not str(part).startswith("function-")]
        key = ".".join(str(part) for part in location)
        if found["type"] == "extra_forbidden":
            yield f"{key}: unknown key; {nearest(str(location[-1]), _known_keys(location[:-1]))}"
        elif found["type"] == "value_error":
            yield f"{key}: {found['ctx']['error']}".removeprefix(": ")
        elif found["type"] == "missing":
            yield f"{key}: is required"
        else:
            yield f"{key}: {found['msg'][0].lower()}{found['msg'][1:]}, got {found['input']!r}"


def _known_keys(location: Sequence[str | int]) -> list[str]:
    """Keys of the settings class at a location of the configuration."""
    current: Any = Config
    for part in location:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = fields[str(part)].annotation
            continue
        options = [o for o in _flatten(current) if isinstance(o, type) and issubclass(o, BaseModel)]
        matching = [o for o in options if "kind" in o.model_fields and o.model_fields["kind"].default == part]
        current = (matching or options or [current])[0] if not isinstance(part, int) else current
    candidates = [o for o in _flatten(current) if isinstance(o, type) and issubclass(o, BaseModel)]
    return list(candidates[0].model_fields) if candidates else []


def _flatten(annotation: Any) -> list[Any]:
    """An annotation, and everything inside its unions and containers."""
    return [annotation, *(inner for arg in get_args(annotation) for inner in _flatten(arg))]
