"""Reading and verifying a journal from outside: the live one beside its agent, or a copy. Nothing of it is written.

Each question opens a connection of its own, in whatever thread asks, and reads one unchanging view: a long walk through
a million records neither waits for the ledger's thread nor holds it up.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from sync import schema
from sync.journal import Checkpoint
from sync.jws import Keyring
from sync.ledger import stories
from sync.ledger.store import LedgerError
from sync.ledger.transaction import to_ms
from sync.ledger.views import JournalView, Verification

_journal = schema.journal


@dataclass(frozen=True)
class Filter:
    """Which records: all that are given have to fit. Times are aware; `since` belongs to it, `until` does not."""

    kind: str | None = None
    actor: str | None = None
    about: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def indexed(self) -> bool:
        """Whether something narrows the search besides the time."""
        return (self.kind, self.actor, self.about) != (None, None, None)


def verify_file(
    path: Path,
    signers: Keyring,
    regulator: Keyring | None = None,
    elsewhere: Sequence[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda checked, of: None,
) -> Verification:
    """Walk the whole journal of the ledger at `path`; `signers` are the keys that may have signed checkpoints.

    With `regulator` the signature of each kept order is verified again; `elsewhere` are checkpoints that were kept off
    this machine, which show a tail that was cut with everything that told of it here. Raises LedgerError when it is no
    ledger.
    """
    with _reading(path) as connection:
        return stories.verify(connection, signers, regulator, elsewhere, progress)


def newest(path: Path, wanted: Filter, limit: int, after: int | None) -> list[JournalView]:
    """The newest records that fit, from behind (older than) the record `after`. Raises LedgerError."""
    where = _where(wanted)
    if after is not None:
        where.append(_journal.c.seq < after)
    ask = sa.select(_journal).where(*where).order_by(_journal.c.seq.desc()).limit(limit)
    with _reading(path) as connection:
        return [stories.journal_view(row) for row in connection.execute(ask).mappings()]


def onward(path: Path, wanted: Filter, after: int, last: int, limit: int) -> list[JournalView]:
    """Records that fit, in order, behind `after` and up to `last`. Raises LedgerError."""
    where = [*_where(wanted), _journal.c.seq > after, _journal.c.seq <= last]
    ask = sa.select(_journal).where(*where).order_by(_journal.c.seq).limit(limit)
    with _reading(path) as connection:
        return [stories.journal_view(row) for row in connection.execute(ask).mappings()]


def kinds(path: Path) -> list[str]:
    """Every kind of record that the journal has, in the order of the alphabet: one look into the index for each."""
    found: list[str] = []
    with _reading(path) as connection:
        while True:
            ask = sa.select(sa.func.min(_journal.c.kind))
            next_kind = connection.execute(ask.where(_journal.c.kind > found[-1]) if found else ask).scalar()
            if next_kind is None:
                return found
            found.append(next_kind)


def _where(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    c = _journal.c
    exact = ((c.kind, wanted.kind), (c.actor, wanted.actor), (c.about, wanted.about))
    where: list[sa.ColumnElement[bool]] = [column == value for column, value in exact if value is not None]
    # Beside another filter the time is only compared: an index of its own would have to be sorted by number again.
    at = c.at + 0 if wanted.indexed else c.at
    if wanted.since is not None:
        where.append(at >= to_ms(wanted.since))
    if wanted.until is not None:
        where.append(at < to_ms(wanted.until))
    return where


@contextmanager
def _reading(path: Path) -> Iterator[sa.Connection]:
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger")
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # one view throughout, however much is written meanwhile
            yield connection
    except sa.exc.DBAPIError as error:
        raise LedgerError(f"{path}: {error.orig}") from None


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
