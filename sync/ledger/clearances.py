"""Clearances: a wrongly blocked number is lifted by two people, proved to pass, and the regulator is told.

The steps are those of sync/clearance_life.py. What a lift ends is what is said of exactly this number: orders' blocks
and the NOC's own rules. A prefix rule of the NOC gets an exception; an order's prefix only the regulator lifts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, cast

import sqlalchemy as sa

from sip_filter.number import Number, parse_subject
from sync import schema
from sync.clearance_life import AWAITING_PROOF, UNSETTLED, Effect, Event, State
from sync.contract import Clearance, Coverage, Proof
from sync.journal import canonical
from sync.ledger import blocking, clearance_stories, confirmations, life, proofs, requests, rule_steps, rules, subjects
from sync.ledger import clearance_steps as steps
from sync.ledger.requests import accountable
from sync.ledger.revisions import publish
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction, chunks, from_ms
from sync.ledger.views import ClearanceView, Reassigned, RequestView
from sync.rule_life import Step

ACT: Final = "clearance.lift"

_clearances, _lifted, _rules, _subjects = (
    schema.clearances,
    schema.clearance_orders,
    schema.rules,
    schema.order_subjects,
)
_EVENTS: Final = {"lifted": Event.PASSES, "still_blocked_by": Event.CAUGHT}
_OVERTAKEN = (State.APPLYING, State.STILL_BLOCKED_BY, State.LIFTED, State.CLOSED)


# --- what people do


def open_(
    tx: Transaction,
    number: str,
    reference: str,
    document: str,
    reason: str,
    actor: str,
    deadline: datetime,
    *,
    exception: bool,
) -> tuple[ClearanceView, RequestView]:
    """Open a clearance after a clarification and ask a second person. Raises LedgerError."""
    subject = _number_of(number)
    accountable(actor, reason)
    _none_open(tx, subject)
    clearance = steps.insert(tx, "clarification", subject, reason, actor, deadline)
    return ask(tx, clearance, reference, document, reason, actor, exception=exception)


def ask(
    tx: Transaction, clearance: str, reference: str, document: str, reason: str, actor: str, *, exception: bool
) -> tuple[ClearanceView, RequestView]:
    """Ask a second person to lift the block. Raises LedgerError, also when there is nothing that a lift could end."""
    row = steps.row(tx.connection, clearance)
    accountable(actor, reason)
    steps.check_without_the_number(row["subject"], reference, reason)
    blocking.check_liftable(tx, row["subject"])
    body = {"exception": exception, "serial": _newest_serial(tx, row["subject"])}
    why = "a block is lifted by two people (clearances)"
    until = tx.now + timedelta(hours=tx.house.settings.second_person_hours)
    steps.move(tx, row, Event.ASK)
    request = requests.ask(tx, ACT, clearance, body, why, actor, reason, until)
    steps.set_values(tx, clearance, reference=reference, document=document, request=int(request.id[1:]))
    tx.journal("clearance.ask", actor, clearance, {"reference": reference, "document": document, "reason": reason})
    return clearance_stories.get(tx.connection, clearance), request


def keep(tx: Transaction, clearance: str, actor: str, reason: str) -> ClearanceView:
    """Decide that the block stays. Raises LedgerError."""
    row = steps.row(tx.connection, clearance)
    accountable(actor, reason)
    steps.check_without_the_number(row["subject"], reason)
    steps.move(tx, row, Event.KEEP)
    tx.journal("clearance.keep", actor, clearance, {"reason": reason})
    return clearance_stories.get(tx.connection, clearance)


def approved(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """Lift what a second person approved: end the rules on exactly this number, and publish. Raises LedgerError."""
    row = steps.row(tx.connection, request.about)
    subject, why = row["subject"], f"lifted by clearance {request.about}"
    newest, known = _newest_serial(tx, subject), request.body["serial"]
    if newest is not None and (known is None or newest > known):
        raise LedgerError(
            f"the order with serial {newest} came after {request.id} was asked; refuse it, and open a clearance anew"
        )
    steps.move(tx, row, Event.APPROVE)
    ended = _end_own(tx, subject, actor, why)
    orders = subjects.release(tx, subject, why)
    exception = (
        _except(tx, subject, actor, f"exception of clearance {request.about}") if request.body["exception"] else None
    )
    epoch, n = publish(tx, [subject])
    subjects.finish_released(tx, orders, why)
    if orders:
        tx.run(sa.insert(_lifted), [{"clearance": row["id"], "order_id": order} for order in orders])
    number = None if exception is None else int(exception[1:])
    steps.set_values(tx, request.about, approved_at=tx.now_ms, epoch=epoch, n=n, exception=number)
    body = {"orders": orders, "rules": ended, "exception": exception, "asked_by": request.author, "reason": reason}
    tx.journal("clearance.lift", actor, request.about, body)


def dropped(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """What becomes of a clearance whose request was refused, taken back, or lapsed."""
    state = requests.get(tx.connection, request.id).state
    steps.move(tx, steps.row(tx.connection, request.about), Event.REFUSE if state == "refused" else Event.LAPSE)


def reassigned(
    tx: Transaction, numbers: Sequence[str], reason: str, actor: str, deadline: datetime, *, commit: bool
) -> Reassigned:
    """Numbers with new subscribers: each that is blocked opens a review, unless one is open. Raises LedgerError.

    Without `commit` it only counts. Either way the journal tells that so many numbers were looked up.
    """
    accountable(actor, reason)
    wanted = list(dict.fromkeys(map(_number_of, numbers)))
    blocked = blocking.blocked(tx, wanted)
    c = _clearances.c
    waiting = {
        subject
        for some in chunks(blocked)
        for (subject,) in tx.run(sa.select(c.subject).where(c.subject.in_(some), c.state.in_(UNSETTLED)))
    }
    new = [subject for subject in blocked if subject not in waiting]
    opened = []
    for subject in new if commit else ():
        opened.append(clearance := steps.insert(tx, "reassigned", subject, reason, actor, deadline))
        steps.move(tx, steps.row(tx.connection, clearance), Event.REVIEW)
    body = {"numbers": len(wanted), "blocked": len(blocked), "opened": len(opened), "reason": reason}
    tx.journal("clearance.reassigned", actor, None, body)
    return Reassigned(len(wanted), len(blocked), len(waiting), len(new), tuple(opened))


# --- what follows


def proved(tx: Transaction, clearance: str, verdict: str, proof: Proof, coverage: Coverage) -> str:
    """Keep what the nodes answered, and tell the regulator; the answer is the state that the clearance is in now."""
    row = steps.row(tx.connection, clearance)
    state = State(row["state"])
    if verdict not in _EVENTS:
        raise LedgerError(f"clearance {clearance} is to lift a block; a proof can't find it {verdict}")
    if state not in AWAITING_PROOF or proofs.too_old(row, proof):
        return state
    orders = list(tx.run(sa.select(_lifted.c.order_id).where(_lifted.c.clearance == row["id"])).scalars())
    event = _EVENTS[verdict]
    if event is Event.PASSES and not orders:
        event = Event.PASSES_OURS
    said = {
        "verdict": verdict,
        "proof": proof.model_dump(mode="json", exclude_none=True),
        "coverage": coverage.model_dump(mode="json", exclude_none=True),
    }
    after, effects = steps.move(tx, row, event)
    lifted = tx.now_ms if event is not Event.CAUGHT else None
    steps.set_values(tx, clearance, proof=canonical(said).encode(), lifted_at=lifted)
    if after is not state:
        tx.journal("proof", "palang", clearance, {"verdict": verdict, "proof": said["proof"]})
    if Effect.CONFIRM in effects:
        for order in orders:
            _confirm(tx, row, order, cast(Literal["lifted", "still_blocked_by"], verdict), proof, coverage)
    return after


def receipt(tx: Transaction, confirmation: sa.RowMapping) -> None:
    """A receipt for one of a clearance's confirmations came; the last one closes it."""
    row = steps.row(tx.connection, f"c{confirmation['clearance']}")
    c = schema.confirmations.c
    open_ = sa.select(sa.func.count()).where(c.clearance == row["id"], c.status == row["state"], c.receipt_at.is_(None))
    last = State(row["state"]) is State.LIFTED and tx.run(open_).scalar_one() == 0
    steps.move(tx, row, Event.RECEIPT if last else Event.EARLIER_RECEIPT)


