"""Alembic's way in: the ledger's own connection and transaction are used; there is no alembic.ini and no second URL."""

from alembic import context

from sync.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
