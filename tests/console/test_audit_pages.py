"""Audit and reveals as pages: without a script too; a number is shown only where it was revealed, for its time."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent import api
from agent.access import Role, Viewer
from agent.console import face
from sync.ledger import Ledger
from tests.agent.inside import As, Inside, inside, person
from tests.book import eventually
from tests.sync.house import NOON, order

NUMBER = "+6281234567890"
WHY = {"code": "complaint", "reason": "the caller asks which", "ticket": "CASE-17"}


@dataclass
class Desk:
    """One agent's console, and a browser without scripts."""

    agent: Inside
    block: str

    async def get(self, viewer: Viewer, path: str) -> httpx.Response:
        """A page, after the redirects."""
        async with self._browser(viewer) as browser:
            return await browser.get(path)

    async def post(self, viewer: Viewer, path: str, form: dict[str, Any], follow: bool = True) -> httpx.Response:
        """A form of ours, with its token."""
        async with self._browser(viewer) as browser:
            found = re.search(r'name="csrf" value="([^"]+)"', (await browser.get("/reveals/new")).text)
            assert found
            return await browser.post(path, data={"csrf": found[1], **form}, follow_redirects=follow)

    def _browser(self, viewer: Viewer) -> httpx.AsyncClient:
        app = face(api.app(self.agent.parts, As(viewer)))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="https://agent", follow_redirects=True
        )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with inside(tmp_path, reveal={"night_from": 0, "night_until": 0}) as agent:
        block = order(1, NUMBER, at=datetime.now(UTC))
        await agent.take(block)
        yield Desk(agent, block.id)


SRI = person("sri", Role.OPERATOR)
ADI = person("adi", Role.AUDITOR)


async def test_a_number_is_revealed_for_its_time_and_the_page_forgets_it_by_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = await desk.get(SRI, f"/reveals/new?about={desk.block}")
    assert 'name="factor"' not in form.text and NUMBER[3:] not in form.text
    done = await desk.post(SRI, "/reveals", {"about": desk.block, **WHY}, follow=False)
    assert done.status_code == 303 and NUMBER[3:] not in str(done.headers)
    where = done.headers["Location"]
    shown = await desk.get(SRI, where)
    assert shown.text.count(NUMBER) == 1 and "sri" in shown.text
    refresh = re.search(r'<meta http-equiv="refresh" content="(\d+)">', shown.text)
    assert refresh and 1 <= int(refresh[1]) <= 60
    title = re.search(r"<title>(.*?)</title>", shown.text)
    assert title and "812" not in title[1]
    assert (await desk.get(replace(SRI, session="sri-2"), where)).status_code == 404
    await desk.post(SRI, "/reveals", {"about": desk.block, **WHY})
    over = await desk.get(SRI, where)
    assert over.status_code == 410 and NUMBER[3:] not in over.text and "masked again" in over.text
    mine = await desk.get(SRI, "/reveals")
    assert "the caller asks which" in mine.text and NUMBER[3:] not in mine.text


async def test_a_number_needs_the_second_factor_once_more(desk: Desk) -> None:
    tired = replace(SRI, stepped_up_until=datetime.now(UTC) - timedelta(seconds=1))
    assert 'name="factor"' in (await desk.get(tired, f"/reveals/new?about={desk.block}")).text
    refused = await desk.post(tired, "/reveals", {"about": desk.block, **WHY})
    assert refused.status_code == 403 and "second factor" in refused.text
    wrong = await desk.post(tired, "/reveals", {"about": desk.block, "factor": "123456", **WHY})
    assert wrong.status_code in (403, 429) and NUMBER[3:] not in wrong.text
    assert not [r for r in await desk.agent.journal() if r.kind == "number.reveal"]


@pytest.mark.parametrize("change", [{"reason": "."}, {"ticket": ""}, {"code": "curious"}, {"about": "r99"}])
async def test_a_form_that_is_refused_says_why_and_shows_nothing(desk: Desk, change: dict[str, str]) -> None:
    answer = await desk.post(SRI, "/reveals", {"about": desk.block, **WHY, **change})
    assert answer.status_code in (404, 409, 422) and NUMBER[3:] not in answer.text


async def test_the_way_to_a_number_is_shown_to_those_who_may(desk: Desk) -> None:
    idea = {"subject": NUMBER, "action": "allow", "reason": "known to us"}
    rule = (await desk.agent.http(SRI).post("/v1/rules", json=idea)).json()["id"]
    way = f"/reveals/new?about={rule}"
    assert way in (await desk.get(SRI, f"/rules/{rule}")).text
    assert way not in (await desk.get(ADI, f"/rules/{rule}")).text
    assert f"/reveals/new?about={desk.block}" in (await desk.get(SRI, f"/orders/{desk.block}")).text
    assert "/reveals/new" not in (await desk.get(ADI, f"/orders/{desk.block}")).text
    assert (await desk.post(ADI, "/reveals", {"about": rule, **WHY})).status_code == 403


async def test_the_journal_is_filtered_and_masked(desk: Desk) -> None:
    said = {"reason": f"called as 0812-3456-7890, and {NUMBER}"}
    for hours in range(2):
        now = NOON + timedelta(days=hours)
        await desk.agent.parts.ledger.change(Ledger.record, "node.drain", f"sri{hours}", "gw1", said, now)
    page = await desk.get(ADI, "/audit?kind=node.drain")
    shown = re.sub(r'value="[0-9a-f]{64}"|data-now="[^"]*"', "", page.text)  # by chance they hold any digits
    assert shown.count("0812•••••") == 2 and "3456" not in shown
    assert "/v1/journal/export?format=csv&amp;kind=node.drain" in page.text
    one = await desk.get(ADI, "/audit?kind=node.drain&until=2026-11-23")
    assert "sri0" in one.text and "sri1" not in one.text
    assert "No record fits." in (await desk.get(ADI, "/audit?actor=nobody")).text
    assert (await desk.get(ADI, "/audit?since=tomorrow")).status_code == 200
    supervisor = await desk.get(person("ros", Role.SUPERVISOR), "/audit")
    assert supervisor.status_code == 200 and "export" not in supervisor.text
    assert (await desk.get(SRI, "/audit")).status_code == 403


async def test_the_journal_is_verified_from_the_page(desk: Desk) -> None:
    assert "not verified" in (await desk.get(ADI, "/audit/verify")).text
    begun = await desk.post(ADI, "/audit/verify", {"checkpoints": ""})
    assert begun.status_code == 200

    async def done() -> bool:
        return "Whole: " in (await desk.get(ADI, "/audit/verify")).text

    await eventually(done, "verified")
    wrong = await desk.post(ADI, "/audit/verify", {"checkpoints": "nonsense"})
    assert "line 1 is no checkpoint" in wrong.text
    await asyncio.wait({desk.agent.parts.verifier._task}, timeout=10)  # type: ignore[arg-type]
