"""Access to an MLflow store: a client for it, whether it answers, and MLflow's output.

MLflow takes over a second to import, so it is imported inside functions. It always gets its store explicitly, because
its defaults depend on environment variables and the working directory.
"""

import logging
import os
import socket
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from mlasdi.agent.tracking_store.addresses import database_file, scheme
from mlasdi.agent.tracking_store.embedded import create, sweep
from mlasdi.surrogate import rebase_artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
    """The store does not answer at its address, or its database is damaged."""


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

    The records of a database whose folder was moved or copied are pointed at the artifacts beside it.

    Raises:
        StoreUnreachable: it does not answer, where MLflow itself would retry for minutes; or its database is damaged.
    """
    from mlflow import MlflowClient

    _check_reachable(uri)
    file = database_file(uri)
    if file is not None:
        # Each operation opens the file anew: a pooled connection would go on with one that was replaced.
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        sweep(file.parent)
        if not file.exists():
            create(file)
        try:
            rebase_artifacts(file)
        except sqlite3.DatabaseError as error:
            raise StoreUnreachable(
                f"the MLflow database {file} cannot be used ({error}); if it is damaged, running a campaign of this "
                "root again sets it aside and records the campaign in a new one"
            ) from None
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


def all_pages(search: Any, **query: Any) -> list[Any]:
    """All results of one of the client's searches, which return pages."""
    page = search(**query)
    found = list(page)
    while page.token:
        page = search(**query, page_token=page.token)
        found += page
    return found
