"""Taking: what one reading from the regulator does to the ledger. Runs inside the batch's one transaction.

Every message leaves a journal record. Age never refuses an authentic order; ids and serials do: known with the same
content it is a duplicate and harmless, known with other content it is a replay.
"""

import hashlib

import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.contract import Advisory, Down, Order, Receipt
from sync.gate import Checked, Finding, Recent
from sync.intake import KEPT_BYTES, Reading, Refusal, Signed
from sync.journal import canonical
from sync.ledger import clearances, confirmations, life, rule_steps, serials, subjects
from sync.ledger.transaction import Transaction, maybe_ms, to_ms
from sync.ledger.views import Taken
from sync.order_life import Event, State

_orders, _subjects, _hours, _advisories = schema.orders, schema.order_subjects, schema.order_hours, schema.advisories
_HOUR_MS = 3_600_000
_MONTH_HOURS = 720


def take(tx: Transaction, reading: Reading) -> Taken:
    """Put one reading into the ledger."""
    tx.head.feed_at = tx.now_ms
    if isinstance(reading, Refusal):
        return _refuse(tx, reading)
    if isinstance(reading.body, Receipt):
        return _receipt(tx, reading, reading.body)
    if (refused := _replayed(tx, reading)) is not None:
        return refused
    if isinstance(reading.body, Advisory):
        return _advisory(tx, reading, reading.body)
    return _order(tx, reading, reading.body)


def decide(tx: Transaction, order: str) -> State:
    """Apply the order's clear subjects. Also the way of an approval: its serial and its end count as if it came now."""
    life.move(tx, order, Event.APPLY)
    subjects.activate(tx, order)
    this = life.row(tx, order)
    if this["kind"] == "block":
        clearances.overtake(tx, order)
    if State(this["state"]) is State.APPLYING and this["until"] is not None and this["until"] <= tx.now_ms:
        subjects.end(tx, order)
    return State(life.row(tx, order)["state"])


def _order(tx: Transaction, message: Signed[Down], order: Order) -> Taken:
    gap = serials.use(tx, order.serial, order.id, _content(order))
    _keep(tx, message.message_sha256, "order", message.kid, message.raw)
    recent = _recent(tx)
    checked = tx.house.gate.check(order, recent)
    whole = checked.held_whole
    _store(tx, message, order, checked)
    body = {"serial": order.serial, "kind": order.kind, "ticket": order.ticket, "count": order.count}
    tx.journal("message.order", message.kid, order.id, {**body, "message": message.message_sha256})
    if order.count == 1 and (whole is None or whole.code is not Code.BURST):
        _count_in_hour(tx)
    first = next(iter(sorted(checked.findings, key=lambda found: found.verdict != "hold")), None)
    if checked.clear and whole is None:
        state = decide(tx, order.id)
        what = {State.REFUSED: "refused", State.EXPIRED: "expired"}.get(state, "applied")
        code = Code.SUPERSEDED if state is State.REFUSED else None
        return Taken(what, order.id, code=code, gap=gap)  # type: ignore[arg-type]
    assert first is not None
    cause: Finding = whole or first
    event = Event.HOLD if cause.verdict == "hold" else Event.REFUSE
    life.move(tx, order.id, event, code=cause.code, detail=cause.detail)
    what = "held" if event is Event.HOLD else "refused"
    return Taken(what, order.id, cause.code, cause.detail, gap=gap)  # type: ignore[arg-type]


def _advisory(tx: Transaction, message: Signed[Down], advisory: Advisory) -> Taken:
    gap = serials.use(tx, advisory.serial, advisory.id, _content(advisory))
    prefix = _prefix(advisory.prefix)
    finding = tx.house.gate.refuse_subject(prefix)
    _keep(tx, message.message_sha256, "advisory", message.kid, message.raw)
    rule = None if finding else rule_steps.advise(tx, prefix, advisory.reason, advisory.office)
    tx.run(
        sa.insert(_advisories).values(
            id=advisory.id,
            serial=advisory.serial,
            prefix=prefix,
            office=advisory.office,
            reason=advisory.reason,
            received_at=tx.now_ms,
            rule=None if rule is None else int(rule.id[1:]),
            content=_content(advisory),
            message=message.message_sha256,
        )
    )
    body = {"serial": advisory.serial, "prefix": prefix, "message": message.message_sha256}
    tx.journal("message.advisory", message.kid, None if rule is None else rule.id, body)
    if finding is not None:
        refusal = Refusal(
            finding.code,
            finding.detail,
            message.message_sha256,
            serial=advisory.serial,
            authentic=True,
            kind="advisory",
        )
        confirmations.queue_refusal(tx, refusal, None)
        return Taken("refused", None, finding.code, finding.detail, gap=gap)
    assert rule is not None
    return Taken("proposed", rule=rule.id, gap=gap)


def _receipt(tx: Transaction, message: Signed[Down], receipt: Receipt) -> Taken:
    found = confirmations.receive(tx, receipt, message.message_sha256)
    if isinstance(found, Refusal):
        # Never answered with a confirmation: that would ask for a receipt again, and so on for ever.
        _note_refusal(tx, found)
        return Taken("refused", receipt.order, found.code, found.detail)
    row, first = found
    body = {"confirmation": receipt.confirmation, "status": receipt.status, "message": message.message_sha256}
    if not first:
        tx.journal("message.receipt", message.kid, receipt.order, {**body, "again": True})
        return Taken("duplicate", receipt.order)
    _keep(tx, message.message_sha256, "receipt", message.kid, message.raw)
    tx.journal("message.receipt", message.kid, receipt.order, body)
    if row["clearance"] is not None:
        clearances.receipt(tx, row)
    elif row["order_id"] is not None and tx.run(sa.select(_orders.c.id).where(_orders.c.id == row["order_id"])).first():
        latest = confirmations.latest(tx, row["order_id"])
        state = life.row(tx, row["order_id"])["state"]
        current = latest is not None and latest["id"] == row["id"] and row["status"] == state
        life.move(tx, row["order_id"], Event.RECEIPT if current else Event.EARLIER_RECEIPT)
    return Taken("receipt", receipt.order)


