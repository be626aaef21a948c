"""Reveals: a masked number shown to one person, in one session, for a moment, with the journal's record before it.

The transaction that makes a reveal is durable before anything of it is shown. Its row says where the number stands
(`about`, `position`), never the number: who reads the journal or the list of reveals learns none.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from sip_filter.number import Number
from sync import schema
from sync.ledger import requests
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, from_ms, to_ms
from sync.ledger.views import RequestView
from sync.reveal import Earlier, Unusual, history, judge
from sync.settings_reveal import RevealSettings

ACT: Final = "reveal.more"

_reveals, _requests = schema.reveals, schema.requests
_DAY = timedelta(days=1)
_ABOUT = re.compile(r"([rc])([1-9][0-9]{0,9})", re.ASCII)


@dataclass(frozen=True)
class Asked:
    """What a person asks to see, and why. `about` is an order's id, r17 or c3, `position` the place in an order."""

    about: str
    position: int
    code: str
    reason: str
    ticket: str


@dataclass(frozen=True)
class RevealView:
    """One reveal, without its number."""

    id: int
    person: str
    at: datetime
    about: str
    position: int
    code: str
    reason: str
    ticket: str
    ends_at: datetime
    unusual: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A reveal that can be read now, with its number; `text` is canonical, or what an order named instead of one."""

    reveal: RevealView
    text: str


@dataclass(frozen=True)
class Revealed:
    """What came of asking: a reveal and what is unusual about it, or the request that waits for a second person."""

    reveal: RevealView | None
    unusual: tuple[Unusual, ...] = ()
    waits: RequestView | None = None


def reveal(tx: Transaction, asked: Asked, person: str, session: str, settings: RevealSettings) -> Revealed:
    """Record a reveal; it can be read once this transaction is durable. An earlier one of the person ends with it.

    Above a quota a second person is asked first; who was agreed with asks the same again and gets it, once. Raises
    NotFoundError, and LedgerError for a code that is none and for what is not masked.
    """
    if asked.code not in settings.codes:
        raise LedgerError(f"the code is none of {', '.join(settings.codes)} (reveal.codes)")
    text = _text(tx.connection, asked.about, asked.position)
    judged = judge(_earlier(tx, person, settings), text.removeprefix("+"), tx.now, settings)
    request = None
    if judged.too_many is not None:
        request = _agreed(tx, asked, person, settings)
        if request is None:
            until = tx.now + timedelta(hours=tx.house.settings.second_person_hours)
            body = {"position": asked.position, "code": asked.code, "ticket": asked.ticket}
            return Revealed(
                None, waits=requests.ask(tx, ACT, asked.about, body, judged.too_many, person, asked.reason, until)
            )
    tx.run(
        sa.update(_reveals).where(_reveals.c.person == person, _reveals.c.ends_at > tx.now_ms).values(ends_at=tx.now_ms)
    )
    row = {
        "person": person,
        "session": session,
        "at": tx.now_ms,
        **vars(asked),
        "ends_at": tx.now_ms + settings.seconds * 1000,
        "unusual": ",".join(one.kind for one in judged.unusual),
        "request": request,
    }
    made = tx.run(sa.insert(_reveals).values(row)).inserted_primary_key
    assert made is not None
    body = {**vars(asked), "reveal": made[0], "seconds": settings.seconds, "unusual": row["unusual"]}
    del body["about"]
    tx.journal("number.reveal", person, asked.about, body)
    return Revealed(_view(tx.connection, made[0]), judged.unusual)


def agreed(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """Nothing follows by itself: its author makes the reveal within reveal.approved_s, and it is recorded then."""


def shown(connection: sa.Connection, reveal_id: int, person: str, session: str, now_ms: int) -> Shown | None:
    """What a reveal shows to the session that made it; None when its time is over. Raises NotFoundError for others."""
    c = _reveals.c
    mine = connection.execute(
        sa.select(c.ends_at).where(c.id == reveal_id, c.person == person, c.session == session)
    ).scalar()
    if mine is None:
        raise NotFoundError("no reveal of this session has that id")
    if now_ms >= mine:
        return None
    view = _view(connection, reveal_id)
    return Shown(view, _text(connection, view.about, view.position))


def listed(connection: sa.Connection, person: str | None, limit: int, after: int | None) -> list[RevealView]:
    """Reveals, the newest first, of one person or of all, from behind the reveal numbered `after`."""
    c = _reveals.c
    wanted = [c.person == person] if person is not None else []
    if after is not None:
        wanted.append(c.id < after)
    rows = connection.execute(sa.select(_reveals).where(*wanted).order_by(c.id.desc()).limit(limit))
    return [_of(row) for row in rows.mappings()]


def _earlier(tx: Transaction, person: str, settings: RevealSettings) -> list[Earlier]:
    """The person's reveals as far back as the judge looks; numbers only of those that it compares."""
    c = _reveals.c
    rows = tx.connection.execute(
        sa.select(c.at, c.about, c.position).where(c.person == person, c.at > to_ms(tx.now - history(settings)))
    ).all()
    found = []
    for at, about, position in rows:
        recent = from_ms(at) > tx.now - _DAY
        found.append(Earlier(from_ms(at), _digits(tx.connection, about, position) if recent else ""))
    return found


