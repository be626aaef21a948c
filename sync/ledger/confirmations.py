"""Confirmations: our signed statements, queued with the change they speak of and sent until their receipt comes.

A confirmation is signed once and never changes; sending it twice is harmless. Also here: the refusals of messages that
were never orders, bounded so that a stranger who shouts can't fill the ledger.
"""

from typing import Any, Literal

import sqlalchemy as sa

from sync import schema
from sync.codes import CATALOGUE, Code
from sync.contract import Clearance, Confirmation, Coverage, NotCovered, Proof, Receipt, Status, new_id
from sync.intake import Refusal
from sync.ledger.transaction import Transaction, from_ms, maybe_time
from sync.ledger.views import Outgoing
from sync.settings import LedgerSettings

_table = schema.confirmations
_TEXT = 400  # longest text of the contract
_EXCEPTED = 1_000  # subjects left out that a confirmation names one by one


def queue(
    tx: Transaction,
    order: sa.RowMapping,
    status: Status,
    *,
    proof: Proof | None = None,
    coverage: Coverage | None = None,
) -> str:
    """Sign and queue the confirmation that `order` (as it now stands) has this status; the answer is its id."""
    late = tx.now_ms > order["deadline"]
    if order["effective_at"] is not None:
        late = order["effective_at"] > order["deadline"]
    return _put(
        tx,
        Confirmation(
            id=new_id(),
            operator=tx.house.operator,
            issued_at=tx.now,
            order=order["id"],
            serial=order["serial"],
            ticket=order["ticket"],
            status=status,
            code=None if order["code"] is None else Code(order["code"]),
            detail=_text(order["detail"]),
            late=late,
            revision=None if order["n"] is None else f"{order['epoch']}.{order['n']}",
            proof=proof,
            coverage=_with_exceptions(tx, order["id"], coverage),
            received_at=from_ms(order["received_at"]),
            effective_at=maybe_time(order["effective_at"]),
        ),
        authentic=True,
    )


def queue_clearance(
    tx: Transaction,
    order: sa.RowMapping,
    status: Literal["lifted", "still_blocked_by"],
    clearance: Clearance,
    *,
    number: int,
    revision: str,
    late: bool,
    proof: Proof,
    coverage: Coverage,
) -> str:
    """Sign and queue what clearance `number` did to one subject of a block order; the answer is its id."""
    return _put(
        tx,
        Confirmation(
            id=new_id(),
            operator=tx.house.operator,
            issued_at=tx.now,
            order=order["id"],
            serial=order["serial"],
            ticket=order["ticket"],
            status=status,
            code=Code.CLEARED,
            detail=CATALOGUE[Code.CLEARED].sentence,
            late=late,
            revision=revision,
            proof=proof,
            coverage=coverage,
            received_at=from_ms(order["received_at"]),
            effective_at=tx.now if status == "lifted" else None,
            clearance=clearance,
        ),
        authentic=True,
        clearance=number,
    )


def queue_refusal(tx: Transaction, refusal: Refusal, order: str | None) -> str | None:
    """Queue the refusal of a message. None when it was told already, or too many strangers' messages wait."""
    told = sa.select(_table.c.id).where(_table.c.message == refusal.message_sha256)
    if (known := tx.run(told).scalar()) is not None:
        if refusal.authentic:
            again(tx, known)
        return None
    if not refusal.authentic:
        waiting = sa.select(sa.func.count()).where(_table.c.authentic == 0, _table.c.next_at.is_not(None))
        if tx.run(waiting).scalar_one() >= tx.house.settings.unsigned_outbox:
            return None
    return _put(
        tx,
        Confirmation(
            id=new_id(),
            operator=tx.house.operator,
            issued_at=tx.now,
            order=order,
            serial=refusal.serial,
            status="refused",
            code=refusal.code,
            detail=_text(refusal.detail),
            late=False,
            received_at=tx.now,
            message=refusal.message_sha256,
        ),
        authentic=refusal.authentic,
    )


def again(tx: Transaction, confirmation: str) -> None:
    """Have a confirmation sent once more, unchanged, though its receipt may have come."""
    tx.run(sa.update(_table).where(_table.c.id == confirmation).values(next_at=tx.now_ms))


def latest(tx: Transaction, order: str) -> sa.RowMapping | None:
    """The newest confirmation of the order itself; what clearances told of its subjects is not among them."""
    own = sa.select(_table).where(_table.c.order_id == order, _table.c.clearance.is_(None))
    found = tx.run(own.order_by(_table.c.number.desc()).limit(1))
    return found.mappings().first()


