"""Rules whose end is near: what a shift hands over, by the index of ends."""

import sqlalchemy as sa

from sync import schema
from sync.ledger import rules
from sync.ledger.views import RuleView


def ending(connection: sa.Connection, until_ms: int, limit: int) -> list[RuleView]:
    """The live rules that end until then, the next first."""
    c = schema.rules.c
    due = sa.select(c.id).where(c.ended_at.is_(None), c.expires_at.is_not(None), c.expires_at <= until_ms)
    found = connection.execute(due.order_by(c.expires_at).limit(limit)).scalars().all()
    return [rules.get(connection, f"r{number}") for number in found]
