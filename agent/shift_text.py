"""The hand-over as a letter: plain text of 100 columns for a mail, the same on every machine."""

import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

_WIDTH: Final = 100

Record = dict[str, Any]


def letter(shift: Record) -> str:
    """The text of a hand-over, as `GET /v1/shift` has it. Times are UTC."""
    return "\n".join(_lines(shift)) + "\n"


def _lines(shift: Record) -> Iterator[str]:
    changed, open_ = shift["changed"], shift["open"]
    yield f"PALANG HAND-OVER  {_time(shift['from'])} to {_time(shift['to'])} UTC, {shift['hours']} h, by {shift['by']}"
    yield ""
    yield from _part("ALARMS", shift["alarms"], _alarm)
    yield from _part("BRAKED OR LAPSED", shift["braked"], _step)
    yield from _part("WAITS FOR A SECOND PERSON", open_["approvals"], _approval)
    yield from _part("ORDERS HELD FOR A DECISION", open_["held"], _order)
    yield from _part("AT THE UNBLOCK DESK", open_["clearances"], _clearance)
    yield from _part("RULES THAT END WITHIN A DAY", shift["ends"], _ending)
    yield from _part("RULES CHANGED", changed["rules"], _step)
    yield from _part("OTHER ACTS", changed["acts"], _act)
    yield from _part("ORDERS THAT CAME", changed["orders"], _order)
    yield f"Orders closed: {changed['orders_closed']}. Past their deadline: {open_['overdue']}."
    yield f"Confirmations without receipt: {open_['outbox']}. Missing serials: {_gaps(open_['missing_serials'])}."
    for due in open_["deadlines"][:5]:
        yield f"  due {_time(due['deadline'])}  {due['ticket']}  {due['state']}"


def _part(title: str, part: Record, line: Callable[[Record], str]) -> Iterator[str]:
    items = part["items"]
    yield f"{title} ({len(items)}{' and more' if part['more'] else ''})" if items else f"{title}: none"
    for item in items:
        yield from textwrap.wrap(line(item), _WIDTH, initial_indent="  ", subsequent_indent="      ")
    yield ""


def _alarm(alarm: Record) -> str:
    state = "OPEN" if alarm["open"] else f"acknowledged by {alarm['acknowledged_by']}"
    return f"{_time(alarm['at'])}  {alarm['severity']} {alarm['kind']}  {alarm['text']}  [{state}; {alarm['runbook']}]"


def _step(step: Record) -> str:
    way = f"{step['from_mode'] or 'new'} to {step['to_mode'] or 'ended'}"
    subject = step.get("subject") or ""
    return f"{_time(step['at'])}  {step['rule']} {subject}  {way}  {step['cause']} by {step['actor']}: {step['reason']}"


def _approval(request: Record) -> str:
    asked = f"{request['id']}  {request['act']} of {request['about']}  asked by {request['author']}"
    return f"{asked}, until {_time(request['until'])}: {request['reason']} ({request['why']})"


def _order(order: Record) -> str:
    what = f"{order['kind']} {order['subject']}" + (f" and {order['count'] - 1} more" if order["count"] > 1 else "")
    return f"{_time(order['received_at'])}  {order['ticket']}  {what}  {order['state']}, due {_time(order['deadline'])}"


def _clearance(clearance: Record) -> str:
    return f"{clearance['id']}  {clearance['kind']}  {clearance['state']}, due {_time(clearance['deadline'])}"


def _ending(rule: Record) -> str:
    return f"{_time(rule['expires_at'])}  {rule['id']} {rule['subject']}  {rule['action']}, {rule['mode']}"


def _act(act: Record) -> str:
    reason = f": {act['reason']}" if act.get("reason") else ""
    return f"{_time(act['at'])}  {act['kind']}  {act['about'] or ''} by {act['actor']}{reason}"


def _gaps(gaps: list[list[int]]) -> str:
    return ", ".join(f"{first}–{last}" if last != first else str(first) for first, last in gaps) or "none"


def _time(moment: str) -> str:
    return moment[:16].replace("T", " ")
