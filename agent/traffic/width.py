"""Width: whether a rule reaches so far that it needs a second person, and why, naming value and limit.

Pure. Only a `reject` can be wide; whoever only shadows, labels or allows refuses nobody's call. What the preview could
not see (the nodes have counted for less than a day) is not taken for small: `width.unknown_is_wide` says so. A single
number is never unknown, since it has one caller; and where an upper bound is known and stays below the limits, that is
enough.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.settings import Settings
from agent.traffic.settings import WidthSettings
from sip_filter.number import Prefix, Subject, parse_subject

WHOLE_DAY = 0.99
"""Share of the day's minutes that counts as all of it: a node that starts anew leaves out a minute or two."""


def why_wide(
    subject: str, action: str, trunks: Sequence[str], preview: Mapping[str, Any] | None, settings: Settings
) -> tuple[str, ...]:
    """Why this rule needs a second person where it is enforced; empty when it does not. ValueError for no subject.

    `preview` is the record of agent/traffic/preview.py, None where there is none.
    """
    if action != "reject":
        return ()
    parsed = parse_subject(subject)
    limits = settings.width
    return (
        *_by_digits(parsed, settings.gate.home_countries, limits),
        *_by_traffic(parsed, trunks, preview, limits),
    )


def _by_digits(subject: Subject, home: Sequence[str], limits: WidthSettings) -> Iterator[str]:
    digits = subject.digits
    if isinstance(subject, Prefix) and len(digits) <= limits.digits:
        yield f"{subject} has {len(digits)} digits; up to {limits.digits} a rule is wide (width.digits)"
    for country in home:
        if digits.startswith(country) or (isinstance(subject, Prefix) and country.startswith(digits)):
            yield f"it reaches our own country, +{country} (gate.home_countries)"


def _by_traffic(
    subject: Subject, trunks: Sequence[str], preview: Mapping[str, Any] | None, limits: WidthSettings
) -> Iterator[str]:
    day = preview["windows"]["day"] if preview else None
    known = list(_over(day, limits, "")) if day else []
    yield from known
    if known or not isinstance(subject, Prefix) or not limits.unknown_is_wide:
        return
    if day and (day["covered"] or 0) >= WHOLE_DAY:
        return
    bound = day and day.get("at_most")
    where = " and ".join(trunks) or "all trunks"
    if bound and (bound["covered"] or 0) >= WHOLE_DAY:
        yield from _over(bound, limits, f", which all of {bound['of']} had: it may be less")
    else:
        seen = (day["covered"] or 0) * 24 if day else 0
        yield (
            f"the nodes have counted {subject} on {where} for {seen:.1f} h of the last day; its share and its callers"
            " are not known before 24 h (width.unknown_is_wide)"
        )


def _over(figures: Mapping[str, Any], limits: WidthSettings, whose: str) -> Iterator[str]:
    share, callers = figures["traffic_share"], figures["callers"]
    if share is not None and share > limits.share:
        yield f"{share:.2%} of a day's calls{whose}; the limit is {limits.share:.2%} (width.share)"
    if callers is not None and callers["estimate"] > limits.callers:
        count = f"{callers['estimate']:,.0f}"
        yield f"{count} distinct callers in a day{whose}; the limit is {limits.callers:,} (width.callers)"
