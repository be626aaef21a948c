"""Replies: a request that is sent twice under one key is done once; the second gets what the first was told.

The key is taken in a transaction before the act, so that a request that was cut off is never done again by itself.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import sqlalchemy as sa

from sync import schema
from sync.ledger.transaction import Transaction

KEPT = timedelta(hours=24)

_replies = schema.replies


@dataclass(frozen=True)
class Reply:
    """What is known of a key. `body` is None where the reply was told once and not kept."""

    state: Literal["new", "cut_off", "done", "other"]
    status: int | None = None
    body: str | None = None


def take(tx: Transaction, actor: str, key: str, request: str) -> Reply:
    """Take a key for a request (SHA-256 of what it asks), or say what came of the first that used it."""
    tx.run(sa.delete(_replies).where(_replies.c.at < tx.now_ms - round(KEPT.total_seconds() * 1000)))
    c = _replies.c
    row = tx.run(sa.select(c.request, c.status, c.body).where(c.actor == actor, c.key == key)).first()
    if row is None:
        tx.run(sa.insert(_replies).values(actor=actor, key=key, request=request, at=tx.now_ms))
        return Reply("new")
    if row[0] != request:
        return Reply("other")
    return Reply("cut_off") if row[1] is None else Reply("done", row[1], row[2])


def keep(tx: Transaction, actor: str, key: str, status: int, body: str | None) -> None:
    """Keep what the request was told."""
    tx.run(sa.update(_replies).where(_key(actor, key)).values(status=status, body=body))


def forget(tx: Transaction, actor: str, key: str) -> None:
    """Give a key back: nothing was done under it."""
    tx.run(sa.delete(_replies).where(_key(actor, key)))


def _key(actor: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(_replies.c.actor == actor, _replies.c.key == key)
