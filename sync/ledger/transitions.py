"""Transitions: each step of a NOC rule, recorded with the state before it, which is what roll back returns to.

`move` is the one place where a rule's mode or end changes: it counts the rule's version, keeps the revisions between
which the rule was carried in its former mode, writes the transition and the journal, and publishes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from sync import schema
from sync.ledger import requests, rules
from sync.ledger.revisions import publish
from sync.ledger.transaction import Transaction, from_ms, maybe_ms, maybe_time
from sync.ledger.views import RuleView, TransitionView
from sync.rule_life import CAUSES, Standing, State, Step

ENFORCE = "rule.enforce"
"""The act that a second person decides on; any other step of the rule withdraws the request for it."""

_rules, _spans, _transitions = schema.rules, schema.rule_spans, schema.transitions
_HOUR_MS = 3_600_000
WARNED_HOURS = (24, 1)
"""Hours before the end of an enforcement at which people are warned."""


def state(rule: RuleView) -> State:
    """How a rule stands now."""
    standing = Standing.ENDED if rule.ended_at is not None else Standing(rule.mode)
    return State(standing, maybe_ms(rule.expires_at))


def move(
    tx: Transaction, rule: RuleView, step: Step, to: State, actor: str, reason: str, expected: int | None = None
) -> TransitionView:
    """Bring a rule that has not ended to `to`; `expected` is the calls an hour that its preview promised."""
    number = int(rule.id[1:])
    now = state(rule)
    values: dict[str, Any] = {
        "expires_at": to.ends_ms,
        "version": _rules.c.version + 1,
        "warned": _warned(tx, to),
    }
    if expected is not None:
        values["expected"] = expected
    if to.standing is Standing.ENDED:
        values.pop("expires_at")
        rules.end(tx, [number], "expired" if step is Step.EXPIRE else f"removed by {actor}: {reason}")
    elif to.standing is not now.standing:
        values.update(mode=to.standing, since_epoch=None, since_n=None)
        if rule.since is not None:
            epoch, n = map(int, rule.since.split("."))
            tx.run(sa.insert(_spans).values(rule=number, mode=rule.mode, from_epoch=epoch, from_n=n))
    tx.run(sa.update(_rules).where(_rules.c.id == number).values(values))
    found = record(tx, rule.id, step, now, to, actor, reason)
    if step is not Step.COUNTERSIGN:
        requests.overtake(tx, ENFORCE, rule.id, actor, f"the rule has changed: {step}")
    if {now.standing, to.standing} & {Standing.SHADOW, Standing.ENFORCE}:
        epoch, n = publish(tx, [rule.subject])
        open_span = sa.and_(_spans.c.rule == number, _spans.c.to_n.is_(None))
        tx.run(sa.update(_spans).where(open_span).values(to_epoch=epoch, to_n=n))
    return found


def record(
    tx: Transaction,
    rule_id: str,
    step: Step,
    before: State,
    to: State,
    actor: str,
    reason: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> TransitionView:
    """Write the transition and its journal record, which carries `more`."""
    ended = to.standing is Standing.ENDED
    row = {
        "rule": int(rule_id[1:]),
        "at": tx.now_ms,
        "actor": actor,
        "cause": CAUSES[step],
        "reason": reason,
        "from_mode": None if before.standing is Standing.NEW else before.standing.value,
        "from_expires_at": before.ends_ms,
        "to_mode": None if ended else to.standing.value,
        "to_expires_at": None if ended else to.ends_ms,
    }
    number = tx.run(sa.insert(_transitions).values(row).returning(_transitions.c.id)).scalar_one()
    body = {**more, "transition": number, "from": _told(before), "to": _told(to), "reason": reason}
    tx.journal(f"rule.{step}", actor, rule_id, body)
    return _view({**row, "id": number})


def last(connection: sa.Connection, rule_id: str) -> TransitionView | None:
    """A rule's newest transition."""
    found = history(connection, rule_id, None, 1)
    return found[0] if found else None


def history(connection: sa.Connection, rule_id: str, after: int | None, limit: int) -> list[TransitionView]:
    """A rule's transitions, the newest first, from behind the one numbered `after`."""
    c = _transitions.c
    wanted: sa.ColumnElement[bool] = c.rule == int(rule_id[1:])
    if after is not None:
        wanted = sa.and_(wanted, c.id < after)
    rows = connection.execute(sa.select(_transitions).where(wanted).order_by(c.id.desc()).limit(limit))
    return [_view(row) for row in rows.mappings()]


def since(connection: sa.Connection, at_ms: int, limit: int) -> list[TransitionView]:
    """Every rule's transitions since a moment, the newest first."""
    c = _transitions.c
    rows = connection.execute(
        sa.select(_transitions).where(c.at >= at_ms).order_by(c.at.desc(), c.id.desc()).limit(limit)
    )
    return [_view(row) for row in rows.mappings()]


def _warned(tx: Transaction, to: State) -> int:
    """The hours of which nobody needs a warning any more: whoever gives a rule less time knows it."""
    if to.standing is not Standing.ENFORCE or to.ends_ms is None:
        return 0
    left = to.ends_ms - tx.now_ms
    return min((hours for hours in WARNED_HOURS if left <= hours * _HOUR_MS), default=0)


def _told(one: State) -> dict[str, Any]:
    return {"mode": one.standing.value, "expires_at": one.ends_ms}


def _view(row: Any) -> TransitionView:
    return TransitionView(
        id=row["id"],
        rule=f"r{row['rule']}",
        at=from_ms(row["at"]),
        actor=row["actor"],
        cause=row["cause"],
        reason=row["reason"],
        from_mode=row["from_mode"],
        from_expires_at=maybe_time(row["from_expires_at"]),
        to_mode=row["to_mode"],
        to_expires_at=maybe_time(row["to_expires_at"]),
    )