def overtake(tx: Transaction, order: str) -> None:
    """Note on the clearances of this block order's numbers that it blocks them again."""
    c = _clearances.c
    mine = sa.select(_subjects.c.subject).where(_subjects.c.order_id == order, _subjects.c.state == "active")
    found = tx.run(
        sa.select(_clearances).where(c.state.in_(_OVERTAKEN), c.again_by.is_(None), c.subject.in_(mine))
    ).mappings()
    for row in found.all():
        steps.move(tx, row, Event.OVERTAKE)
        steps.set_values(tx, f"c{row['id']}", again_by=order, again_at=tx.now_ms)
        tx.journal("clearance.overtaken", "palang", f"c{row['id']}", {"order": order})


# --- helpers


def _end_own(tx: Transaction, subject: str, actor: str, why: str) -> list[str]:
    """End the NOC's rules that refuse exactly this number; their ids."""
    c = _rules.c
    mine = (c.subject == subject, c.authority == "noc", c.action == "reject", c.ended_at.is_(None))
    ended = [f"r{number}" for number in tx.run(sa.select(c.id).where(*mine).order_by(c.id)).scalars().all()]
    for rule in ended:
        rule_steps.take(tx, rule, Step.REMOVE, actor, why)
    return ended


def _except(tx: Transaction, subject: str, actor: str, clearance: str) -> str | None:
    """The exception from the NOC's prefix rules that catch the number, in force; None without such rules."""
    if not any(found.remedy == "exception" for found in blocking.of(rules.touching(tx.connection, subject))):
        return None
    c = _rules.c
    same = (c.subject == subject, c.authority == "noc", c.action == "allow", c.kinds == "both", c.trunks == "")
    known = tx.run(sa.select(c.id).where(*same, c.ended_at.is_(None))).scalar()
    longest, reason = tx.house.settings.max_rule_days * 86_400, f"exception of clearance {clearance}"
    if known is None:
        known = rule_steps.propose(tx, subject, "allow", "both", (), longest, reason, actor).id[1:]
    rule_steps.enforce(tx, f"r{known}", actor, reason, expires_s=longest)
    return f"r{known}"


