"""What a prefix also covers: whole countries, parts of them, and those that share a code. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from agent.traffic.countries.names import NAMES
from agent.traffic.countries.notes import NOTES
from agent.traffic.countries.patterns import DIGITS, can_begin
from sip_filter.number import Prefix, parse_subject

KINDS: Final = {
    "fixed_line": ("fixed-line", "telepon tetap"),
    "mobile": ("mobile", "seluler"),
    "voip": ("internet telephony", "telepon internet"),
    "toll_free": ("freephone", "bebas pulsa"),
    "premium_rate": ("premium-rate", "tarif premium"),
}
"""Kinds of numbers that a plan tells apart, in English and Indonesian. Where a plan has fixed and mobile numbers in the
same ranges (+1), they are told as both."""
SHARED: Final = "001"
"""Stands for a country where a code is no country's."""
_SERVICES: Final = {
    800: ("international freephone", "bebas pulsa internasional"),
    808: ("international shared-cost numbers", "nomor biaya bersama internasional"),
    870: ("Inmarsat", "Inmarsat"),
    878: ("universal personal numbers", "nomor pribadi universal"),
    881: ("satellite networks", "jaringan satelit"),
    882: ("international networks", "jaringan internasional"),
    883: ("international networks", "jaringan internasional"),
    888: ("telecommunications for disaster relief", "telekomunikasi penanggulangan bencana"),
    979: ("international premium rate", "tarif premium internasional"),
}
_NOBODY: Final = "no number plan that we know has numbers that begin with {}: they are new, or made up"
_NOBODY_ID: Final = "tidak ada rencana penomoran yang kami kenal dengan nomor berawalan {}: baru, atau palsu"


@dataclass(frozen=True)
class Covered:
    """One country, or what it is of it, that a subject covers."""

    country: str
    text: str
    text_id: str


@lru_cache(maxsize=1024)
def also_covers(subject: str) -> tuple[Covered, ...]:
    """What numbers begin with a prefix, notes first; empty for a number. ValueError for what is no subject."""
    parsed = parse_subject(subject)
    if not isinstance(parsed, Prefix):
        return ()
    digits = parsed.digits
    notes = tuple(
        Covered(note.country, note.text, note.text_id)
        for note in NOTES
        if digits.startswith(note.digits) or note.digits.startswith(digits)
    )
    found = notes + tuple(_countries(digits))
    return found or (Covered(SHARED, _NOBODY.format(parsed), _NOBODY_ID.format(parsed)),)


def _countries(digits: str) -> Iterator[Covered]:
    for code, regions in sorted(COUNTRY_CODE_TO_REGION_CODE.items()):
        whole = str(code).startswith(digits)
        if not whole and not digits.startswith(str(code)):
            continue
        for region in regions:
            name, name_id = _SERVICES[code] if region == SHARED else NAMES[region]
            if whole:
                yield Covered(region, f"all of {name} (+{code})", f"seluruh {name_id} (+{code})")
            elif kinds := _kinds(code, region, digits[len(str(code)) :]):
                yield Covered(region, f"{name}: {_list(kinds, 0)}", f"{name_id}: {_list(kinds, 1)}")


def _kinds(code: int, region: str, rest: str) -> list[tuple[str, bool]]:
    """The kinds of its numbers that begin so, and whether these are all of that kind."""
    plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    found: list[tuple[str, bool]] = []
    for kind in KINDS:
        description = getattr(plan, kind)
        pattern = description.national_number_pattern if description is not None else None
        if pattern and can_begin(pattern, rest):
            others = (f"{rest[:at]}{digit}" for at in range(len(rest)) for digit in DIGITS - {rest[at]})
            found.append((kind, not any(can_begin(pattern, other) for other in others)))
    return found


def _list(kinds: Sequence[tuple[str, bool]], language: int) -> str:
    """`all mobile and some fixed-line numbers`."""
    words = (("all", "some", "and", "numbers"), ("semua", "sebagian", "dan", "nomor"))[language]
    every, some, joined, numbers = words
    said = []
    for how in (True, False):
        names = [KINDS[kind][language] for kind, all_ in kinds if all_ is how]
        if names:
            listed = f" {joined} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            amount = every if how else some
            said.append(f"{amount} {numbers} {listed}" if language else f"{amount} {listed} {numbers}")
    return ", ".join(said)
