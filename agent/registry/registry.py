"""The model registry: finds registered surrogates and their files."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlasdi.agent.registry.champion import CAMPAIGN_TAG, CHAMPION, known_error
from mlasdi.agent.registry.package import SURROGATE
from mlasdi.agent.tracking_store import AnyStore, Store, all_pages, connect, database_file, quiet
from mlasdi.solvers.storage import sweep_stale

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

ARCHIVED_TAG = "mlasdi.archived"

Sort = Literal["error", "newest", "solver_runs", "name"]


@dataclass(frozen=True)
class ModelVersionInfo:
    """One registered surrogate.

    Attributes:
        name, version: of the registered model.
        aliases: of the version.
        uri: for `Surrogate.load`: with an alias if there is one, else with the version.
        error_estimate: the model's own estimate of its relative error, a fraction.
        found_error: largest relative error at the points that were solved next, a fraction; `None` without any.
        max_error: largest relative error on a validation set, a fraction; `None` if it was not validated.
        solver_runs: number of full-order solves.
        parameter_box: name -> (low, high) of the trained box.
        created_at: time of registration.
        campaign: name of the campaign.
        run_id: MLflow run of the round that trained it.
        tags: all tags of the version.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    uri: str
    error_estimate: float
    found_error: float | None
    max_error: float | None
    solver_runs: int | None
    parameter_box: Mapping[str, tuple[float, float]]
    created_at: datetime
    campaign: str
    run_id: str
    tags: Mapping[str, str] = field(repr=False)

    @property
    def error(self) -> float:
        """The validated error if there is one; else the larger one of the estimate and what the next solves found."""
        return known_error(self.tags)

    def output_error(self, name: str) -> float:
        """`error` of one output, relative to its own norm; infinite where it is not known."""
        for tag in ("output_errors", "output_estimates"):
            known = json.loads(self.tags.get(tag, "{}")).get(name)
            if known is not None:
                return float(known)
        return self.error if self.fields == (name,) else inf

    def is_within(self, limits: float | Mapping[str, float]) -> bool:
        """Whether `error` is at most a limit; or that of each output, by name."""
        if isinstance(limits, Mapping):
            return all(self.output_error(name) <= limit for name, limit in limits.items())
        return self.error <= limits

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(name for name in self.tags.get("fields", "").split(", ") if name)

    @property
    def size_bytes(self) -> int | None:
        """Size of the saved surrogate; `None` if it is unknown."""
        return int(self.tags["size_bytes"]) if "size_bytes" in self.tags else None

    @property
    def is_archived(self) -> bool:
        return ARCHIVED_TAG in self.tags

    def covers(self, wanted: Mapping[str, float | Sequence[float]]) -> bool:
        """Whether the trained box contains the wanted values, or ranges `[low, high]`, of the named parameters."""
        for name, value in wanted.items():
            low, high = self.parameter_box.get(name, (inf, -inf))
            values = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]
            if not (low <= min(values) and max(values) <= high):
                return False
        return True


_ORDER: dict[str, Any] = {
    "error": lambda m: (isnan(m.error), m.error),
    "newest": lambda m: -m.created_at.timestamp(),
    "solver_runs": lambda m: inf if m.solver_runs is None else m.solver_runs,
    "name": lambda m: (m.name, int(m.version)),
}


@quiet()
def find(
    problem: str | None = None,
    max_error: float | Mapping[str, float] | None = None,
    covers: Mapping[str, float | Sequence[float]] | None = None,
    archived: bool = False,
    sort: Sort = "error",
    store: AnyStore = None,
) -> list[ModelVersionInfo]:
    """Registered surrogates that meet all conditions, the best first.

    Args:
        problem: name of the registered model, of the campaign, or the version's tag `problem`.
        max_error: upper limit of `ModelVersionInfo.error`, a fraction; or name of an output -> limit of its error.
        covers: parameter name -> value or `[low, high]` that the trained box must contain.
        archived: whether to include archived versions.
        sort: `error`, `newest` (first), `solver_runs` (fewest first), or `name`.
        store: an MLflow tracking URI (text), a root folder (`Path`), or both (`Store`); default: the folder `mlruns`.

    Raises:
        ValueError: `sort` is unknown.
        StoreUnreachable: no server answers at the URI.
    """
    if sort not in _ORDER:
        raise ValueError(f"sort '{sort}' is not known; give one of {', '.join(_ORDER)}")
    address = Store.of(store).address
    if _is_absent(address):
        return []
    client = connect(address)
    versions = [v for v in all_pages(client.search_model_versions) if CAMPAIGN_TAG in v.tags]
    aliases = {name: _aliases_by_version(client, name) for name in {version.name for version in versions}}
    found = [_info(version, aliases.get(version.name, {}).get(str(version.version), ())) for version in versions]
    return sorted(
        (
            model
            for model in found
            if (problem is None or problem in (model.name, model.campaign, model.tags.get("problem")))
            and (archived or not model.is_archived)
            and (max_error is None or model.is_within(max_error))
            and (covers is None or model.covers(covers))
        ),
        key=_ORDER[sort],
    )


def resolve(model_uri: str, store: AnyStore = None) -> Path:
    """The local folder of the saved surrogate behind a model URI; arguments and errors as for `locate`."""
    folder = locate(model_uri, store)[1]
    return surrogate_folder(folder, model_uri)


