"""The configuration of a campaign: a YAML file, which is validated completely before anything starts."""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, field_validator, model_validator

from mlasdi.agent.choosing import SamplingSettings, initial_design, read_candidates
from mlasdi.agent.config.budget import BudgetSettings
from mlasdi.agent.config.problem import ProblemSettings
from mlasdi.agent.execution import ClusterSettings
from mlasdi.agent.registry import TrackingSettings
from mlasdi.agent.text import (
    MAX_DEPTH,
    VARIABLES,
    dump_yaml,
    parse_yaml,
    read_yaml,
    redacted,
    where_credentials_are,
)
from mlasdi.agent.tracking_store import store_uri
from mlasdi.solvers import nearest
from mlasdi.solvers.storage import is_url
from mlasdi.training import ModelSettings

# A validation set with more solves than this is an error, for example a grid over many parameters.
MAX_VALIDATION = 100_000
# Of a campaign's name, which becomes part of names of files, which may have 255 characters.
MAX_NAME = 100


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the key, the value, and what is allowed."""


class ValidationSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Solves for validation; they are not candidates, not used for training, and not part of the budget."""

    grid: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="points per parameter of a tensor grid: one number, or one for each parameter"
    )
    sobol: int | None = Field(
        None, ge=1, le=MAX_VALIDATION, description="number of points of a Sobol sequence, instead of a grid"
    )
    rest: bool = Field(False, description="use the solutions of a data set that are not training data")
    n_time: int | None = Field(
        None, ge=2, description="number of times kept of a validation solve; null: all, so that no error is missed"
    )

    @property
    def wanted(self) -> bool:
        """Whether there is any validation."""
        return self.rest or self.grid is not None or self.sobol is not None


