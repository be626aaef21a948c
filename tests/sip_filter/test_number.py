"""Numbers, prefixes, clauses and stacks: one canonical text each, in Python and in Rust."""

import os
import pickle
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sip_filter import Clause, Number, Prefix, Stack, Subject, entry_digest, entry_line, list_digest, parse_subject
from sip_filter.number import read_subject
from tests.sip_filter import rules
from tests.sip_filter.twin import digest

canonical = st.from_regex(r"\+[1-9][0-9]{6,14}|\+[1-9][0-9]{1,13}\*", fullmatch=True)
near = st.text(st.sampled_from("+*0123456789 ٣a\t"), max_size=18)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+6281234567890", "+6281234567890"),
        ("6281234567890", "+6281234567890"),
        (" +77* ", "+77*"),
        ("77", "+77*"),
        ("123456", "+123456*"),
        ("1234567", "+1234567"),
        ("1234567*", "+1234567*"),
        ("+12345678901234*", "+12345678901234*"),
    ],
)
def test_what_a_person_writes_is_read(text: str, expected: str) -> None:
    assert str(parse_subject(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("+6*", 'prefix "6" has 1 digits; the fewest allowed are 2 (of at most 14)'),
        ("+123456789012345*", "the most allowed are 14"),
        ("+1234567890123456", 'number "1234567890123456" has 16 digits; the most allowed are 15'),
        ("7", 'number "7" has 1 digits; the fewest allowed are 7'),
        ("0812345678", "begins with 0"),
        ("+00628123456", "begins with 0"),
        ("++77012345", "is not made of the digits"),
        ("7701234\u0663", "is not made of the digits"),
        ("", "has 0 digits"),
    ],
)
def test_errors_name_the_value_and_the_limit(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_subject(text)


@given(canonical)
def test_canonical_texts_round_trip_in_both_languages(text: str) -> None:
    subject = read_subject(text)
    assert str(subject) == text
    assert parse_subject(text) == subject or len(subject.digits) < 7
    assert entry_digest(f"{text}\t") == int(digest([f"{text}\t"]), 16)


@given(near)
def test_python_and_rust_refuse_the_same_subjects(text: str) -> None:
    try:
        read_subject(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            entry_digest(f"{text}\t")
    else:
        entry_digest(f"{text}\t")


@given(canonical, canonical)
def test_subjects_are_ordered_as_their_texts(left: str, right: str) -> None:
    one, other = read_subject(left), read_subject(right)
    assert (one < other, one == other, one >= other) == (left < right, left == right, left >= right)
    assert (hash(one) == hash(other)) or left != right


@given(canonical)
def test_subjects_are_values(text: str) -> None:
    subject = read_subject(text)
    assert pickle.loads(pickle.dumps(subject)) == subject
    with pytest.raises(AttributeError, match="cannot be changed"):
        subject.digits = "77"
    adapter: TypeAdapter[Subject] = TypeAdapter(Subject)
    assert adapter.validate_python(text) == adapter.validate_python(subject) == subject
    assert adapter.validate_json(adapter.dump_json(subject)) == subject


def test_pydantic_refuses_what_is_not_canonical() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Number).validate_python("6281234567890")
    assert TypeAdapter(Prefix).json_schema() == {"type": "string", "pattern": r"^\+[1-9][0-9]{1,13}\*$"}


@pytest.mark.parametrize(
    ("digits", "masked"),
    [
        ("6281234567890", "+62 812-••••-•890"),
        ("628123456789", "+62 812-••••-•89"),
        ("6281234567", "+62 812-••••-•"),
        ("628123456", "+62 •••-••••-•"),
        ("77012345678", "+77•••••••78"),
        ("442071838750", "+44•••••••50"),
        ("12025550", "+1•••••••"),
        ("35312345", "+353•••••••"),
        ("4420718", "+44•••••••"),
    ],
)
def test_masks_hide_five_digits_and_no_length(digits: str, masked: str) -> None:
    assert Number(digits).masked() == masked
    assert digits not in repr(Number(digits))


@given(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True))
def test_every_mask_hides_at_least_five_digits(digits: str) -> None:
    shown = sum(character.isdigit() for character in Number(digits).masked())
    assert len(digits) - shown >= min(5, len(digits) - 3)
    assert not re.search(r"[0-9]{7,}", Number(digits).masked())


def test_a_prefix_covers_what_begins_with_it() -> None:
    prefix = Prefix("77")
    assert prefix.covers(Number("77012345678"))
    assert prefix.covers(Prefix("7701"))
    assert not prefix.covers(Number("7801234"))
    assert Number("77012345678").prefix(4) == Prefix("7701")
    with pytest.raises(ValueError, match="has 7 digits, not 8"):
        Number("7701234").prefix(8)


@given(rules.stacks)
def test_stacks_round_trip_in_both_languages(stack: Stack) -> None:
    assert Stack.parse(str(stack)) == stack
    line = entry_line(Prefix("77"), stack)
    assert list_digest([line, line]) == digest([line, line])


WORDS = ["order", "noc", "reject", "allow", "enforce", "shadow", "both", "call", "both;", ";"]
WORDS += ["@", "@a", "@a,b", "@b,a", "@a,a", "until=7", "until=07", "until=0"]
broken = rules.stacks.map(str).flatmap(lambda text: st.integers(0, 60).map(lambda at: text[:at] + text[at + 1 :]))


@given(st.lists(st.sampled_from(WORDS)).map(" ".join) | broken | rules.clauses.map(lambda c: f"{c} until=9; {c}"))
def test_python_and_rust_refuse_the_same_stacks(text: str) -> None:
    try:
        Stack.parse(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            entry_digest(f"+77*\t{text}")
    else:
        entry_digest(f"+77*\t{text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("order block enforce both", 'action "block" must be one of reject, allow, label'),
        ("order reject enforce both @b,a", "is not canonical"),
        ("order reject enforce both @Intl", 'trunk "Intl" must be 1 to 32'),
        ("order reject enforce both until=253402300800", "253402300799"),
        ("order reject enforce both; noc reject enforce both", "is not sorted without duplicates"),
    ],
)
def test_stack_errors_name_the_value_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Stack.parse(text)


def test_a_policy_is_what_is_in_force() -> None:
    stack = Stack.parse("noc allow enforce both until=10; noc reject enforce both until=20; order label shadow call")
    assert str(stack.policy_at(10)) == "noc reject enforce both; order label shadow call"
    assert (stack.next_end(0), stack.next_end(10), stack.next_end(20)) == (10, 20, None)
    assert not Stack.parse("noc allow enforce both until=10").policy_at(10)
    assert Clause.parse("noc allow enforce both until=10").ended(10)


def test_importing_the_filter_loads_only_the_standard_library_and_the_core() -> None:
    script = "import sys, sip_filter; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-P", "-c", script]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    packages = {name.split(".")[0] for name in told.split()} - sys.stdlib_module_names - {"__main__"}
    at_start = subprocess.run([*command[:-1], "import sys; print(*sys.modules)"], capture_output=True, text=True).stdout
    assert packages - {name.split(".")[0] for name in at_start.split()} == {"sip_filter"}
