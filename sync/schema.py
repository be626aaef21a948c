"""The ledger's tables. Times are integer milliseconds since 1970 UTC; texts are the canonical ones of the contract.

Migrations (sync/migrations) create them; a test holds both equal. Everything that has to be found fast has an index
here and its reason beside it. One row of `head` carries the counters, so that a transaction reads and writes them once.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata = MetaData()

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("last_rule", Integer, nullable=False),
    Column("last_serial", BigInteger, nullable=False),
    Column("last_confirmation", Integer, nullable=False),
    Column("journal_seq", Integer, nullable=False),
    Column("journal_hash", Text, nullable=False),
    Column("checkpoint_seq", Integer, nullable=False),
    Column("feed_at", BigInteger),
    Column("refused_messages", Integer, nullable=False),
    Column("hits_cursor", Text),
)

# The signed messages as they came: the order text and signature that an auditor verifies again.
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

# A serial is known with the content that used it; content is null where only a refused message did.
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

# since and until are the revisions that first carried the rule and first lacked it; they stay when the rule is gone.
rules = Table(
    "rules",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("authority", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("trunks", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("origin", Text, nullable=False),
    Column("order_id", Text, ForeignKey("orders.id")),
    Column("ticket", Text),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("since_epoch", Integer),
    Column("since_n", BigInteger),
    Column("ended_at", BigInteger),
    Column("end_reason", Text),
    Column("until_epoch", Integer),
    Column("until_n", BigInteger),
    Index("rules_by_subject", "subject"),
    Index("rules_by_order", "order_id"),
    Index("rules_by_expiry", "expires_at", sqlite_where=text("ended_at IS NULL AND expires_at IS NOT NULL")),
)

# Earlier intervals of a rule whose mode was changed: a hit that arrives late still finds what it hit.
rule_spans = Table(
    "rule_spans",
    metadata,
    Column("rule", Integer, ForeignKey("rules.id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("from_epoch", Integer, nullable=False),
    Column("from_n", BigInteger, nullable=False),
    Column("to_epoch", Integer),
    Column("to_n", BigInteger),
    PrimaryKeyConstraint("rule", "from_epoch", "from_n"),
)

entries = Table(
    "entries",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("stack", Text, nullable=False),
    sqlite_with_rowid=False,
)

revisions = Table(
    "revisions",
    metadata,
    Column("epoch", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("changes", Text, nullable=False),
    PrimaryKeyConstraint("epoch", "n"),
)

# next_at is null when nothing is due any more; a duplicate order makes it due once again.
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
    Index("confirmations_by_order", "order_id", "number"),
    Index("confirmations_due", "next_at", "number", sqlite_where=text("next_at IS NOT NULL")),
    Index("confirmations_by_message", "message", sqlite_where=text("message IS NOT NULL")),
)

rule_hits = Table(
    "rule_hits",
    metadata,
    Column("rule", Integer, ForeignKey("rules.id"), nullable=False),
    Column("effect", Text, nullable=False),
    Column("hits", Integer, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("rule", "effect"),
)

# Calls that were counted: one hit for each, however often it is told.
hit_calls = Table(
    "hit_calls",
    metadata,
    Column("call", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("call", "effect"),
    Index("hit_calls_by_time", "at"),
    sqlite_with_rowid=False,
)

order_hours = Table(
    "order_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("orders", Integer, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("about", Text),
    Column("body", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("journal_by_about", "about", "seq"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("jws", Text, nullable=False),
)
