"""One event, one line: whatever stands in a call, an order or a request, each line of a log is one JSON object."""

import asyncio
import base64
import contextlib
import json
import socket
from pathlib import Path

import pytest

from agent.client import ApiError
from agent.stage import Stage
from tests.system.conversation import Conversation
from tests.system.test_bad_input import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = '{"event": "forged", "level": "info", "timestamp": "2026-01-01T00:00:00Z"}'
NASTY = (
    f"a\n{FORGED}\nb",
    f"a\r\n{FORGED}\r\nb",
    f"a\r{FORGED}\rb",
    f"a\u2028{FORGED}\u2029\x85\x0b\x0c",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "\u202eevil\u202c\u2066\u2069\u200b\ufeff",
    '", "level": "debug", "x": {"y": [1, 2',
    "\x00\x01\x7f\\u000a\\n",
)
_CALL = (
    "INVITE sip:{uri}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2:{port};branch=z9hG4bK{n}{via}\r\n"
    'From: "{display}" <sip:{caller}@a.example>;tag={tag}\r\nTo: <sip:+622150001234@b>\r\nCall-ID: {call}\r\n'
    "CSeq: 1 INVITE\r\nUser-Agent: {agent}\r\nMax-Forwards: 70\r\nContact: <sip:{contact}@127.0.0.2>\r\n"
    "Content-Length: 0\r\n\r\n"
)
_FIELDS = {
    "uri": "+622150001234",
    "via": "",
    "display": "x",
    "caller": "+6281100000002",
    "tag": "t",
    "call": "c",
    "agent": "x",
    "contact": "x",
}


def _lines(path: Path) -> list[dict[str, object]]:
    """Every line of a log, read; a line that is no object of ours fails."""
    raw = path.read_bytes()
    assert raw.endswith(b"\n") and raw.isascii()
    assert not set(raw) & (set(range(32)) - {10} | {127}), "a control character went to a terminal"
    events = [json.loads(line) for line in raw.decode("ascii").split("\n")[:-1]]
    for event in events:
        assert isinstance(event, dict) and {"event", "level", "timestamp"} <= event.keys()
        assert event["event"] != "forged"
    return events


async def test_every_line_of_both_logs_is_one_event(stage: Stage, conversation: Conversation) -> None:
    _call_with_each(stage)
    await _order_with_each(stage)
    await _ask_with_each(stage)
    await conversation.unblock(await _settled(conversation))
    await conversation.ended()
    for name in ("agent", "gateway"):
        events = _lines(stage.folder / f"{name}.log")
        assert len(events) >= 3, "a log without lines shows nothing"


async def _settled(conversation: Conversation) -> str:
    """A number whose order has come to its end, so that everything sent before it was taken too."""
    await conversation.block()
    await conversation.ended()
    return conversation.blocked[0]


def _call_with_each(stage: Stage) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((stage.caller, 0))
        for n, (field, text) in enumerate((field, text) for field in _FIELDS for text in NASTY):
            filled = {**_FIELDS, "tag": f"t{n}", "call": f"c{n}", field: text}
            message = _CALL.format(port=peer.getsockname()[1], n=n, **filled)
            peer.sendto(message.encode(), stage.gateway)


async def _order_with_each(stage: Stage) -> None:
    async with stage.regulator() as regulator:
        desk = Desk(stage, len(await regulator.get("/messages")) + 1_000)
        for field in ("id", "ticket", "office", "legal_basis", "kind", "deadline", "category", "subjects", "operator"):
            for text in NASTY:
                value = (text,) if field == "subjects" else text
                raw = desk.order(**{field: value})
                await regulator.post("/raw", {"base64": base64.b64encode(raw).decode()})
        for text in NASTY:
            await regulator.post("/raw", {"base64": base64.b64encode(text.encode()).decode()})


async def _ask_with_each(stage: Stage) -> None:
    async with stage.agent() as agent:
        for text in NASTY:
            for act in (
                agent.post("/v1/explain", {"text": text, "trunk": text[:30]}),
                agent.post("/v1/rules", {"subject": text[:32], "action": "reject", "reason": text}),
                agent.post("/v1/rules", {"subject": "+99999", "action": "reject", "reason": f"why {text}"}),
            ):
                with contextlib.suppress(ApiError):
                    await act
    for address in (stage.agent_metrics, stage.node_metrics):
        host, _, port = address.rpartition(":")
        for text in NASTY:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /{text} HTTP/1.1\r\n\r\n".encode())
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
