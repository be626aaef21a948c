"""Throttling: the wait grows with each failure, for an account and for an address, whether or not the account exists.

Pure: time is handed in. An attempt counts as a failure from its first moment until it has succeeded, so that a
thousand at once are no way around it. Who waits is told how long; nothing is looked at meanwhile.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final


@dataclass(frozen=True)
class Allowance:
    """So many attempts are `free`; then the wait doubles from one second up to `longest`."""

    free: int
    longest: timedelta


ACCOUNT: Final = Allowance(5, timedelta(seconds=60))
"""Short enough that a stranger can't keep a person out of their night shift for long."""
ADDRESS: Final = Allowance(20, timedelta(seconds=300))
"""A control room may come from one address."""

_FORGOTTEN: Final = timedelta(hours=1)
_MOST: Final = 10_000


class TooOften(Exception):
    """Too many attempts. `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many attempts; try again in {seconds} s")
        self.seconds = seconds


@dataclass
class _Count:
    failures: int
    last: datetime


class Throttle:
    """Failures by account and address. It holds the newest ten thousand of each and forgets them after an hour."""

    def __init__(self) -> None:
        self._counts: dict[Allowance, OrderedDict[str, _Count]] = {ACCOUNT: OrderedDict(), ADDRESS: OrderedDict()}

    def attempt(self, account: str | None, address: str | None, now: datetime) -> int:
        """Begin an attempt; the answer is how many before it failed, for the account or the address.

        Raises TooOften; such an attempt does not count.
        """
        keys = [(kind, key) for kind, key in ((ACCOUNT, account), (ADDRESS, address)) if key is not None]
        wait = max((self._wait(kind, key, now) for kind, key in keys), default=timedelta())
        if wait > timedelta():
            raise TooOften(-(-wait // timedelta(seconds=1)))
        return max((self._count(kind, key, now) for kind, key in keys), default=0)

    def succeeded(self, account: str | None, address: str | None) -> None:
        """The attempt was none: the account starts afresh, the address is back where it was."""
        if account is not None:
            self._counts[ACCOUNT].pop(account, None)
        count = self._counts[ADDRESS].get(address or "")
        if count is not None:
            count.failures -= 1

    def _wait(self, kind: Allowance, key: str, now: datetime) -> timedelta:
        count = self._counts[kind].get(key)
        if count is None or count.failures < kind.free:
            return timedelta()
        pause = min(timedelta(seconds=2.0 ** min(count.failures - kind.free, 20)), kind.longest)
        return count.last + pause - now

    def _count(self, kind: Allowance, key: str, now: datetime) -> int:
        counts = self._counts[kind]
        count = counts.pop(key, None)
        if count is None or now - count.last > _FORGOTTEN:
            count = _Count(0, now)
        before = count.failures
        counts[key] = _Count(before + 1, now)
        while len(counts) > _MOST:
            counts.popitem(last=False)
        return before
