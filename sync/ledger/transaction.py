"""One transaction's company: the connection, the moment, the counters in `head`, and the journal records to write.

Counters are read once at the start and written once at the end, journal records go in together, so that a batch of
many orders costs one commit and few statements.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

from sync import schema
from sync.gate import Gate
from sync.journal import link, sign_checkpoint
from sync.jws import Signer
from sync.ledger.store import Store
from sync.settings import LedgerSettings

T = TypeVar("T")
_CHUNK = 500  # values in one IN: well below SQLite's limit of variables


@dataclass
class Counters:
    """The row of `head`."""

    epoch: int
    n: int
    digest: str
    entries: int
    fence: int
    last_rule: int
    last_serial: int
    last_confirmation: int
    journal_seq: int
    journal_hash: str
    checkpoint_seq: int
    feed_at: int | None
    refused_messages: int
    hits_cursor: str | None


@dataclass(frozen=True)
class House:
    """What every transaction of one ledger shares."""

    store: Store
    gate: Gate
    operator: str
    signer: Signer
    settings: LedgerSettings

    @contextmanager
    def change(self, now: datetime) -> Iterator["Transaction"]:
        """A transaction that is committed and durable when the block ends."""
        with self.store.write() as connection:
            transaction = Transaction(self, connection, now)
            yield transaction
            transaction.finish()


class Transaction:
    """A change of the ledger under way."""

    def __init__(self, house: House, connection: sa.Connection, now: datetime) -> None:
        self.house = house
        self.connection = connection
        self.now = now.astimezone(UTC)
        self.now_ms = to_ms(now)
        self.head = read_head(connection)
        self._before = vars(self.head).copy()
        self._records: list[dict[str, Any]] = []
        self._checkpoint = False
        self.rules_ended = False

    def journal(self, kind: str, actor: str, about: str | None, body: Mapping[str, Any]) -> int:
        """Add a record to the journal; the answer is its number."""
        head = self.head
        record = link(head.journal_seq + 1, self.now_ms, kind, actor, about, dict(body), head.journal_hash)
        row = vars(record).copy()
        row["at"] = row.pop("at_ms")
        self._records.append(row)
        head.journal_seq, head.journal_hash = record.seq, record.hash
        return record.seq

    def checkpoint(self) -> None:
        """Have the chain's end signed when this transaction ends."""
        self._checkpoint = True

    def finish(self) -> None:
        """Write what was gathered: journal, checkpoint, counters."""
        if self._records:
            self.connection.execute(sa.insert(schema.journal), self._records)
        since = self.head.journal_seq - self.head.checkpoint_seq
        if since and (self._checkpoint or since >= self.house.settings.checkpoint_records):
            self._write_checkpoint()
        changed = {name: value for name, value in vars(self.head).items() if self._before[name] != value}
        if changed:
            self.connection.execute(sa.update(schema.head).values(changed))

    def run(
        self, statement: sa.Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        """Execute a statement, with the values of its parameters, or once for each of many rows."""
        return self.connection.execute(statement, values)

    def insert_many(
        self, table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]], how: str = ""
    ) -> None:
        """Insert many rows, given as values in the order of `columns`, past the cost of a dictionary for each row."""
        statement = sa.insert(table)
        if how:
            statement = statement.prefix_with(how)
        compiled = statement.compile(dialect=self.connection.dialect, column_keys=list(columns))
        places = [columns.index(name) for name in compiled.positiontup or ()]
        values = [itemgetter(*places)(row) for row in rows]
        if values:
            self.connection.exec_driver_sql(str(compiled), values)

    def _write_checkpoint(self) -> None:
        head = self.head
        jws = sign_checkpoint(self.house.signer, self.house.operator, head.journal_seq, head.journal_hash, self.now_ms)
        row = {"seq": head.journal_seq, "hash": head.journal_hash, "jws": jws}
        self.connection.execute(sa.insert(schema.checkpoints).values(row))
        head.checkpoint_seq = head.journal_seq


def read_head(connection: sa.Connection) -> Counters:
    """The counters as they stand."""
    row = connection.execute(sa.select(*(schema.head.c[field.name] for field in fields(Counters)))).one()
    return Counters(*row)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of a stored time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def maybe_ms(moment: datetime | None) -> int | None:
    """As `to_ms`, for a time that may be absent."""
    return None if moment is None else to_ms(moment)


def maybe_time(ms: int | None) -> datetime | None:
    """As `from_ms`, for a time that may be absent."""
    return None if ms is None else from_ms(ms)


def chunks(values: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """The values in lists of at most `size`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
