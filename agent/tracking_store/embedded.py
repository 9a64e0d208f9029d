"""The SQLite database of MLflow in a root folder: its creation, and a damaged file."""

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from filelock import FileLock

from mlasdi.agent.tracking_store.addresses import sqlite_uri
from mlasdi.solvers.storage import sweep_stale
from mlasdi.surrogate import opened_database

_UNFINISHED = ".new-store-"  # prefix of folders in which databases are created


def sweep(folder: Path) -> None:
    """Remove what killed processes left of databases that they were creating in a folder."""
    sweep_stale(folder, f"{_UNFINISHED}*")


def create(file: Path) -> None:
    """Create MLflow's tables in a new database file.

    MLflow does this in about a hundred steps without a lock: a concurrent process or a kill would leave a database that
    cannot be opened. So the database is created in a temporary folder and then linked to its name.
    """
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
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


def damage(file: Path) -> str | None:
    """What is wrong with a database file; None if it is sound or absent."""
    if not file.exists():
        return None
    try:
        with opened_database(file) as db:
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
