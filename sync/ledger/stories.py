"""What the ledger tells: orders in a line, one order's whole story, the state of everything, the journal's health."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Literal, cast

import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.journal import Chain, Checkpoint, Record
from sync.jws import JwsError, Keyring, payload_of
from sync.ledger import revisions, serials
from sync.ledger.store import NotFoundError
from sync.ledger.transaction import from_ms, maybe_time, read_head
from sync.ledger.views import (
    ConfirmationView,
    Deadline,
    JournalView,
    LedgerStatus,
    OrderStory,
    OrderView,
    SubjectView,
    Verification,
)
from sync.order_life import OPEN, State

_orders, _subjects, _confirmations = schema.orders, schema.order_subjects, schema.confirmations
_SHOWN = 1_000
_NEAREST = 10
_STEP = 1_000


def orders(
    connection: sa.Connection,
    state: State | Literal["open"] | None,
    ticket: str | None,
    limit: int,
    after: int | None,
    by: Literal["serial", "deadline"] = "serial",
) -> list[OrderView]:
    """Orders from behind the serial `after`: the newest serial first, or the nearest deadline first."""
    c = _orders.c
    wanted: list[sa.ColumnElement[bool]] = []
    if state is not None:
        wanted.append(c.state.in_(sorted(OPEN)) if state == "open" else c.state == state)
    if ticket is not None:
        wanted.append(c.ticket == ticket)
    if after is not None and by == "serial":
        wanted.append(c.serial < after)
    elif after is not None:
        due = sa.select(c.deadline).where(c.serial == after).scalar_subquery()
        wanted.append(sa.or_(c.deadline > due, sa.and_(c.deadline == due, c.serial > after)))
    order = (c.serial.desc(),) if by == "serial" else (c.deadline, c.serial)
    rows = connection.execute(sa.select(_orders).where(*wanted).order_by(*order).limit(limit))
    return [_view(connection, row) for row in rows.mappings().all()]


def order(connection: sa.Connection, order_id: str) -> OrderStory:
    """One order's story. Raises LedgerError when there is none of that id."""
    row = connection.execute(sa.select(_orders).where(_orders.c.id == order_id)).mappings().first()
    if row is None:
        raise NotFoundError(f"no order has the id {order_id}")
    c = _subjects.c
    subjects = connection.execute(
        sa.select(c.subject, c.state, c.code, c.detail).where(c.order_id == order_id).order_by(c.position).limit(_SHOWN)
    )
    return OrderStory(
        order=_view(connection, row),
        legal_basis=row["legal_basis"],
        kid=row["kid"],
        message_sha256=row["message"],
        subjects=tuple(SubjectView(s, state, _code(code), detail) for s, state, code, detail in subjects),
        confirmations=confirmations_where(connection, _confirmations.c.order_id == order_id),
        journal=journal_about(connection, order_id),
    )


