"""What each part of the ledger stands on: one house, and transactions in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sync.ledger.transaction import House, Transaction


class Part:
    """Some of the ledger's methods."""

    def __init__(self, house: House) -> None:
        self._house = house

    @contextmanager
    def _change(self, now: datetime) -> Iterator[Transaction]:
        with self._house.change(now) as tx:
            yield tx
