"""A registry with many versions, written straight into its database: registering them would take minutes."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from mlasdi.agent.registry.champion import CAMPAIGN_TAG
from mlasdi.agent.tracking_store import connect, store_uri

N_MODELS = 20


def fill(root: Path, n_versions: int = 500) -> None:
    """Versions of 20 models with the tags that campaigns give them; the first of each model is champion.

    The k-th of all has an error estimate of 1 / (k + 1), a box of `a` from 0 to k + 1, and was created k milliseconds
    after the epoch.
    """
    connect(store_uri(None, root))
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        for k in range(n_versions):
            name, version = f"model-{k % N_MODELS}", k // N_MODELS + 1
            if version == 1:
                _insert(database, "registered_models", name=name, creation_time=0)
                _insert(database, "registered_model_aliases", alias="champion", version=1, name=name)
            times = {"creation_time": k, "last_updated_time": k}
            _insert(
                database, "model_versions", name=name, version=version, **times,
                source="nowhere", current_stage="None", description="# A card\n" + 60 * "It says a few things.\n",
            )  # fmt: skip
            for key, value in _tags(k, name).items():
                _insert(database, "model_version_tags", key=key, value=value, name=name, version=version)


def _tags(k: int, name: str) -> dict[str, str]:
    return {
        CAMPAIGN_TAG: name,
        "parameter_box": json.dumps({"a": [0.0, 1.0 + k]}),
        "error_estimate": repr(1 / (k + 1)),
        "solver_runs": str(4 + k // N_MODELS),
        "fields": "u",
        "size_bytes": "456789",
        "problem": name,
        "data_hash": 64 * "0",
        "solver_identity": json.dumps({"solver": name, "n_x": 1001, "n_t": 1001}),
        "packages": json.dumps({f"package-{n}": "1.2.3" for n in range(10)}),
    }


def _insert(database: sqlite3.Connection, table: str, **row: object) -> None:
    places = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", tuple(row.values()))
