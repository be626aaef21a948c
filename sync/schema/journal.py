"""The journal, and the one row of counters that a transaction reads and writes once."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    Table,
    Text,
)

from sync.schema.base import metadata

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
    # What the audit's page filters by; a search among a million records is a look, not a walk.
    Index("journal_by_kind", "kind", "seq"),
    Index("journal_by_actor", "actor", "seq"),
    Index("journal_by_time", "at"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("jws", Text, nullable=False),
)
