"""Access to an MLflow store: its address, a client for it, its creation, and MLflow's output.

MLflow takes over a second to import, so it is imported inside functions. It always gets its store explicitly, because
its defaults depend on environment variables and the working directory.
"""

import logging
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
    # Otherwise MLflow uses a `uv.lock` in the working directory as the model's requirements.
    "MLFLOW_UV_AUTO_DETECT": "false",
}

# Number of retries of a request, after 2 and 4 seconds; MLflow's default takes four minutes. Records that cannot be
# delivered are delivered later.
_RETRIES = "2"

# Default ports of databases.
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_CONNECT_TIMEOUT_S = 10


class StoreUnreachable(ConnectionError):
    """The store does not answer at its address."""


@dataclass(frozen=True)
class Store:
    """An MLflow store, and the folder of local state.

    Attributes:
        uri: tracking URI of a server or a database; None for the embedded database in `root`.
        root: folder of all local state: the embedded database, and downloads from a server.
    """

    uri: str | None = None
    root: Path = DEFAULT_ROOT

    @classmethod
    def of(cls, given: "AnyStore") -> "Store":
        """The store of a tracking URI (text), a root folder (`Path`), or None for the default root."""
        if isinstance(given, Store):
            return given
        return cls(root=given or DEFAULT_ROOT) if isinstance(given, Path) or given is None else cls(given)

    @property
    def address(self) -> str:
        """The absolute tracking URI.

        Raises:
            ValueError: `uri` is no tracking URI, or it contains a password.
        """
        return store_uri(self.uri, self.root)


AnyStore = Store | str | Path | None


def scheme(uri: str) -> str:
    """The scheme of a URI, without the name of a database driver."""
    return uri.partition(":")[0].partition("+")[0]


def is_database(uri: str) -> bool:
    """Whether MLflow opens a database itself, without a tracking server."""
    return scheme(uri) in DATABASES


def store_uri(uri: str | None = None, root: Path | None = None) -> str:
    """The absolute tracking URI: `uri`, or the embedded database in `root` (default: `mlruns`).

    Raises:
        ValueError: `uri` is no tracking URI, or it contains a password.
    """
    if uri is None:
        return f"sqlite:///{(root or DEFAULT_ROOT).resolve() / 'mlflow.db'}"
    check_uri(uri)
    file = database_file(uri)
    return uri if file is None else f"sqlite:///{file}"


def check_uri(uri: str) -> None:
    """Check that a text is a tracking URI without a password, which would get into logs and artifacts.

    Raises:
        ValueError: otherwise; the message does not repeat a URI with a password.
    """
    refuse_credentials(uri, "the tracking URI")
    if scheme(uri) not in DATABASES + SERVERS:
        raise ValueError(f"'{uri}' is not a tracking URI; give one of {', '.join(DATABASES + SERVERS)}://...")


def database_file(uri: str) -> Path | None:
    """The absolute path of an SQLite store; `None` for any other store."""
    return Path(uri.partition(":///")[2]).resolve() if scheme(uri) == "sqlite" else None


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress MLflow's log lines, progress bars, links, hints and telemetry, and its use of `uv`.

    Only warnings in MLflow's log and errors are shown, on standard error.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    environment = {name: os.environ.get(name) for name in _QUIET_ENVIRONMENT}
    os.environ.update(_QUIET_ENVIRONMENT)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401  the import sets the levels of its loggers

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
    """A client of the store at `uri`, for runs and the registry; creates an embedded database if it is absent.

    Raises:
        StoreUnreachable: it does not answer. MLflow itself would retry for minutes.
    """
    from mlflow import MlflowClient

    _check_reachable(uri)
    file = database_file(uri)
    if file is not None and not file.exists():
        _create_database(file)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _check_reachable(uri: str) -> None:
    """One attempt to reach a server or a remote database, with a timeout; any answer is accepted."""
    address = urlsplit(uri)
    try:
        if scheme(uri) in ("http", "https"):
            with suppress(HTTPError), urlopen(f"{uri.rstrip('/')}/health", timeout=_CONNECT_TIMEOUT_S):
                pass
        elif address.hostname and scheme(uri) in _PORTS:
            place = (address.hostname, address.port or _PORTS[scheme(uri)])
            socket.create_connection(place, timeout=_CONNECT_TIMEOUT_S).close()
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise StoreUnreachable(f"no MLflow store answers at {uri} ({reason}); is the server running?") from None


def _create_database(file: Path) -> None:
    """Create MLflow's tables in a new database file.

    MLflow does this in about a hundred steps without a lock: a concurrent process or a kill would leave a database that
    cannot be opened. So the database is created in a temporary folder and then linked to its name.
    """
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".new-store-") as folder:
        made, complete = Path(folder, "made.db"), Path(folder, "complete.db")
        MlflowClient(f"sqlite:///{made}", f"sqlite:///{made}").search_experiments(max_results=1)
        shutil.copyfile(made, complete)  # MLflow keeps a connection to the first file open
        try:
            os.link(complete, file)
        except FileExistsError:  # another process was faster
            return
        except OSError:  # a file system without hard links
            os.replace(complete, file)


def all_pages(search: Any, **query: Any) -> list[Any]:
    """All results of one of the client's searches, which return pages."""
    page = search(**query)
    found = list(page)
    while page.token:
        page = search(**query, page_token=page.token)
        found += page
    return found