class Config(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The configuration of a campaign."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=MAX_NAME)
    root: Path = Field(Path("mlruns"), description="folder of all local state")
    seed: int = Field(0, ge=0, lt=2**63)
    problem: ProblemSettings
    outputs: dict[str, str] = Field(
        {},
        description="quantities of interest, by name: max | min | mean | integral over time, space or axes of FIELD; "
        "FIELD at x=0.5, time=1; or package.module:function of the fields",
    )
    budget: BudgetSettings
    sampling: SamplingSettings = SamplingSettings()
    model: ModelSettings = Field(default_factory=lambda: ModelSettings.model_validate({}))
    validation: ValidationSettings = ValidationSettings()
    cluster: ClusterSettings = ClusterSettings()
    tracking: TrackingSettings = TrackingSettings()
    # The working directory may change later; written out, the configuration keeps `root` as it was given.
    _loaded_in: Path = PrivateAttr(default_factory=Path.cwd)

    @field_validator("root", mode="before")
    @classmethod
    def _is_a_folder(cls, root: Any) -> Any:
        if isinstance(root, str) and "://" in root:
            raise ValueError(
                f"'{root}' is a URL; give a folder, and the URLs of stores as tracking.uri and cluster.storage"
            )
        return root

    @model_validator(mode="before")
    @classmethod
    def _noisy_runs_are_averaged(cls, given: Any) -> Any:
        """The level of noise in `model.noise` is the consent to the mean of a data set's runs at equal parameters."""
        if not isinstance(given, Mapping):
            return given
        problem, model = given.get("problem"), given.get("model")
        if not (isinstance(problem, Mapping) and isinstance(model, Mapping) and problem.get("solver") == "data-set"):
            return given
        options = problem.get("options")
        if isinstance(model.get("noise"), int | float) and isinstance(options, Mapping):
            return {**given, "problem": {**problem, "options": {"mean_of_runs": True, **options}}}
        return given

    @model_validator(mode="after")
    def _usable_root(self) -> "Config":
        try:
            store_uri(self.tracking.uri, self.root)
        except ValueError as error:
            raise ValueError(f"root: {error}") from None
        return self

    @model_validator(mode="after")
    def _feasible(self) -> "Config":
        try:
            fom = self.problem.spec.build()
        except ValueError as error:
            raise ValueError(f"problem: {error}") from None
        given, wanted = self.problem.space.inputs, fom.parameter_names
        if set(given) != set(wanted):
            raise ValueError(
                f"problem.parameters: got {list(given)}, solver '{self.problem.solver}' takes {list(wanted)}"
            )
        try:
            self.problem.check_constraints()
        except ValueError as error:
            raise ValueError(f"problem.constraints: {error}; change it, or the box in problem.parameters") from None
        self._check_validation()
        n_initial = len(initial_design(self.problem.space, self.sampling, self.seed, self.choosable()))
        if n_initial < 2:
            raise ValueError(
                f"sampling.initial: the initial design has {n_initial} points; a surrogate needs at least 2"
            )
        if self.budget.solver_runs < n_initial:
            raise ValueError(
                f"budget.solver_runs: {self.budget.solver_runs} is less than the {n_initial} points of the initial "
                f"design (sampling.initial: {self.sampling.design_of(self.problem.space)})"
            )
        if self.sampling.rounds == "greedy" and self.cluster.mode == "asynchronous":
            raise ValueError(
                "sampling.rounds: 'greedy' is for cluster.mode synchronous, where trainings and solves wait for each "
                "other; with asynchronous use 'fixed'"
            )
        return self

    def _check_validation(self) -> None:
        """Check that the solver has solutions at the validation points, and that there are not too many of them."""
        wanted, axes, is_data_set = self.validation, self.problem.space.axes, self.problem.available() is not None
        names = [self.problem.space.parameters[c[0]].category or self.problem.space.names[c[0]] for c in axes]
        if wanted.rest and not is_data_set:
            raise ValueError("validation.rest: true is for a data set; give validation.grid or validation.sobol")
        if is_data_set and (wanted.grid is not None or wanted.sobol is not None):
            key = "grid" if wanted.grid is not None else "sobol"
            raise ValueError(f"validation.{key}: a data set has solutions at its own points only; use validation.rest")
        if wanted.grid is None:
            return
        if wanted.sobol is not None:
            raise ValueError("validation.sobol: give this or validation.grid, not both")
        if isinstance(wanted.grid, tuple) and len(wanted.grid) != len(axes):
            raise ValueError(f"validation.grid: {list(wanted.grid)} needs one count for each of {list(names)}")
        counts = [wanted.grid] * len(axes) if isinstance(wanted.grid, int) else wanted.grid
        n_points = prod(n if len(columns) == 1 else len(columns) for n, columns in zip(counts, axes, strict=True))
        if n_points > MAX_VALIDATION:
            raise ValueError(
                f"validation.grid: {wanted.grid} means {n_points:,} solves for {len(axes)} parameters, more than "
                f"{MAX_VALIDATION:,}; give fewer points, or their number as validation.sobol"
            )

    def choosable(self) -> np.ndarray | None:
        """The only points that may be solved for training `[point, n_params]`; None for the whole box.

        Raises:
            ValueError: the candidate set cannot be read, or there is one for a data set.
        """
        available, table = self.problem.available(), self.sampling.candidate_set
        if table is None:
            return available
        if available is not None:
            raise ValueError("sampling.candidate_set: not for a data set, which has its own points; narrow the box")
        try:
            return read_candidates(table, self.problem.space)
        except ValueError as error:
            raise ValueError(f"sampling.candidate_set: {error}") from None

    @property
    def folder(self) -> Path:
        """The campaign's folder."""
        return self.root / "campaigns" / self.name

    @property
    def snapshot_root(self) -> str:
        """Folder or URL of the store of solutions, as workers access it."""
        storage = self.cluster.storage
        if storage is not None and is_url(storage):
            return f"{storage.rstrip('/')}/{self.name}/snapshots"
        place = self.folder if storage is None else Path(storage) / self.name
        return str(self._loaded_in / place / "snapshots")

    @property
    def shared_solutions(self) -> str | None:
        """Folder of the solutions that all campaigns of `root` or `cluster.storage` share; None without."""
        storage = self.cluster.storage
        if not self.cluster.share_solutions or (storage is not None and is_url(storage)):
            return None
        return str(self._loaded_in / (self.root if storage is None else Path(storage)) / "solutions")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate a configuration.

    Args:
        path: YAML file. The default `name` of the campaign is that of the file.
        overrides: `dotted.key=value`, with values in YAML.

    Raises:
        ConfigError: the file is missing, refused by `read_yaml`, or a key or value is not allowed.
    """
    path = Path(path)
    try:
        given = read_yaml(path)
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {redacted(str(error))}") from None
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(given).__name__}")
    given.setdefault("name", path.stem)
    for override in overrides:
        _apply(given, override)
    for key in where_credentials_are(given):
        raise ConfigError(f"{path}: {key}: contains a password; leave it out, and set in the environment {VARIABLES}")
    try:
        return Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_messages(error))) from None


def dump_config(config: Config) -> str:
    """The complete configuration, defaults included, as YAML that `load_config` reads."""
    plain = config.model_dump(mode="json")
    plain["problem"]["parameters"] = {p.pop("name"): p for p in plain["problem"]["parameters"]}
    return dump_yaml(plain)


def _apply(given: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override '{redacted(override)}': write dotted.key=value, for example budget.solver_runs=12")
    *sections, last = key.split(".")
    if len(sections) > MAX_DEPTH:
        raise ConfigError(f"override '{redacted(key[:40])}...': its key has {len(sections):,} sections")
    target: Any = given
    for section in sections:
        target = target.setdefault(section, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise ConfigError(f"override '{redacted(override)}': {section} is not a section")
    try:
        target[last] = parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"override '{redacted(override)}': {redacted(str(error))}") from None


def _messages(error: ValidationError) -> Iterator[str]:
    """Each of pydantic's errors as `key: what is wrong, and what is allowed`."""
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
    """Allowed keys at a location of the configuration."""
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
    """An annotation and all annotations inside it."""
    return [annotation, *(inner for arg in get_args(annotation) for inner in _flatten(arg))]
