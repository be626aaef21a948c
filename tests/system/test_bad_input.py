"""What the regulator's side could get wrong, row by row: told its code, and the next good order goes through."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.client import Api
from agent.stage import OPERATOR, Stage
from sync.codes import Code
from sync.contract import Order, new_id
from sync.jws import Signer, generate_key, load_signer
from tests.book import eventually
from tests.system.conversation import Conversation

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Desk:
    """Makes messages as the regulator could, with its key or with another."""

    def __init__(self, stage: Stage, serial: int) -> None:
        self.regulator = load_signer(stage.folder / "keys" / "regulator.jwk")
        self.stranger = Signer(generate_key(), self.regulator.kid)
        self.unknown = Signer(generate_key(), "nobody")
        self.serial = serial

    def fields(self, **changes: object) -> dict[str, Any]:
        now = datetime.now(UTC)
        order = Order(
            id=new_id(),
            operator=OPERATOR,
            issued_at=now,
            serial=self.serial,
            kind="block",
            ticket="SMARTPPI-2026-900000",
            office="Komdigi",
            legal_basis="PM Kominfo 5/2021",
            deadline=now + timedelta(hours=24),
            count=1,
            subjects=("+6281299900001",),
        )
        return {**json.loads(order.to_json()), **changes}

    def order(self, **changes: object) -> bytes:
        return self.regulator.sign(json.dumps(self.fields(**changes)).encode())


def _nested(desk: Desk) -> bytes:
    return desk.regulator.sign(b'{"type":"order","subjects":' + b"[" * 5000 + b"]" * 5000 + b"}")


def _twice(desk: Desk) -> bytes:
    return desk.regulator.sign(json.dumps(desk.fields()).encode().replace(b'"kind"', b'"kind":"unblock","kind"', 1))


def _flipped(desk: Desk) -> bytes:
    head, body, signature = desk.order().split(b".")
    return b".".join((head, body, (b"B" if signature.startswith(b"A") else b"A") + signature[1:]))


def _none(desk: Desk) -> bytes:
    header = base64.urlsafe_b64encode(
        json.dumps({"alg": "none", "typ": "palang+jws", "kid": desk.regulator.kid}).encode()
    ).rstrip(b"=")
    return header + b"." + desk.order().split(b".")[1] + b"."


ROWS: dict[str, tuple[Callable[[Desk], bytes], str, Code]] = {
    "no signature": (lambda d: json.dumps(d.fields()).encode(), "refused", Code.UNSIGNED),
    "alg none": (_none, "refused", Code.UNSIGNED),
    "forged by another key": (
        lambda d: d.stranger.sign(json.dumps(d.fields()).encode()),
        "refused",
        Code.BAD_SIGNATURE,
    ),
    "one bit flipped": (_flipped, "refused", Code.BAD_SIGNATURE),
    "a key nobody knows": (lambda d: d.unknown.sign(json.dumps(d.fields()).encode()), "refused", Code.UNKNOWN_KEY),
    "not a token at all": (lambda d: b"\x00\xff" * 50, "refused", Code.MALFORMED),
    "empty": (lambda d: b"", "refused", Code.MALFORMED),
    "not JSON inside": (lambda d: d.regulator.sign(b"{"), "refused", Code.MALFORMED),
    "nested 5,000 deep": (_nested, "refused", Code.MALFORMED),
    "a key twice": (_twice, "refused", Code.MALFORMED),
    "UTF-16": (lambda d: d.regulator.sign(json.dumps(d.fields()).encode("utf-16")), "refused", Code.MALFORMED),
    "too large": (lambda d: b"x" * 5_000_000, "refused", Code.OVERSIZED),
    "an unknown key": (lambda d: d.order(colour="red"), "refused", Code.SCHEMA),
    "a count that lies": (lambda d: d.order(count=2), "refused", Code.SCHEMA),
    "another operator's": (lambda d: d.order(operator="somebody-else"), "refused", Code.WRONG_OPERATOR),
}

SUBJECTS: dict[str, tuple[str, str, Code]] = {
    "a number of 16 digits": ("+6281234567890123", "refused", Code.IMPOSSIBLE_NUMBER),
    "a prefix of one digit": ("+6*", "refused", Code.PREFIX_TOO_SHORT),
    "an emergency number": ("+62112", "refused", Code.EMERGENCY_NUMBER),
    "a bare emergency number": ("112", "refused", Code.EMERGENCY_NUMBER),
    "a whole country": ("+62*", "held", Code.PREFIX_TOO_WIDE),
    "a number without its country": ("081234567890", "refused", Code.NOT_INTERNATIONAL),
}


@pytest.mark.parametrize("row", ROWS)
async def test_a_bad_message_is_answered_with_its_code_and_the_next_goes_through(
    conversation: Conversation, stage: Stage, row: str
) -> None:
    make, status, code = ROWS[row]
    async with stage.regulator() as regulator:
        raw = make(Desk(stage, len(await regulator.get("/messages")) + 1))
        await regulator.post("/raw", {"base64": base64.b64encode(raw).decode()})
        await _told(regulator, status, code, "message", hashlib.sha256(raw).hexdigest())
    await conversation.block()
    await conversation.ended()


@pytest.mark.parametrize("row", SUBJECTS)
async def test_a_bad_subject_is_never_in_the_list(conversation: Conversation, stage: Stage, row: str) -> None:
    subject, status, code = SUBJECTS[row]
    async with stage.regulator() as regulator, stage.agent() as agent:
        before = (await agent.get("/v1/status"))["ledger"]["digest"]
        order = await regulator.post("/orders", {"kind": "block", "subjects": [subject], "unchecked": True})
        await _told(regulator, status, code, "order", order["id"])
        assert (await agent.get("/v1/status"))["ledger"]["digest"] == before
    await conversation.block()
    await conversation.ended()


async def _told(regulator: Api, status: str, code: Code, name: str, value: str) -> None:
    """Wait until the regulator has a confirmation of that status and code, and has receipted it."""

    async def look() -> bool:
        found: list[dict[str, Any]] = await regulator.get("/confirmations", limit=10_000)
        return any((c["status"], c.get("code"), c.get(name)) == (status, code, value) and c["receipts"] for c in found)

    await eventually(look, f"told {status} {code}")


async def test_a_replayed_order_changes_nothing(conversation: Conversation, stage: Stage) -> None:
    order = await conversation.block()
    await conversation.ended()
    number = conversation.blocked[-1]
    await conversation.unblock(number)
    await conversation.ended()
    async with stage.regulator() as regulator:
        messages: list[dict[str, Any]] = await regulator.get("/messages")
        serial = next(m["serial"] for m in messages if m["id"] == order)
        body = await regulator.get(f"/messages/{serial}/body")
        for _ in range(3):
            await regulator.post("/raw", {"base64": body["base64"]})
    await conversation.block()
    await conversation.ended()
    assert (await conversation.caller.call(number)).status == 200
    await conversation.settle()