def receive(tx: Transaction, receipt: Receipt, message: str) -> tuple[sa.RowMapping, bool] | Refusal:
    """Note a receipt. The answer is its confirmation and whether it is the first for it, or why it is refused."""
    row = tx.run(sa.select(_table).where(_table.c.id == receipt.confirmation)).mappings().first()
    if row is None:
        detail = f"no confirmation has the id {receipt.confirmation}"
        return Refusal(Code.UNKNOWN_CONFIRMATION, detail, message, authentic=True, kind="receipt")
    if (row["order_id"], row["status"]) != (receipt.order, receipt.status):
        detail = (
            f"confirmation {receipt.confirmation} says {row['status']} of order {row['order_id']}; "
            f"the receipt says {receipt.status} of order {receipt.order}"
        )
        return Refusal(Code.RECEIPT_MISMATCH, detail, message, authentic=True, kind="receipt")
    first = row["receipt_at"] is None
    values: dict[str, Any] = {"next_at": None}
    if first:
        values |= {"receipt_at": tx.now_ms, "receipt": message}
    tx.run(sa.update(_table).where(_table.c.id == row["id"]).values(values))
    return row, first


def due(connection: sa.Connection, now_ms: int, limit: int) -> list[Outgoing]:
    """What has to be sent now, oldest first."""
    rows = connection.execute(
        sa.select(_table.c.id, _table.c.body, _table.c.attempts)
        .where(_table.c.next_at <= now_ms)
        .order_by(_table.c.number)
        .limit(limit)
    )
    return [Outgoing(*row) for row in rows]


def sent(tx: Transaction, confirmation: str) -> bool:
    """Note a sending and set the time of the next. False when no confirmation has this id."""
    row = tx.run(sa.select(_table.c.attempts, _table.c.receipt_at).where(_table.c.id == confirmation)).first()
    if row is None:
        return False
    attempts = row.attempts + 1
    next_at = None if row.receipt_at is not None else tx.now_ms + backoff_ms(tx.house.settings, attempts)
    tx.run(
        sa.update(_table)
        .where(_table.c.id == confirmation)
        .values(attempts=attempts, sent_at=tx.now_ms, next_at=next_at)
    )
    return True


def backoff_ms(settings: LedgerSettings, attempts: int) -> int:
    """How long to wait after so many sendings."""
    return int(1000 * min(settings.resend_cap_s, settings.resend_first_s * 2 ** min(attempts - 1, 30)))


def _put(tx: Transaction, body: Confirmation, *, authentic: bool, clearance: int | None = None) -> str:
    tx.head.last_confirmation += 1
    tx.run(
        sa.insert(_table).values(
            id=body.id,
            number=tx.head.last_confirmation,
            order_id=body.order,
            status=body.status,
            code=body.code,
            authentic=int(authentic),
            message=body.message,
            body=tx.house.signer.sign(body.to_json()),
            queued_at=tx.now_ms,
            next_at=tx.now_ms,
            attempts=0,
            clearance=clearance,
        )
    )
    return body.id


def _with_exceptions(tx: Transaction, order: str, coverage: Coverage | None) -> Coverage | None:
    """The coverage, with every subject of the order that is held, refused, ruled by a later order or cleared."""
    c = schema.order_subjects.c
    cleared = sa.and_(c.state == "ended", c.code == Code.CLEARED)
    left_out = sa.and_(c.order_id == order, sa.or_(c.state.in_(("held", "refused", "superseded")), cleared))
    total = tx.run(sa.select(sa.func.count()).where(left_out)).scalar_one()
    if total == 0:
        return coverage
    rows = tx.run(sa.select(c.subject, c.state, c.code).where(left_out).order_by(c.position).limit(_EXCEPTED))
    named = [
        NotCovered(what=subject, why=state if code in (None, state) else f"{state}: {code}")
        for subject, state, code in rows
    ]
    if total > len(named):
        named.append(NotCovered(what=f"{total - len(named)} more subjects", why="held, refused, superseded or cleared"))
    given = coverage or Coverage()
    return Coverage(covered=given.covered, not_covered=(*given.not_covered, *named)[:10_000])


def _text(text: str | None) -> str | None:
    if not text:
        return None
    plain = "".join(c if c.isprintable() else "·" for c in text)
    return plain if len(plain) <= _TEXT else f"{plain[: _TEXT - 1]}…"
