"""The SQLite file of the ledger, with checks, transactions and errors that name their remedy, and the campaign lock."""

import os
import socket
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


class LedgerError(Exception):
    """The ledger cannot be read or written, or a record contradicts an earlier one; the message names the remedy."""


class LedgerFile:
    """A SQLite database with a given schema, in which everything written is on disk when a transaction ends.

    A rollback journal with full synchronisation survives kill -9 and power cuts. A write-ahead log would too, but needs
    shared memory, which network file systems do not provide.

    Args:
        path: of the file; created with `schema` if absent or empty, unless `read_only`.
        schema: SQL statements.
        application_id: number in SQLite's header that identifies files of this application.
        version: of the schema; a file of another version is an error.

    Raises:
        LedgerError: the file is damaged, not a ledger, of another schema version, or `read_only` and absent.
    """

    def __init__(self, path: Path, schema: str, *, application_id: int, version: int, read_only: bool) -> None:
        self.path = path
        if read_only and not (path.exists() and path.stat().st_size):
            raise LedgerError(f"no ledger at {path}: the campaign has not been started")
        # Readers also open the file for writing: after a kill, SQLite must roll back the unfinished transaction.
        mode = "rw" if read_only else "rwc"
        with self._errors():
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None
            )
        try:
            with self._errors():
                self._prepare()
                if not read_only and self.value("SELECT count(*) FROM sqlite_master") == 0:
                    self._create(schema, application_id, version)
                self._check_version(application_id, version)
                self._connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        finding = self.value("PRAGMA quick_check(1)")
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)

    def _create(self, schema: str, application_id: int, version: int) -> None:
        with self.transaction():
            for statement in filter(str.strip, schema.split(";")):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {application_id}")
            self._connection.execute(f"PRAGMA user_version = {version}")

    def _check_version(self, application_id: int, version: int) -> None:
        if self.value("PRAGMA application_id") != application_id:
            raise LedgerError(f"{self.path} is not a campaign ledger; move it out of the campaign folder")
        found = self.value("PRAGMA user_version")
        if found != version:
            raise LedgerError(
                f"{self.path} has schema version {found}, this version of mlasdi reads {version}: "
                "continue with the version that wrote it, or start a campaign with another name"
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:  # an error in this code, for example use after close()
            raise
        except sqlite3.OperationalError as error:  # the environment: permissions, disk full, locked, missing folder
            raise LedgerError(f"cannot use the ledger {self.path}: {error}") from error
        except sqlite3.IntegrityError as error:
            raise LedgerError(f"the ledger {self.path} rejects a record: {error}") from error
        except sqlite3.DatabaseError as error:
            reason = " ".join(str(error).split())  # SQLite's findings have several lines
            raise LedgerError(
                f"the ledger {self.path} is damaged ({reason}): move it aside and run the campaign again; "
                "solutions in the snapshot store are not computed again"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make everything that the body executes one transaction; a nested one becomes part of the outer one."""
        if self._connection.in_transaction:
            with self._errors():
                yield self._connection
            return
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT may have rolled back already; then a second ROLLBACK would hide its error.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def value(self, query: str, values: Sequence[Any] = ()) -> Any:
        """First column of the first row; None if there is no row."""
        rows = self.rows(query, values)
        return rows[0][0] if rows else None


class CampaignLock:
    """Ensures that one agent at a time works on a campaign: `with CampaignLock(folder): ...`.

    The operating system releases the lock when the process that holds it ends, for whatever reason. Beside the file
    `lock`, `lock-holder` names that process; it is a separate file, because locking may empty `lock`.

    Raises:
        LedgerError: another agent, named in the message, works on the campaign.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._lock = FileLock(self.folder / "lock", timeout=0)

    @property
    def _holder(self) -> Path:
        return self.folder / "lock-holder"

    def __enter__(self) -> "CampaignLock":
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            holder = self._holder.read_text(errors="replace").strip() if self._holder.exists() else "another process"
            raise LedgerError(
                f"campaign '{self.folder.name}' is being worked on by {holder}: "
                "wait for it to end, stop it, or choose another campaign name"
            ) from None
        self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
