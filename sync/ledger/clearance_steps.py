"""A clearance's row: made, found, and moved through the steps of sync/clearance_life.py, each of them journalled."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sync import schema
from sync.clearance_life import UNSETTLED, Effect, Event, State, step
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, to_ms
from sync.ledger.views import ClearanceKind
from sync.life import IllegalEventError

_clearances = schema.clearances


def insert(tx: Transaction, kind: ClearanceKind, subject: str, reason: str, actor: str, deadline: datetime) -> str:
    """Open one; its id. Raises LedgerError when the reason holds the number."""
    check_without_the_number(subject, reason)
    row = {
        "kind": kind,
        "subject": subject,
        "state": State.NEW,
        "opened_at": tx.now_ms,
        "opened_by": actor,
        "reason": reason,
        "deadline": to_ms(deadline),
    }
    number = tx.run(sa.insert(_clearances).values(row).returning(_clearances.c.id)).scalar_one()
    tx.journal("clearance.open", actor, f"c{number}", {"kind": kind, "subject": subject, "reason": reason})
    return f"c{number}"


def row(connection: sa.Connection, clearance: str) -> sa.RowMapping:
    """One clearance's row. Raises NotFoundError."""
    digits = clearance.removeprefix("c")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"no clearance has the id {clearance[:32]!r}; an id looks like c3")
    found = connection.execute(sa.select(_clearances).where(_clearances.c.id == int(digits))).mappings().first()
    if found is None:
        raise NotFoundError(f"no clearance has the id {clearance}")
    return found


def move(tx: Transaction, row: sa.RowMapping, event: Event) -> tuple[State, frozenset[Effect]]:
    """Take an event; the state afterwards, and what has to follow. Raises LedgerError for one that can't come now."""
    before = State(row["state"])
    try:
        after, effects = step(before, event)
    except IllegalEventError as error:
        raise LedgerError(f"clearance c{row['id']}: {error}") from None
    if after is not before:
        values: dict[str, Any] = {"state": after}
        if after not in UNSETTLED and after is not State.LIFTED:
            values["closed_at"] = tx.now_ms
        set_values(tx, f"c{row['id']}", **values)
        body = {"event": event, "from": before, "to": after}
        tx.journal("clearance.state", "palang", f"c{row['id']}", body)
    return after, effects


def set_values(tx: Transaction, clearance: str, **values: Any) -> None:
    """Set columns of a clearance."""
    tx.run(sa.update(_clearances).where(_clearances.c.id == int(clearance[1:])).values(**values))


def check_without_the_number(subject: str, *texts: str) -> None:
    """Raises LedgerError: people's texts stand unmasked in more places than numbers do."""
    end = subject[-7:]
    if any(end in "".join(c for c in text if c.isdigit()) for text in texts):
        raise LedgerError("reason and reference must not hold the number; the clearance knows it, and masks it")
