"""Curation of registered versions: aliases, tags, archiving and comparison."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlasdi.agent.registry.package import CONFIG
from mlasdi.agent.registry.registry import (
    ARCHIVED_TAG,
    CHAMPION,
    ModelVersionInfo,
    locate,
    registered_version,
    surrogate_folder,
)
from mlasdi.agent.registry.runs import flattened
from mlasdi.agent.tracking_store import AnyStore, quiet
from mlasdi.surrogate import Surrogate

# Tags that queries and resumed campaigns use.
_OWN_TAGS = {
    *("error_estimate", "found_error", "max_error", "mean_error", "coverage", "solver_runs", "parameter_box"),
    *("problem", "campaign", "round", "data_hash", "solver_identity", "packages", "fields", "n_state", "stages"),
    *("size_bytes", "output_errors", "output_estimates"),
}


@quiet()
def promote(model_uri: str, alias: str = CHAMPION, store: AnyStore = None) -> str | None:
    """Move an alias to a version; returns the version that had it before, or None.

    Raises:
        ValueError: no such version, an archived one, or an alias that MLflow does not allow.
    """
    from mlflow.exceptions import MlflowException

    client, version = registered_version(model_uri, store)
    if ARCHIVED_TAG in version.tags:
        raise ValueError(f"{model_uri} is archived; restore it with `mlasdi models archive {model_uri} --undo`")
    before = client.get_registered_model(version.name).aliases.get(alias)
    try:
        client.set_registered_model_alias(version.name, alias, version.version)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise ValueError(f"alias '{alias}': {error.message}") from None
    return None if before is None else str(before)


@quiet()
def tag(
    model_uri: str,
    tags: Mapping[str, str],
    remove: Sequence[str] = (),
    store: AnyStore = None,
) -> dict[str, str]:
    """Set and remove tags of a version; returns those that users have set.

    Raises:
        ValueError: no such version, or a tag that the registry itself uses.
    """
    for name in (*tags, *remove):
        if name in _OWN_TAGS or name.startswith(("mlasdi.", "mlflow.")):
            raise ValueError(f"tag '{name}' is used by the registry itself; choose another name")
    client, version = registered_version(model_uri, store)
    missing = [name for name in remove if name not in version.tags]
    if missing:
        raise ValueError(f"{model_uri} has no tag '{missing[0]}'")
    for name, value in tags.items():
        client.set_model_version_tag(version.name, version.version, name, value)
    for name in remove:
        client.delete_model_version_tag(version.name, version.version, name)
    found = client.get_model_version(version.name, version.version).tags
    return {name: value for name, value in found.items() if name not in _OWN_TAGS and not name.startswith("mlasdi.")}


@quiet()
def archive(model_uri: str, undo: bool = False, store: AnyStore = None) -> None:
    """Hide a version from queries, or with `undo` show it again; its files and its number stay.

    Raises:
        ValueError: no such version, or one that an alias points to.
    """
    client, version = registered_version(model_uri, store)
    aliases = client.get_registered_model(version.name).aliases
    held = sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))
    if held and not undo:
        raise ValueError(
            f"{model_uri} has the alias '{held[0]}'; move that first: "
            f"mlasdi models promote models:/{version.name}/VERSION --alias {held[0]}"
        )
    if not undo:
        client.set_model_version_tag(version.name, version.version, ARCHIVED_TAG, "true")
    elif ARCHIVED_TAG in version.tags:
        client.delete_model_version_tag(version.name, version.version, ARCHIVED_TAG)


def compare(first: str, second: str, store: AnyStore = None) -> dict[str, Any]:
    """A comparison of two registered versions as JSON: errors, points, stages, and the settings that differ.

    Raises:
        ValueError, FileNotFoundError: as `mlasdi.agent.registry.registry.locate`.
        SurrogateError: a version's files are damaged.
    """
    (one, its_settings), (other, other_settings) = (_described(model_uri, store) for model_uri in (first, second))
    mine, theirs = ({tuple(point.items()) for point in model["points"]} for model in (one, other))
    both = sorted(its_settings.keys() | other_settings.keys())
    return {
        "models": [one, other],
        "common_points": len(mine & theirs),
        "same_data": one["data_hash"] is not None and one["data_hash"] == other["data_hash"],
        "same_solver": one["solver_identity"] == other["solver_identity"],
        "settings": {
            key: [its_settings.get(key), other_settings.get(key)]
            for key in both
            if its_settings.get(key) != other_settings.get(key)
        },
    }


def _described(model_uri: str, store: AnyStore) -> tuple[dict[str, Any], dict[str, Any]]:
    """A version as JSON, and the settings of its campaign with dotted names (empty if it has none)."""
    import yaml

    info, folder = locate(model_uri, store)
    surrogate = Surrogate.load(surrogate_folder(folder, model_uri))
    config = folder / CONFIG
    settings = dict(flattened(yaml.safe_load(config.read_text()) or {})) if config.exists() else {}
    return _facts(info, surrogate), settings


def _facts(info: ModelVersionInfo, surrogate: Surrogate) -> dict[str, Any]:
    space, record = surrogate.space, surrogate.record
    identity = info.tags.get("solver_identity")
    points = space.from_unit(surrogate.model.latent.x)
    return {
        "uri": f"models:/{info.name}/{info.version}",
        "aliases": list(info.aliases),
        "error_estimate": surrogate.error_estimate,
        "max_error": info.max_error,
        "mean_error": float(info.tags["mean_error"]) if "mean_error" in info.tags else None,
        "coverage": float(info.tags["coverage"]) if "coverage" in info.tags else None,
        "solver_runs": info.solver_runs,
        "points": [space.as_dict([float(f"{value:.12g}") for value in row]) for row in points],
        "stages": [
            {"name": name, "leave_one_out": error if error is None else float(error)}
            for name, error in zip(
                record.stage_names, record.stage_errors or [None] * len(record.stage_names), strict=True
            )
        ],
        "n_latent": surrogate.model.latent.n_latent,
        "rank": surrogate.basis.rank,
        "truncation_error": float(np.float64(record.truncation_error)),
        "size_bytes": info.size_bytes,
        "data_hash": info.tags.get("data_hash"),
        "solver_identity": None if identity is None else json.loads(identity),
        "packages": json.loads(info.tags.get("packages", "{}")),
    }
