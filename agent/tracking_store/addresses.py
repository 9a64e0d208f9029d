"""Addresses of MLflow stores: tracking URIs, the embedded database in a root folder, and checks of them."""

from dataclasses import dataclass
from pathlib import Path

from mlasdi.agent.text import refuse_credentials

DEFAULT_ROOT = Path("mlruns")
DATABASE = "mlflow.db"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https", "databricks")
# MLflow decodes paths as URIs in some places and not in others, and would write beside the folder.
_RESERVED = "%?#"


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
        ValueError: `uri` is no tracking URI, or it contains a password; or MLflow cannot use the path of the database.
    """
    if uri is None:
        return sqlite_uri((root or DEFAULT_ROOT).resolve() / DATABASE)
    check_uri(uri)
    file = database_file(uri)
    return uri if file is None else sqlite_uri(file)


def sqlite_uri(file: Path) -> str:
    """The tracking URI of an SQLite file.

    Raises:
        ValueError: its path contains a character that MLflow would take for part of a URI.
    """
    found = [character for character in _RESERVED if character in str(file)]
    if found:
        raise ValueError(
            f"MLflow cannot use the folder {file.parent}, because of the '{found[0]}' in its name: choose a root "
            f"without {', '.join(_RESERVED)}"
        )
    return f"sqlite:///{file}"


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
