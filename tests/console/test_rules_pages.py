"""The pages of rules and approvals over a real ledger: four steps and back without JavaScript, numbers out of sight."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.console import face
from agent.settings import Settings
from agent.traffic.settings import WidthSettings
from sync.ledger import Ledger
from tests.agent.api_house import ApiHouse, api_house
from tests.agent.nights import at_night
from tests.sync.house import order

OPERATOR, SECOND, SUPERVISOR, VIEWER = "budi operator", "sri operator", "siti supervisor", "wati viewer"
CANARY = "+62811935711357"
ATTACK = "<script>alert(1)</script>"


class Browser:
    """One person's browser without JavaScript: it follows links and sends forms as they stand on the page."""

    def __init__(self, http: httpx.AsyncClient, who: str) -> None:
        self.http, self.who, self.text, self.path = http, who, "", ""

    async def open(self, path: str, status: int = 200) -> str:
        self._took(await self.http.get(path, headers={"X-Test-Viewer": self.who}), status)
        return self.text

    async def send(self, to: str, status: int = 200, /, **fields: str) -> str:
        """Send the form of the page that goes to `to`, with its hidden fields and these."""
        form = re.search(rf'<form[^>]*action="{re.escape(to)}"[^>]*>(.*?)</form>', self.text, re.DOTALL)
        assert form or f'formaction="{to}"' in self.text, f"no form to {to} on {self.path}"
        hidden = dict(
            re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[1] if form else self.text)
        )
        data = {**hidden, **fields}
        self._took(await self.http.post(to, data=data, headers={"X-Test-Viewer": self.who}), status)
        return self.text

    def _took(self, answer: httpx.Response, status: int) -> None:
        assert answer.status_code == status, (answer.status_code, answer.text[:400])
        self.text, self.path = answer.text, answer.url.path
        assert "935711" not in self.text and "935711" not in str(answer.url), "a number in clear"
        assert ATTACK not in self.text


@asynccontextmanager
async def console(folder: Path) -> AsyncIterator[tuple[ApiHouse, Any]]:
    settings = Settings(width=WidthSettings(unknown_is_wide=False), rules=at_night())
    async with api_house(folder, settings) as house:
        transport = httpx.ASGITransport(app=face(house.api))

        async def browser(who: str) -> Browser:
            client = httpx.AsyncClient(transport=transport, base_url="http://test", follow_redirects=True)
            clients.append(client)
            return Browser(client, who)

        clients: list[httpx.AsyncClient] = []
        yield house, browser
        for client in clients:
            await client.aclose()


