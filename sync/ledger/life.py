"""An order's steps: the table of sync/order_life.py, carried out in the transaction of its cause."""

from typing import Any, cast

import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.contract import Coverage, Proof, Status
from sync.ledger import confirmations
from sync.ledger.store import NotFoundError
from sync.ledger.transaction import Transaction
from sync.order_life import Effect, Event, State, step

_orders, _subjects = schema.orders, schema.order_subjects
_ID: sa.BindParameter[str] = sa.bindparam("order_id")
# Built once: building a statement costs more than running it.
_ROW = sa.select(_orders).where(_orders.c.id == _ID)
_COUNTS = sa.select(_subjects.c.state, sa.func.count()).where(_subjects.c.order_id == _ID).group_by(_subjects.c.state)


def row(tx: Transaction, order: str) -> sa.RowMapping:
    """The stored order. Raises LedgerError when there is none of that id."""
    found = tx.run(_ROW, {"order_id": order}).mappings().first()
    if found is None:
        raise NotFoundError(f"no order has the id {order}")
    return found


def move(
    tx: Transaction,
    order: str,
    event: Event,
    *,
    code: Code | None = None,
    detail: str | None = None,
    proof: Proof | None = None,
    coverage: Coverage | None = None,
) -> State:
    """Take the event: store the next state and queue its confirmation. Rules are published by the caller.

    Raises IllegalEventError, and the transaction with it.
    """
    before = row(tx, order)
    state = State(before["state"])
    after, effects = step(state, event)
    if after is not state or code is not None:
        values: dict[str, Any] = {"state": after, "code": code, "detail": detail, **_times(tx, before, state, after)}
        tx.run(sa.update(_orders).where(_orders.c.id == order).values(values))
        body = {"event": event, "from": state, "to": after, "code": code}
        tx.journal("order.state", "palang", order, {key: value for key, value in body.items() if value is not None})
    if Effect.CONFIRM in effects:
        # The states that are confirmed bear the names of the contract's statuses; a test holds them together.
        confirmations.queue(tx, row(tx, order), cast(Status, after.value), proof=proof, coverage=coverage)
    return after


def place(tx: Transaction, order: str) -> None:
    """Write into the order the revision that carries its change."""
    tx.run(sa.update(_orders).where(_orders.c.id == order).values(epoch=tx.head.epoch, n=tx.head.n))


def counts(tx: Transaction, order: str) -> dict[str, int]:
    """The order's subjects by state."""
    return {state: count for state, count in tx.run(_COUNTS, {"order_id": order})}  # noqa: C416  (SQLAlchemy rows)


def _times(tx: Transaction, before: sa.RowMapping, state: State, after: State) -> dict[str, int | None]:
    if after is state:
        return {}
    match after:
        case State.APPLYING:
            return {"effective_at": None, "partial_at": None}
        case State.IN_FORCE | State.LIFTED:
            return {"effective_at": tx.now_ms}
        case State.IN_FORCE_PARTIAL:
            return {"partial_at": before["partial_at"] or tx.now_ms}
        case State.CLOSED | State.REFUSED | State.EXPIRED | State.CLEARED:
            return {"closed_at": before["closed_at"] or tx.now_ms}
        case _:
            return {}
