"""Clearances: a wrongly blocked number is lifted by two people, proved to pass, and the regulator is told.

The steps are those of sync/clearance_life.py. What a lift ends is what is said of exactly this number: orders' blocks
and the NOC's own rules. A prefix rule of the NOC gets an exception; an order's prefix only the regulator lifts.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

import sqlalchemy as sa

from sip_filter.number import Number, parse_subject
from sync import schema
from sync.clearance_life import AWAITING_PROOF, UNSETTLED, Effect, Event, State, step
from sync.contract import Clearance, Coverage, Proof
from sync.journal import canonical
from sync.ledger import confirmations, life, proofs, requests, rule_steps, rules, stories, subjects
from sync.ledger.requests import accountable
from sync.ledger.revisions import publish
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, chunks, from_ms, maybe_time, to_ms
from sync.ledger.views import (
    AwaitingProof,
    Blocking,
    ClearanceKind,
    ClearanceStory,
    ClearanceView,
    Naming,
    Reassigned,
    Remedy,
    RequestView,
    RuleView,
)
from sync.life import IllegalEventError
from sync.order_life import State as OrderState
from sync.rule_life import Step

ACT: Final = "clearance.lift"

_clearances, _lifted, _rules, _subjects = (
    schema.clearances,
    schema.clearance_orders,
    schema.rules,
    schema.order_subjects,
)
_EVENTS: Final = {"lifted": Event.PASSES, "still_blocked_by": Event.CAUGHT}
_SHOWN = 20
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
    clearance = _insert(tx, "clarification", subject, reason, actor, deadline)
    return ask(tx, clearance, reference, document, reason, actor, exception=exception)


def ask(
    tx: Transaction, clearance: str, reference: str, document: str, reason: str, actor: str, *, exception: bool
) -> tuple[ClearanceView, RequestView]:
    """Ask a second person to lift the block. Raises LedgerError, also when there is nothing that a lift could end."""
    row = _row(tx.connection, clearance)
    accountable(actor, reason)
    _without_the_number(row["subject"], reference, reason)
    _something_to_lift(tx, row["subject"])
    body = {"exception": exception, "serial": _newest_serial(tx, row["subject"])}
    why = "a block is lifted by two people (clearances)"
    until = tx.now + timedelta(hours=tx.house.settings.second_person_hours)
    _move(tx, row, Event.ASK)
    request = requests.ask(tx, ACT, clearance, body, why, actor, reason, until)
    _set(tx, clearance, reference=reference, document=document, request=int(request.id[1:]))
    tx.journal("clearance.ask", actor, clearance, {"reference": reference, "document": document, "reason": reason})
    return get(tx.connection, clearance), request


def keep(tx: Transaction, clearance: str, actor: str, reason: str) -> ClearanceView:
    """Decide that the block stays. Raises LedgerError."""
    row = _row(tx.connection, clearance)
    accountable(actor, reason)
    _without_the_number(row["subject"], reason)
    _move(tx, row, Event.KEEP)
    tx.journal("clearance.keep", actor, clearance, {"reason": reason})
    return get(tx.connection, clearance)


def approved(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """Lift what a second person approved: end the rules on exactly this number, and publish. Raises LedgerError."""
    row = _row(tx.connection, request.about)
    subject, why = row["subject"], f"lifted by clearance {request.about}"
    newest, known = _newest_serial(tx, subject), request.body["serial"]
    if newest is not None and (known is None or newest > known):
        raise LedgerError(
            f"the order with serial {newest} came after {request.id} was asked; refuse it, and open a clearance anew"
        )
    _move(tx, row, Event.APPROVE)
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
    _set(tx, request.about, approved_at=tx.now_ms, epoch=epoch, n=n, exception=number)
    body = {"orders": orders, "rules": ended, "exception": exception, "asked_by": request.author, "reason": reason}
    tx.journal("clearance.lift", actor, request.about, body)


def dropped(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """What becomes of a clearance whose request was refused, taken back, or lapsed."""
    state = requests.get(tx.connection, request.id).state
    _move(tx, _row(tx.connection, request.about), Event.REFUSE if state == "refused" else Event.LAPSE)


def reassigned(
    tx: Transaction, numbers: Sequence[str], reason: str, actor: str, deadline: datetime, *, commit: bool
) -> Reassigned:
    """Numbers with new subscribers: each that is blocked opens a review, unless one is open. Raises LedgerError.

    Without `commit` it only counts. Either way the journal tells that so many numbers were looked up.
    """
    accountable(actor, reason)
    wanted = list(dict.fromkeys(map(_number_of, numbers)))
    blocked = _blocked(tx, wanted)
    c = _clearances.c
    waiting = {
        subject
        for some in chunks(blocked)
        for (subject,) in tx.run(sa.select(c.subject).where(c.subject.in_(some), c.state.in_(UNSETTLED)))
    }
    new = [subject for subject in blocked if subject not in waiting]
    opened = []
    for subject in new if commit else ():
        opened.append(clearance := _insert(tx, "reassigned", subject, reason, actor, deadline))
        _move(tx, _row(tx.connection, clearance), Event.REVIEW)
    body = {"numbers": len(wanted), "blocked": len(blocked), "opened": len(opened), "reason": reason}
    tx.journal("clearance.reassigned", actor, None, body)
    return Reassigned(len(wanted), len(blocked), len(waiting), len(new), tuple(opened))


# --- what follows


def awaiting(connection: sa.Connection, limit: int) -> list[AwaitingProof]:
    """The clearances that have to be proved, as the prover takes them: an unblock of one number."""
    c = _clearances.c
    rows = connection.execute(
        sa.select(_clearances).where(c.state.in_(AWAITING_PROOF)).order_by(c.deadline, c.id).limit(limit)
    )
    return [
        AwaitingProof(
            order=f"c{row['id']}",
            kind="unblock",
            state=OrderState(row["state"]),
            subjects=(row["subject"],),
            epoch=row["epoch"],
            n=row["n"],
            received_at=from_ms(row["approved_at"]),
            deadline=from_ms(row["deadline"]),
            held=0,
            partial_since=None,
        )
        for row in rows.mappings()
    ]


def proved(tx: Transaction, clearance: str, verdict: str, proof: Proof, coverage: Coverage) -> str:
    """Keep what the nodes answered, and tell the regulator; the answer is the state that the clearance is in now."""
    row = _row(tx.connection, clearance)
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
    after, effects = _move(tx, row, event)
    lifted = tx.now_ms if event is not Event.CAUGHT else None
    _set(tx, clearance, proof=canonical(said).encode(), lifted_at=lifted)
    if after is not state:
        tx.journal("proof", "palang", clearance, {"verdict": verdict, "proof": said["proof"]})
    if Effect.CONFIRM in effects:
        for order in orders:
            _confirm(tx, row, order, cast(Literal["lifted", "still_blocked_by"], verdict), proof, coverage)
    return after


def receipt(tx: Transaction, confirmation: sa.RowMapping) -> None:
    """A receipt for one of a clearance's confirmations came; the last one closes it."""
    row = _row(tx.connection, f"c{confirmation['clearance']}")
    c = schema.confirmations.c
    open_ = sa.select(sa.func.count()).where(c.clearance == row["id"], c.status == row["state"], c.receipt_at.is_(None))
    last = State(row["state"]) is State.LIFTED and tx.run(open_).scalar_one() == 0
    _move(tx, row, Event.RECEIPT if last else Event.EARLIER_RECEIPT)


