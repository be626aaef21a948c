"""Dial plans: what digits mean on a trunk, by a table of known cases and by libphonenumber where it is right."""

import subprocess
import sys
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_filter._core import read_number

ROOT = Path(__file__).parents[2]
INTERNATIONAL, NATIONAL = "international", "id-national"

# text, on an international trunk, on an Indonesian national trunk
CASES: list[tuple[str, str | None, str | None]] = [
    # E.164 with its plus, and with what people put between digits (RFC 3966 §5.1.1).
    ("+6281234567890", "+6281234567890", "+6281234567890"),
    ("+62-812.3456(7890)", "+6281234567890", "+6281234567890"),
    ("+77012345678", "+77012345678", "+77012345678"),
    ("+1234567", "+1234567", "+1234567"),
    ("+123456789012345", "+123456789012345", "+123456789012345"),
    # 00 and the access codes: the length of the number decides.
    ("0077012345678", "+77012345678", "+77012345678"),
    ("0017705551234", "+17705551234", "+17705551234"),
    ("00177012345678", "+77012345678", "+77012345678"),
    ("00777012345678", "+77012345678", "+77012345678"),
    ("00877012345678", "+77012345678", "+77012345678"),
    ("00977012345678", "+77012345678", "+77012345678"),
    ("0101777012345678", "+77012345678", "+77012345678"),
    ("0101877012345678", "+77012345678", "+77012345678"),
    ("00117705551234", "+17705551234", "+17705551234"),
    ("0016281234567890", "+6281234567890", "+6281234567890"),
    ("006281234567890", "+6281234567890", "+6281234567890"),
    ("008613812345678", "+8613812345678", "+8613812345678"),
    ("00442079460000", "+442079460000", "+442079460000"),
    ("00242066123456", "+242066123456", "+242066123456"),
    # Where two readings have a good length, the trunk's own habit decides.
    ("0016581234567", "+16581234567", "+6581234567"),
    # National forms mean something on the national trunk only.
    ("081234567890", None, "+6281234567890"),
    ("0215550100", None, "+62215550100"),
    ("0809123456", None, "+62809123456"),
    ("017215550100", None, "+62215550100"),
    # Bare digits: E.164 without its plus; on the national trunk a leading 8 is a mobile number.
    ("77012345678", "+77012345678", "+77012345678"),
    ("6281234567890", "+6281234567890", "+6281234567890"),
    ("81234567890", "+81234567890", "+6281234567890"),
    ("17705551234", "+17705551234", "+17705551234"),
    # What is not a number in the plan.
    ("7012345678", None, None),
    ("0000000000", None, None),
    ("000077012345678", None, None),
    ("112", None, None),
    ("14045", None, None),
    ("999999999999", None, None),
    # What is not E.164.
    ("+0077012345678", None, None),
    ("+077012345678", None, None),
    ("++77012345678", None, None),
    ("+1234567890123456", None, None),
    ("+123456", None, None),
    ("+", None, None),
    ("+7701234567x", None, None),
    ("+77012345678 ", "+77012345678", "+77012345678"),
    (" +77012345678", "+77012345678", "+77012345678"),
    ("+7701\u200b2345678", None, None),
    ("\u200b+77012345678", None, None),
    ("＋77012345678", None, None),
    ("７７012345678", None, None),
    ("+٧٧012345678", None, None),
    ("77012345678+", None, None),
    ("7e10", None, None),
    ("", None, None),
    ("anonymous", None, None),
    ("9" * 500, None, None),
]


@pytest.mark.parametrize(("text", "international", "national"), CASES)
def test_reading(text: str, international: str | None, national: str | None) -> None:
    assert read_number(text, INTERNATIONAL)["number"] == international
    assert read_number(text, NATIONAL)["number"] == national


def test_a_reading_explains_itself() -> None:
    steps = read_number("0077012345678", NATIONAL)["steps"]
    assert steps == [
        "digits 0077012345678 in plan id-national of 2004-03-11",
        "as 007 + 7012345678: no country has numbers of that form and length",
        "as 00 + 77012345678: fits",
        "E.164 +77012345678",
    ]
    assert "16 digits; the most allowed are 15" in read_number("+1234567890123456", NATIONAL)["steps"][-1]
    with pytest.raises(ValueError, match='plan "mars" is not a dial plan \\(known: international, id-national\\)'):
        read_number("1", "mars")


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.sampled_from(["+", "00"]))
def test_example_numbers_of_every_country_read_as_libphonenumber_writes_them(region: str, prefix: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        canonical = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        if len(canonical) - 1 < 7:
            continue  # Shorter than any subject of ours.
        assert read_number(prefix + canonical[1:], INTERNATIONAL)["number"] == canonical


@given(st.text(max_size=40), st.sampled_from([INTERNATIONAL, NATIONAL]))
def test_whatever_is_read_is_e164(text: str, plan: str) -> None:
    number = read_number(text, plan)["number"]
    if number is not None:
        assert number[0] == "+" and number[1] != "0" and number[1:].isascii() and number[1:].isdigit()
        assert 7 <= len(number) - 1 <= 15
        digits = "".join(c for c in text if c in "0123456789")
        assert digits.endswith(number[1:].removeprefix("62"))


def test_the_table_of_lengths_is_what_the_script_writes() -> None:
    committed = (ROOT / "sip_filter/rust/core/src/countries.rs").read_text()
    if f'"phonenumbers {phonenumbers.__version__}"' not in committed:
        # Other metadata than the table's: its own rows must still stand for the countries we have most to do with.
        assert all(f"({code}, 0x" in committed for code in (1, 7, 62, 65, 86))
        return
    script = ROOT / "sip_filter/plans/generate.py"
    written = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert written == committed
