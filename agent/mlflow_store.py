"""Access to an MLflow store: its address, a client for it, its first creation, and silence.

MLflow takes over a second to import, so it is imported inside functions; and it is always told its store explicitly,
because its defaults follow environment variables and the working directory.
"""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_ROOT = Path("mlruns")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https", "databricks")

_QUIET_ENVIRONMENT = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Otherwise a `uv.lock` that happens to lie in the working directory becomes the model's requirements.
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def scheme(uri: str) -> str:
    """The kind of store, without a database driver's name."""
    return uri.partition(":")[0].partition("+")[0]


def is_database(uri: str) -> bool:
    """Whether MLflow is to open a database itself; otherwise a tracking server does."""
    return scheme(uri) in DATABASES


def store_uri(uri: str | None = None, root: Path | None = None) -> str:
    """The tracking URI to use, absolute: `uri`, or the embedded database in `root` (default: `mlruns` here)."""
    if uri is None:
        return f"sqlite:///{(root or DEFAULT_ROOT).resolve() / 'mlflow.db'}"
    file = database_file(uri)
    return uri if file is None else f"sqlite:///{file}"


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store, absolute; `None` for any other store."""
    return Path(uri.partition(":///")[2]).resolve() if scheme(uri) == "sqlite" else None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow from writing log lines, progress bars, links and advice, from telemetry, and from `uv`.

    Only warnings of MLflow's log and errors pass; they go to standard error.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    environment = {name: os.environ.get(name) for name in _QUIET_ENVIRONMENT}
    os.environ.update(_QUIET_ENVIRONMENT)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401  its import sets the levels of its loggers

        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@quiet()
def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, for runs and registry alike; creates an embedded database that is absent."""
    from mlflow import MlflowClient

    file = database_file(uri)
    if file is not None and not file.exists():
        _create_database(file)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _create_database(file: Path) -> None:
    """Create MLflow's tables in a new database file.

    MLflow does it in about a hundred steps and without a lock: a second process, or a kill half-way, would leave a
    database that nothing can open. So the database is made aside and appears under its name complete, or not at all.
    """
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".new-store-") as folder:
        made, complete = Path(folder, "made.db"), Path(folder, "complete.db")
        MlflowClient(f"sqlite:///{made}", f"sqlite:///{made}").search_experiments(max_results=1)
        shutil.copyfile(made, complete)  # a copy, since MLflow keeps a connection to the first file open
        try:
            os.link(complete, file)
        except FileExistsError:  # another process was first
            return
        except OSError:  # a file system without hard links
            os.replace(complete, file)


def all_pages(search: Any, **query: Any) -> list[Any]:
    """Every result of one of the client's searches, which answer page by page."""
    page = search(**query)
    found = list(page)
    while page.token:
        page = search(**query, page_token=page.token)
        found += page
    return found
