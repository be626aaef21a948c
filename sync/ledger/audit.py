"""Verifying a ledger from outside: the live one beside its agent, or a copy. Nothing of it is written."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from sync.jws import Keyring
from sync.ledger import stories
from sync.ledger.store import LedgerError
from sync.ledger.views import Verification


def verify_file(path: Path, signers: Keyring, regulator: Keyring | None = None) -> Verification:
    """Walk the whole journal of the ledger at `path`; `signers` are the keys that may have signed checkpoints.

    With `regulator` the signature of each kept order is verified again. Raises LedgerError when it is no ledger.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger")
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            return stories.verify(connection, signers, regulator)
    except sa.exc.DBAPIError as error:
        raise LedgerError(f"{path}: {error.orig}") from None