def _agreed(tx: Transaction, asked: Asked, person: str, settings: RevealSettings) -> int | None:
    """The request by which a second person agreed to exactly this reveal a while ago, not used before."""
    c = _requests.c
    used = sa.select(_reveals.c.request).where(_reveals.c.request.is_not(None))
    found: int | None = tx.connection.execute(
        sa.select(c.id)
        .where(
            c.act == ACT,
            c.about == asked.about,
            c.author == person,
            c.state == "approved",
            c.decided_at > tx.now_ms - settings.approved_s * 1000,
            sa.func.json_extract(c.body, "$.position") == asked.position,
            c.id.not_in(used),
        )
        .order_by(c.id)
        .limit(1)
    ).scalar()
    return found


def _digits(connection: sa.Connection, about: str, position: int) -> str:
    try:
        return _text(connection, about, position).removeprefix("+")
    except LedgerError:  # what was revealed then is not there any more
        return ""


def _text(connection: sa.Connection, about: str, position: int) -> str:
    """The subject that stands there. Raises NotFoundError, and LedgerError for a prefix, which nobody masks."""
    subject = connection.execute(_where(about, position)).scalar()
    if subject is None:
        raise NotFoundError("nothing stands there")
    text = str(subject)
    if text.endswith("*"):
        raise LedgerError("a prefix is shown as it is; there is nothing to reveal")
    return str(Number.parse(text)) if _is_number(text) else text


def _where(about: str, position: int) -> sa.Select[tuple[str]]:
    short = _ABOUT.fullmatch(about)
    if short is None:
        c = schema.order_subjects.c
        return sa.select(c.subject).where(c.order_id == about, c.position == position)
    table = schema.rules if short[1] == "r" else schema.clearances
    return sa.select(table.c.subject).where(table.c.id == int(short[2]), sa.literal(position) == 0)


def _is_number(text: str) -> bool:
    try:
        Number.parse(text)
    except ValueError:
        return False
    return True


def _view(connection: sa.Connection, reveal_id: int) -> RevealView:
    return _of(connection.execute(sa.select(_reveals).where(_reveals.c.id == reveal_id)).mappings().one())


def _of(row: sa.RowMapping) -> RevealView:
    return RevealView(
        id=row["id"],
        person=row["person"],
        at=from_ms(row["at"]),
        about=row["about"],
        position=row["position"],
        code=row["code"],
        reason=row["reason"],
        ticket=row["ticket"],
        ends_at=from_ms(row["ends_at"]),
        unusual=tuple(filter(None, row["unusual"].split(","))),
    )
