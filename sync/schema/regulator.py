"""What comes from the regulator and goes to it: signed messages, orders, advisories, serials, confirmations."""

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

messages = Table(
    "messages",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("kid", Text),
    Column("received_at", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("serial", BigInteger, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("category", Text),
    Column("office", Text, nullable=False),
    Column("legal_basis", Text, nullable=False),
    Column("first_subject", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("code", Text),
    Column("detail", Text),
    Column("epoch", Integer),
    Column("n", BigInteger),
    Column("effective_at", BigInteger),
    Column("partial_at", BigInteger),
    Column("closed_at", BigInteger),
    Column("content", Text, nullable=False),
    Column("message", Text, ForeignKey("messages.sha256"), nullable=False),
    Column("kid", Text, nullable=False),
    Index("orders_by_state", "state", "received_at"),
    Index("orders_by_until", "until", sqlite_where=text("until IS NOT NULL")),
)

order_subjects = Table(
    "order_subjects",
    metadata,
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("code", Text),
    Column("detail", Text),
    PrimaryKeyConstraint("order_id", "position"),
    Index("subjects_by_serial", "subject", "serial"),  # which order rules this subject
    sqlite_with_rowid=False,
)

advisories = Table(
    "advisories",
    metadata,
    Column("id", Text, primary_key=True),
    Column("serial", BigInteger, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("office", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("rule", Integer),
    Column("content", Text, nullable=False),
    Column("message", Text, ForeignKey("messages.sha256"), nullable=False),
)

serials = Table(
    "serials",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text),
    Column("content", Text),
)

gaps = Table(
    "gaps",
    metadata,
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("found_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    Column("decision", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("approvals_by_order", "order_id"),
)

confirmations = Table(
    "confirmations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("order_id", Text),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("authentic", Integer, nullable=False),
    Column("message", Text),
    Column("body", LargeBinary, nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("sent_at", BigInteger),
    Column("receipt_at", BigInteger),
    Column("receipt", Text),
    Column("clearance", Integer),  # it speaks of one subject that this clearance lifted
    Index("confirmations_by_order", "order_id", "number"),
    Index("confirmations_due", "next_at", "number", sqlite_where=text("next_at IS NOT NULL")),
    Index("confirmations_by_message", "message", sqlite_where=text("message IS NOT NULL")),
    Index("confirmations_by_clearance", "clearance", sqlite_where=text("clearance IS NOT NULL")),
)

order_hours = Table(
    "order_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("orders", Integer, nullable=False),
)
