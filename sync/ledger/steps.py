"""Time steps of the second factor: a code works once, also when two requests show it in the same moment."""

import sqlalchemy as sa

from sync import schema
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction

_people = schema.people


def use(tx: Transaction, name: str, step: int) -> None:
    """Use up a step of a person who may come in. Raises LedgerError when it, or a later one, was used."""
    used = tx.run(
        sa.update(_people)
        .where(_people.c.name == name, _people.c.totp_step < step, _people.c.disabled_at.is_(None))
        .values(totp_step=step)
    )
    if used.rowcount != 1:
        raise LedgerError("this code was used already; wait for the next one")
