"""How fast one person looks numbers up. A mask is void against whoever may ask 100,000 questions.

Pure: time is handed in. Counted per person, whatever their sessions and tokens; all who come by the agent's own socket
count as one, with limits of their own, since scripts come that way. What was refused counts too: whoever goes on asking
goes on waiting.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from pydantic import Field

from config import Section

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_MOST_PEOPLE: Final = 10_000


class LookUpSettings(Section):
    """How many numbers a person may look up: explain, searches by number."""

    bulk_per_minute: int = Field(
        20, ge=2, description="Look-ups of one person within a minute that are bulk: this one and more are refused."
    )
    most_per_day: int = Field(1_000, ge=1, description="Most look-ups of one person within 24 hours.")
    local_bulk_per_minute: int = Field(
        600, ge=2, description="Likewise for all who use the agent's own socket together, scripts among them."
    )
    local_most_per_day: int = Field(100_000, ge=1, description="Most look-ups over the agent's own socket in 24 hours.")


@dataclass(frozen=True)
class Refused:
    """One look-up too many: when to come back (seconds), and which limit it is."""

    wait_s: int
    why: str


@dataclass
class _Hour:
    begin: datetime
    count: int


@dataclass
class _Asked:
    """What one person asked of late: the moments of the last minute, and how many in each hour of the last day."""

    minute: deque[datetime] = field(default_factory=deque)
    hours: deque[_Hour] = field(default_factory=deque)


class Pace:
    """The look-ups of everybody. It holds the ten thousand people who asked last."""

    def __init__(self, settings: LookUpSettings) -> None:
        self._settings = settings
        self._people: OrderedDict[str, _Asked] = OrderedDict()

    def take(self, person: str, now: datetime, *, local: bool) -> Refused | None:
        """Count one look-up of `person`; None when it may be answered."""
        key = "local" if local else person.casefold()
        asked = self._people.pop(key, None) or _Asked()
        self._people[key] = asked
        while len(self._people) > _MOST_PEOPLE:
            self._people.popitem(last=False)
        return self._judge(asked, now, local=local)

    def _judge(self, asked: _Asked, now: datetime, *, local: bool) -> Refused | None:
        rows, before = self._settings, "local_" if local else ""
        bulk = rows.local_bulk_per_minute if local else rows.bulk_per_minute
        most = rows.local_most_per_day if local else rows.most_per_day
        while asked.minute and (asked.minute[0] <= now - _MINUTE or len(asked.minute) >= bulk):
            asked.minute.popleft()
        asked.minute.append(now)
        if len(asked.minute) >= bulk:
            return _refused(
                asked.minute[1] + _MINUTE - now, f"{bulk} look-ups within a minute are bulk", f"{before}bulk_per_minute"
            )
        while asked.hours and asked.hours[0].begin <= now - _DAY:
            asked.hours.popleft()
        if sum(hour.count for hour in asked.hours) >= most:
            return _refused(
                asked.hours[0].begin + _DAY - now,
                f"{most} look-ups within 24 hours are the most for one person",
                f"{before}most_per_day",
            )
        if not asked.hours or now - asked.hours[-1].begin >= _HOUR:
            asked.hours.append(_Hour(now, 0))
        asked.hours[-1].count += 1
        return None


def _refused(wait: timedelta, why: str, row: str) -> Refused:
    return Refused(max(1, ceil(wait.total_seconds())), f"{why} (look_ups.{row})")
