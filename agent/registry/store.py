"""Access to an MLflow store: its address, a client for it, its first creation, and silence.

MLflow takes over a second to import, so it is imported inside functions; and it is always told its store explicitly,
because its defaults follow environment variables and the working directory.
"""

import logging
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from mlasdi.agent.text import refuse_credentials

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

# A request to a server that went away is tried again so often, after 2 and 4 seconds, instead of for four minutes: what
# cannot be delivered now is delivered later.
_RETRIES = "2"

# Where databases listen unless the address says otherwise.
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PATIENCE_S = 10


class StoreUnreachable(ConnectionError):
    """Nothing answers at the address of the store."""


def scheme(uri: str) -> str:
    """The kind of store, without a database driver's name."""
    return uri.partition(":")[0].partition("+")[0]


def is_database(uri: str) -> bool:
    """Whether MLflow is to open a database itself; otherwise a tracking server does."""
    return scheme(uri) in DATABASES


def store_uri(uri: str | None = None, root: Path | None = None) -> str:
    """The tracking URI to use, absolute: `uri`, or the embedded database in `root` (default: `mlruns` here).

    Raises:
        ValueError: the URI is not one of a store, or it holds a password.
    """
    if uri is None:
        return f"sqlite:///{(root or DEFAULT_ROOT).resolve() / 'mlflow.db'}"
    check_uri(uri)
    file = database_file(uri)
    return uri if file is None else f"sqlite:///{file}"


def check_uri(uri: str) -> None:
    """Refuse what is no address of a store, and passwords, which would end up in logs and artifacts.

    Raises:
        ValueError: it is not, or it holds one; the message does not repeat it.
    """
    refuse_credentials(uri, "the tracking URI")
    if scheme(uri) not in DATABASES + SERVERS:
        raise ValueError(f"'{uri}' is not a tracking URI; give one of {', '.join(DATABASES + SERVERS)}://...")


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store, absolute; `None` for any other store."""
    return Path(uri.partition(":///")[2]).resolve() if scheme(uri) == "sqlite" else None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow from writing log lines, progress bars, links and advice, from telemetry, and from `uv`.

    Only warnings of MLflow's log and errors pass; they go to standard error.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
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
    """A client of the store at `uri`, for runs and registry alike; creates an embedded database that is absent.

    Raises:
        StoreUnreachable: nothing answers there. MLflow would find out after minutes of retries.
    """
    from mlflow import MlflowClient

    _check_reachable(uri)
    file = database_file(uri)
    if file is not None and not file.exists():
        _create_database(file)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _check_reachable(uri: str) -> None:
    """One short attempt to talk to a server or to a distant database; any answer will do."""
    address = urlsplit(uri)
    try:
        if scheme(uri) in ("http", "https"):
            with suppress(HTTPError), urlopen(f"{uri.rstrip('/')}/health", timeout=_PATIENCE_S):
                pass
        elif address.hostname and scheme(uri) in _PORTS:
            place = (address.hostname, address.port or _PORTS[scheme(uri)])
            socket.create_connection(place, timeout=_PATIENCE_S).close()
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise StoreUnreachable(f"no MLflow store answers at {uri} ({reason}); is the server running?") from None


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
