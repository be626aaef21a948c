"""The stand-in's books: tickets, messages, confirmations and receipts in one SQLite file.

Every public method is one transaction, committed and synced (WAL, synchronous=FULL) before it returns, unless
`together` makes one of several. One thread uses it. Times go in as aware UTC datetimes and lie in milliseconds.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sync.contract import Confirmation

_SCHEMA: Final = """
CREATE TABLE tickets (
    number INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, category TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'ordered', 'closed')),
    opened_ms INTEGER NOT NULL, ordered_ms INTEGER, closed_ms INTEGER
) STRICT;
CREATE TABLE messages (
    serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL CHECK (type IN ('order', 'advisory')),
    kind TEXT, ticket TEXT REFERENCES tickets (ref), subjects TEXT NOT NULL, count INTEGER NOT NULL,
    body BLOB NOT NULL, created_ms INTEGER NOT NULL, due_ms INTEGER, sent_ms INTEGER, times INTEGER NOT NULL DEFAULT 0,
    status TEXT, code TEXT, told_ms INTEGER,
    confirmed_ms INTEGER, effective_ms INTEGER, done_ms INTEGER, receipted_ms INTEGER
) STRICT;
CREATE INDEX messages_by_ticket ON messages (ticket);
CREATE INDEX messages_due ON messages (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE confirmations (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, order_id TEXT, ticket TEXT, status TEXT NOT NULL,
    content TEXT NOT NULL, arrived_ms INTEGER NOT NULL, copies INTEGER NOT NULL DEFAULT 1,
    receipt BLOB NOT NULL, receipt_due INTEGER NOT NULL DEFAULT 1, receipts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX confirmations_by_order ON confirmations (order_id);
CREATE INDEX receipts_due ON confirmations (number) WHERE receipt_due;
CREATE TABLE raws (number INTEGER PRIMARY KEY, body BLOB NOT NULL, due INTEGER NOT NULL DEFAULT 1) STRICT;
CREATE TABLE rejects (
    number INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, code TEXT NOT NULL, arrived_ms INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 1;
"""

_DONE: Final = {"block": "in_force", "unblock": "lifted"}


class StateError(Exception):
    """The books can't do what was asked: the text names the value."""


@dataclass(frozen=True)
class Draft:
    """A signed message, ready for the books."""

    id: str
    body: bytes


@dataclass(frozen=True)
class Due:
    """Something to publish: a message, a receipt or raw bytes, by its own number there."""

    table: str
    number: int
    body: bytes


class State:
    """The stand-in's books."""

    def __init__(self, path: Path, reference: str) -> None:
        """Open or make the file. Raises StateError when it is of another version."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.row_factory = sqlite3.Row
        self._reference = reference
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            self._db.execute(f"PRAGMA {pragma}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, 1):
            raise StateError(f"{path} is of version {version}; this program reads version 1")
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

    def close(self) -> None:
        self._db.close()

    def open_ticket(self, subject: str, category: str | None, now: datetime) -> dict[str, Any]:
        """A new ticket about one subject."""
        with self._transaction():
            return self._ticket(self._open_ticket(subject, category, now))

    def queue_order(
        self,
        kind: str,
        subjects: Sequence[str],
        ticket: str | None,
        category: str | None,
        now: datetime,
        sign: Callable[[int, str, str | None], Draft],
    ) -> dict[str, Any]:
        """A new order, durable and due; `sign` gets serial, ticket and category. Without a ticket one is opened."""
        with self._transaction():
            ref = ticket or self._open_ticket(subjects[0], category, now)
            category = self._ticket(ref)["category"] if category is None else category
            self._db.execute(
                "UPDATE tickets SET state='ordered', ordered_ms=coalesce(ordered_ms, ?), closed_ms=NULL WHERE ref=?",
                (_ms(now), ref),
            )
            return self._queue("order", kind, ref, subjects, now, lambda serial: sign(serial, ref, category))

    def queue_advisory(self, prefix: str, now: datetime, sign: Callable[[int], Draft]) -> dict[str, Any]:
        """A new advisory, durable and due."""
        with self._transaction():
            return self._queue("advisory", None, None, [prefix], now, sign)

    def queue_raw(self, body: bytes) -> None:
        """Bytes to publish as they are."""
        with self._transaction():
            self._db.execute("INSERT INTO raws (body) VALUES (?)", (body,))

    def due(self, now: datetime, limit: int) -> list[Due]:
        """What is to be published: receipts first, then raw bytes, then messages by serial."""
        found = [
            *(
                Due("confirmations", row[0], row[1])
                for row in self._select(
                    "SELECT number, receipt FROM confirmations WHERE receipt_due ORDER BY number LIMIT ?", limit
                )
            ),
            *(
                Due("raws", row[0], row[1])
                for row in self._select("SELECT number, body FROM raws WHERE due ORDER BY number LIMIT ?", limit)
            ),
            *(
                Due("messages", row[0], row[1])
                for row in self._select(
                    "SELECT serial, body FROM messages WHERE due_ms <= ? ORDER BY serial LIMIT ?", _ms(now), limit
                )
            ),
        ]
        return found[:limit]

    def next_due(self) -> datetime | None:
        """When the next message is due that is not due for another reason."""
        first = self._db.execute("SELECT min(due_ms) FROM messages WHERE due_ms IS NOT NULL").fetchone()[0]
        return None if first is None else datetime.fromtimestamp(first / 1000, UTC)

    def published(self, accepted: Sequence[Due], now: datetime, again: Callable[[int], float]) -> None:
        """The broker accepted these. `again` says after how many seconds an unconfirmed order goes out once more."""
        with self._transaction():
            for item in accepted:
                if item.table == "confirmations":
                    self._receipt_sent(item.number, now)
                elif item.table == "raws":
                    self._db.execute("UPDATE raws SET due=0 WHERE number=?", (item.number,))
                else:
                    self._message_sent(item.number, now, again)

    def postponed(self, items: Sequence[Due], until: datetime) -> None:
        """The broker took these but has no session to give them to: they stay due, later."""
        with self._transaction():
            for item in items:
                if item.table == "messages":
                    self._db.execute("UPDATE messages SET due_ms=? WHERE serial=?", (_ms(until), item.number))

    def confirm(self, confirmation: Confirmation, now: datetime, sign: Callable[[], bytes]) -> bool:
        """Record a verified confirmation, its effect and its due receipt; False when it was known already."""
        with self._transaction():
            known = self._db.execute(
                "UPDATE confirmations SET copies=copies+1, receipt_due=1 WHERE id=?", (str(confirmation.id),)
            )
            if known.rowcount:
                return False
            self._db.execute(
                "INSERT INTO confirmations (id, order_id, ticket, status, content, arrived_ms, receipt)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    str(confirmation.id),
                    _text(confirmation.order),
                    confirmation.ticket,
                    str(confirmation.status),
                    confirmation.model_dump_json(),
                    _ms(now),
                    sign(),
                ),
            )
            if confirmation.order is not None:
                self._apply(confirmation, now)
            return True

    def resend(self, ranges: Sequence[tuple[int, int]], now: datetime) -> int:
        """Make the messages of these serials due again; how many there are."""
        with self._transaction():
            return sum(
                self._db.execute(
                    "UPDATE messages SET due_ms=? WHERE serial BETWEEN ? AND ?",
                    # A serial is at most 2^63-1 in SQLite; what lies beyond was never issued.
                    (_ms(now), min(first, 2**63 - 1), min(last, 2**63 - 1)),
                ).rowcount
                for first, last in ranges
            )

    def reject(self, sha256: str, code: str, now: datetime) -> None:
        """Record a message that is no authentic confirmation."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO rejects (sha256, code, arrived_ms) VALUES (?, ?, ?)", (sha256, code, _ms(now))
            )

    def tickets(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest tickets first."""
        return [_row(row) for row in self._select("SELECT * FROM tickets ORDER BY number DESC LIMIT ?", limit)]

    def story(self, ref: str) -> dict[str, Any]:
        """One ticket with its orders, and each order's confirmations. Raises StateError when there is none."""
        ticket = self._ticket(ref)
        orders = []
        for row in self._select("SELECT * FROM messages WHERE ticket=? ORDER BY serial", ref):
            order = _message(row)
            order["confirmations"] = self.confirmations(order["id"])
            orders.append(order)
        return {**ticket, "orders": orders}

    def messages(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Orders and advisories with a serial above `after`."""
        return [
            _message(row)
            for row in self._select("SELECT * FROM messages WHERE serial > ? ORDER BY serial LIMIT ?", after, limit)
        ]

    def confirmations(self, order: str | None = None, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Verified confirmations in the order of their arrival, of one order or of all."""
        rows = self._select(
            "SELECT * FROM confirmations WHERE number > ? AND (? IS NULL OR order_id = ?) ORDER BY number LIMIT ?",
            *(after, order, order, limit),
        )
        return [
            {
                "number": row["number"],
                "arrived_at": _iso(row["arrived_ms"]),
                "copies": row["copies"],
                "receipts": row["receipts"],
                **json.loads(row["content"]),
            }
            for row in rows
        ]

    def rejects(self) -> list[dict[str, Any]]:
        """What came up and was no authentic confirmation."""
        return [_row(row) for row in self._select("SELECT * FROM rejects ORDER BY number DESC LIMIT 1000")]

    def body(self, serial: int) -> bytes:
        """The signed bytes of one message. Raises StateError when the serial was never issued."""
        for row in self._select("SELECT body FROM messages WHERE serial=?", serial):
            return bytes(row[0])
        raise StateError(f"serial {serial} was never issued")

    def counts(self) -> dict[str, int]:
        """How much there is, and how much of it still has to leave."""
        names = ("tickets", "closed", "messages", "unsent", "confirmations", "receipts_due", "rejects")
        row = self._db.execute(
            "SELECT (SELECT count(*) FROM tickets), (SELECT count(*) FROM tickets WHERE state='closed'),"
            " (SELECT count(*) FROM messages), (SELECT count(*) FROM messages WHERE sent_ms IS NULL),"
            " (SELECT count(*) FROM confirmations), (SELECT count(*) FROM confirmations WHERE receipt_due),"
            " (SELECT count(*) FROM rejects)"
        ).fetchone()
        return dict(zip(names, row, strict=True))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make what is done inside one transaction: one sync of the disk for a whole batch."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _select(self, query: str, *values: object) -> list[sqlite3.Row]:
        return self._db.execute(query, values).fetchall()

    def _open_ticket(self, subject: str, category: str | None, now: datetime) -> str:
        number = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM tickets").fetchone()[0]
        ref = f"{self._reference}-{now.year}-{number:06d}"
        self._db.execute(
            "INSERT INTO tickets (number, ref, subject, category, state, opened_ms) VALUES (?, ?, ?, ?, 'open', ?)",
            (number, ref, subject, category, _ms(now)),
        )
        return ref

    def _ticket(self, ref: str) -> dict[str, Any]:
        for row in self._select("SELECT * FROM tickets WHERE ref=?", ref):
            return _row(row)
        raise StateError(f"no ticket {ref}")

    def _queue(
        self,
        type_: str,
        kind: str | None,
        ticket: str | None,
        subjects: Sequence[str],
        now: datetime,
        sign: Callable[[int], Draft],
    ) -> dict[str, Any]:
        serial = self._db.execute("SELECT coalesce(max(serial), 0) + 1 FROM messages").fetchone()[0]
        draft = sign(serial)
        self._db.execute(
            "INSERT INTO messages (serial, id, type, kind, ticket, subjects, count, body, created_ms, due_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                serial,
                draft.id,
                type_,
                kind,
                ticket,
                json.dumps(subjects),
                len(subjects),
                draft.body,
                _ms(now),
                _ms(now),
            ),
        )
        return _message(self._select("SELECT * FROM messages WHERE serial=?", serial)[0])

    def _message_sent(self, serial: int, now: datetime, again: Callable[[int], float]) -> None:
        row = self._select("SELECT type, confirmed_ms, times FROM messages WHERE serial=?", serial)[0]
        # A lost message at the end of the sequence makes no gap that the operator could see: an order without any
        # confirmation goes out again, since a broker that crashes may lose what it acknowledged.
        waits = row["type"] == "order" and row["confirmed_ms"] is None
        due = _ms(now) + int(1000 * again(row["times"])) if waits else None
        self._db.execute(
            "UPDATE messages SET sent_ms=coalesce(sent_ms, ?), times=times+1, due_ms=? WHERE serial=?",
            (_ms(now), due, serial),
        )

    def _receipt_sent(self, number: int, now: datetime) -> None:
        self._db.execute("UPDATE confirmations SET receipt_due=0, receipts=receipts+1 WHERE number=?", (number,))
        self._db.execute(
            "UPDATE messages SET receipted_ms=? WHERE receipted_ms IS NULL AND done_ms IS NOT NULL"
            " AND id=(SELECT order_id FROM confirmations WHERE number=?)",
            (_ms(now), number),
        )

    def _apply(self, confirmation: Confirmation, now: datetime) -> None:
        order = str(confirmation.order)
        rows = self._select("SELECT serial, kind, ticket, told_ms FROM messages WHERE id=? AND type='order'", order)
        if not rows:
            return  # authentic, but not about an order of ours: recorded and receipted, nothing more
        serial, kind, ticket, told_ms = rows[0]
        status = str(confirmation.status)
        cleared = confirmation.clearance
        if cleared is not None and cleared.left:
            return  # it is told in the ticket's story; the rest of the order stays in force, and is confirmed as such
        wanted = _DONE[kind] if cleared is None else "lifted"
        done = status == wanted and confirmation.proof is not None
        # An order that a later one has overtaken has nothing left to wait for.
        over = done or (status == "refused" and str(confirmation.code) == "superseded")
        effective = confirmation.effective_at
        self._db.execute(
            "UPDATE messages SET confirmed_ms=coalesce(confirmed_ms, ?), due_ms=NULL,"
            " effective_ms=CASE WHEN ? THEN coalesce(effective_ms, ?) ELSE effective_ms END,"
            " done_ms=CASE WHEN ? THEN coalesce(done_ms, ?) ELSE done_ms END WHERE serial=?",
            (
                _ms(now),
                *(done and cleared is None, None if effective is None else _ms(effective)),
                *(over, _ms(now), serial),
            ),
        )
        if told_ms is None or _ms(confirmation.issued_at) >= told_ms:  # one that was delayed does not overwrite
            self._db.execute(
                "UPDATE messages SET status=?, code=?, told_ms=? WHERE serial=?",
                (status, _text(confirmation.code), _ms(confirmation.issued_at), serial),
            )
        self._db.execute(
            "UPDATE tickets SET state='closed', closed_ms=? WHERE ref=? AND state<>'closed'"
            " AND NOT EXISTS (SELECT 1 FROM messages WHERE ticket=? AND done_ms IS NULL)",
            (_ms(now), ticket, ticket),
        )


def _message(row: sqlite3.Row) -> dict[str, Any]:
    """A message as the API shows it; of a long list the first ten subjects. Durations run from its creation."""
    shown = _row(row)
    del shown["body"]
    shown["subjects"] = json.loads(row["subjects"])[:10]
    for name in ("effective", "confirmed", "done", "receipted"):
        at = row[f"{name}_ms"]
        shown[f"{name}_after_s"] = None if at is None else (at - row["created_ms"]) / 1000
    return shown


def _row(row: sqlite3.Row) -> dict[str, Any]:
    """A row with its times written as RFC 3339 instead of milliseconds."""
    return {
        (name.removesuffix("_ms") + "_at" if name.endswith("_ms") else name): (
            _iso(row[name]) if name.endswith("_ms") else row[name]
        )
        for name in row.keys()  # noqa: SIM118  # a Row iterates over values
    }


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _iso(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
