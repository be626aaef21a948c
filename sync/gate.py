"""The gate: an order that would hurt is held for a person, never applied blindly and never dropped.

Pure: an order and the recent rate of orders in, findings out. A finding refuses or holds one subject, or holds the
whole order; what has no finding is clear. Lists are judged subject by subject. Emergency numbers, malformed subjects
and prefixes below the shortest are refused for good, everything else that looks wrong waits for a named person.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from sip_filter.number import parse_subject
from sync.codes import Code
from sync.contract import Order
from sync.settings import GateSettings

Verdict = Literal["refuse", "hold"]


@dataclass(frozen=True)
class Recent:
    """How many orders came: in this hour so far, and in the busiest hour of the 30 days before it."""

    this_hour: int = 0
    busiest_hour: int = 0


@dataclass(frozen=True)
class Finding:
    """Why one subject (or, with subject None, the whole order) is not simply applied."""

    subject: str | None
    verdict: Verdict
    code: Code
    detail: str


@dataclass(frozen=True)
class Checked:
    """An order after the gate: the clear subjects in canonical text, each once, and the findings."""

    clear: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def held_whole(self) -> Finding | None:
        """The finding that holds the whole order."""
        return next((found for found in self.findings if found.subject is None), None)


class Gate:
    """Judges orders, advisories and the NOC's own rules by the settings."""

    def __init__(self, settings: GateSettings) -> None:
        """Raises ValueError when a protected subject in the settings is none."""
        self.settings = settings
        self._emergency = {
            f"{country}{digits}" for digits in settings.emergency for country in ("", *settings.home_countries)
        }
        self._protected = tuple(_canonical(text) for text in settings.protected)

    def check(self, order: Order, recent: Recent = Recent()) -> Checked:
        """Judge every subject of the order once, and the order's part in a burst."""
        clear: list[str] = []
        findings: dict[str | None, Finding] = {}
        if (burst := self._burst(order, recent)) is not None:
            findings[None] = burst
        for text in dict.fromkeys(order.subjects):
            read = self._read(text)
            found = read if isinstance(read, Finding) else self._hold(read) if order.kind == "block" else None
            if found is not None:
                findings[found.subject] = found
            elif isinstance(read, str):
                clear.append(read)
        return Checked(tuple(dict.fromkeys(clear)), tuple(findings.values()))

    def refuse_subject(self, text: str) -> Finding | None:
        """Why this subject must never be in the list, whoever asks; None when it may."""
        read = self._read(text)
        return read if isinstance(read, Finding) else None

    def _read(self, text: str) -> str | Finding:
        """The subject in canonical text, or why there is none."""
        digits = text.strip("+*")
        if digits in self._emergency:
            return Finding(text, "refuse", Code.EMERGENCY_NUMBER, f"{text} is an emergency number (gate.emergency)")
        if not text.startswith("+"):
            return Finding(text, "refuse", Code.NOT_INTERNATIONAL, f"{text} does not begin with + and a country code")
        shortest = self.settings.min_prefix_digits
        if len(digits) < shortest:
            count = _digits(len(digits))
            detail = f"prefix {text} is {count}; the shortest allowed is {shortest} (gate.min_prefix_digits)"
            return Finding(text, "refuse", Code.PREFIX_TOO_SHORT, detail)
        try:
            return _canonical(text)
        except ValueError as error:
            return Finding(text, "refuse", Code.IMPOSSIBLE_NUMBER, str(error)[:300])

    def _hold(self, subject: str) -> Finding | None:
        digits = subject.strip("+*")
        prefix = subject.endswith("*")
        for protected in self._protected:
            if _touch(subject, protected):
                detail = f"{subject} touches {protected}, which is protected (gate.protected)"
                return Finding(subject, "hold", Code.PROTECTED_NUMBER, detail)
        if not prefix:
            if possible(digits):
                return None
            return Finding(subject, "hold", Code.IMPOSSIBLE_NUMBER, f"no number plan has room for {subject}")
        widest = self.settings.hold_prefix_digits
        if len(digits) <= widest:
            detail = (
                f"prefix {subject} is {_digits(len(digits))}; up to {widest} a person has to approve it "
                "(gate.hold_prefix_digits)"
            )
            return Finding(subject, "hold", Code.PREFIX_TOO_WIDE, detail)
        for country in self.settings.home_countries:
            if digits.startswith(country):
                detail = f"prefix {subject} covers our own subscribers in +{country} (gate.home_countries)"
                return Finding(subject, "hold", Code.PREFIX_TOO_WIDE, detail)
        return None

    def _burst(self, order: Order, recent: Recent) -> Finding | None:
        # A list says how many subjects it has under the signature: its size is meant, so it is no burst (DESIGN §4.2).
        if order.count > 1:
            return None
        limit = max(self.settings.burst_floor, self.settings.burst_factor * recent.busiest_hour)
        if recent.this_hour < limit:
            return None
        detail = (
            f"{recent.this_hour} orders came in this hour before it; the limit is {limit}: "
            f"gate.burst_factor {self.settings.burst_factor} times the busiest hour of 30 days "
            f"({recent.busiest_hour}), at least gate.burst_floor {self.settings.burst_floor}"
        )
        return Finding(None, "hold", Code.BURST, detail)


def possible(digits: str) -> bool:
    """Whether a numbering plan has numbers of this length (ITU country code in front).

    The table behind `phonenumbers.is_possible_number`, without its parser (50 µs a number, and it guesses). Whether
    the number is *valid* is never asked: the metadata lag behind, and regulators name short codes.
    """
    for width in (1, 2, 3):
        if (lengths := _lengths(digits[:width])) is not None:
            return len(digits) - width in lengths
    return False


@cache
def _lengths(country: str) -> frozenset[int] | None:
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(country))
    if regions is None:
        return None
    found: set[int] = set()
    for region in regions:
        plan = PhoneMetadata.metadata_for_region_or_calling_code(int(country), region)
        if plan is not None and plan.general_desc is not None:
            found.update(plan.general_desc.possible_length, plan.general_desc.possible_length_local_only)
    return frozenset(found)


def _canonical(text: str) -> str:
    return str(parse_subject(text))


def _touch(one: str, other: str) -> bool:
    a, b = one.strip("+*"), other.strip("+*")
    if one.endswith("*") and b.startswith(a):
        return True
    return a == b or (other.endswith("*") and a.startswith(b))


def _digits(count: int) -> str:
    return "1 digit" if count == 1 else f"{count} digits"
