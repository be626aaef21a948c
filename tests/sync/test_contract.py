"""The contract's models against their own JSON Schemas, and the generated documents against the code."""

import json
import re
import string
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sync.codes import CATALOGUE, Code
from sync.contract import (
    DOWN,
    UP,
    Advisory,
    Confirmation,
    Order,
    Part,
    Receipt,
    Resend,
    down_topic,
    message_schema,
    new_id,
    now_text,
    up_topic,
)
from sync.contract_docs import DOCS, documents
from tests.sync.house import NOON, order

VALIDATORS = {
    name: jsonschema.Draft202012Validator(message_schema(model), format_checker=jsonschema.FormatChecker())
    for name, model in {**DOWN, **UP}.items()
}

texts = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "), min_size=1, max_size=64)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
ids = st.uuids(version=4).map(str)
serials = st.integers(1, 2**53 - 1)
subjects = st.builds(
    lambda digits, star: f"+{digits}{star}",
    st.text(string.digits, min_size=1, max_size=24),
    st.sampled_from(["", "*"]),
)
common = {"id": ids, "operator": st.just("operator"), "issued_at": st.just(NOON)}
later = st.datetimes(datetime(2027, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
digests = st.text("0123456789abcdef", min_size=32, max_size=32)
counts = st.integers(0, 10**6)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    kind = draw(st.sampled_from(["block", "unblock"]))
    listed = draw(st.lists(subjects, min_size=1, max_size=5))
    return Order(
        id=draw(ids),
        operator="operator",
        issued_at=NOON,
        serial=draw(serials),
        kind=kind,  # type: ignore[arg-type]
        ticket=draw(texts),
        category=draw(st.none() | texts),
        office=draw(texts),
        legal_basis=draw(texts),
        deadline=draw(later),
        until=draw(st.none() | later) if kind == "block" else None,
        count=len(listed),
        subjects=tuple(listed),
    )


nodes = st.fixed_dictionaries(
    {
        "node": texts,
        "revision": st.builds(lambda epoch, n: f"{epoch}.{n}", st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1)),
        "digest": digests,
        "trunks": st.lists(
            st.fixed_dictionaries(
                {"trunk": texts, "mode": st.sampled_from(["enforce", "shadow", "off"]), "asked": counts, "held": counts}
            ),
            max_size=2,
        ),
        "asked": counts,
        "held": counts,
    }
)
proofs = st.fixed_dictionaries(
    {"nodes": st.lists(nodes, max_size=3), "sample": counts, "sampled_of": counts, "at": moments}
)
coverages = st.fixed_dictionaries(
    {
        "covered": st.lists(st.fixed_dictionaries({"node": texts, "trunk": texts}), max_size=2),
        "not_covered": st.lists(st.fixed_dictionaries({"what": texts, "why": texts}), max_size=2),
    }
)
confirmations = st.fixed_dictionaries(
    {
        **common,
        "order": st.none() | ids,
        "serial": st.none() | serials,
        "ticket": st.none() | texts,
        "status": st.sampled_from(
            ["held", "refused", "in_force", "in_force_partial", "lifted", "suspended", "expired"]
        ),
        "code": st.none() | st.sampled_from(list(Code)),
        "detail": st.none() | texts,
        "late": st.booleans(),
        "revision": st.none() | st.just("1.17"),
        "proof": st.none() | proofs,
        "coverage": st.none() | coverages,
        "received_at": moments,
        "effective_at": st.none() | moments,
        "message": st.none() | st.just("ab" * 32),
    }
).map(Confirmation.model_validate)
clearances = st.fixed_dictionaries(
    {
        "subject": subjects,
        "cause": st.sampled_from(["clarification", "reassigned"]),
        "reference": texts,
        "document": st.just("ab" * 32),
        "approved_at": moments,
        "left": counts,
    }
)
cleared = st.builds(
    lambda said, order, status, clearance: Confirmation.model_validate(
        {**said.model_dump(), "order": order, "status": status, "clearance": clearance}
    ),
    *(confirmations, ids, st.sampled_from(["lifted", "still_blocked_by"]), clearances),
)
messages = st.one_of(
    orders(),
    st.builds(Advisory, **common, serial=serials, prefix=subjects, office=texts, reason=texts),
    st.builds(Receipt, **common, confirmation=ids, order=st.none() | ids, status=st.just("in_force")),
    confirmations,
    cleared,
    st.builds(
        Resend,
        **common,
        serials=st.lists(
            st.tuples(serials, serials).map(lambda pair: (min(pair), max(pair))), min_size=1, max_size=4
        ).map(tuple),
    ),
)


@given(messages)
@settings(max_examples=200)
def test_every_message_follows_its_schema_and_comes_back_equal(message: Part) -> None:
    raw = message.to_json()
    VALIDATORS[json.loads(raw)["type"]].validate(json.loads(raw))
    assert type(message).model_validate_json(raw) == message


@given(orders(), st.sampled_from(sorted(Order.model_fields)), st.none() | st.booleans() | st.integers() | st.text())
@settings(max_examples=300)
def test_what_the_schema_refuses_the_model_refuses(message: Order, field: str, value: Any) -> None:
    body = {**json.loads(message.to_json()), field: value}
    try:
        Order.model_validate_json(json.dumps(body))
    except ValidationError:
        return
    VALIDATORS["order"].validate(body)


def test_schemas_are_closed_and_ask_for_the_type() -> None:
    for name, validator in VALIDATORS.items():
        assert validator.schema["additionalProperties"] is False, name
        assert "type" in validator.schema["required"], name
    body = json.loads(order(1, "+6281234567890").to_json())
    for wrong in ({**body, "more": 1}, {key: value for key, value in body.items() if key != "type"}):
        assert not VALIDATORS["order"].is_valid(wrong)


def test_messages_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        order(1, "+6281234567890").serial = 2  # type: ignore[misc]


def test_what_is_absent_is_not_written() -> None:
    assert b"null" not in order(1, "+6281234567890").to_json()


def test_times_are_written_in_utc() -> None:
    assert now_text(NOON) == "2026-11-22T12:00:00Z"
    assert now_text(NOON.replace(microsecond=250_999)) == "2026-11-22T12:00:00.250Z"


def test_a_range_runs_forwards() -> None:
    with pytest.raises(ValidationError, match=r"the range 5\.\.4 runs backwards"):
        Resend(id=new_id(), operator="operator", issued_at=NOON, serials=((5, 4),))


def test_a_clearance_lifts_and_names_its_order() -> None:
    said = {
        "id": new_id(),
        "operator": "operator",
        "issued_at": NOON,
        "received_at": NOON,
        "late": False,
        "order": new_id(),
        "status": "lifted",
        "clearance": {
            "subject": "+6281234567890",
            "cause": "clarification",
            "reference": "KL-7",
            "document": "ab" * 32,
            "approved_at": NOON,
            "left": 0,
        },
    }
    assert Confirmation.model_validate(said).clearance is not None
    for wrong in ({"order": None}, {"status": "in_force"}, {"clearance": {**said["clearance"], "document": "ab"}}):  # type: ignore[dict-item]
        with pytest.raises(ValidationError):
            Confirmation.model_validate({**said, **wrong})


def test_topics() -> None:
    assert (down_topic("telco-a"), up_topic("telco-a")) == ("palang/v1/telco-a/down", "palang/v1/telco-a/up")


def test_the_documents_are_current() -> None:
    """`make docs` writes them anew."""
    for name, text in documents().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, name


def test_the_asyncapi_document_names_every_message_and_file() -> None:
    document = json.loads(documents()["contract/asyncapi.json"])
    named = {name for channel in document["channels"].values() for name in channel["messages"]}
    assert named == set(document["components"]["messages"]) == {*DOWN, *UP}
    files = {message["payload"]["schema"]["$ref"] for message in document["components"]["messages"].values()}
    assert all((DOCS / "contract" / file).exists() for file in files)


def test_the_catalogue_of_codes_is_complete() -> None:
    assert set(CATALOGUE) == set(Code)
    for code, entry in CATALOGUE.items():
        assert re.fullmatch("[a-z_]{5,24}", code)
        assert entry.sentence.endswith(".") and entry.sentence[0].isupper() and len(entry.sentence) <= 120
    assert len({entry.sentence for entry in CATALOGUE.values()}) == len(CATALOGUE)
