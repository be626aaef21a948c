"""Who may come in: people, their sessions, tokens for programs, and the replies that a repeated request gets again.

Only hashes of secrets are here, but for the second factor's key, which a code has to be computed from.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from sync.schema.base import metadata

people = Table(
    "people",
    metadata,
    Column("name", Text, primary_key=True),
    Column("display", Text, nullable=False),
    Column("roles", Text, nullable=False),  # comma between them, sorted
    Column("password", Text),  # argon2; null until the person has set one
    Column("invitation", Text),  # SHA-256 of the one-time word that lets the person set password and second factor
    Column("invitation_ends", BigInteger),
    Column("totp", Text),  # base32; null until enrolled
    Column("totp_step", BigInteger, nullable=False),  # the last time step that was used: a code works once
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("disabled_at", BigInteger),
    Column("version", Integer, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),  # SHA-256 of the cookie
    Column("person", Text, ForeignKey("people.name"), nullable=False),
    Column("csrf", Text, nullable=False),  # what a form of this session has to carry
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("stepped_up_until", BigInteger),
    Column("ended_at", BigInteger),
    Index("sessions_by_person", "person", sqlite_where=text("ended_at IS NULL")),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret", Text, nullable=False, unique=True),  # SHA-256 of the token
    Column("person", Text, ForeignKey("people.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # permissions, comma between them; never more than the person has
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("ended_at", BigInteger),
)

# A request that is sent twice under one key is done once: the second gets the first one's reply.
replies = Table(
    "replies",
    metadata,
    Column("actor", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request", Text, nullable=False),  # SHA-256 of method, path and body
    Column("status", Integer),  # null while the first request is under way, or when it was cut off
    Column("body", Text),  # null where the reply held a secret, which is told once
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("actor", "key"),
    Index("replies_by_time", "at"),
)
