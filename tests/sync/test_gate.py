"""The gate, row by row: what is refused for good, what is held for a person, and what goes straight through."""

import random

import phonenumbers
import pytest

from sync.codes import Code
from sync.gate import Finding, Gate, Recent, possible
from sync.settings import GateSettings
from tests.sync.house import order

GATE = Gate(GateSettings(protected=("+622150000000", "+6221500*", "+18005551*")))


def judged(subject: str, kind: str = "block") -> tuple[str, Code] | None:
    """What the gate says of an order for one subject."""
    checked = GATE.check(order(1, subject, kind=kind))
    if not checked.findings:
        assert len(checked.clear) == 1
        return None
    (finding,) = checked.findings
    assert checked.clear == ()
    return finding.verdict, finding.code


@pytest.mark.parametrize("digits", ["110", "112", "113", "115", "118", "119", "911"])
@pytest.mark.parametrize("form", ["{}", "+{}", "{}*", "+{}*", "62{}", "+62{}", "+62{}*"])
def test_emergency_numbers_are_refused_in_every_form(form: str, digits: str) -> None:
    assert judged(form.format(digits)) == ("refuse", Code.EMERGENCY_NUMBER)


@pytest.mark.parametrize(
    ("subject", "verdict"),
    [
        ("+6281234567890", None),
        ("+77012345678", None),
        ("+62804123456", None),  # valid or not: the metadata lag, and only length is asked
        ("+7", ("refuse", Code.PREFIX_TOO_SHORT)),
        ("+7*", ("refuse", Code.PREFIX_TOO_SHORT)),
        ("+6", ("refuse", Code.PREFIX_TOO_SHORT)),
        ("0", ("refuse", Code.NOT_INTERNATIONAL)),
        ("081234567890", ("refuse", Code.NOT_INTERNATIONAL)),
        ("81234567890", ("refuse", Code.NOT_INTERNATIONAL)),  # a spreadsheet ate the 0 or the +62: not guessed
        ("6281234567890", ("refuse", Code.NOT_INTERNATIONAL)),
        ("+081234567890", ("refuse", Code.IMPOSSIBLE_NUMBER)),
        ("+6281234567890123", ("refuse", Code.IMPOSSIBLE_NUMBER)),  # 16 digits
        ("+628123456789012345678901", ("refuse", Code.IMPOSSIBLE_NUMBER)),
        ("+628123456789012*", ("refuse", Code.IMPOSSIBLE_NUMBER)),  # 15 digits of prefix
        ("+2101234567", ("hold", Code.IMPOSSIBLE_NUMBER)),  # no country has 210
        ("+65912345678901", ("hold", Code.IMPOSSIBLE_NUMBER)),  # longer than Singapore's plan
        ("+77*", ("hold", Code.PREFIX_TOO_WIDE)),
        ("+77", ("hold", Code.PREFIX_TOO_WIDE)),
        ("+242*", ("hold", Code.PREFIX_TOO_WIDE)),
        ("+2426*", None),
        ("+62*", ("hold", Code.PROTECTED_NUMBER)),  # it covers protected ones
        ("+628*", ("hold", Code.PREFIX_TOO_WIDE)),
        ("+628123456*", ("hold", Code.PREFIX_TOO_WIDE)),  # our own subscribers, however narrow
        ("+622150000000", ("hold", Code.PROTECTED_NUMBER)),
        ("+62215001234", ("hold", Code.PROTECTED_NUMBER)),
        ("+62215*", ("hold", Code.PROTECTED_NUMBER)),
        ("+18005*", ("hold", Code.PROTECTED_NUMBER)),
        ("+180055512*", ("hold", Code.PROTECTED_NUMBER)),
        ("+18005552222", None),
    ],
)
def test_one_subject(subject: str, verdict: tuple[str, Code] | None) -> None:
    assert judged(subject) == verdict


def test_an_unblock_is_never_held_for_its_subject() -> None:
    for subject in ("+62*", "+622150000000", "+2101234567"):
        assert judged(subject, "unblock") is None
    assert judged("+6281234567890123", "unblock") == ("refuse", Code.IMPOSSIBLE_NUMBER)


def test_details_name_value_and_limit() -> None:
    details = {subject: GATE.check(order(1, subject)).findings[0].detail for subject in ("+6", "+77", "+628", "+112")}
    assert details == {
        "+6": "prefix +6 is 1 digit; the shortest allowed is 2 (gate.min_prefix_digits)",
        "+77": "prefix +77* is 2 digits; up to 3 a person has to approve it (gate.hold_prefix_digits)",
        "+628": "prefix +628* is 3 digits; up to 3 a person has to approve it (gate.hold_prefix_digits)",
        "+112": "+112 is an emergency number (gate.emergency)",
    }
    assert "16 digits; the most allowed are 15" in GATE.check(order(1, "+6281234567890123")).findings[0].detail


def test_a_list_is_judged_one_by_one_and_each_subject_once() -> None:
    checked = GATE.check(order(1, "+6281234567890", "+112", "+77*", "+77", "+6281234567890", "+6281234567891"))
    assert checked.clear == ("+6281234567890", "+6281234567891")
    assert {(found.subject, found.verdict) for found in checked.findings} == {("+112", "refuse"), ("+77*", "hold")}
    assert checked.held_whole is None


@pytest.mark.parametrize(
    ("recent", "held"),
    [
        (Recent(0, 0), False),
        (Recent(199, 0), False),
        (Recent(200, 0), True),
        (Recent(200, 41), False),
        (Recent(204, 41), False),
        (Recent(205, 41), True),
        (Recent(10_000, 3), True),
    ],
)
def test_a_burst_is_held_and_a_signed_list_is_none(recent: Recent, held: bool) -> None:
    found = GATE.check(order(1, "+6281234567890"), recent).held_whole
    assert (found is not None and found.code is Code.BURST) == held
    assert GATE.check(order(1, "+6281234567890", "+6281234567891"), recent).held_whole is None


def test_a_burst_says_its_numbers() -> None:
    found = GATE.check(order(1, "+6281234567890"), Recent(250, 10)).held_whole
    assert isinstance(found, Finding)
    assert "250 orders came in this hour before it; the limit is 200" in found.detail


def test_settings_that_are_no_subjects_are_named() -> None:
    with pytest.raises(ValueError, match="abc"):
        Gate(GateSettings(protected=("abc",)))


def test_every_plans_example_numbers_are_possible() -> None:
    for region in phonenumbers.SUPPORTED_REGIONS:
        example = phonenumbers.example_number(region)
        assert example is not None
        digits = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)[1:]
        assert possible(digits), (region, digits)


def test_possible_agrees_with_the_library_on_the_digits_it_reads() -> None:
    numbers = random.Random(2)
    agreed = 0
    for _ in range(2_000):
        digits = str(numbers.randrange(1, 10)) + "".join(
            str(numbers.randrange(10)) for _ in range(numbers.randrange(6, 15))
        )
        try:
            read = phonenumbers.parse(f"+{digits}")
        except phonenumbers.NumberParseException:
            assert not possible(digits) or len(digits) < 9, digits
            continue
        if f"{read.country_code}{read.national_number}" != digits:
            continue  # the library dropped a zero or a national prefix, which is what we don't do
        if len(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[read.country_code or 0]) == 1:
            assert possible(digits) == phonenumbers.is_possible_number(read), digits
            agreed += 1
        else:  # countries that share a code: the library asks the first of them, we ask all
            assert possible(digits) or not phonenumbers.is_possible_number(read), digits
    assert agreed > 1_000
