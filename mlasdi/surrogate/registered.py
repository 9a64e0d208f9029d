"""Surrogates behind MLflow URIs.

MLflow stores absolute addresses of artifacts. Those of a root folder of campaigns are in its folder `artifacts`, beside
the database, so after the root was moved or copied they can be put right.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ARTIFACTS = "artifacts"
DEFAULT_DATABASE = Path("mlruns/mlflow.db")
# Columns of MLflow's tables that contain addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
LOCKED_S = 30  # how long to wait for another process that writes


class SurrogateError(ValueError):
    """A saved surrogate is missing, damaged, or of another format."""


def fetched(uri: str) -> Path:
    """The local folder of a model or of a run's artifacts that an MLflow URI names.

    It is resolved by MLflow's tracking URI where one is set, else by `mlruns/mlflow.db`. What a moved or copied
    database says of its artifacts is put right before.

    Raises:
        SurrogateError: there is no such database or model, or it cannot be read.
    """
    import mlflow

    is_set = mlflow.is_tracking_uri_set()
    if not is_set and not DEFAULT_DATABASE.exists():
        raise SurrogateError(
            f"{uri}: there is no model registry at {DEFAULT_DATABASE.resolve()}; set MLFLOW_TRACKING_URI, or work in "
            "the folder with mlruns"
        )
    try:
        if not is_set:
            mlflow.set_tracking_uri(f"sqlite:///{DEFAULT_DATABASE.resolve()}")
        scheme, _, file = mlflow.get_tracking_uri().partition(":///")
        if scheme == "sqlite" and Path(file).exists():
            rebase_artifacts(Path(file).resolve())
        return Path(mlflow.artifacts.download_artifacts(uri))
    except mlflow.MlflowException as error:
        raise SurrogateError(f"{uri}: {error.message}") from None
    except sqlite3.DatabaseError as error:
        raise SurrogateError(f"{uri}: the MLflow database cannot be used ({error})") from None
    finally:
        if not is_set:  # another folder has another registry
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # none is set again


@contextmanager
def opened_database(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an existing database; what the body writes is one transaction."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=LOCKED_S)) as db, db:
        yield db


def rebase_artifacts(file: Path) -> None:
    """Point the records of a database at the folder `artifacts` beside it, if their files are there.

    That is so after the folder of both was moved or copied. Addresses elsewhere stay as they are.

    Raises:
        sqlite3.DatabaseError: the file is damaged, or it cannot be read or written.
    """
    here = file.parent / ARTIFACTS
    with opened_database(file) as db:
        found = db.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (old,) in found:
            is_of_a_root = old is not None and old.startswith("file:") and old.endswith(f"/{ARTIFACTS}")
            if is_of_a_root and old != here.as_uri() and _has_files_of(db, old, here):
                _replace(db, old, here.as_uri())


def _has_files_of(db: sqlite3.Connection, address: str, folder: Path) -> bool:
    """Whether artifacts of a run at an address, `ADDRESS/RUN_ID/artifacts`, are in a folder."""
    runs = db.execute("SELECT run_uuid FROM runs WHERE artifact_uri = ? || '/' || run_uuid || '/artifacts'", (address,))
    return any((folder / run_id).is_dir() for (run_id,) in runs)


def _replace(db: sqlite3.Connection, old: str, new: str) -> None:
    """Replace an address, and the beginning of all addresses below it."""
    for table, column in _ADDRESSES:
        db.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )
