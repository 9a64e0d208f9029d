"""The SQLite file under the ledger (opening, checks, transactions, errors that name their remedy) and its lock."""

import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class LedgerError(Exception):
    """The ledger cannot be read or written, or was asked to contradict itself; the message names the remedy."""


class LedgerFile:
    """A SQLite database of known schema, in which everything written is on disk when a transaction ends.

    A rollback journal with full synchronisation survives both kill -9 and a power cut; a write-ahead log would too,
    but needs shared memory, which the network file systems of clusters do not offer.

    Args:
        path: of the file; created with `schema` when absent or empty, unless `read_only`.
        schema: SQL statements.
        application_id: number in SQLite's header that tells our files from others'.
        version: of the schema; a file of another version is refused.

    Raises:
        LedgerError: the file is damaged, not a ledger, of another schema version, or absent when `read_only`.
    """

    def __init__(self, path: Path, schema: str, *, application_id: int, version: int, read_only: bool) -> None:
        self.path = path
        if read_only and not (path.exists() and path.stat().st_size):
            raise LedgerError(f"no ledger at {path}: the campaign has not been started")
        # Readers too open the file writable: after a kill, SQLite must roll back what the writer left half done.
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
                "continue with the version that wrote it, or start a campaign under another name"
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:  # a mistake in our own code, for example use after close()
            raise
        except sqlite3.OperationalError as error:  # the surroundings: permissions, disk full, locked, missing folder
            raise LedgerError(f"cannot use the ledger {self.path}: {error}") from error
        except sqlite3.IntegrityError as error:
            raise LedgerError(f"the ledger {self.path} refuses a record: {error}") from error
        except sqlite3.DatabaseError as error:
            reason = " ".join(str(error).split())  # SQLite's findings have several lines
            raise LedgerError(
                f"the ledger {self.path} is damaged ({reason}): move it aside and run the campaign again; "
                "solutions in the snapshot store are not computed again"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what the body executes on the connection; within another transaction, a part of that."""
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
                # A failed COMMIT may already have rolled back; a second ROLLBACK would hide its error.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def value(self, query: str, values: Sequence[Any] = ()) -> Any:
        """First column of the first row; None when there is no row."""
        rows = self.rows(query, values)
        return rows[0][0] if rows else None


class CampaignLock:
    """Lets one agent at a time work on a campaign: `with CampaignLock(folder): ...`.

    The operating system frees the lock when the process that holds it ends, however it ends; the file that carries
    it stays, because removing it would let two agents hold two files of one name.

    Raises:
        LedgerError: another agent, named in the message, is at work on the campaign.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> "CampaignLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 1000).decode(errors="replace").strip()
            os.close(descriptor)
            raise LedgerError(
                f"campaign '{self.path.parent.name}' is being worked on by {holder or 'another process'}: "
                "wait for it to end, stop it, or choose another campaign name"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._descriptor is not None:
            # Closing alone would leave the lock with a child that was forked just now and has not yet let go of it.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None
