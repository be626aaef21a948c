"""What people do to rules and numbers beyond a single step: transitions, second persons, clearances, reveals."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from sync.schema.base import metadata

# Every step of a NOC rule, with the state before it: what roll back returns to.
transitions = Table(
    "transitions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule", Integer, ForeignKey("rules.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("cause", Text, nullable=False),  # propose, person, countersign, expiry, brake, lapse, roll_back, remove
    Column("reason", Text, nullable=False),
    Column("from_mode", Text),  # null: the rule was made by this step
    Column("from_expires_at", BigInteger),
    Column("to_mode", Text),  # null: the rule ended
    Column("to_expires_at", BigInteger),
    Index("transitions_by_rule", "rule", "id"),
    Index("transitions_by_time", "at"),
)

# An act that waits for a second person. `body` is what will be done, as canonical JSON.
requests = Table(
    "requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("act", Text, nullable=False),  # rule.enforce, order.approve, clearance.lift, reveal.more
    Column("about", Text, nullable=False),  # r17, an order's id, c3
    Column("body", Text, nullable=False),
    Column("why", Text, nullable=False),  # why one person is not enough, naming value and limit
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # open, approved, refused, lapsed, withdrawn
    Column("decided_by", Text),
    Column("decided_at", BigInteger),
    Column("decision_reason", Text),
    Index("requests_open", "until", sqlite_where=text("state = 'open'")),
    Index("requests_by_about", "about"),
)

# A number that may have been blocked wrongly, from the question to the proof that it passes (sync/clearance_life.py).
clearances = Table(
    "clearances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),  # clarification, reassigned
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("reference", Text),
    Column("document", Text),  # SHA-256 of the document, which stays outside
    Column("request", Integer, ForeignKey("requests.id")),  # the newest: who asked, who decided, why
    Column("approved_at", BigInteger),
    Column("epoch", Integer),
    Column("n", BigInteger),
    Column("exception", Integer, ForeignKey("rules.id")),  # the allow rule made for it
    Column("proof", LargeBinary),  # what the nodes answered last: {"verdict", "proof", "coverage"}, JSON
    Column("lifted_at", BigInteger),
    Column("closed_at", BigInteger),
    Column("again_by", Text, ForeignKey("orders.id")),  # the later order that blocks the number again
    Column("again_at", BigInteger),
    Index("clearances_by_state", "state", "deadline"),
    Index("clearances_by_subject", "subject"),
)

# The orders whose block on the number a clearance lifted: each gets its own confirmation.
clearance_orders = Table(
    "clearance_orders",
    metadata,
    Column("clearance", Integer, ForeignKey("clearances.id"), nullable=False),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    PrimaryKeyConstraint("clearance", "order_id"),
)

# A number shown to one person for a moment: where it stands, never the number.
reveals = Table(
    "reveals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person", Text, nullable=False),
    Column("session", Text, nullable=False),  # only this one reads it
    Column("at", BigInteger, nullable=False),
    Column("about", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", Text, nullable=False),  # the reason, from a list
    Column("reason", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("unusual", Text, nullable=False),  # comma between the kinds
    Column("request", Integer, ForeignKey("requests.id"), unique=True),  # by which a second person agreed to it
    Index("reveals_by_person", "person", "at"),
)
