"""Sessions: who is signed in. A session lives here, on the server, so that it ends when it is ended.

Its id is the SHA-256 of the cookie: who reads the ledger can't come in with what they read.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from sync import schema
from sync.ledger import steps
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, from_ms, maybe_time, to_ms

_sessions, _people = schema.sessions, schema.people

_KEPT_MS = 86_400_000  # an ended session's row is of no more use; the journal has its story


@dataclass(frozen=True, repr=False)
class SessionView:
    """A session that holds, and its person's roles as they are now."""

    id: str
    person: str
    display: str
    roles: tuple[str, ...]
    csrf: str
    created_at: datetime
    seen_at: datetime
    ends_at: datetime
    stepped_up_until: datetime | None


def begin(
    tx: Transaction, person: str, session: str, csrf: str, ends: datetime, step: int, address: str | None
) -> SessionView:
    """Sign a person in. Raises LedgerError when the code was used, or the person disabled or invited, meanwhile."""
    steps.use(tx, person, step)
    if tx.run(sa.select(_people.c.invitation).where(_people.c.name == person)).scalar_one() is not None:
        raise LedgerError(f"{person} has to enrol first")
    gone = tx.now_ms - _KEPT_MS
    tx.run(sa.delete(_sessions).where(sa.or_(_sessions.c.ended_at < gone, _sessions.c.ends_at < gone)))
    row = {"id": session, "person": person, "csrf": csrf, "created_at": tx.now_ms, "seen_at": tx.now_ms}
    tx.run(sa.insert(_sessions).values({**row, "ends_at": to_ms(ends)}))
    tx.journal("session.begin", person, person, {} if address is None else {"address": address})
    return _live(tx, session)


def find(connection: sa.Connection, session: str, now: datetime, idle: timedelta) -> SessionView | None:
    """The session, unless it has ended, was idle for longer than `idle`, or its person may not come in."""
    now_ms = to_ms(now)
    statement = _select().where(
        _sessions.c.id == session,
        _sessions.c.ended_at.is_(None),
        _sessions.c.ends_at > now_ms,
        _sessions.c.seen_at > now_ms - round(idle.total_seconds() * 1000),
        _people.c.disabled_at.is_(None),
    )
    row = connection.execute(statement).mappings().first()
    return None if row is None else _view(row)


def seen(tx: Transaction, session: str) -> None:
    """Note that the session is in use."""
    tx.run(sa.update(_sessions).where(_sessions.c.id == session).values(seen_at=tx.now_ms))


def step_up(tx: Transaction, session: str, step: int, until: datetime) -> SessionView:
    """Note that the person has shown the second factor again. Raises LedgerError for a step that was used."""
    person = _live(tx, session).person
    steps.use(tx, person, step)
    tx.run(sa.update(_sessions).where(_sessions.c.id == session).values(stepped_up_until=to_ms(until)))
    tx.journal("session.step_up", person, person, {})
    return _live(tx, session)


def end(tx: Transaction, session: str, why: str) -> None:
    """End one session."""
    _end(tx, _sessions.c.id == session, why)


def end_all(tx: Transaction, person: str, why: str) -> None:
    """End every session of a person."""
    _end(tx, _sessions.c.person == person, why)


def _end(tx: Transaction, which: sa.ColumnElement[bool], why: str) -> None:
    ended = tx.run(
        sa.update(_sessions)
        .where(which, _sessions.c.ended_at.is_(None))
        .values(ended_at=tx.now_ms)
        .returning(_sessions.c.person)
    )
    for (person,) in ended.all():
        tx.journal("session.end", person, person, {"why": why})


def _live(tx: Transaction, session: str) -> SessionView:
    row = tx.run(_select().where(_sessions.c.id == session, _sessions.c.ended_at.is_(None))).mappings().first()
    if row is None:
        raise NotFoundError("this session has ended")
    return _view(row)


def _select() -> sa.Select[Any]:
    return sa.select(_sessions, _people.c.display, _people.c.roles).join(_people, _people.c.name == _sessions.c.person)


def _view(row: sa.RowMapping) -> SessionView:
    return SessionView(
        id=row["id"],
        person=row["person"],
        display=row["display"],
        roles=tuple(filter(None, row["roles"].split(","))),
        csrf=row["csrf"],
        created_at=from_ms(row["created_at"]),
        seen_at=from_ms(row["seen_at"]),
        ends_at=from_ms(row["ends_at"]),
        stepped_up_until=maybe_time(row["stepped_up_until"]),
    )