def overtake(tx: Transaction, order: str) -> None:
    """Note on the clearances of this block order's numbers that it blocks them again."""
    c = _clearances.c
    mine = sa.select(_subjects.c.subject).where(_subjects.c.order_id == order, _subjects.c.state == "active")
    found = tx.run(
        sa.select(_clearances).where(c.state.in_(_OVERTAKEN), c.again_by.is_(None), c.subject.in_(mine))
    ).mappings()
    for row in found.all():
        _move(tx, row, Event.OVERTAKE)
        _set(tx, f"c{row['id']}", again_by=order, again_at=tx.now_ms)
        tx.journal("clearance.overtaken", "palang", f"c{row['id']}", {"order": order})


# --- what is told


def get(connection: sa.Connection, clearance: str) -> ClearanceView:
    """One clearance in a line. Raises NotFoundError."""
    return _view(_row(connection, clearance))


def listed(
    connection: sa.Connection, *, state: State | None, waiting: bool, after: int | None, limit: int
) -> list[ClearanceView]:
    """Clearances, the newest first; with `waiting` those whose deadline runs, the nearest first.

    `after` goes on behind that one.
    """
    c = _clearances.c
    wanted = sa.true() if state is None else c.state == state
    if waiting:
        wanted = sa.and_(wanted, c.state.in_(UNSETTLED))
    if after is not None:
        last = sa.select(c.deadline).where(c.id == after).scalar_subquery()
        nearer = sa.or_(c.deadline > last, sa.and_(c.deadline == last, c.id > after))
        wanted = sa.and_(wanted, nearer if waiting else c.id < after)
    order = (c.deadline, c.id) if waiting else (c.id.desc(),)
    rows = connection.execute(sa.select(_clearances).where(wanted).order_by(*order).limit(limit)).mappings()
    return [_view(row) for row in rows]


