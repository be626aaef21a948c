"""Bad input, row by row: each gets its code, none is ever parsed unsigned, and the next good message goes through."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.codes import Code
from sync.contract import Confirmation, Order, new_id
from sync.intake import Limits, Refusal, Signed, read, read_up, strict_json
from sync.jws import Signer, generate_key
from tests.sync.house import NOON, OPERATOR, OURS, REGULATOR, advisory, order, reading, receipt, signed

GOOD = json.loads(order(7, "+6281234567890").to_json())


def refused(raw: bytes, limits: Limits | None = None) -> Refusal:
    got = read(raw, REGULATOR.keyring(), OPERATOR, limits or Limits())
    assert isinstance(got, Refusal), got
    return got


def altered(**fields: Any) -> bytes:
    """The good order with other fields, signed; a field of None is left out."""
    body = {key: value for key, value in {**GOOD, **fields}.items() if value is not None}
    return REGULATOR.sign(json.dumps(body).encode())


@pytest.mark.parametrize("message", [order(1, "+6281234567890"), advisory(2, "+77"), order(3, "+77*", kind="unblock")])
def test_a_good_message_comes_through_whole(message: Order) -> None:
    got = reading(message)
    assert isinstance(got, Signed)
    assert (got.body, got.kid, got.raw[:3]) == (message, "reg-1", b"eyJ")


BAD_BYTES = {
    "empty": (b"", Code.MALFORMED),
    "unsigned": (json.dumps(GOOD).encode(), Code.UNSIGNED),
    "noise": (bytes(range(256)), Code.MALFORMED),
    "nul": (b"\x00" * 100, Code.MALFORMED),
    "forged": (Signer(generate_key(), "reg-1").sign(order(7, "+6281234567890").to_json()), Code.BAD_SIGNATURE),
    "stranger": (Signer(generate_key(), "who").sign(b"{}"), Code.UNKNOWN_KEY),
    "our own": (OURS.sign(order(7, "+6281234567890").to_json()), Code.UNKNOWN_KEY),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_what_proves_nothing_is_refused_unread(name: str) -> None:
    raw, code = BAD_BYTES[name]
    got = refused(raw)
    assert (got.code, got.authentic, got.order, got.serial) == (code, False, None, None)
    assert len(got.message_sha256) == 64 and got.detail and got.head == raw[:256]


BAD_JSON = {
    "not json": b"hello",
    "nothing": b"",
    "a list": b"[]",
    "a number": b"1",
    "two values": b"{} {}",
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "latin-1": b'{"type":"\xe9"}',
    "key twice": b'{"type":"order","type":"order"}',
    "inner key twice": b'{"a":{"b":1,"b":2}}',
    "NaN": b'{"serial":NaN}',
    "Infinity": b'{"serial":-Infinity}',
    "huge integer": b'{"serial":' + b"9" * 5000 + b"}",
    "deep list": b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "nine deep": b'{"a":' + b"[" * 9 + b"]" * 9 + b"}",
    "raw control": b'{"office":"a\nb"}',
    "truncated": json.dumps(GOOD).encode()[:-1],
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_strict_json(name: str) -> None:
    started = time.process_time()
    got = refused(REGULATOR.sign(BAD_JSON[name]))
    assert (got.code, got.authentic) == (Code.MALFORMED, True)
    assert time.process_time() - started < 1


def test_json_as_deep_as_the_limit_is_read() -> None:
    assert strict_json(b'{"a":[[[1]]]}', 4) == {"a": [[[1]]]}
    with pytest.raises(ValueError, match="deeper than 3"):
        strict_json(b'{"a":[[[1]]]}', 3)


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "unknown type": {"type": "edict"},
    "type a list": {"type": ["order"]},
    "no type": {"type": None},
    "unknown field": {"priority": 1},
    "serial text": {"serial": "7"},
    "serial zero": {"serial": 0},
    "serial true": {"serial": True},
    "serial fraction": {"serial": 7.0},
    "serial too large": {"serial": 2**53},
    "count wrong": {"count": 2},
    "count text": {"count": "1"},
    "no subjects": {"subjects": [], "count": 0},
    "subjects text": {"subjects": "+6281234567890"},
    "subject a number": {"subjects": [6281234567890]},
    "subject empty": {"subjects": [""]},
    "subject plus": {"subjects": ["+"]},
    "subject words": {"subjects": ["+62 812 3456 7890"]},
    "subject of a spreadsheet": {"subjects": ["6,28E+12"]},
    "subject in Arabic digits": {"subjects": ["+٦٢٨١٢٣٤٥٦٧٨٩٠"]},
    "subject with extension": {"subjects": ["+6281234567890;ext=1"]},
    "subject endless": {"subjects": ["+" + "1" * 25]},
    "kind": {"kind": "maybe"},
    "id no uuid": {"id": "1"},
    "id in capitals": {"id": new_id().upper()},
    "no time zone": {"deadline": "2026-11-23T12:00:00"},
    "another zone": {"deadline": "2026-11-23T12:00:00+07:00"},
    "no such day": {"deadline": "2026-02-30T12:00:00Z"},
    "time a number": {"deadline": 1795435200},
    "deadline before": {"deadline": "2026-11-21T12:00:00Z"},
    "until before": {"until": "2026-11-21T12:00:00Z"},
    "until of an unblock": {"kind": "unblock", "until": "2026-12-01T12:00:00Z"},
    "ticket empty": {"ticket": ""},
    "ticket long": {"ticket": "T" * 65},
    "ticket of two lines": {"ticket": "T\n1"},
    "office with escape": {"office": "\x1b[31mKomdigi"},
    "office with NUL": {"office": "a\x00b"},
    "half a surrogate": {"office": "\ud800"},
    "text backwards": {"office": "\u202eigidmoK"},
    "no ticket": {"ticket": None},
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_schema(name: str) -> None:
    got = refused(altered(**BAD_FIELDS[name]))
    assert (got.code, got.authentic) == (Code.SCHEMA, True), got
    assert got.detail.isprintable() and len(got.detail) <= 300


def test_a_refusal_names_order_and_serial_where_they_could_be_read() -> None:
    got = refused(altered(kind="maybe"))
    assert (got.order, got.serial, got.kind) == (GOOD["id"], 7, "order")
    got = refused(altered(serial="7"))
    assert (got.order, got.serial) == (GOOD["id"], None)


def test_errors_name_value_and_limit() -> None:
    assert "count says 2, but 1 subjects follow" in refused(altered(count=2)).detail
    assert "'6,28E+12' is no subject: + and at most 24 digits" in refused(altered(subjects=["6,28E+12"])).detail
    assert "deadline 2026-11-21T12:00:00Z is not after" in refused(altered(deadline="2026-11-21T12:00:00Z")).detail
    assert "the message has 5000 bytes; the limit is 4096" in refused(b"a" * 5000, Limits(4096)).detail


def test_addressed_to_another_operator() -> None:
    got = refused(altered(operator="telco-b"))
    assert got.code is Code.WRONG_OPERATOR and "'telco-b'" in got.detail


def test_oversized_is_refused_before_anything_is_read() -> None:
    raw = signed(order(7, *(f"+62812{n:08d}" for n in range(1000))))
    assert refused(raw, Limits(len(raw) - 1)).code is Code.OVERSIZED
    assert isinstance(read(raw, REGULATOR.keyring(), OPERATOR, Limits(len(raw))), Signed)


def test_a_list_of_100_000_is_read_and_one_more_refused() -> None:
    subjects = [f"+62812{n:08d}" for n in range(100_001)]
    got = read(altered(subjects=subjects[:-1], count=100_000), REGULATOR.keyring(), OPERATOR)
    assert isinstance(got, Signed)
    assert refused(altered(subjects=subjects, count=100_001)).code is Code.SCHEMA


def test_the_regulator_reads_our_side_only() -> None:
    confirmation = Confirmation(
        id=new_id(), operator=OPERATOR, issued_at=NOON, status="in_force", late=False, received_at=NOON
    )
    got = read_up(OURS.sign(confirmation.to_json()), OURS.keyring(), OPERATOR)
    assert isinstance(got, Signed) and got.body == confirmation
    wrong = read_up(OURS.sign(receipt(confirmation).to_json()), OURS.keyring(), OPERATOR)
    assert isinstance(wrong, Refusal) and wrong.code is Code.SCHEMA


@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    assert isinstance(read(raw, REGULATOR.keyring(), OPERATOR), Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_no_signed_field_raises(field: str, value: object) -> None:
    read(altered(**{field: value}), REGULATOR.keyring(), OPERATOR)


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=5))
def test_no_signed_object_raises(body: dict[str, object]) -> None:
    assert isinstance(read(REGULATOR.sign(json.dumps(body).encode()), REGULATOR.keyring(), OPERATOR), Refusal)
