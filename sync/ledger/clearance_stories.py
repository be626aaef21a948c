"""What is told of clearances: in a line, as a list, or the whole story of one."""

import json

import sqlalchemy as sa

from sync import schema
from sync.clearance_life import AWAITING_PROOF, UNSETTLED, State
from sync.ledger import blocking, requests, rules, stories
from sync.ledger import clearance_steps as steps
from sync.ledger.transaction import from_ms, maybe_time
from sync.ledger.views import AwaitingProof, ClearanceStory, ClearanceView, Naming
from sync.order_life import State as OrderState

_clearances, _subjects = schema.clearances, schema.order_subjects
_SHOWN = 20


def get(connection: sa.Connection, clearance: str) -> ClearanceView:
    """One clearance in a line. Raises NotFoundError."""
    return _view(steps.row(connection, clearance))


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


def story(connection: sa.Connection, clearance: str) -> ClearanceStory:
    """All that the ledger knows of one clearance and of its number. Raises NotFoundError."""
    row = steps.row(connection, clearance)
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
        blocking=blocking.of(touching),
        orders=tuple(Naming(stories.order(connection, order), state) for order, state in states.items()),
        requests=tuple(requests.listed(connection, None, clearance, None, _SHOWN)),
        proof=None if row["proof"] is None else json.loads(row["proof"]),
        confirmations=stories.confirmations_where(connection, schema.confirmations.c.clearance == row["id"]),
        journal=stories.journal_about(connection, clearance),
    )


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
