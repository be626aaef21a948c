"""Approvals: a named person decides on what the gate held of an order."""

import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.ledger import life, taking
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction
from sync.order_life import Event, State

_subjects = schema.order_subjects


def approve(tx: Transaction, order: str, actor: str, reason: str) -> None:
    """Apply the held subjects. Raises LedgerError when nothing is held or nobody is named."""
    _decide(tx, order, "approve", actor, reason)
    _settle(tx, order, "clear", None, None)
    taking.decide(tx, order)


def refuse(tx: Transaction, order: str, actor: str, reason: str) -> None:
    """Refuse the held subjects; an order that was held whole is refused with them. Raises LedgerError."""
    _decide(tx, order, "refuse", actor, reason)
    _settle(tx, order, "refused", Code.REFUSED_BY_OPERATOR, reason)
    if State(life.row(tx, order)["state"]) is State.HELD:
        life.move(tx, order, Event.REFUSE, code=Code.REFUSED_BY_OPERATOR, detail=reason)
    else:
        life.move(tx, order, Event.REFUSE_REST)


def _decide(tx: Transaction, order: str, decision: str, actor: str, reason: str) -> None:
    if not actor.strip() or not reason.strip():
        raise LedgerError("a named person and a reason are needed")
    state = life.row(tx, order)["state"]
    held = life.counts(tx, order).get("held", 0)
    if not held:
        raise LedgerError(f"order {order} is {state}; nothing of it is held")
    row = {"order_id": order, "decision": decision, "actor": actor, "reason": reason, "at": tx.now_ms}
    tx.run(sa.insert(schema.approvals).values(row))
    tx.journal(f"order.{decision}", actor, order, {"reason": reason, "subjects": held})


def _settle(tx: Transaction, order: str, state: str, code: Code | None, detail: str | None) -> None:
    c = _subjects.c
    tx.run(
        sa.update(_subjects).where(c.order_id == order, c.state == "held").values(state=state, code=code, detail=detail)
    )
