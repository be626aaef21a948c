"""What people do beyond a single step: transitions of rules, second persons, clearances, reveals."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; rules count their changes from 1."""
    op.create_table(
        "clearances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("request", sa.Integer(), nullable=True),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("n", sa.BigInteger(), nullable=True),
        sa.Column("exception", sa.Integer(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("again_by", sa.Text(), nullable=True),
        sa.Column("again_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["again_by"],
            ["orders.id"],
        ),
        sa.ForeignKeyConstraint(
            ["exception"],
            ["rules.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request"],
            ["requests.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("clearances_by_state", "clearances", ["state", "deadline"], unique=False)
    op.create_index("clearances_by_subject", "clearances", ["subject"], unique=False)
    op.create_index("journal_by_actor", "journal", ["actor", "seq"], unique=False)
    op.create_index("journal_by_kind", "journal", ["kind", "seq"], unique=False)
    op.create_index("journal_by_time", "journal", ["at"], unique=False)
    op.create_table(
        "clearance_orders",
        sa.Column("clearance", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["clearance"],
            ["clearances.id"],
        ),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("clearance", "order_id"),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("requests_by_about", "requests", ["about"], unique=False)
    op.create_index("requests_open", "requests", ["until"], unique=False, sqlite_where=sa.text("state = 'open'"))
    op.create_table(
        "reveals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("unusual", sa.Text(), nullable=False),
        sa.Column("request", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request"],
            ["requests.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request"),
    )
    op.create_index("reveals_by_person", "reveals", ["person", "at"], unique=False)
    op.create_table(
        "transitions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("from_mode", sa.Text(), nullable=True),
        sa.Column("from_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("to_mode", sa.Text(), nullable=True),
        sa.Column("to_expires_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rule"],
            ["rules.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("transitions_by_rule", "transitions", ["rule", "id"], unique=False)
    op.create_index("transitions_by_time", "transitions", ["at"], unique=False)
    op.add_column("rules", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("rules", sa.Column("expected", sa.Integer(), nullable=True))
    op.add_column("rules", sa.Column("warned", sa.Integer(), server_default="0", nullable=False))
    op.add_column("confirmations", sa.Column("clearance", sa.Integer(), nullable=True))
    op.create_index(
        "confirmations_by_clearance",
        "confirmations",
        ["clearance"],
        unique=False,
        sqlite_where=sa.text("clearance IS NOT NULL"),
    )
    op.drop_index("rules_by_order", "rules")
    op.create_index("rules_by_order", "rules", ["order_id"], unique=False, sqlite_where=sa.text("order_id IS NOT NULL"))
    op.create_index(
        "rules_of_noc",
        "rules",
        ["id", "ended_at", "mode", "action", "origin", "subject"],
        unique=False,
        sqlite_where=sa.text("order_id IS NULL"),
    )
    op.create_index(
        "rules_to_warn_of",
        "rules",
        ["warned", "expires_at"],
        unique=False,
        sqlite_where=sa.text("order_id IS NULL AND ended_at IS NULL AND mode = 'enforce'"),
    )
