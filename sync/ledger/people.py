"""People: who may come in, from the invitation to the day they are disabled. Every act is in the journal.

An invitation is a one-time word; with it a person sets password and second factor (`enrol`, then `confirm`). Until
that is done they can't sign in; inviting somebody again takes password, second factor, sessions and tokens away.
Passwords and words come here as hashes. Who changed a person since the caller looked is told (versions.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from sync import schema
from sync.ledger import sessions, steps, tokens, versions
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, from_ms, maybe_time, to_ms

_people = schema.people

PersonState = Literal["invited", "active", "disabled"]


@dataclass(frozen=True)
class PersonView:
    """A person, without secrets."""

    name: str
    display: str
    roles: tuple[str, ...]
    state: PersonState
    invitation_ends: datetime | None
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    version: int


@dataclass(frozen=True, repr=False)
class Secrets:
    """What a password and a code are held against. `step` is the last time step whose code was used."""

    name: str
    password: str
    totp: str
    step: int


def invite(
    tx: Transaction, name: str, display: str, roles: Sequence[str], word: str, ends: datetime, actor: str, reason: str
) -> PersonView:
    """Add a person who has yet to set password and second factor. Raises LedgerError for a name that is taken."""
    if tx.run(sa.select(_people.c.name).where(_people.c.name == name)).first():
        raise LedgerError(f"there is a person {name}; names are never used again, since the journal has them")
    row = {
        "name": name,
        "display": display,
        "roles": ",".join(sorted(roles)),
        "invitation": word,
        "invitation_ends": to_ms(ends),
        "totp_step": 0,
        "created_at": tx.now_ms,
        "created_by": actor,
        "version": 1,
    }
    tx.run(sa.insert(_people).values(row))
    tx.journal("person.invite", actor, name, {"display": display, "roles": sorted(roles), "reason": reason})
    return get(tx.connection, name)


def invite_again(
    tx: Transaction, name: str, word: str, ends: datetime, actor: str, reason: str, expected: int | None
) -> PersonView:
    """Take password, second factor, sessions and tokens away, and let the person set them anew."""
    person = _changing(tx, name, expected)
    if person.disabled_at:
        raise LedgerError(f"{name} is disabled; enable them first")
    _leave(tx, name, "invited again")
    tx.journal("person.invite", actor, name, {"again": True, "reason": reason})
    blank = {"password": None, "totp": None}
    return _change(tx, person, {**blank, "invitation": word, "invitation_ends": to_ms(ends)})


def set_roles(
    tx: Transaction, name: str, roles: Sequence[str], actor: str, reason: str, expected: int | None
) -> PersonView:
    """Give a person these roles and no others; their sessions end. Nobody changes their own."""
    person = _changing(tx, name, expected, actor)
    body = {"from": list(person.roles), "to": sorted(roles), "reason": reason}
    tx.journal("person.roles", actor, name, body)
    sessions.end_all(tx, name, "roles changed")
    return _change(tx, person, {"roles": ",".join(sorted(roles))})


def disable(tx: Transaction, name: str, actor: str, reason: str, expected: int | None) -> PersonView:
    """Keep a person out from this moment; sessions and tokens end. Nobody disables themselves."""
    person = _changing(tx, name, expected, actor)
    if person.disabled_at:
        raise LedgerError(f"{name} is disabled already")
    tx.journal("person.disable", actor, name, {"reason": reason})
    _leave(tx, name, "disabled")
    return _change(tx, person, {"disabled_at": tx.now_ms, "invitation": None, "invitation_ends": None})


def enable(tx: Transaction, name: str, actor: str, reason: str, expected: int | None) -> PersonView:
    """Let a person in again; what ended stays ended."""
    person = _changing(tx, name, expected, actor)
    if person.disabled_at is None:
        raise LedgerError(f"{name} is not disabled")
    tx.journal("person.enable", actor, name, {"reason": reason})
    return _change(tx, person, {"disabled_at": None})


def invited(connection: sa.Connection, word: str, now_ms: int) -> str | None:
    """Whose invitation this is, while it holds."""
    found = sa.select(_people.c.name).where(
        _people.c.invitation == word, _people.c.invitation_ends > now_ms, _people.c.disabled_at.is_(None)
    )
    name: str | None = connection.execute(found).scalar()
    return name


def enrol(tx: Transaction, word: str, password: str, totp: str) -> PersonView:
    """Keep the password's hash and the second factor's key until the person confirms with a code; may be repeated."""
    person = get(tx.connection, _invited(tx, word))
    return _change(tx, person, {"password": password, "totp": totp, "totp_step": 0})


def enrolling(connection: sa.Connection, word: str, now_ms: int) -> Secrets | None:
    """What the code that confirms an enrolment is held against."""
    name = invited(connection, word, now_ms)
    return None if name is None else _secrets(connection, _people.c.name == name)


def confirm(tx: Transaction, word: str, step: int) -> PersonView:
    """The person has shown a code: the invitation is used up, they may sign in."""
    name = _invited(tx, word)
    steps.use(tx, name, step)
    tx.journal("person.enrol", name, name, {})
    return _change(tx, get(tx.connection, name), {"invitation": None, "invitation_ends": None})


def set_password(tx: Transaction, name: str, password: str, step: int) -> PersonView:
    """Replace a person's own password; all their sessions end."""
    steps.use(tx, name, step)
    tx.journal("person.password", name, name, {})
    sessions.end_all(tx, name, "password changed")
    return _change(tx, get(tx.connection, name), {"password": password})