def _refuse(tx: Transaction, refusal: Refusal) -> Taken:
    _note_refusal(tx, refusal)
    gap = False
    ours = refusal.authentic and refusal.code is not Code.WRONG_OPERATOR  # another operator's serials are not ours
    if ours and refusal.serial is not None and serials.known(tx, refusal.serial) is None:
        # The serial has come, though in a message that can't be used: asking for it again would bring the same.
        gap = serials.use(tx, refusal.serial, None, None)
    order = refusal.order
    if order is not None and tx.run(sa.select(_orders.c.id).where(_orders.c.id == order)).first() is not None:
        order = None  # a refused message must not look like a refusal of the good order whose id it bears
    if refusal.kind != "receipt":
        confirmations.queue_refusal(tx, refusal, order)
    return Taken("refused", refusal.order, refusal.code, refusal.detail, gap=gap)


def _note_refusal(tx: Transaction, refusal: Refusal) -> None:
    tx.head.refused_messages += 1
    body = {"code": refusal.code, "detail": refusal.detail[:300], "message": refusal.message_sha256}
    if refusal.authentic and refusal.head:
        _keep(tx, refusal.message_sha256, "refused", None, refusal.head)
    elif refusal.head:
        body["head"] = refusal.head[:KEPT_BYTES].decode("latin-1")
    tx.journal("message.refused", "regulator" if refusal.authentic else "unknown", refusal.order, body)


def _replayed(tx: Transaction, message: Signed[Down]) -> Taken | None:
    """What a known id or serial means; None for a message that is new."""
    body = message.body
    assert isinstance(body, Order | Advisory)
    content = _content(body)
    table = _orders if isinstance(body, Order) else _advisories
    order = body.id if isinstance(body, Order) else None
    stored = tx.run(sa.select(table.c.content).where(table.c.id == body.id)).scalar()
    if stored == content:
        tx.journal("message.duplicate", message.kid, order, {"message": message.message_sha256})
        if order is not None and (latest := confirmations.latest(tx, order)) is not None:
            confirmations.again(tx, latest["id"])
        return Taken("duplicate", order)
    used = serials.known(tx, body.serial)
    if stored is None and (used is None or used.content is None):
        return None
    known = f"the id {body.id}" if stored is not None else f"serial {body.serial}"
    refusal = Refusal(
        Code.REPLAYED,
        f"{known} was used before with other content",
        message.message_sha256,
        order=order,
        serial=body.serial,
        authentic=True,
        kind=body.type,
        head=message.raw,
    )
    return _refuse(tx, refusal)


def _store(tx: Transaction, message: Signed[Down], order: Order, checked: Checked) -> None:
    tx.run(
        sa.insert(_orders).values(
            id=order.id,
            serial=order.serial,
            kind=order.kind,
            state=State.NEW,
            ticket=order.ticket,
            category=order.category,
            office=order.office,
            legal_basis=order.legal_basis,
            first_subject=order.subjects[0],
            count=order.count,
            issued_at=to_ms(order.issued_at),
            received_at=tx.now_ms,
            deadline=to_ms(order.deadline),
            until=maybe_ms(order.until),
            content=_content(order),
            message=message.message_sha256,
            kid=message.kid,
        )
    )
    whole = checked.held_whole
    state = ("clear", None, None) if whole is None else ("held", whole.code, whole.detail)
    named = [(subject, *state) for subject in checked.clear]
    named += [
        (found.subject, "held" if found.verdict == "hold" else "refused", found.code, found.detail)
        for found in checked.findings
        if found.subject is not None
    ]
    tx.insert_many(
        _subjects,
        ("order_id", "position", "subject", "serial", "state", "code", "detail"),
        ((order.id, position, subject, order.serial, *rest) for position, (subject, *rest) in enumerate(named)),
    )


def _keep(tx: Transaction, sha256: str, kind: str, kid: str | None, raw: bytes) -> None:
    row = {"sha256": sha256, "kind": kind, "kid": kid, "received_at": tx.now_ms, "raw": raw}
    tx.run(sa.insert(schema.messages).prefix_with("OR IGNORE").values(row))


def _recent(tx: Transaction) -> Recent:
    hour = tx.now_ms // _HOUR_MS
    this = tx.run(sa.select(_hours.c.orders).where(_hours.c.hour == hour)).scalar() or 0
    before = sa.select(sa.func.max(_hours.c.orders)).where(_hours.c.hour.between(hour - _MONTH_HOURS, hour - 1))
    return Recent(this, tx.run(before).scalar() or 0)


def _count_in_hour(tx: Transaction) -> None:
    hour = tx.now_ms // _HOUR_MS
    if tx.run(sa.update(_hours).where(_hours.c.hour == hour).values(orders=_hours.c.orders + 1)).rowcount == 0:
        tx.run(sa.insert(_hours).values(hour=hour, orders=1))
        tx.run(sa.delete(_hours).where(_hours.c.hour < hour - _MONTH_HOURS))


def _content(body: Order | Advisory) -> str:
    """What the message says, whoever signed it and however it was spaced."""
    return hashlib.sha256(canonical(body.model_dump(mode="json")).encode()).hexdigest()


def _prefix(text: str) -> str:
    """An advisory speaks of a prefix, with or without the asterisk."""
    return text if text.endswith("*") else f"{text}*"
