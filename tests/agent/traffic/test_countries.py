"""What a prefix also covers, held against `re` and libphonenumber's own example numbers."""

import itertools
import re
from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from agent.traffic.countries import NOTES, also_covers
from agent.traffic.countries.covers import KINDS
from agent.traffic.countries.names import NAMES
from agent.traffic.countries.patterns import can_begin

_one = st.sampled_from(["1", "2", "[12]", "[1-3]", r"\d"])
_pattern = st.recursive(
    _one,
    lambda part: st.one_of(
        st.lists(part, min_size=1, max_size=3).map("".join),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        part.map(lambda text: f"(?:{text})?"),
        part.map(lambda text: f"(?:{text}){{2}}"),
        part.map(lambda text: f"(?:{text}){{0,2}}"),
    ),
    max_leaves=4,
)


@settings(max_examples=300)
@given(pattern=_pattern, digits=st.text("123", max_size=4))
def test_whether_a_number_can_begin_so_is_what_re_finds_by_trying(pattern: str, digits: str) -> None:
    assume(re._parser.parse(pattern).getwidth()[1] <= 6)  # type: ignore[attr-defined]
    fits = re.compile(pattern)
    numbers = ("".join(rest) for length in range(7) for rest in itertools.product("123", repeat=length))
    assert can_begin(pattern, digits) == any(number.startswith(digits) and fits.fullmatch(number) for number in numbers)


@pytest.mark.parametrize(
    ("pattern", "sign"), [("1+", r"\+"), ("(1)", r"\("), ("[a]", "a"), ("(?:1", r"\)"), ("1)", r"\)")]
)
def test_a_sign_that_is_not_known_is_refused(pattern: str, sign: str) -> None:
    with pytest.raises(ValueError, match=sign):
        can_begin(pattern, "1")


def _examples() -> Iterator[tuple[str, str]]:
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            for kind in KINDS:
                description = getattr(plan, kind)
                if description is not None and description.example_number:
                    yield region, f"{code}{description.example_number}"


def test_each_example_number_of_each_country_is_covered_by_each_of_its_prefixes() -> None:
    count = 0
    for region, digits in _examples():
        for width in range(2, min(8, len(digits))):
            countries = {covered.country for covered in also_covers(f"+{digits[:width]}*")}
            assert region in countries, f"+{digits[:width]}* has {region}"
            count += 1
    assert count > 3_000


def test_every_region_has_its_names() -> None:
    assert set(NAMES) == phonenumbers.SUPPORTED_REGIONS
    assert all(name and name_id for name, name_id in NAMES.values())


def _said(subject: str, language: int = 0) -> str:
    return " / ".join((covered.text, covered.text_id)[language] for covered in also_covers(subject))


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("+77*", "+77 is most numbers in use in all of Kazakhstan, not a scam range; +7 is Russia too"),
        ("+7701*", "not a scam range; +7 is Russia too"),
        ("+7701*", "Kazakhstan: some mobile numbers"),
        ("+79*", "Russia: all mobile numbers"),
        ("+78*", "Kazakhstan: all freephone"),
        ("+70*", "+70 belongs to Kazakhstan too, since 2024"),
        ("+447*", "Jersey: all mobile numbers"),
        ("+441534*", "Jersey: all fixed-line numbers"),
        ("+39*", "all of Vatican (+39)"),
        ("+3906698*", "Vatican: all fixed-line numbers"),
        ("+1268*", "Antigua and Barbuda: all fixed-line, mobile"),
        ("+37*", "all of Lithuania (+370) / all of Latvia (+371)"),
        ("+262*", "all of Mayotte (+262)"),
        ("+590*", "all of Saint Martin"),
        ("+599*", "all of Bonaire"),
        ("+61891*", "Christmas Island: some fixed-line numbers"),
        ("+870*", "ships and aircraft"),
        ("+210*", "they are new, or made up"),
    ],
)
def test_what_is_said(subject: str, words: str) -> None:
    assert words in _said(subject)


def test_it_is_said_in_indonesian_too() -> None:
    assert "bukan rentang penipuan; +7 juga Rusia" in _said("+77*", 1)
    assert "Rusia: semua nomor seluler" in _said("+79*", 1)
    assert "baru, atau palsu" in _said("+210*", 1)


def test_russia_is_no_part_of_a_prefix_that_it_has_no_numbers_in() -> None:
    assert "RU" not in {covered.country for covered in also_covers("+77*")}
    assert "KZ" not in {covered.country for covered in also_covers("+79*")}


def test_a_number_covers_nothing_else() -> None:
    assert also_covers("+77012345678") == ()


def test_each_note_is_dated_and_names_its_source() -> None:
    for note in NOTES:
        assert note.source and note.at.year >= 2026 and note.text and note.text_id
        assert note.text in _said(f"+{note.digits}*")