def secrets(connection: sa.Connection, name: str) -> Secrets | None:
    """What signing in is held against; None for who can't: unknown, disabled, or not yet enrolled."""
    may = sa.and_(_people.c.name == name, _people.c.invitation.is_(None), _people.c.disabled_at.is_(None))
    return _secrets(connection, may)


def get(connection: sa.Connection, name: str) -> PersonView:
    """One person. Raises NotFoundError."""
    row = connection.execute(sa.select(_people).where(_people.c.name == name)).mappings().first()
    if row is None:
        raise NotFoundError("there is no person of this name")
    return _view(row)


def listed(connection: sa.Connection, after: str, limit: int) -> list[PersonView]:
    """People in the order of their names, from behind `after`."""
    rows = connection.execute(sa.select(_people).where(_people.c.name > after).order_by(_people.c.name).limit(limit))
    return [_view(row) for row in rows.mappings()]


def _secrets(connection: sa.Connection, which: sa.ColumnElement[bool]) -> Secrets | None:
    c = _people.c
    row = connection.execute(sa.select(c.name, c.password, c.totp, c.totp_step).where(which)).first()
    return None if row is None or row[1] is None or row[2] is None else Secrets(*row)


def _invited(tx: Transaction, word: str) -> str:
    name = invited(tx.connection, word, tx.now_ms)
    if name is None:
        raise NotFoundError("this invitation is unknown, used or has ended; ask for a new one")
    return name


def _changing(tx: Transaction, name: str, expected: int | None, actor: str | None = None) -> PersonView:
    person = get(tx.connection, name)
    versions.check(name, person.version, expected)
    if actor == name:
        raise LedgerError("nobody decides on their own access; another admin has to")
    return person


def _change(tx: Transaction, person: PersonView, values: dict[str, Any]) -> PersonView:
    tx.run(sa.update(_people).where(_people.c.name == person.name).values(**values, version=person.version + 1))
    return get(tx.connection, person.name)


def _leave(tx: Transaction, name: str, why: str) -> None:
    sessions.end_all(tx, name, why)
    tokens.end_all(tx, name, why)


def _view(row: sa.RowMapping) -> PersonView:
    enrolled = row["password"] is not None and row["totp"] is not None and row["invitation"] is None
    return PersonView(
        name=row["name"],
        display=row["display"],
        roles=tuple(filter(None, row["roles"].split(","))),
        state="disabled" if row["disabled_at"] is not None else "active" if enrolled else "invited",
        invitation_ends=maybe_time(row["invitation_ends"]),
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
        disabled_at=maybe_time(row["disabled_at"]),
        version=row["version"],
    )