def overdue(connection: sa.Connection, now_ms: int) -> list[ClearanceView]:
    """The clearances that are past their deadline and not settled."""
    c = _clearances.c
    rows = connection.execute(
        sa.select(_clearances).where(c.state.in_(UNSETTLED), c.deadline < now_ms).order_by(c.deadline).limit(1_000)
    )
    return [_view(row) for row in rows.mappings()]


def story(connection: sa.Connection, clearance: str) -> ClearanceStory:
    """All that the ledger knows of one clearance and of its number. Raises NotFoundError."""
    row = _row(connection, clearance)
    touching = rules.touching(connection, row["subject"])
    c = _subjects.c
    named = connection.execute(
        sa.select(c.order_id, c.state).where(c.subject == row["subject"]).order_by(c.serial.desc()).limit(_SHOWN)
    )
    states: dict[str, str | None] = {order: state for order, state in named}  # noqa: C416  (SQLAlchemy rows)
    for rule in touching:
        if rule.order is not None:
            states.setdefault(rule.order, None)
    return ClearanceStory(
        clearance=_view(row),
        blocking=blocking(touching),
        orders=tuple(Naming(stories.order(connection, order), state) for order, state in states.items()),
        requests=tuple(requests.listed(connection, None, clearance, None, _SHOWN)),
        proof=None if row["proof"] is None else json.loads(row["proof"]),
        confirmations=stories.confirmations_where(connection, schema.confirmations.c.clearance == row["id"]),
        journal=stories.journal_about(connection, clearance),
    )


def blocking(touching: Iterable[RuleView]) -> tuple[Blocking, ...]:
    """Which of the rules that touch a number stop its calls, and what would lift each, the longest subject first."""
    found = [rule for rule in touching if rule.mode == "enforce"]
    allowed = [rule for rule in found if rule.action == "allow" and rule.kinds == "both" and not rule.trunks]
    return tuple(
        Blocking(rule, _remedy(rule))
        for rule in found
        if rule.action == "reject"
        and (rule.authority == "order" or not any(_wins(exception, rule) for exception in allowed))
    )


def _wins(allow: RuleView, reject: RuleView) -> bool:
    """An allow rule of the NOC is an exception from its rules on shorter subjects."""
    return len(allow.subject.strip("+*")) > len(reject.subject.strip("+*"))


def _remedy(rule: RuleView) -> Remedy:
    if not rule.subject.endswith("*"):
        return "lift"
    return "regulator" if rule.authority == "order" else "exception"


# --- helpers


def _insert(tx: Transaction, kind: ClearanceKind, subject: str, reason: str, actor: str, deadline: datetime) -> str:
    _without_the_number(subject, reason)
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


