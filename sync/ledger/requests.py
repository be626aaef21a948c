"""Requests: acts that wait for a second person. What was asked is kept as it will be done, to the letter.

Nobody decides on what they asked for themselves; all who came by the agent's own socket (`local:…`) are one person
here. What an act does once it is approved stands in the table of acts.py and is done in the same transaction. A request
that nobody decides on lapses; one whose matter has changed meanwhile is withdrawn.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from sync import schema
from sync.journal import canonical
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, from_ms, maybe_time, to_ms
from sync.ledger.views import RequestState, RequestView

Decision = Literal["approve", "refuse"]

_requests = schema.requests
_LOCAL = "local:"


@dataclass(frozen=True)
class Act:
    """One kind of act that may need a second person. `permission` is that of who decides on it.

    `done` does what was asked: it gets the request, who decided and why. `dropped` is called when it was refused,
    withdrawn or lapsed, where that has an effect: it gets the request, the person (or `palang`) and why.
    """

    permission: str
    done: Callable[[Transaction, RequestView, str, str], None]
    dropped: Callable[[Transaction, RequestView, str, str], None] | None = None


Acts = Mapping[str, Act]


def one_person(one: str, other: str) -> bool:
    """Whether two names count as one person: equal ones do, and all local ones."""
    return one.casefold() == other.casefold() or (one.startswith(_LOCAL) and other.startswith(_LOCAL))


def ask(
    tx: Transaction, act: str, about: str, body: dict[str, Any], why: str, author: str, reason: str, until: datetime
) -> RequestView:
    """Keep an act until a second person has decided on it. `why` names the value and limit that make it need one.

    Raises LedgerError when the same is asked for already.
    """
    accountable(author, reason)
    waiting = open_about(tx.connection, act, about)
    if waiting is not None:
        raise LedgerError(f"{waiting.id} asks for this already, by {waiting.author}: a second person decides on it")
    row = {
        "act": act,
        "about": about,
        "body": canonical(body),
        "why": why,
        "author": author,
        "reason": reason,
        "asked_at": tx.now_ms,
        "until": to_ms(until),
        "state": "open",
    }
    number = tx.run(sa.insert(_requests).values(row).returning(_requests.c.id)).scalar_one()
    tx.journal("approval.ask", author, about, {"request": f"a{number}", "act": act, "why": why, "reason": reason})
    return get(tx.connection, f"a{number}")


def decide(tx: Transaction, acts: Acts, request_id: str, decision: Decision, actor: str, reason: str) -> RequestView:
    """Approve or refuse what somebody else asked for; what follows is done in this transaction.

    Raises LedgerError: for its author, for a request that is open no longer, and for what can't be done any more.
    """
    accountable(actor, reason)
    request = _open(tx, request_id)
    if one_person(actor, request.author):
        shared = "; all who use the agent's own socket count as one" if actor.startswith(_LOCAL) else ""
        raise LedgerError(f"{request.id} can't be decided on by its author, {request.author}{shared}")
    act = acts[request.act]
    if decision == "approve":
        _settle(tx, request, "approved", actor, reason)
        act.done(tx, request, actor, reason)
    else:
        _settle(tx, request, "refused", actor, reason)
        if act.dropped is not None:
            act.dropped(tx, request, actor, reason)
    return get(tx.connection, request_id)


def withdraw(tx: Transaction, acts: Acts, request_id: str, actor: str, reason: str) -> RequestView:
    """Take back what one asked for. Raises LedgerError for anybody but its author."""
    accountable(actor, reason)
    request = _open(tx, request_id)
    if not one_person(actor, request.author):
        raise LedgerError(f"{request.id} can be withdrawn by its author only, {request.author}; others refuse it")
    _settle(tx, request, "withdrawn", actor, reason)
    act = acts[request.act]
    if act.dropped is not None:
        act.dropped(tx, request, actor, reason)
    return get(tx.connection, request_id)


def overtake(tx: Transaction, act: str, about: str, actor: str, reason: str) -> None:
    """Withdraw the open request about a matter that another step has changed; nothing else follows."""
    request = open_about(tx.connection, act, about)
    if request is not None:
        _settle(tx, request, "withdrawn", actor, reason)


def lapse(tx: Transaction, acts: Acts) -> int:
    """End the requests whose time is over; the answer is how many there were."""
    c = _requests.c
    due = _views(tx.connection, sa.and_(c.state == "open", c.until <= tx.now_ms), None, 1_000)
    for request in due:
        _settle(tx, request, "lapsed", "palang", "nobody decided on it in time")
        act = acts[request.act]
        if act.dropped is not None:
            act.dropped(tx, request, "palang", f"{request.id} lapsed")
    return len(due)


def next_lapse(connection: sa.Connection) -> int | None:
    """When the next open request lapses (milliseconds)."""
    c = _requests.c
    found: int | None = connection.execute(sa.select(sa.func.min(c.until)).where(c.state == "open")).scalar()
    return found


def get(connection: sa.Connection, request_id: str) -> RequestView:
    """One request. Raises NotFoundError."""
    digits = request_id.removeprefix("a")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"no approval has the id {request_id[:32]!r}; an id looks like a12")
    found = _views(connection, _requests.c.id == int(digits), None, 1)
    if not found:
        raise NotFoundError(f"no approval has the id {request_id}")
    return found[0]


def open_about(connection: sa.Connection, act: str, about: str) -> RequestView | None:
    """The open request for this act on this matter."""
    c = _requests.c
    found = _views(connection, sa.and_(c.act == act, c.about == about, c.state == "open"), None, 1)
    return found[0] if found else None


def listed(
    connection: sa.Connection, state: RequestState | None, about: str | None, after: int | None, limit: int
) -> list[RequestView]:
    """Requests, the newest first, from behind the one numbered `after`."""
    wanted = sa.true() if state is None else _requests.c.state == state
    if about is not None:
        wanted = sa.and_(wanted, _requests.c.about == about)
    return _views(connection, wanted, after, limit)


def accountable(actor: str, reason: str) -> None:
    """Raise LedgerError unless somebody is named and says why."""
    if not actor.strip() or not reason.strip():
        raise LedgerError("a named person and a reason are needed")


def _open(tx: Transaction, request_id: str) -> RequestView:
    request = get(tx.connection, request_id)
    if request.state != "open":
        raise LedgerError(f"{request.id} is {request.state} already, by {request.decided_by}")
    if request.until <= tx.now:
        raise LedgerError(f"{request.id} lapsed at {from_ms(to_ms(request.until)).isoformat()}")
    return request


def _settle(tx: Transaction, request: RequestView, state: RequestState, actor: str, reason: str) -> None:
    values = {"state": state, "decided_by": actor, "decided_at": tx.now_ms, "decision_reason": reason}
    tx.run(sa.update(_requests).where(_requests.c.id == int(request.id[1:])).values(values))
    body = {"request": request.id, "act": request.act, "asked_by": request.author, "reason": reason}
    tx.journal(f"approval.{state}", actor, request.about, body)


def _views(
    connection: sa.Connection, wanted: sa.ColumnElement[bool], after: int | None, limit: int
) -> list[RequestView]:
    c = _requests.c
    if after is not None:
        wanted = sa.and_(wanted, c.id < after)
    rows = connection.execute(sa.select(_requests).where(wanted).order_by(c.id.desc()).limit(limit)).mappings()
    return [
        RequestView(
            id=f"a{row['id']}",
            act=row["act"],
            about=row["about"],
            body=json.loads(row["body"]),
            why=row["why"],
            author=row["author"],
            reason=row["reason"],
            asked_at=from_ms(row["asked_at"]),
            until=from_ms(row["until"]),
            state=row["state"],
            decided_by=row["decided_by"],
            decided_at=maybe_time(row["decided_at"]),
            decision_reason=row["decision_reason"],
        )
        for row in rows
    ]
