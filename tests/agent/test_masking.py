"""Masking of texts: no form of a number leaves, what is certainly none stays, and five digits are always hidden."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.masking import mask_json, mask_reference, mask_text
from sip_filter import Number

DIGITS = "6281234567890"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call +6281234567890 now", "call +6281••••• now"),
        ("081234567890", "0812•••••"),
        ("sip:6281234567890@host", "sip:6281•••••@host"),
        ("+62 812-3456-7890", "+62 81•••••"),
        ("+62 (812) 3456 7890", "+62 (81•••••"),
        ("62.812.3456.7890", "62.81•••••"),
        ("62/812/3456/7890", "62/81•••••"),
        ("62_812_345_67890", "62_81•••••"),
        ("62\u00a0812\u20113456\u200b7890", "62\u00a081•••••"),
        ("%2B6281234567890", "%2B6281•••••"),
        ("%36%32%38%31%32%33%34%35%36%37", "%36%32%38%31•••••"),
        ("62%20812%20345%2067890", "62%2081•••••"),
        (r"\x36\x32\x38\x31\x32\x33\x34\x35", r"\x36\x32\x38•••••"),
        ("&#54;&#50;&#56;1234567", "&#54;&#50;&#56;1•••••"),
        ("٦٢٨١٢٣٤٥٦٧٨٩٠", "٦٢٨١•••••"),
        ("６２８１２３４５６７８９０", "６２８１•••••"),
        ("1234567", "12•••••"),
        ("12345678", "123•••••"),
        ("123456", "123456"),
        ("112", "112"),
        ("tel6281234567890x", "tel6281•••••x"),
        ("0812-34-56 7890", "0812•••••"),
        ("0812-34-56-7890", "0812•••••"),
        ("2026-11-22 081234567890", "2026-11-22 0812•••••"),
        ("2026-11-22T15:00:00.123Z", "2026-11-22T15:00:00.123Z"),
        ("2026-11-22 15:00:00Z", "2026-11-22 15:00:00Z"),
        ("12345678-1234-4123-8123-123456789012", "12345678-1234-4123-8123-123456789012"),
        ("a" + "1" * 63, "a" + "1" * 63),
        ("1" * 64, "1111•••••"),
        ("2026-11-2281234567", "2026•••••"),
    ],
)
def test_a_text(text: str, shown: str) -> None:
    assert mask_text(text) == shown
    assert mask_text(shown) == shown, "masking twice changes nothing"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SMARTPPI-2026-0001234", "SMARTPPI-2026-0001234"),
        ("T-17", "T-17"),
        ("PPI/2026/11/000123", "PPI/2026/11/000123"),
        ("call 081234567890", "call 0812•••••"),
        ("+62 812-3456-7890", "+62 81•••••"),
        ("6281234567890", "6281•••••"),
        ("77012345678", "7701•••••"),
    ],
)
def test_a_reference_is_read_unless_it_is_a_telephone_number(text: str, shown: str) -> None:
    assert mask_reference(text) == shown


def test_json() -> None:
    found = {
        "subject": f"+{DIGITS}",
        f"+{DIGITS}": [DIGITS, int(DIGITS), 1234567.5, 42, True, None],
        "seconds": 60,
        "deep": {"a": [{"b": f"said {DIGITS}"}]},
        "n": 1_234_567_890,
    }
    shown = mask_json(found, frozenset({"n"}))
    assert not re.search(r"\d{7}", str(shown).replace("1234567890", "", 1))
    assert shown["n"] == 1_234_567_890
    assert shown["+6281•••••"] == ["6281•••••", "•••••", "•••••", 42, True, None]
    assert mask_json({"n": DIGITS}, frozenset({"n"})) == {"n": "6281•••••"}, "a text is no count"


@given(
    st.text(max_size=12),
    st.from_regex(r"[0-9]{7,15}", fullmatch=True),
    st.lists(st.sampled_from(["", "", "-", " ", ".", "(", ") "]), min_size=15, max_size=15),
    st.booleans(),
    st.text(max_size=12),
)
def test_no_form_of_a_number_leaves(before: str, digits: str, separators: list[str], escaped: bool, after: str) -> None:
    written = "".join(digit + separator for digit, separator in zip(digits, separators, strict=False)).rstrip(" -.()")
    text = before + (quote(written) if escaped else written) + after
    left = re.sub(r"\D", "", mask_text(text))
    assert digits not in left or digits in re.sub(r"\D", "", before) + re.sub(r"\D", "", after)


@given(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True))
def test_a_masked_number_hides_five_digits_behind_the_same_dots(digits: str) -> None:
    shown = Number(digits).masked()
    left = re.sub(r"\D", "", shown)
    assert len(left) <= len(digits) - 5 or len(left) <= 3  # a country code alone
    assert shown.count("•") == (5 if shown.startswith("+62") else 7) or len(left) <= 3
    assert mask_text(shown) == shown
