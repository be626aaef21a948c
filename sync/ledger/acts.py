"""The acts that may need a second person, as one table: whose permission decides, and what is done when they approve.

The permissions are the texts of agent/access/roles.py; a test holds them together.
"""

from typing import Final

from sync.ledger import approvals, clearances, reveals, rule_steps, transitions
from sync.ledger.requests import Act

TABLE: Final[dict[str, Act]] = {
    transitions.ENFORCE: Act("rules.countersign", rule_steps.countersigned, rule_steps.dropped),
    approvals.ACT: Act("orders.decide", approvals.countersigned),
    reveals.ACT: Act("numbers.countersign", reveals.agreed),
    clearances.ACT: Act("clearances.countersign", clearances.approved, clearances.dropped),
}
