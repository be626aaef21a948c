"""The unblock desk on the real set: a wrongly blocked number is refused, two people lift it, it passes, all is told.

The operator comes by the agent's own socket, with the commands; the supervisor by the address where people sign in,
with a token.
"""

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from agent.children import free_port
from agent.demo.phones import Switch
from agent.stage import NODE, Stage
from tests.book import eventually
from tests.system.conftest import shared
from tests.system.conversation import Conversation
from tests.system.palang import Palang

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

WRONG, OTHER, SOLD = "+6281399900001", "+6281399900002", "+6281399900003"
CANARY = "813999000"


@shared
async def stage(tmp_path_factory: pytest.TempPathFactory, switch: Switch) -> AsyncIterator[Stage]:
    """The whole set, with the address where people sign in."""
    address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    async with Stage(tmp_path_factory.mktemp("desk"), switch.address, console=address) as started:
        yield started


@shared
async def supervisor(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """Budi, a supervisor who is not at this machine."""
    async with stage.agent() as agent:
        body = {"name": "budi", "display": "Budi", "roles": ["supervisor"], "reason": "a second person"}
        word = (await agent.post("/v1/people", body))["invitation"]
        async with httpx.AsyncClient(base_url=f"http://{stage.console}") as stranger:
            enrolled = await stranger.post(
                "/v1/enrolments", json={"invitation": word, "password": "kuda biru makan rumput"}
            )
            code = pyotp.TOTP(enrolled.json()["key"]).now()
            await stranger.post("/v1/enrolments/confirm", json={"invitation": word, "code": code})
        scopes = ["see", "clearances.countersign", "rules.countersign"]
        made = await agent.post("/v1/tokens", {"name": "desk", "scopes": scopes, "person": "budi"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with httpx.AsyncClient(base_url=f"http://{stage.console}", headers=headers) as http:
        yield http


async def _state(stage: Stage, clearance: str, wanted: str) -> dict[str, Any]:
    story: dict[str, Any] = {}

    async def there() -> bool:
        async with stage.agent() as agent:
            story.update(await agent.get(f"/v1/clearances/{clearance}"))
        return bool(story["state"] == wanted)

    await eventually(there, f"{clearance} {wanted}", 60)
    return story


async def test_a_victim_of_spoofing_is_heard_within_minutes(
    conversation: Conversation, palang: Palang, supervisor: httpx.AsyncClient, tmp_path: Path
) -> None:
    """F20: find order, owner and evidence, revoke, and tell; and each step is one command."""
    block = await conversation.block(WRONG)
    await conversation.ended()
    assert (await conversation.caller.call(WRONG)).status == 603
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"clarification")
    began = time.monotonic()
    words = ("--reference", "KL-2026-7", "--reason", "spoofed; came with passport", "--document-file", str(letter))
    opened = await palang.json("clearance", "open", "-", *words, stdin=f"{WRONG}\n")
    seen = await palang("clearance", "show", opened["id"])
    async with conversation.stage.agent() as agent:
        ticket = (await agent.get(f"/v1/orders/{block}"))["ticket"]
    for found in (block, ticket, hashlib.sha256(b"clarification").hexdigest(), "blocked by", "ends with the lift"):
        assert found in seen
    assert opened["id"] in await palang("clearance", "list")
    refused = await palang("clearance", "approve", opened["id"], "--reason", "myself", "--yes", exit_code=1)
    assert "by its author" in refused
    assert (await conversation.caller.call(WRONG)).status == 603

    request = opened["approval"]["id"]
    approved = await supervisor.post(f"/v1/approvals/{request}/approve", json={"reason": "letter read"})
    assert approved.status_code == 200, approved.text

    async def passes() -> bool:
        return (await conversation.caller.call(WRONG)).status == 200

    await eventually(passes, "the number passes", 30)
    story = await _state(conversation.stage, opened["id"], "closed")
    assert time.monotonic() - began < 300
    assert [node["node"] for node in story["proof"]["proof"]["nodes"]] == [NODE]
    (told,) = story["confirmations"]
    assert told["status"] == "lifted" and told["receipt_at"]
    async with conversation.stage.regulator() as regulator:
        (said,) = [c for c in await regulator.get("/confirmations", order=block) if c["status"] == "lifted"]
    assert said["clearance"]["reference"] == "KL-2026-7" and said["clearance"]["left"] == 0
    assert said["clearance"]["document"] == hashlib.sha256(b"clarification").hexdigest() and said["receipts"]
    async with conversation.stage.agent() as agent:
        assert (await agent.get(f"/v1/orders/{block}"))["state"] == "cleared"
    assert "one number, after clarification KL-2026-7" in await palang("regulator", "ticket", "show", ticket)
    page = await palang("clearance", "show", opened["id"])
    for line in (f"node {NODE}", "1 of 1 synthetic requests pass", "approved by budi", "lifted with revision"):
        assert line in page
    assert not any(CANARY in said for said in (seen, page, await palang("clearance", "list", "--state", "all")))
    conversation.blocked.remove(WRONG)


async def test_a_prefix_of_the_noc_lets_the_cleared_number_through_and_no_other(
    conversation: Conversation, palang: Palang, supervisor: httpx.AsyncClient
) -> None:
    number, beside = "+77012345678", "+77012345679"
    await conversation.block(number)
    await conversation.ended()
    async with conversation.stage.agent() as agent:
        rule = await agent.post("/v1/rules", {"subject": "+77012*", "action": "reject", "reason": "one ring"})
        done = await agent.post(f"/v1/rules/{rule['id']}/enforce", {"reason": "they ring"})
    if "approval" in done:  # nobody has counted this prefix for a day yet
        agreed = await supervisor.post(f"/v1/approvals/{done['approval']['id']}/approve", json={"reason": "yes"})
        assert agreed.status_code == 200, agreed.text
    words = ("--reference", "KL-8", "--reason", "a clinic", "--document", "cd" * 32)
    opened = await palang.json("clearance", "open", "-", *words, stdin=number)
    seen = await palang("clearance", "show", opened["id"])
    assert "ends with the lift" in seen and "an exception for the number lets it pass" in seen
    await supervisor.post(f"/v1/approvals/{opened['approval']['id']}/approve", json={"reason": "known to us"})
    story = await _state(conversation.stage, opened["id"], "closed")
    assert story["exception"] and story["blocking"] == []
    answers = await asyncio.gather(*(conversation.caller.call(caller) for caller in (number, beside)))
    assert [answer.status for answer in answers] == [200, 603]
    conversation.blocked.remove(number)


async def test_numbers_with_new_subscribers_open_reviews(
    conversation: Conversation, palang: Palang, supervisor: httpx.AsyncClient, tmp_path: Path
) -> None:
    await conversation.block(SOLD)
    await conversation.block(OTHER)
    await conversation.ended()
    file = tmp_path / "june.txt"
    file.write_text(f"# June\n{SOLD}\n6,28E+12\n")
    reason = ("--reason", "sold again in June")
    said = await palang("numbers", "reassigned", str(file), *reason, "--yes", exit_code=1)
    assert (
        CANARY not in said
        and 'line 3: "6,28E+12" was shortened by a spreadsheet' in said
        and "Nothing was done" in said
    )
    lines = f"{SOLD}\n{OTHER}\n+6281399900009\n"
    shown = await palang("numbers", "reassigned", "-", *reason, stdin=lines, exit_code=1)
    assert "3 numbers, 2 blocked" in shown and "2 reviews will be opened" in shown and "--yes" in shown
    assert await palang.json("clearance", "list", "--state", "review") == []
    said = await palang("numbers", "reassigned", "-", *reason, "--yes", "--json", stdin=lines)
    done, _ = json.JSONDecoder().raw_decode(said)  # what it would do is told on stderr, behind it here
    sold, other = done["opened"]
    kept = await palang.json("clearance", "keep", other, "--reason", "the scam goes on")
    assert kept["state"] == "kept"
    words = ("--reference", "CRM-9", "--document", "ab" * 32, "--reason", "contract seen")
    asked = await palang.json("clearance", "lift", sold, *words)
    await supervisor.post(f"/v1/approvals/{asked['approval']['id']}/approve", json={"reason": "contract seen"})
    story = await _state(conversation.stage, sold, "closed")
    assert story["kind"] == "reassigned"
    answers = await asyncio.gather(*(conversation.caller.call(number) for number in (SOLD, OTHER)))
    assert [answer.status for answer in answers] == [200, 603]
    again = await conversation.block(SOLD)
    await conversation.ended()
    assert (await conversation.caller.call(SOLD)).status == 603
    assert (await palang.json("clearance", "show", sold))["again_by"] == again
    assert CANARY not in shown