@quiet()
def locate(model_uri: str, store: AnyStore = None) -> tuple[ModelVersionInfo, Path]:
    """The version behind a model URI, and the local folder of its MLflow model.

    Local files are used in place; those of a remote store are downloaded once, to the folder `downloads` in the root.

    Args:
        model_uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `models:/NAME/latest`.
        store: as in `find`.

    Raises:
        ValueError: the URI has another form; or there is no such store, model, alias or version, and the message names
            the existing ones; or the version was not registered by this program.
        FileNotFoundError: the version is registered, but its files are missing.
        StoreUnreachable: no server answers at the store's URI.
    """
    client, version = registered_version(model_uri, store)
    location = client.get_model_version_download_uri(version.name, version.version)
    folder = _local(location) or _downloaded(location, f"{version.name}-{version.version}", Store.of(store))
    aliases = _aliases_by_version(client, version.name).get(str(version.version), ())
    return _info(version, aliases), folder


@quiet()
def registered_version(model_uri: str, store: AnyStore = None) -> "tuple[MlflowClient, ModelVersion]":
    """A client of the store, and the version behind a model URI; arguments and errors as for `locate`."""
    name, separator, which = _parsed(model_uri)
    address = Store.of(store).address
    if _is_absent(address):
        raise ValueError(
            f"{model_uri}: there is no model registry at {address}; run in the folder that contains 'mlruns'"
        )
    client = connect(address)
    models = {model.name: model for model in _models(client)}
    if name not in models:
        raise ValueError(f"{model_uri}: no registered model '{name}'; there are: {_listed(models)}")
    version = _version(client, model_uri, client.get_registered_model(name), separator, which)
    return client, client.get_model_version(name, version)


def _is_absent(uri: str) -> bool:
    file = database_file(uri)
    return file is not None and not file.exists()


def _models(client: "MlflowClient") -> "list[RegisteredModel]":
    return all_pages(client.search_registered_models)


def _aliases_by_version(client: "MlflowClient", name: str) -> dict[str, tuple[str, ...]]:
    """Version -> aliases, the champion first; queried for each model, because MLflow's searches omit aliases."""
    aliases: dict[str, tuple[str, ...]] = {}
    pairs = client.get_registered_model(name).aliases.items()
    for alias, version in sorted(pairs, key=lambda pair: (pair[0] != CHAMPION, pair[0])):
        aliases[str(version)] = (*aliases.get(str(version), ()), alias)
    return aliases


def _info(version: "ModelVersion", aliases: tuple[str, ...]) -> ModelVersionInfo:
    tags = dict(version.tags)
    box = json.loads(tags.get("parameter_box", "{}"))
    return ModelVersionInfo(
        name=version.name,
        version=str(version.version),
        aliases=aliases,
        uri=f"models:/{version.name}@{aliases[0]}" if aliases else f"models:/{version.name}/{version.version}",
        error_estimate=float(tags.get("error_estimate", "nan")),
        found_error=float(tags["found_error"]) if "found_error" in tags else None,
        max_error=float(tags["max_error"]) if "max_error" in tags else None,
        solver_runs=int(tags["solver_runs"]) if "solver_runs" in tags else None,
        parameter_box={name: (float(low), float(high)) for name, (low, high) in box.items()},
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        campaign=tags.get("campaign", ""),
        run_id=version.run_id or "",
        tags=tags,
    )


def _parsed(model_uri: str) -> tuple[str, str, str]:
    """Name, separator (`@` or `/`), and alias or version."""
    path = model_uri.removeprefix("models:/")
    for separator in ("@", "/"):
        name, found, which = path.partition(separator)
        if path != model_uri and name and found and which and "/" not in name + which:
            return name, separator, which
    raise ValueError(f"'{model_uri}' is not a model URI; give models:/NAME@ALIAS or models:/NAME/VERSION")


def _version(client: "MlflowClient", model_uri: str, model: "RegisteredModel", separator: str, which: str) -> str:
    if separator == "@":
        if which not in model.aliases:
            raise ValueError(f"{model_uri}: '{model.name}' has no alias '{which}'; it has: {_listed(model.aliases)}")
        return str(model.aliases[which])
    found = all_pages(client.search_model_versions, filter_string=f"name = '{model.name}'")
    versions = sorted((str(v.version) for v in found), key=int)
    if which == "latest" and versions:
        return versions[-1]
    if which not in versions:
        raise ValueError(f"{model_uri}: '{model.name}' has no version '{which}'; it has: {_listed(versions)}")
    return which


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def _local(location: str) -> Path | None:
    parts = urlparse(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location) if not parts.scheme else None


def _downloaded(location: str, label: str, store: Store) -> Path:
    """The local copy of a version, downloaded if necessary; versions never change.

    Its name tells the store: another one may have a version of the same name, at the same `mlflow-artifacts:` path.
    """
    from mlflow.artifacts import download_artifacts

    downloads = store.root.resolve() / "downloads"
    origin = hashlib.sha256(f"{store.address} {location}".encode()).hexdigest()[:16]
    target = downloads / f"{label}-{origin}"
    if not target.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        sweep_stale(downloads, ".partial-*")
        with tempfile.TemporaryDirectory(dir=downloads, prefix=".partial-") as folder:
            made = download_artifacts(artifact_uri=location, dst_path=folder, tracking_uri=store.address)
            with suppress(OSError):  # another process was faster
                os.rename(made, target)
    return target


def surrogate_folder(folder: Path, model_uri: str) -> Path:
    """The folder of the surrogate inside that of an MLflow model."""
    from mlflow.models import Model

    if not (folder / "MLmodel").exists():
        raise FileNotFoundError(f"{model_uri}: its files are not at {folder}; were they moved or deleted?")
    artifacts = Model.load(str(folder)).flavors.get("python_function", {}).get("artifacts") or {}
    if SURROGATE not in artifacts:
        raise ValueError(
            f"{model_uri}: the model at {folder} contains no surrogate; it was registered by another program"
        )
    return folder / artifacts[SURROGATE]["path"]
