"""Whether a person may reveal one more number alone, and what about it is unusual.

Pure: the person's earlier reveals, the number and the moment in, a judgement out. Quotas ask for a second person; what
is unusual never stops a reveal, it alarms, so that somebody who has to know at three in the morning does know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Literal
from zoneinfo import ZoneInfo

from sync.settings_reveal import RevealSettings

Kind = Literal["sequential", "night", "baseline", "honey"]

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Earlier:
    """One earlier reveal of the same person: when, and the digits that it showed."""

    at: datetime
    digits: str


@dataclass(frozen=True)
class Unusual:
    """One thing that is unusual about a reveal. The text never holds a number."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Judgement:
    """`too_many` says which quota is full, None while none is; `unusual` is what alarms."""

    too_many: str | None
    unusual: tuple[Unusual, ...]


def judge(earlier: Sequence[Earlier], digits: str, now: datetime, settings: RevealSettings) -> Judgement:
    """Judge the reveal of the number `digits` (without +) at `now`, after all of the person's earlier ones."""
    found = (
        _sequential(earlier, digits, now, settings),
        _night(now, settings),
        _baseline(earlier, now, settings),
        _honey(digits, settings),
    )
    return Judgement(_too_many(earlier, now, settings), tuple(one for one in found if one is not None))


def history(settings: RevealSettings) -> timedelta:
    """How far back `judge` looks."""
    return _DAY * (settings.baseline_days + 1)


def _too_many(earlier: Sequence[Earlier], now: datetime, settings: RevealSettings) -> str | None:
    rows = (
        (_HOUR, settings.per_hour, "within an hour", "reveal.per_hour"),
        (_DAY, settings.per_day, "within 24 hours", "reveal.per_day"),
    )
    for span, most, when, name in rows:
        count = sum(now - span < one.at for one in earlier)
        if count >= most:
            return f"{count} reveals {when}; one person may make {most} alone ({name})"
    return None


def _sequential(earlier: Sequence[Earlier], digits: str, now: datetime, settings: RevealSettings) -> Unusual | None:
    """Whoever walks along a range reads a list; whoever helps a caller asks for one number."""
    if not digits.isdigit():
        return None
    others = {one.digits for one in earlier if now - _DAY < one.at and len(one.digits) == len(digits)} - {digits}
    near = sum(1 for other in others if other.isdigit() and abs(int(other) - int(digits)) <= settings.sequential_span)
    if near + 1 < settings.sequential:
        return None
    return Unusual("sequential", f"{near + 1} numbers side by side within 24 hours")


def _night(now: datetime, settings: RevealSettings) -> Unusual | None:
    hour, begins, ends = now.astimezone(ZoneInfo(settings.zone)).hour, settings.night_from, settings.night_until
    night = begins <= hour < ends if begins <= ends else hour >= begins or hour < ends
    return Unusual("night", f"at {hour} o'clock in the night ({settings.zone})") if night else None


def _baseline(earlier: Sequence[Earlier], now: datetime, settings: RevealSettings) -> Unusual | None:
    """The last 24 hours, this reveal among them, against the person's own days before."""
    days = [0] * (settings.baseline_days + 1)
    for one in earlier:
        age = (now - one.at) // _DAY
        if 0 <= age < len(days):
            days[age] += 1
    today, before = days[0] + 1, days[1:]
    mean = sum(before) / len(before)
    # Somebody who never reveals has no deviation: below one a day, chance alone would make every reveal unusual.
    deviation = max(1.0, sqrt(sum((count - mean) ** 2 for count in before) / len(before)))
    limit = max(mean + settings.baseline_sigma * deviation, settings.baseline_floor)
    if today <= limit:
        return None
    return Unusual("baseline", f"{today} within 24 hours; this person's own limit is {limit:.1f}")


def _honey(digits: str, settings: RevealSettings) -> Unusual | None:
    return Unusual("honey", "a number that was never assigned") if f"+{digits}" in settings.honey else None
