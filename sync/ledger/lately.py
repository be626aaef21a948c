"""What changed lately and by whom: the journal's records of acts that people see on the wall."""

import json
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from sync import schema
from sync.ledger.transaction import from_ms

SHOWN: Final = ("rule.", "order.approve", "order.refuse", "approval.", "clearance.", "node.", "epoch", "bypass")
"""How the kinds of these records begin. What people looked up or revealed is for the auditor, not for the wall."""
LOOKED_AT: Final = 20_000
"""Newest records that are looked at: the journal may have millions, and has no index by kind."""


class Act(NamedTuple):
    """A journal record of something that changed what is in force, or is about to."""

    seq: int
    at: datetime
    kind: str
    actor: str
    about: str | None
    body: dict[str, Any]


def acts(connection: sa.Connection, after: int, limit: int) -> tuple[list[Act], int]:
    """The newest acts behind the record `after`, newest first; and the number of the last record that was looked at."""
    c = schema.journal.c
    last: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(c.seq), 0))).scalar_one()
    found = connection.execute(
        sa.select(c.seq, c.at, c.kind, c.actor, c.about, c.body)
        .where(c.seq > max(after, last - LOOKED_AT), c.seq <= last, sa.or_(*(c.kind.startswith(k) for k in SHOWN)))
        .order_by(c.seq.desc())
        .limit(limit)
    )
    acts = [Act(seq, from_ms(at), kind, actor, about, json.loads(body)) for seq, at, kind, actor, about, body in found]
    return acts, last
