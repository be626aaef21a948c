"""Approvals: a named person decides on what the gate held of an order; for what would hurt most, two persons do.

Which findings need two stands in the settings (gate.second_person). Refusing takes one.
"""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.ledger import life, requests, taking
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction
from sync.ledger.views import RequestView
from sync.order_life import Event, State

ACT: Final = "order.approve"

_subjects = schema.order_subjects


def approve(tx: Transaction, order: str, actor: str, reason: str) -> RequestView | None:
    """Apply the held subjects, or ask a second person to; the answer is what waits then.

    Raises LedgerError when nothing is held or nobody is named.
    """
    held = _held(tx, order, actor, reason)
    why = _why_two(tx, order)
    if why is not None:
        until = tx.now + timedelta(hours=tx.house.settings.second_person_hours)
        return requests.ask(tx, ACT, order, {"subjects": held}, why, actor, reason, until)
    _note(tx, order, "approve", actor, reason)
    tx.journal("order.approve", actor, order, {"reason": reason, "subjects": held})
    _apply(tx, order)
    return None


def countersigned(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """Apply what two persons have approved. Raises LedgerError when nothing is held any more."""
    order = request.about
    held = _held(tx, order, actor, reason)
    _note(tx, order, "approve", request.author, request.reason)
    _note(tx, order, "approve", actor, reason)
    tx.journal("order.approve", actor, order, {"reason": reason, "subjects": held, "asked_by": request.author})
    _apply(tx, order)


def refuse(tx: Transaction, order: str, actor: str, reason: str) -> None:
    """Refuse the held subjects; an order that was held whole is refused with them. Raises LedgerError."""
    held = _held(tx, order, actor, reason)
    _note(tx, order, "refuse", actor, reason)
    tx.journal("order.refuse", actor, order, {"reason": reason, "subjects": held})
    requests.overtake(tx, ACT, order, actor, "what was held is refused")
    _settle(tx, order, "refused", Code.REFUSED_BY_OPERATOR, reason)
    if State(life.row(tx, order)["state"]) is State.HELD:
        life.move(tx, order, Event.REFUSE, code=Code.REFUSED_BY_OPERATOR, detail=reason)
    else:
        life.move(tx, order, Event.REFUSE_REST)


def _apply(tx: Transaction, order: str) -> None:
    _settle(tx, order, "clear", None, None)
    taking.decide(tx, order)


def _held(tx: Transaction, order: str, actor: str, reason: str) -> int:
    requests.accountable(actor, reason)
    state = life.row(tx, order)["state"]
    held = life.counts(tx, order).get("held", 0)
    if not held:
        raise LedgerError(f"order {order} is {state}; nothing of it is held")
    return held


def _why_two(tx: Transaction, order: str) -> str | None:
    """The first finding of the held subjects that needs two persons, and how many there are."""
    c = _subjects.c
    needed = tx.house.gate.settings.second_person
    rows = tx.run(
        sa.select(c.code, sa.func.count(), sa.func.min(c.detail))
        .where(c.order_id == order, c.state == "held", c.code.in_(needed))
        .group_by(c.code)
        .order_by(c.code)
    ).all()
    if not rows:
        return None
    code, count, detail = rows[0]
    return f"{code} ({count} of its subjects; gate.second_person): {detail}"


def _note(tx: Transaction, order: str, decision: str, actor: str, reason: str) -> None:
    row = {"order_id": order, "decision": decision, "actor": actor, "reason": reason, "at": tx.now_ms}
    tx.run(sa.insert(schema.approvals).values(row))


def _settle(tx: Transaction, order: str, state: str, code: Code | None, detail: str | None) -> None:
    c = _subjects.c
    tx.run(
        sa.update(_subjects).where(c.order_id == order, c.state == "held").values(state=state, code=code, detail=detail)
    )
