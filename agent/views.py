"""What people may see of orders and rules: records for API and command line, with numbers masked."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from agent.masking import mask_json, mask_reference, mask_text
from sip_filter.number import Number, parse_subject
from sync.ledger import Deadline, OrderStory, OrderView, RequestView, RolledBack, RuleView, TransitionView


def mask(subject: str) -> str:
    """A subject as a person may see it: a number masked, a prefix whole."""
    parsed = parse_subject(subject)
    return parsed.masked() if isinstance(parsed, Number) else str(parsed)


def mask_digits(text: str) -> str:
    """A text in which a number may stand: of seven digits or more only the first four are left (agent/masking.py)."""
    return mask_text(text)


def order_record(order: OrderView) -> dict[str, Any]:
    """One order in a line."""
    shown = _plain(asdict(order))
    shown["subject"] = _masked_or_text(order.subject)
    shown["detail"] = None  # it may quote a number; the code says the same
    return shown


def story_record(story: OrderStory) -> dict[str, Any]:
    """One order with its subjects, confirmations and journal records; bodies stay in the ledger."""
    return {
        **order_record(story.order),
        "legal_basis": mask_text(story.legal_basis),
        "key": story.kid,
        "message_sha256": story.message_sha256,
        "subjects": [
            {"subject": _masked_or_text(s.subject), "state": s.state, "code": s.code} for s in story.subjects[:100]
        ],
        "confirmations": [{**_plain(asdict(one)), "coverage": mask_json(one.coverage)} for one in story.confirmations],
        "journal": [
            {
                "seq": record.seq,
                "at": _text(record.at),
                "kind": record.kind,
                "actor": record.actor,
                **{name: mask_json(record.body.get(name)) for name in ("event", "from", "to", "reason", "verdict")},
            }
            for record in story.journal
        ],
    }


def rule_record(rule: RuleView) -> dict[str, Any]:
    """One rule."""
    shown = _plain(asdict(rule))
    shown["subject"] = mask(rule.subject)
    shown["reason"] = mask_digits(rule.reason)
    shown["end_reason"] = None if rule.end_reason is None else mask_digits(rule.end_reason)
    shown["live"] = rule.live
    return shown


def transition_record(transition: TransitionView) -> dict[str, Any]:
    """One step of a rule: how it stood before and after."""
    shown = _plain(asdict(transition))
    shown["reason"] = mask_digits(transition.reason)
    return shown


def rolled_back_record(done: RolledBack) -> dict[str, Any]:
    """A rule after a roll back, and what that changed."""
    step = _plain(asdict(done.done))
    return {
        **rule_record(done.rule),
        "before": {"mode": step["from_mode"], "expires_at": step["from_expires_at"]},
        "after": {"mode": step["to_mode"], "expires_at": step["to_expires_at"]},
        "undone": done.undone,
    }


def request_record(request: RequestView) -> dict[str, Any]:
    """One act that waits, or waited, for a second person; numbers that people wrote into its texts are masked."""
    shown = _plain(asdict(request))
    for name in ("why", "reason", "decision_reason", "body"):
        shown[name] = _without_numbers(shown[name])
    return shown


def plain_record(view: Any) -> dict[str, Any]:
    """The fields of a view that holds no number, times as text."""
    return _plain(asdict(view))


def _without_numbers(value: Any) -> Any:
    match value:
        case str():
            return mask_digits(value)
        case dict():
            return {name: _without_numbers(part) for name, part in value.items()}
        case list():
            return [_without_numbers(part) for part in value]
        case _:
            return value


def _masked_or_text(subject: str) -> str:
    """An order may name what is no number at all; such text is not shown."""
    try:
        return mask(subject)
    except ValueError:
        return "•••"


def deadline_record(due: Deadline) -> dict[str, Any]:
    """One order that is due."""
    return _plain(asdict(due))


_AS_THEY_ARE: Final = frozenset({"id", "csrf", "revision", "since", "until", "subject", "digest"})
"""Fields that are made here: ids, random words, revisions. A subject has a mask of its own."""


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Times as text, and in every text that somebody wrote the numbers masked."""
    return {name: _text(value) if name in _AS_THEY_ARE else _shown(name, value) for name, value in fields.items()}


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return _text(value)
    return mask_reference(value) if name == "ticket" else mask_text(value)


def _text(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
