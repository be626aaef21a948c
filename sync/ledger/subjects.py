"""Which order rules a subject: for each subject the highest serial does, in whatever sequence the orders came.

An order's subject is `clear` (through the gate, not yet applied), `active`, `held`, `refused`, `superseded` (opposed by
an order with a higher serial) or `ended` (its order's own time has come, or a clearance lifted it). Only what is
neither held nor refused counts: a held order rules nothing until it is approved, and then takes the place that its
serial gives it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.ledger import life, rules
from sync.ledger.revisions import publish
from sync.ledger.transaction import Transaction, chunks
from sync.order_life import Event, State

_orders, _subjects, _rules = schema.orders, schema.order_subjects, schema.rules
_COUNTING = ("active", "superseded", "ended")
_ID: sa.BindParameter[str] = sa.bindparam("order_id")
_mine, _other = _subjects.alias("mine"), _subjects.alias("other")
# Built once: building a statement costs more than running it.
_CLEAR = sa.select(_subjects.c.subject, _subjects.c.position).where(
    _subjects.c.order_id == _ID, _subjects.c.state == "clear"
)
_OTHERS = (
    sa.select(_other.c.subject, _other.c.order_id, _other.c.position, _other.c.serial, _orders.c.kind, _other.c.state)
    .select_from(
        _mine.join(_other, sa.and_(_other.c.subject == _mine.c.subject, _other.c.order_id != _mine.c.order_id)).join(
            _orders, _orders.c.id == _other.c.order_id
        )
    )
    .where(_mine.c.order_id == _ID, _mine.c.state == "clear", _other.c.state.in_(_COUNTING))
)


@dataclass(frozen=True)
class _Other:
    """Another order's claim on a subject."""

    order: str
    position: int
    serial: int
    kind: str
    state: str


def activate(tx: Transaction, order: str) -> None:
    """Apply the order's clear subjects as far as its serial lets it rule them, and publish."""
    this = life.row(tx, order)
    clear = _clear(tx, order)
    others = _others(tx, order)
    ruled = [s for s in clear if not any(o.serial > this["serial"] for o in others[s])]
    beaten = [s for s in clear if _beaten(this["serial"], this["kind"], others[s])]
    _settle(tx, order, {clear[s]: _winner(this["serial"], others[s]) for s in beaten})
    pushed = [o for s in ruled for o in others[s] if o.kind != this["kind"] and o.state == "active"]
    _supersede(tx, pushed, this["serial"])
    ended = _end_order_rules(tx, (s for s in ruled if others[s]), f"ruled by order {order}, serial {this['serial']}")
    if this["kind"] == "block":
        _make_rules(tx, this, ruled)
    publish(tx, ruled if this["kind"] == "block" else ended)
    life.place(tx, order)
    _finish_superseded(tx, [order, *dict.fromkeys(o.order for o in pushed)])


def end_due(tx: Transaction) -> int:
    """Expire the orders whose own end has come, and publish; the answer is how many rules ended."""
    states = (State.HELD, State.APPLYING, State.IN_FORCE, State.IN_FORCE_PARTIAL, State.CLOSED)
    due = tx.run(
        sa.select(_orders.c.id)
        .where(_orders.c.until <= tx.now_ms, _orders.c.state.in_(states))
        .order_by(_orders.c.serial)
    )
    return sum(end(tx, order) for order in due.scalars().all())


def end(tx: Transaction, order: str) -> int:
    """Expire one order: its rules end, and with them the lower orders that said the same of these subjects."""
    c = _subjects.c
    mine = tx.run(
        sa.select(_rules.c.id, _rules.c.subject).where(_rules.c.order_id == order, _rules.c.ended_at.is_(None))
    ).all()
    if State(life.row(tx, order)["state"]) is State.CLOSED and not mine:
        # A later order took its place; the regulator was told all there is.
        tx.run(sa.update(_orders).where(_orders.c.id == order).values(until=None))
        return 0
    rules.end(tx, [number for number, _ in mine], "expired")
    subjects = [subject for _, subject in mine]
    below = [
        (found.order_id, found.position)
        for some in chunks(subjects)
        for found in tx.run(
            sa.select(c.order_id, c.position).where(c.subject.in_(some), c.state == "active", c.order_id != order)
        )
    ]
    tx.run(
        sa.update(_subjects)
        .where(c.order_id == order, c.state.in_(("active", "held", "clear")))
        .values(state="ended", code=None, detail=None)
    )
    _mark(tx, below, "ended", None, None)
    publish(tx, subjects)
    for ended in (order, *dict.fromkeys(found for found, _ in below)):
        left = life.counts(tx, ended)
        if not left.get("active") and not left.get("held"):
            life.place(tx, ended)
            life.move(tx, ended, Event.END)
    return len(mine)