def confirmations_where(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> tuple[ConfirmationView, ...]:
    """Confirmations in the order in which they were queued."""
    found = connection.execute(sa.select(_confirmations).where(wanted).order_by(_confirmations.c.number))
    return tuple(_confirmation(row) for row in found.mappings())


def journal_about(connection: sa.Connection, about: str) -> tuple[JournalView, ...]:
    """The first thousand journal records about one thing."""
    table = schema.journal
    found = connection.execute(sa.select(table).where(table.c.about == about).order_by(table.c.seq).limit(_SHOWN))
    return tuple(journal_view(row) for row in found.mappings())


def journal_after(connection: sa.Connection, seq: int, limit: int) -> list[JournalView]:
    """Journal records behind `seq`, in order."""
    table = schema.journal
    found = connection.execute(sa.select(table).where(table.c.seq > seq).order_by(table.c.seq).limit(limit))
    return [journal_view(row) for row in found.mappings()]


def status(connection: sa.Connection, now_ms: int) -> LedgerStatus:
    """The ledger at a glance."""
    head = read_head(connection)
    c, r = _orders.c, schema.rules.c
    by_state = connection.execute(sa.select(c.state, sa.func.count()).group_by(c.state))
    unproved = (State.HELD, State.APPLYING, State.IN_FORCE_PARTIAL, State.STILL_BLOCKED_BY)
    waiting = sa.select(c.id, c.ticket, c.state, c.deadline).where(c.state.in_(unproved)).order_by(c.deadline)
    overdue = sa.select(sa.func.count()).where(c.state.in_(OPEN), c.deadline < now_ms)
    depth, oldest = connection.execute(
        sa.select(sa.func.count(), sa.func.min(_confirmations.c.queued_at)).where(_confirmations.c.next_at.is_not(None))
    ).one()
    modes = connection.execute(
        sa.select(r.authority + ":" + r.mode, sa.func.count()).where(r.ended_at.is_(None)).group_by(r.authority, r.mode)
    )
    return LedgerStatus(
        orders={state: count for state, count in by_state},  # noqa: C416  (SQLAlchemy rows)
        deadlines=tuple(
            Deadline(order_id, ticket, State(state), from_ms(due))
            for order_id, ticket, state, due in connection.execute(waiting.limit(_NEAREST))
        ),
        overdue=connection.execute(overdue).scalar_one(),
        outbox=depth,
        oldest_unsent=maybe_time(oldest),
        last_serial=head.last_serial,
        gaps=serials.missing(connection),
        feed_last_at=maybe_time(head.feed_at),
        refused_messages=head.refused_messages,
        head=revisions.head(connection),
        journal=head.journal_seq,
        rules={mode: count for mode, count in modes},  # noqa: C416
    )


def verify(
    connection: sa.Connection,
    keyring: Keyring | None,
    regulator: Keyring | None,
    elsewhere: Sequence[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda checked, of: None,
) -> Verification:
    """Walk the whole journal; then the signed messages that it names, with the regulator's keys where given.

    `elsewhere` are checkpoints that were kept off this machine. `progress` hears of each thousand records. The first
    bad record is the first that is not where and what it was: of a missing one that is its own number.
    """
    points = [*(Checkpoint(*row) for row in connection.execute(sa.select(schema.checkpoints).order_by("seq")))]
    points.extend(elsewhere)
    chain = Chain(points, keyring)
    messages = _Messages(connection, regulator)
    head = read_head(connection)
    c = schema.journal.c
    rows = connection.execution_options(yield_per=_STEP).execute(
        sa.select(schema.journal).where(c.seq > 0).order_by("seq")
    )
    for row in rows:
        record, expected = Record(*row), chain.seq + 1
        try:
            problem = chain.check(record) or messages.check(record)
        except (TypeError, ValueError, KeyError):  # a column of another kind than the ledger ever writes
            problem = f"record {record.seq} can't be read"
        if problem is not None:
            return Verification(chain.seq, len(points), expected, problem)
        if chain.seq % _STEP == 0:
            progress(chain.seq, head.journal_seq)
    problem = chain.finish(head.journal_seq, head.journal_hash)
    if problem is not None:
        return Verification(chain.seq, len(points), chain.seq + 1, problem)
    stray = connection.execute(sa.select(sa.func.min(c.seq)).where(c.seq <= 0)).scalar()
    return Verification(chain.seq, len(points), stray, stray and f"record {stray} has no place in the chain")


class _Messages:
    """The signed messages that journal records name: there, unchanged, and still verifiable."""

    _NAMING = ("message.order", "message.advisory", "message.receipt")

    def __init__(self, connection: sa.Connection, regulator: Keyring | None) -> None:
        self._connection = connection
        self._regulator = regulator

    def check(self, record: Record) -> str | None:
        if record.kind not in self._NAMING:
            return None
        body = json.loads(record.body)
        if body.get("again"):
            return None
        named = body["message"]
        table = schema.messages
        raw = self._connection.execute(sa.select(table.c.raw).where(table.c.sha256 == named)).scalar()
        if raw is None:
            return f"the signed message of record {record.seq} is missing"
        if not isinstance(raw, bytes) or hashlib.sha256(raw).hexdigest() != named:
            return f"the signed message of record {record.seq} was changed"
        try:
            if self._regulator is not None:
                self._regulator.verify(raw)
        except JwsError as error:
            return f"the signed message of record {record.seq} does not verify: {error}"
        return None


def _view(connection: sa.Connection, row: sa.RowMapping) -> OrderView:
    c = _subjects.c
    found = connection.execute(sa.select(c.state, sa.func.count()).where(c.order_id == row["id"]).group_by(c.state))
    counts: dict[str, int] = {state: count for state, count in found}  # noqa: C416  (SQLAlchemy rows)
    settled = row["effective_at"] or row["closed_at"] or row["received_at"]
    return OrderView(
        id=row["id"],
        serial=row["serial"],
        kind=row["kind"],
        state=State(row["state"]),
        ticket=row["ticket"],
        category=row["category"],
        office=row["office"],
        subject=row["first_subject"],
        count=row["count"],
        active=counts.get("active", 0),
        held=counts.get("held", 0),
        refused=counts.get("refused", 0),
        code=_code(row["code"]),
        detail=row["detail"],
        issued_at=from_ms(row["issued_at"]),
        received_at=from_ms(row["received_at"]),
        deadline=from_ms(row["deadline"]),
        until=maybe_time(row["until"]),
        late=settled > row["deadline"],
        revision=None if row["n"] is None else f"{row['epoch']}.{row['n']}",
        effective_at=maybe_time(row["effective_at"]),
        closed_at=maybe_time(row["closed_at"]),
    )


def _confirmation(row: sa.RowMapping) -> ConfirmationView:
    said = json.loads(payload_of(row["body"]))
    return ConfirmationView(
        id=row["id"],
        status=row["status"],
        code=_code(row["code"]),
        queued_at=from_ms(row["queued_at"]),
        attempts=row["attempts"],
        sent_at=maybe_time(row["sent_at"]),
        receipt_at=maybe_time(row["receipt_at"]),
        proof=said.get("proof"),
        coverage=said.get("coverage"),
    )


def journal_view(row: sa.RowMapping) -> JournalView:
    """A journal record as it is read."""
    body = cast(dict[str, object], json.loads(row["body"]))
    return JournalView(row["seq"], from_ms(row["at"]), row["kind"], row["actor"], body, row["about"])


def _code(code: str | None) -> Code | None:
    return None if code is None else Code(code)
