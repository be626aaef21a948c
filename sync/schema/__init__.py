"""The ledger's tables. Times are integer milliseconds since 1970 UTC; texts are the canonical ones of the contract.

Migrations (sync/migrations) create them; a test holds both equal. Everything that has to be found fast has an index
here and its reason beside it. Each file has the tables of one noun.
"""

from sync.schema.access import people, replies, sessions, tokens
from sync.schema.acts import clearance_orders, clearances, requests, reveals, transitions
from sync.schema.base import metadata
from sync.schema.journal import checkpoints, head, journal
from sync.schema.list import entries, hit_calls, revisions, rule_hits, rule_spans, rules
from sync.schema.regulator import (
    advisories,
    approvals,
    confirmations,
    gaps,
    messages,
    order_hours,
    order_subjects,
    orders,
    serials,
)

__all__ = [
    "advisories",
    "approvals",
    "checkpoints",
    "clearance_orders",
    "clearances",
    "confirmations",
    "entries",
    "gaps",
    "head",
    "hit_calls",
    "journal",
    "messages",
    "metadata",
    "order_hours",
    "order_subjects",
    "orders",
    "people",
    "replies",
    "requests",
    "reveals",
    "revisions",
    "rule_hits",
    "rule_spans",
    "rules",
    "serials",
    "sessions",
    "tokens",
    "transitions",
]
