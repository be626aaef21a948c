"""Lists of numbers: what is read, what is refused and how that is told. Nothing is guessed, no number is repeated."""

import re

import pytest

from agent.number_list import BadLine, read_lines, read_number, told

A = "+6281234567890"


@pytest.mark.parametrize(
    "written", [A, f" {A}\n", "+62 812-3456-7890", f"'{A}", f'"{A}"', "+62\u00a0812 3456 7890", "'+62-812-34567890"]
)
def test_what_is_read(written: str) -> None:
    assert read_number(written) == A


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("6,28E+12", "shortened by a spreadsheet"),
        ("6.28123E+12", "shortened by a spreadsheet"),
        ("6.28123e12", "shortened by a spreadsheet"),
        ("+6E12", "shortened by a spreadsheet"),
        ("6281234567890", "does not begin with + and a country code"),
        ("081234567890", "does not begin with + and a country code"),
        ("6281234567890.0", "does not begin with +"),
        ("+6281234567890.0", "not made of the digits 0 to 9 alone"),
        ("+62812*", "not made of the digits"),
        ("+628", "3 digits; the fewest allowed are 7"),
        ("+62812345678901234", "17 digits; the most allowed are 15"),
        ("+0812345678", "begins with 0"),
        ("+٦٢٨١٢٣٤٥٦٧٨٩", "not made of the digits 0 to 9 alone"),
        ("Budi", "does not begin with +"),
        ("+" + "1" * 80, "81 characters; a number has at most 64"),
    ],
)
def test_what_is_refused_and_why(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        read_number(written)
    assert not re.search(r"[0-9]{7,}", str(caught.value))


def test_a_list_names_its_bad_lines_and_passes_over_remarks() -> None:
    lines = ["# June", A, "", "6,28E+12", "+6281234567891 # sold twice", "0812", "x", "y", "z"]
    numbers, bad = read_lines(lines, 100)
    assert numbers == [A, "+6281234567891"]
    assert [each.line for each in bad] == [4, 6, 7, 8, 9]
    assert told(bad).startswith('line 4: "6,28E+12" was shortened by a spreadsheet')
    assert told(bad).endswith("; and 2 more lines. Nothing was done")
    assert told([BadLine(3, "why")]) == "line 3: why. Nothing was done"


@pytest.mark.parametrize(("lines", "why"), [([A] * 4, "the list has 4 numbers; the most at once are 3"), (["#"], "no")])
def test_too_many_and_none(lines: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_lines(lines, 3)
