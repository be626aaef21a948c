"""What the journal says of alarms: so that an agent that was started again still knows them."""

import json
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from sync import schema
from sync.ledger.transaction import from_ms, to_ms

ALARM_KINDS: Final = "alarm"
"""How the kinds of these records begin: alarm.brake, alarm_acknowledged."""
_LOOKED_AT: Final = 10_000
"""Newest records that are looked at: the journal may have millions, and has no index by kind."""


class AlarmRecord(NamedTuple):
    """A journal record about an alarm."""

    at: datetime
    kind: str
    actor: str
    about: str | None
    body: dict[str, Any]


def alarms_since(connection: sa.Connection, since: datetime) -> list[AlarmRecord]:
    """The records about alarms of that time or later, in order, among the newest of the journal."""
    c = schema.journal.c
    newest = sa.select(sa.func.max(c.seq)).scalar_subquery()
    found = connection.execute(
        sa.select(c.at, c.kind, c.actor, c.about, c.body)
        .where(c.seq > newest - _LOOKED_AT, c.at >= to_ms(since), c.kind.startswith(ALARM_KINDS))
        .order_by(c.seq)
    )
    return [AlarmRecord(from_ms(at), kind, actor, about, json.loads(body)) for at, kind, actor, about, body in found]
