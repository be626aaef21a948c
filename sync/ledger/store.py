"""The ledger's file: opened durable, migrated, and honest about a disk that fails.

SQLite with a write-ahead log and `synchronous=FULL`: a commit returns after its fsync. When a disk refuses a write,
the transaction is rolled back and the caller told. Nothing is tried again on that connection: after a failed fsync the
kernel may have thrown the pages away and call them clean. The next transaction begins on a fresh connection, which
first copies the whole log into the database and syncs that.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from sync.points import reach

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
_BUSY_MS = 5_000


class LedgerError(Exception):
    """The ledger refuses what it was asked. Its text is one line that says why."""


class NotFoundError(LedgerError):
    """There is nothing of this name. Its text names it."""


class LedgerUnavailable(Exception):
    """The ledger can't be written or read now. Nothing of the call may be acknowledged; it may be asked again later."""


class Store:
    """One SQLite connection. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Opens, makes or migrates the file. Raises LedgerError for a newer schema, LedgerUnavailable for the disk."""
        self.path = path
        self._engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)
        self._connection: sa.Connection | None = None
        self._owner = threading.get_ident()
        self._open()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that is durable when the block ends. Raises LedgerUnavailable."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection
            reach("ledger.before_commit")
        reach("ledger.after_commit")

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One view of the ledger that does not change while the block runs. Raises LedgerUnavailable."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close the file. The store opens it again when it is used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        if threading.get_ident() != self._owner:
            raise RuntimeError("the ledger belongs to the thread that opened it")
        connection = self._connection or self._open()
        with self._told():
            connection.exec_driver_sql(begin)
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                if self._connection is not None:
                    _forget_transaction(self._connection)

    def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                self._connection.exec_driver_sql("ROLLBACK")
        except sa.exc.DBAPIError:
            # SQLite has rolled back by itself after the error that brought us here.
            return

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            if not _is_disk(error.orig):
                raise
            self._abandon()
            raise LedgerUnavailable(f"{self.path}: {error.orig}") from error

    def _open(self) -> sa.Connection:
        try:
            self._connection = connection = self._engine.connect()
            _migrate(connection, self.path)
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            _forget_transaction(connection)
        except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
            self._abandon()
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise LedgerUnavailable(f"{self.path}: {cause}") from error
        return connection

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def backup(path: Path, target: Path) -> None:
    """Copy a ledger that is in use, whole, by SQLite's own backup."""
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    copy = sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()


def _connect(path: Path) -> sqlite3.Connection:
    if path.parent.is_dir() and not path.exists():
        # Numbers are personal data. SQLite gives log and shared memory the mode of the database.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=1000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _is_disk(error: object) -> bool:
    # IntegrityError and ProgrammingError are mistakes of ours and must be seen as such.
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _forget_transaction(connection: sa.Connection) -> None:
    # SQLAlchemy keeps a transaction of its own beside ours: the driver is in autocommit, so ending it costs nothing.
    connection.rollback()


def _migrate(connection: sa.Connection, path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    if current == newest:
        return
    if current is not None and not _known(scripts, current):
        raise LedgerError(
            f"{path}: written by a newer Palang (schema {current}); this one knows schemas up to {newest}"
        )
    _in_one_transaction(connection, lambda: command.upgrade(config, "head"))


def _in_one_transaction(connection: sa.Connection, act: Callable[[], Any]) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        act()
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        if (
            connection.connection.driver_connection is not None
            and connection.connection.driver_connection.in_transaction
        ):
            connection.exec_driver_sql("ROLLBACK")
        raise


def _known(scripts: ScriptDirectory, revision: str) -> bool:
    return any(script.revision == revision for script in scripts.walk_revisions())
