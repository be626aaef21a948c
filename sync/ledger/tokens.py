"""Tokens: how a person's programs come in. A token never opens more than its person may at that moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sync import schema
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, from_ms, maybe_time, to_ms

_tokens, _people = schema.tokens, schema.people

_MOST = 20
"""Live tokens of one person."""


@dataclass(frozen=True)
class TokenView:
    """A token, without its secret."""

    id: int
    person: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class TokenHolder:
    """A token that holds, and its person's roles as they are now."""

    token: TokenView
    roles: tuple[str, ...]


def make(
    tx: Transaction, person: str, name: str, secret: str, scopes: Sequence[str], expires: datetime, actor: str
) -> TokenView:
    """Give a person a token; `secret` is its SHA-256. Raises LedgerError for one who may not come in."""
    active = sa.select(_people.c.name).where(_people.c.name == person, _people.c.disabled_at.is_(None))
    if tx.run(active).first() is None:
        raise NotFoundError("there is no such person who may come in")
    live = sa.select(sa.func.count()).where(
        _tokens.c.person == person, _tokens.c.ended_at.is_(None), _tokens.c.expires_at > tx.now_ms
    )
    if tx.run(live).scalar_one() >= _MOST:
        raise LedgerError(f"{person} has {_MOST} tokens, and that is the most; end one first")
    row = {"person": person, "name": name, "secret": secret, "scopes": ",".join(sorted(scopes))}
    made = tx.run(
        sa.insert(_tokens).values(**row, created_at=tx.now_ms, expires_at=to_ms(expires)).returning(_tokens.c.id)
    ).scalar_one()
    body = {"token": made, "name": name, "scopes": sorted(scopes), "expires_at": to_ms(expires)}
    tx.journal("token.make", actor, person, body)
    return _get(tx, made)


def find(connection: sa.Connection, secret: str, now: datetime) -> TokenHolder | None:
    """The token of this SHA-256, unless it has ended or its person may not come in."""
    statement = (
        sa.select(_tokens, _people.c.roles)
        .join(_people, _people.c.name == _tokens.c.person)
        .where(
            _tokens.c.secret == secret,
            _tokens.c.ended_at.is_(None),
            _tokens.c.expires_at > to_ms(now),
            _people.c.disabled_at.is_(None),
        )
    )
    row = connection.execute(statement).mappings().first()
    return None if row is None else TokenHolder(_view(row), tuple(filter(None, row["roles"].split(","))))


def used(tx: Transaction, token: int) -> None:
    """Note that the token is in use."""
    tx.run(sa.update(_tokens).where(_tokens.c.id == token).values(used_at=tx.now_ms))


def end(tx: Transaction, token: int, actor: str, owner: str | None) -> TokenView:
    """End a token; with `owner`, only one of theirs. Raises NotFoundError, also for another's."""
    view = _get(tx, token)
    if owner not in (None, view.person) or view.ended_at is not None:
        raise NotFoundError("there is no such token")
    tx.run(sa.update(_tokens).where(_tokens.c.id == token).values(ended_at=tx.now_ms))
    tx.journal("token.end", actor, view.person, {"token": token, "name": view.name})
    return _get(tx, token)


def end_all(tx: Transaction, person: str, why: str) -> None:
    """End every token of a person."""
    ended = tx.run(
        sa.update(_tokens)
        .where(_tokens.c.person == person, _tokens.c.ended_at.is_(None))
        .values(ended_at=tx.now_ms)
        .returning(_tokens.c.id)
    )
    for (token,) in ended.all():
        tx.journal("token.end", "palang", person, {"token": token, "why": why})


def listed(connection: sa.Connection, person: str | None, after: int | None, limit: int) -> list[TokenView]:
    """Live tokens, the newest first, from behind the one numbered `after`; with `person` only theirs."""
    wanted: list[sa.ColumnElement[bool]] = [_tokens.c.ended_at.is_(None)]
    if person is not None:
        wanted.append(_tokens.c.person == person)
    if after is not None:
        wanted.append(_tokens.c.id < after)
    rows = connection.execute(sa.select(_tokens).where(*wanted).order_by(_tokens.c.id.desc()).limit(limit))
    return [_view(row) for row in rows.mappings()]


def _get(tx: Transaction, token: int) -> TokenView:
    row = tx.run(sa.select(_tokens).where(_tokens.c.id == token)).mappings().first()
    if row is None:
        raise NotFoundError("there is no such token")
    return _view(row)


def _view(row: sa.RowMapping | Any) -> TokenView:
    return TokenView(
        id=row["id"],
        person=row["person"],
        name=row["name"],
        scopes=tuple(filter(None, row["scopes"].split(","))),
        created_at=from_ms(row["created_at"]),
        expires_at=from_ms(row["expires_at"]),
        used_at=maybe_time(row["used_at"]),
        ended_at=maybe_time(row["ended_at"]),
    )