def _confirm(
    tx: Transaction,
    row: sa.RowMapping,
    order: str,
    status: Literal["lifted", "still_blocked_by"],
    proof: Proof,
    coverage: Coverage,
) -> None:
    confirmations.queue_clearance(
        tx,
        life.row(tx, order),
        status,
        Clearance(
            subject=row["subject"],
            cause=row["kind"],
            reference=row["reference"],
            document=row["document"],
            approved_at=from_ms(row["approved_at"]),
            left=life.counts(tx, order).get("active", 0),
        ),
        number=row["id"],
        revision=f"{row['epoch']}.{row['n']}",
        late=tx.now_ms > row["deadline"],
        proof=proof,
        coverage=coverage,
    )


def _newest_serial(tx: Transaction, subject: str) -> int | None:
    """The highest serial of the orders that block exactly this number now."""
    c, o = _subjects.c, schema.orders.c
    blocks = sa.select(sa.func.max(c.serial)).join(schema.orders, o.id == c.order_id)
    found: int | None = tx.run(blocks.where(c.subject == subject, c.state == "active", o.kind == "block")).scalar()
    return found


def _none_open(tx: Transaction, subject: str) -> None:
    c = _clearances.c
    found = tx.run(sa.select(c.id, c.state).where(c.subject == subject, c.state.in_(UNSETTLED)).limit(1)).first()
    if found is not None:
        raise LedgerError(f"clearance c{found.id} about this number is {found.state} already; go on with that one")


def _number_of(text: str) -> str:
    found = parse_subject(text)
    if not isinstance(found, Number):
        raise LedgerError(f"{found} is a prefix; a clearance is about one number")
    return str(found)
