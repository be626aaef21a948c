"""`Ledger`: every public method is one transaction, and what it returned from is durable.

Give it aware UTC datetimes; it never reads a clock. Use it from the one thread that opened it. Its methods stand in
parts/, a file for each noun; what they do, in the files beside this one.
"""

from datetime import datetime
from pathlib import Path
from typing import Self

from sync.gate import Gate
from sync.jws import Signer
from sync.ledger import stories
from sync.ledger.parts.access import Access
from sync.ledger.parts.clearances import Clearances
from sync.ledger.parts.entries import Entries
from sync.ledger.parts.journal import Journal
from sync.ledger.parts.orders import Orders
from sync.ledger.parts.reveals import Reveals
from sync.ledger.parts.rules import Rules
from sync.ledger.store import Store
from sync.ledger.transaction import House, to_ms
from sync.ledger.views import LedgerStatus
from sync.settings import LedgerSettings


class Ledger(Orders, Rules, Clearances, Entries, Reveals, Access, Journal):
    """The SQL database of orders, rules, confirmations, receipts and the journal. The truth.

    All methods raise LedgerUnavailable when the disk fails: nothing of the call may then be acknowledged. Those that
    are asked for something impossible raise LedgerError with one line, or IllegalEventError.
    """

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        gate: Gate,
        operator: str,
        signer: Signer,
        settings: LedgerSettings = LedgerSettings(),  # noqa: B008  (frozen)
    ) -> Self:
        """Open, make or migrate the ledger at `path`. Raises LedgerError for one that a newer Palang wrote."""
        return cls(House(Store(path), gate, operator, signer, settings))

    def close(self) -> None:
        """Close the file."""
        self._house.store.close()

    def status(self, now: datetime) -> LedgerStatus:
        """The ledger at a glance."""
        with self._house.store.read() as connection:
            return stories.status(connection, to_ms(now))
