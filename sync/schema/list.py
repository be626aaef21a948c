"""Rules, the list that they make, its revisions, and the hits that rules had."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from sync.schema.base import metadata

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
    Column("version", Integer, nullable=False, server_default="1"),  # counts its changes: conditional writes name it
    Column("expected", Integer),  # calls an hour that its preview promised when it was enforced
    Column("warned", Integer, nullable=False, server_default="0"),  # hours before its end at which it was warned of
    Index("rules_by_subject", "subject"),
    # Not the NOC's: SQLite would go through all of these for a list that the next one answers alone.
    Index("rules_by_order", "order_id", sqlite_where=text("order_id IS NOT NULL")),
    # A list of NOC rules is read from this alone, past any number of orders' rules.
    Index(
        "rules_of_noc",
        *("id", "ended_at", "mode", "action", "origin", "subject"),
        sqlite_where=text("order_id IS NULL"),
    ),
    Index(
        "rules_to_warn_of",
        "warned",
        "expires_at",
        sqlite_where=text("order_id IS NULL AND ended_at IS NULL AND mode = 'enforce'"),
    ),
    Index("rules_by_expiry", "expires_at", sqlite_where=text("ended_at IS NULL AND expires_at IS NOT NULL")),
)

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
