"""The SQLite database of MLflow in a root folder: its creation, a moved folder, and a damaged file.

MLflow stores absolute addresses of artifacts. Those of a root are in its folder `artifacts`, beside the database, so
after the root was moved or copied they can be put right.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

from mlasdi.agent.tracking_store.addresses import ARTIFACTS, sqlite_uri

# Columns of MLflow's tables that contain addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_UNFINISHED = ".new-store-"  # prefix of folders in which databases are created
_UNFINISHED_S = 600  # age after which such a folder is taken to be left by a killed process
_LOCKED_S = 30  # how long to wait for another process that writes


def create(file: Path) -> None:
    """Create MLflow's tables in a new database file.

    MLflow does this in about a hundred steps without a lock: a concurrent process or a kill would leave a database that
    cannot be opened. So the database is created in a temporary folder and then linked to its name.
    """
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    for left in file.parent.glob(f"{_UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > _UNFINISHED_S:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=_UNFINISHED) as folder:
        made, complete = Path(folder, "made.db"), Path(folder, "complete.db")
        MlflowClient(sqlite_uri(made), sqlite_uri(made)).search_experiments(max_results=1)
        shutil.copyfile(made, complete)  # MLflow keeps a connection to the first file open
        try:
            os.link(complete, file)
        except FileExistsError:  # another process was faster
            return
        except OSError:  # a file system without hard links
            os.replace(complete, file)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an existing database; what the body writes is one transaction."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_LOCKED_S)) as db, db:
        yield db


def damage(file: Path) -> str | None:
    """What is wrong with a database file; None if it is sound or absent."""
    if not file.exists():
        return None
    try:
        with _opened(file) as db:
            finding = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'experiments'").fetchone()[0]:
                finding = "it has no experiments"
    except sqlite3.OperationalError:  # locked or not readable: not damaged
        return None
    except sqlite3.DatabaseError as error:
        finding = str(error)
    return None if finding == "ok" else " ".join(finding.split())


def set_damaged_aside(file: Path) -> Path | None:
    """Rename a damaged database file to `NAME.damaged`, with a number if that exists.

    Returns:
        The new path; None if the file is sound or absent.
    """
    if damage(file) is None:
        return None
    with FileLock(file.with_name(f".{file.name}.lock")):
        if damage(file) is None:  # another process has replaced it
            return None
        target, n = file.with_name(f"{file.name}.damaged"), 2
        while target.exists():
            target, n = file.with_name(f"{file.name}.damaged-{n}"), n + 1
        return file.rename(target)


def rebase_artifacts(file: Path) -> None:
    """Point the records of a database at the folder `artifacts` beside it, if their files are there.

    That is so after the folder of both was moved or copied. Addresses elsewhere stay as they are.

    Raises:
        sqlite3.DatabaseError: the file is damaged, or it cannot be read or written.
    """
    here = file.parent / ARTIFACTS
    with _opened(file) as db:
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