async def test_from_idea_to_enforcement_and_back_with_one_key(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        budi = await browser(OPERATOR)
        await budi.open("/rules/new")
        await budi.send(
            "/rules/new", subject="+7701", action="reject", kinds="both", reason=f"waves {ATTACK}", what="propose"
        )
        assert budi.path == "/rules/r1" and "it does nothing yet" in budi.text and "1. Idea" in budi.text
        await budi.send("/rules/r1/shadow", reason="look first")
        assert "It is in shadow now" in budi.text and 'hx-get="/rules/r1/counts"' in budi.text
        await budi.send("/rules/r1/enforce", reason="a wave", expires_s="86400")
        assert "It is enforced now." in budi.text
        assert 'data-press="u"' in budi.text and "Roll back" in budi.text
        await budi.send("/rules/r1/roll-back")
        assert "Rolled back: enforce until" in budi.text and "→ shadow until" in budi.text
        assert (await house.ledger.read(Ledger.rule, "r1")).mode == "shadow"
        await budi.send("/rules/r1/roll-back")  # and again: undone
        assert (await house.ledger.read(Ledger.rule, "r1")).mode == "enforce"
        await budi.send("/rules/r1/renew", reason="goes on", expires_s="2592000")
        await budi.send("/rules/r1/disable", reason="over")
        await budi.send("/rules/r1/remove", reason="over")
        assert "It has ended for good." in budi.text and "/rules/r1/roll-back" not in budi.text
        assert "<script>" not in budi.text.replace("<script src", "") and "&lt;script&gt;" in budi.text


async def test_what_another_has_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        budi, sri = await browser(OPERATOR), await browser(SECOND)
        await budi.open("/rules/new")
        await budi.send("/rules/new", subject="+7701", action="reject", kinds="both", reason="wave", what="propose")
        await sri.open("/rules/r1")
        await budi.send("/rules/r1/shadow", reason="look first")
        await sri.send("/rules/r1/enforce", reason="a wave")
        assert "is at version 2, not 1" in sri.text
        assert (await house.ledger.read(Ledger.rule, "r1")).mode == "shadow"


async def test_a_wide_rule_alone_at_night_and_countersigned(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        budi, sri = await browser(OPERATOR), await browser(SECOND)
        await budi.open("/rules/new")
        await budi.send("/rules/new", subject="+77", action="reject", kinds="both", reason="wave", what="propose")
        await budi.send("/rules/r1/enforce", reason="a wave", alone="true")
        assert "It is enforced for a short time" in budi.text and "falls back to shadow in" in budi.text
        assert 'data-until="' in budi.text
        await budi.open("/approvals")
        assert "You asked for this" in budi.text and "/approvals/a1/approve" not in budi.text
        await sri.open("/approvals")
        assert "asked" in sri.text.lower() and "2 digits" in sri.text and "budi" in sri.text
        await sri.send("/approvals/a1/approve", reason="looks right")
        assert "Approved: it is done." in sri.text and "sri" in sri.text
        ends = (await house.ledger.read(Ledger.rule, "r1")).expires_at
        step = (await house.ledger.read(Ledger.transitions, "r1"))[0]
        assert (step.cause, step.to_expires_at) == ("countersign", ends)


async def test_a_supervisor_refuses_a_held_order_with_a_reason(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        wide = order(1, "+77*")
        await house.take(wide)
        await house.ask(
            "POST",
            f"/orders/{wide.id}/approve",
            {"reason": f"they say {CANARY}"},
            SECOND.replace("operator", "supervisor"),
        )
        siti, budi = await browser(SUPERVISOR), await browser(OPERATOR)
        await budi.open("/approvals/a1")
        assert "/approvals/a1/approve" not in budi.text, "an operator does not decide on orders"
        await siti.open("/approvals/a1")
        await siti.send("/approvals/a1/refuse", reason=f"{CANARY} would be hit")
        assert "Refused: it is not done." in siti.text
        assert (await house.ask("GET", f"/orders/{wide.id}"))[1]["state"] == "held"


async def test_who_only_looks_finds_nothing_to_press(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        await house.ask(
            "POST", "/rules", {"subject": CANARY, "action": "allow", "reason": f"{CANARY} is ours"}, OPERATOR
        )
        await house.ask("POST", "/rules/r1/shadow", {"reason": "look"}, OPERATOR)
        wati = await browser(VIEWER)
        for path in ("/rules", "/rules/r1", "/approvals", "/rules/r1/counts"):
            await wati.open(path)
            assert not re.search(r'action="/(rules|approvals)/(?!search)', wati.text), path
        answer = await wati.http.post("/rules/r1/enforce", headers={"X-Test-Viewer": VIEWER})
        assert answer.status_code == 403  # without our token nothing of it is even read


async def test_the_list_is_filtered_paged_and_searched(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        for n in range(52):
            await house.ask(
                "POST", "/rules", {"subject": f"+7{n + 100}", "action": "reject", "reason": "wave"}, OPERATOR
            )
        await house.ask("POST", "/rules/r7/shadow", {"reason": "look"}, OPERATOR)
        wati = await browser(VIEWER)
        await wati.open("/rules")
        assert wati.text.count('href="/rules/r') == 50 and "after=3" in wati.text
        await wati.open("/rules?after=3")
        assert wati.text.count('href="/rules/r') == 2
        await wati.open("/rules?mode=shadow")
        assert re.findall(r'href="/rules/(r\d+)"', wati.text) == ["r7"]
        await wati.send("/rules/search", prefix="+7150")
        assert wati.path == "/rules/search" and re.findall(r'href="/rules/(r\d+)"', wati.text) == ["r51"]
        await wati.send("/rules/search", prefix="nothing")
        assert 'role="alert"' in wati.text


@pytest.mark.parametrize("path", ["/rules/r9", "/rules/x", "/approvals/a9"])
async def test_what_is_not_there_is_told_so(tmp_path: Path, path: str) -> None:
    async with console(tmp_path) as (_, browser):
        await (await browser(VIEWER)).open(path, 404)