def _move(tx: Transaction, row: sa.RowMapping, event: Event) -> tuple[State, frozenset[Effect]]:
    before = State(row["state"])
    try:
        after, effects = step(before, event)
    except IllegalEventError as error:
        raise LedgerError(f"clearance c{row['id']}: {error}") from None
    if after is not before:
        values: dict[str, Any] = {"state": after}
        if after not in UNSETTLED and after is not State.LIFTED:
            values["closed_at"] = tx.now_ms
        _set(tx, f"c{row['id']}", **values)
        body = {"event": event, "from": before, "to": after}
        tx.journal("clearance.state", "palang", f"c{row['id']}", body)
    return after, effects


def _set(tx: Transaction, clearance: str, **values: Any) -> None:
    tx.run(sa.update(_clearances).where(_clearances.c.id == int(clearance[1:])).values(**values))


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
    if not any(found.remedy == "exception" for found in blocking(rules.touching(tx.connection, subject))):
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


def _blocked(tx: Transaction, numbers: Sequence[str]) -> list[str]:
    """Those of the numbers that an enforced rule refuses, in few questions to the ledger."""
    families = {number: [number, *(f"{number[:width]}*" for width in range(3, len(number)))] for number in numbers}
    c = _rules.c
    live = (c.ended_at.is_(None), c.mode == "enforce")
    named = {
        subject
        for some in chunks(dict.fromkeys(subject for family in families.values() for subject in family))
        for (subject,) in tx.run(sa.select(c.subject).where(c.subject.in_(some), *live, c.action == "reject"))
    }
    return [
        number
        for number, family in families.items()
        if not named.isdisjoint(family) and blocking(rules.touching(tx.connection, number))
    ]


def _newest_serial(tx: Transaction, subject: str) -> int | None:
    """The highest serial of the orders that block exactly this number now."""
    c, o = _subjects.c, schema.orders.c
    blocks = sa.select(sa.func.max(c.serial)).join(schema.orders, o.id == c.order_id)
    found: int | None = tx.run(blocks.where(c.subject == subject, c.state == "active", o.kind == "block")).scalar()
    return found


def _something_to_lift(tx: Transaction, subject: str) -> None:
    found = blocking(rules.touching(tx.connection, subject))
    if not found:
        raise LedgerError("nothing blocks this number; explain tells how it is read and what touches it")
    if all(each.remedy == "regulator" for each in found):
        orders = ", ".join(f"{each.rule.order} on {each.rule.subject}" for each in found)
        raise LedgerError(f"only the regulator can lift what catches this number: the prefix of order {orders}")


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


def _without_the_number(subject: str, *texts: str) -> None:
    """People's texts stand unmasked in more places than numbers do."""
    end = subject[-7:]
    if any(end in "".join(c for c in text if c.isdigit()) for text in texts):
        raise LedgerError("reason and reference must not hold the number; the clearance knows it, and masks it")


def _row(connection: sa.Connection, clearance: str) -> sa.RowMapping:
    digits = clearance.removeprefix("c")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"no clearance has the id {clearance[:32]!r}; an id looks like c3")
    found = connection.execute(sa.select(_clearances).where(_clearances.c.id == int(digits))).mappings().first()
    if found is None:
        raise NotFoundError(f"no clearance has the id {clearance}")
    return found


def _view(row: sa.RowMapping) -> ClearanceView:
    return ClearanceView(
        id=f"c{row['id']}",
        kind=row["kind"],
        subject=row["subject"],
        state=State(row["state"]),
        reference=row["reference"],
        document=row["document"],
        opened_at=from_ms(row["opened_at"]),
        opened_by=row["opened_by"],
        reason=row["reason"],
        deadline=from_ms(row["deadline"]),
        request=None if row["request"] is None else f"a{row['request']}",
        approved_at=maybe_time(row["approved_at"]),
        revision=None if row["n"] is None else f"{row['epoch']}.{row['n']}",
        exception=None if row["exception"] is None else f"r{row['exception']}",
        lifted_at=maybe_time(row["lifted_at"]),
        closed_at=maybe_time(row["closed_at"]),
        again_by=row["again_by"],
        again_at=maybe_time(row["again_at"]),
    )
