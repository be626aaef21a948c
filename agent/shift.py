"""The shift's hand-over: what changed, what was braked, what ends soon, what is open; on one page, without numbers.

The API, the console's page and `palang shift` show the one record that is made here.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from agent.alarms import Alarm
from agent.views import deadline_record, order_record, plain_record, request_record, rule_record, transition_record
from agent.wall import board
from sync.ledger import Ledger
from sync.order_life import State

SHOWN: Final = 50
"""Most lines of one part; `more` says that there are others."""
ENDS_HOURS: Final = 24
"""What ends within so many hours is handed over."""

_LOOKED_AT: Final = 1_000
_STEPS: Final = ("rule.",)
"""Kinds of acts that stand among the rules' steps already."""
_FELL_BACK: Final = ("brake", "lapse")
"""Causes of steps that nobody took: the brake, and a wide rule that was not countersigned."""

Record = dict[str, Any]
T = TypeVar("T")


def hand_over(ledger: Ledger, now: datetime, hours: int) -> Record:
    """What the ledger knows of the last hours, and of what is open now."""
    since = now - timedelta(hours=hours)
    steps = ledger.transitions_since(since, _LOOKED_AT)
    orders = ledger.orders(limit=_LOOKED_AT)
    acts = [act for act in ledger.lately(0, _LOOKED_AT)[0] if act.at >= since and not act.kind.startswith(_STEPS)]
    subjects = {step.rule: rule_record(ledger.rule(step.rule))["subject"] for step in steps[:SHOWN]}
    status = ledger.status(now)

    def step_record(step: Any) -> Record:
        return {**transition_record(step), "subject": subjects.get(step.rule)}

    return {
        "from": board.text(since),
        "to": board.text(now),
        "hours": hours,
        "changed": {
            "rules": _part(steps, step_record),
            "acts": _part(acts, board.act),
            "orders": _part([order for order in orders if order.received_at >= since], order_record),
            "orders_closed": sum(1 for order in orders if order.closed_at and order.closed_at >= since),
        },
        "braked": _part([step for step in steps if step.cause in _FELL_BACK], step_record),
        "ends": _part(ledger.rules_ending(now + timedelta(hours=ENDS_HOURS), SHOWN + 1), rule_record),
        "open": {
            "approvals": _part(ledger.requests("open", limit=SHOWN + 1), request_record),
            "held": _part(ledger.orders(State.HELD, SHOWN + 1), order_record),
            "clearances": _part(ledger.clearances(waiting=True, limit=SHOWN + 1), _clearance),
            "overdue": status.overdue,
            "deadlines": [deadline_record(due) for due in status.deadlines],
            "outbox": status.outbox,
            "missing_serials": [list(gap) for gap in status.gaps],
        },
    }


def with_alarms(record: Record, alarms: Iterable[Alarm], now: datetime) -> Record:
    """The record with the alarms: those that are open, and those that were raised in the time."""
    since = datetime.fromisoformat(record["from"])
    shown = [alarm for alarm in alarms if alarm.open(now) or alarm.at >= since]
    return {**record, "alarms": _part(shown, lambda alarm: alarm.record(now))}


def _part(found: Iterable[T], record: Callable[[T], Record]) -> Record:
    listed = list(found)
    return {"items": [record(one) for one in listed[:SHOWN]], "more": len(listed) > SHOWN}


def _clearance(view: Any) -> Record:
    """A clearance without what people wrote of its number."""
    wanted = ("id", "kind", "state", "opened_at", "opened_by", "deadline", "request")
    return {name: value for name, value in plain_record(view).items() if name in wanted}
