"""Proofs: which orders wait for one, and what a proof does to its order.

The agent asks the nodes and judges; the ledger keeps what they said only while the order still waits, and only if
each node stood at the order's revision or later. While a subject of it is held, an order is at most partly in force.
"""

from collections import defaultdict
from typing import Literal

import sqlalchemy as sa

from sync import schema
from sync.contract import Coverage, Proof
from sync.ledger import life
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction, chunks, from_ms, maybe_time
from sync.ledger.views import AwaitingProof
from sync.order_life import AWAITING_PROOF, Event, State

ProofVerdict = Literal["in_force", "in_force_partial", "lifted", "still_blocked_by"]

_EVENTS = {
    "in_force": Event.PROVED,
    "in_force_partial": Event.PROVED_PARTLY,
    "lifted": Event.PASSES,
    "still_blocked_by": Event.CAUGHT,
}
_orders, _subjects = schema.orders, schema.order_subjects


def awaiting(connection: sa.Connection, limit: int) -> list[AwaitingProof]:
    """The orders that wait for a proof, the nearest deadline first."""
    rows = (
        connection.execute(
            sa.select(_orders)
            .where(_orders.c.state.in_(AWAITING_PROOF), _orders.c.n.is_not(None))
            .order_by(_orders.c.deadline, _orders.c.serial)
            .limit(limit)
        )
        .mappings()
        .all()
    )
    subjects: defaultdict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    c = _subjects.c
    for some in chunks(row["id"] for row in rows):
        found = connection.execute(
            sa.select(c.order_id, c.state, c.subject)
            .where(c.order_id.in_(some), c.state.in_(("active", "held")))
            .order_by(c.order_id, c.position)
        )
        for order, state, subject in found:
            subjects[order][state].append(subject)
    return [
        AwaitingProof(
            order=row["id"],
            kind=row["kind"],
            state=State(row["state"]),
            subjects=tuple(subjects[row["id"]]["active"]),
            epoch=row["epoch"],
            n=row["n"],
            received_at=from_ms(row["received_at"]),
            deadline=from_ms(row["deadline"]),
            held=len(subjects[row["id"]]["held"]),
            partial_since=maybe_time(row["partial_at"]),
        )
        for row in rows
    ]


def record(tx: Transaction, order: str, verdict: ProofVerdict, stated: Proof, covered: Coverage) -> State:
    """Keep a proof and move its order; the answer is the state that it is in now.

    A proof that comes too late for its order, or from before its revision, changes nothing. Raises LedgerError for a
    verdict of the other kind of order.
    """
    row = life.row(tx, order)
    state = State(row["state"])
    if (verdict in ("in_force", "in_force_partial")) != (row["kind"] == "block"):
        raise LedgerError(f"order {order} is to {row['kind']}; a proof can't find it {verdict}")
    if state not in AWAITING_PROOF or too_old(row, stated):
        return state
    held = life.counts(tx, order).get("held", 0)
    event = _EVENTS[verdict]
    if event is Event.PROVED and held:
        event = Event.PROVED_PARTLY
    body = {"verdict": verdict, "held": held, "proof": stated.model_dump(mode="json", exclude_none=True)}
    after = life.move(tx, order, event, proof=stated, coverage=covered)
    if after is not state:
        tx.journal("proof", "palang", order, body)
    return after


def too_old(row: sa.RowMapping, proof: Proof) -> bool:
    """Whether a node stood before the revision of this order or clearance."""
    needed = (row["epoch"], row["n"])
    return any(tuple(int(part) for part in node.revision.split(".")) < needed for node in proof.nodes)
