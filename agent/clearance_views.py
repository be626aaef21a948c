"""What people may see of clearances: records with the number masked, and how long the deadline still is."""

from datetime import datetime
from typing import Any

from agent.masking import mask_json
from agent.views import mask, mask_digits, order_record, plain_record, request_record, rule_record
from sync.clearance_life import OPEN, UNSETTLED
from sync.ledger import ClearanceStory, ClearanceView


def clearance_record(view: ClearanceView, now: datetime) -> dict[str, Any]:
    """One clearance in a line. `left_s` are the seconds to its deadline, null when it runs no longer."""
    runs = view.state in UNSETTLED
    return {
        **plain_record(view),
        "subject": mask(view.subject),
        "reason": mask_digits(view.reason),
        "open": view.state in OPEN,
        "left_s": round((view.deadline - now).total_seconds()) if runs else None,
        "overdue": runs and view.deadline < now,
    }


def clearance_story(story: ClearanceStory, now: datetime) -> dict[str, Any]:
    """One clearance's whole story."""
    return {
        **clearance_record(story.clearance, now),
        "blocking": [{**rule_record(each.rule), "remedy": each.remedy} for each in story.blocking],
        "orders": [
            {
                **order_record(naming.order.order),
                "legal_basis": mask_digits(naming.order.legal_basis),
                "message_sha256": naming.order.message_sha256,
                "number_is": naming.state,
            }
            for naming in story.orders
        ],
        "approvals": [request_record(request) for request in story.requests],
        "proof": mask_json(story.proof),
        "confirmations": [plain_record(each) for each in story.confirmations],
        "journal": [
            {name: record[name] for name in ("seq", "at", "kind", "actor")}
            for record in map(plain_record, story.journal)
        ],
    }