def release(tx: Transaction, subject: str, why: str) -> list[str]:
    """End what orders say of exactly this subject, by a clearance; the orders, lowest serial first.

    Publishing, and then `finish_released`, are the caller's. To a lower serial that comes late the subject stays ended;
    a higher one blocks it again.
    """
    c = _subjects.c
    active = (
        sa.select(c.order_id, c.position)
        .join(_orders, _orders.c.id == c.order_id)
        .where(c.subject == subject, c.state == "active", _orders.c.kind == "block")
        .order_by(c.serial)
    )
    places = [(found.order_id, found.position) for found in tx.run(active)]
    _end_order_rules(tx, [subject], why)
    _mark(tx, places, "ended", Code.CLEARED, why)
    return [order for order, _ in places]


def finish_released(tx: Transaction, orders: Iterable[str], why: str) -> None:
    """Clear those of the orders that block nothing any more."""
    for order in orders:
        left = life.counts(tx, order)
        if not left.get("active") and not left.get("held"):
            life.place(tx, order)
            life.move(tx, order, Event.CLEAR, code=Code.CLEARED, detail=why)


def _clear(tx: Transaction, order: str) -> dict[str, int]:
    return {subject: position for subject, position in tx.run(_CLEAR, {"order_id": order})}  # noqa: C416


def _others(tx: Transaction, order: str) -> defaultdict[str, list[_Other]]:
    found: defaultdict[str, list[_Other]] = defaultdict(list)
    for subject, *claim in tx.run(_OTHERS, {"order_id": order}):
        found[subject].append(_Other(*claim))
    return found


def _beaten(serial: int, kind: str, others: list[_Other]) -> bool:
    """Whether a later order undid this one: it said the opposite, or it said the same and has ended."""
    higher = [o for o in others if o.serial > serial]
    if any(o.kind != kind for o in higher):
        return True
    return bool(higher) and max(higher, key=lambda o: o.serial).state == "ended"


def _winner(serial: int, others: list[_Other]) -> int:
    return max(o.serial for o in others if o.serial > serial)


def _settle(tx: Transaction, order: str, beaten: dict[int, int]) -> None:
    c = _subjects.c
    for position, serial in beaten.items():
        _mark(tx, [(order, position)], "superseded", Code.SUPERSEDED, _said(serial))
    tx.run(sa.update(_subjects).where(c.order_id == order, c.state == "clear").values(state="active"))


def _supersede(tx: Transaction, pushed: list[_Other], serial: int) -> None:
    _mark(tx, [(o.order, o.position) for o in pushed], "superseded", Code.SUPERSEDED, _said(serial))


def _said(serial: int) -> str:
    return f"the order with serial {serial} rules this subject"


def _mark(
    tx: Transaction,
    places: Iterable[tuple[str, int]],
    state: str,
    code: Code | None,
    detail: str | None,
) -> None:
    rows = [{"o": order, "p": position} for order, position in places]
    if rows:
        c = _subjects.c
        statement = sa.update(_subjects).where(c.order_id == sa.bindparam("o"), c.position == sa.bindparam("p"))
        tx.run(statement.values(state=state, code=code, detail=detail), rows)


def _finish_superseded(tx: Transaction, orders: Iterable[str]) -> None:
    for order in orders:
        left = life.counts(tx, order)
        if left.get("active") or left.get("held") or not left.get("superseded"):
            continue
        told = State(life.row(tx, order)["state"]) in (
            State.IN_FORCE,
            State.LIFTED,
            State.REFUSED,
            State.CLOSED,
            State.EXPIRED,
        )
        # What was told stays told; only an order that still waits for its proof ends here.
        code, detail = (None, None) if told else (Code.SUPERSEDED, "an order with a higher serial rules its subjects")
        life.move(tx, order, Event.SUPERSEDE, code=code, detail=detail)


def _end_order_rules(tx: Transaction, subjects: Iterable[str], why: str) -> list[str]:
    c = _rules.c
    ended: list[str] = []
    for some in chunks(subjects):
        rows = tx.run(
            sa.select(c.id, c.subject).where(c.subject.in_(some), c.authority == "order", c.ended_at.is_(None))
        ).all()
        rules.end(tx, [number for number, _ in rows], why)
        ended.extend(subject for _, subject in rows)
    return ended


def _make_rules(tx: Transaction, order: sa.RowMapping, subjects: list[str]) -> None:
    common = {
        "authority": "order",
        "action": "reject",
        "mode": "enforce",
        "kinds": "both",
        "trunks": "",
        "expires_at": order["until"],
        "origin": "order",
        "order_id": order["id"],
        "ticket": order["ticket"],
        "reason": order["legal_basis"],
        "actor": order["office"],
        "created_at": tx.now_ms,
    }
    numbers = rules.new_ids(tx, len(subjects))
    rows = ((number, subject, *common.values()) for number, subject in zip(numbers, subjects, strict=True))
    tx.insert_many(_rules, ("id", "subject", *common), rows)
