"""A reveal in real Chromium: the number for its time, nothing of it in title, address, storage or what is copied."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from agent.access import Role
from tests.console.looking import open_as
from tests.console.scene import CANARIES, Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(300)]

_KEPT = "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, history.state])"
_COPIED = "(getSelection().selectAllChildren(document.body), getSelection().toString())"


def _stands_in(text: str) -> list[str]:
    digits = re.sub(r"[^0-9•]", "", text)
    return [number for number in CANARIES if number[3:] in digits]


async def _left(page: Page) -> str:
    """What stays of a page: its title and address, what the browser keeps, what a person copies of it."""
    return " ".join([await page.title(), page.url, await page.evaluate(_KEPT), await page.evaluate(_COPIED)])


async def test_what_is_copied_of_the_lists_keeps_the_mask(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.SUPERVISOR) as looked:
        for path in ("/orders?state=all", f"/orders/{scene.orders['closed']}", "/rules", "/audit", "/reveals", "/wall"):
            assert await looked.go(path) == 200, path
            assert _stands_in(await _left(looked.page)) == [], path
            if path.startswith("/orders"):
                assert "•" in await looked.page.evaluate(_COPIED), "the mask itself is copied"


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_number_is_there_for_its_time_and_then_masked_by_itself(
    scene: Scene, chromium: Browser, scripts: bool
) -> None:
    async with open_as(chromium, scene, Role.OPERATOR, scripts=scripts) as looked:
        page = looked.page
        await looked.go(f"/orders/{scene.orders['closed']}")
        assert _stands_in(await page.content()) == []
        await page.locator("a.reveal").first.click()
        await page.locator("#code").select_option("complaint")
        await page.locator("#reason").fill("the caller asks which of theirs")
        await page.locator("#ticket").fill("CASE-17")
        if await page.locator("#factor").count():
            await page.locator("#factor").fill(scene.code(Role.OPERATOR))
        await page.locator("main form button").click()
        await expect(page.locator(".revealed")).to_have_text(CANARIES[0])
        assert CANARIES[0][3:] not in page.url and not re.search(r"\d{5}", await page.title())
        if scripts:
            assert _stands_in(await _left(page)) == [], "it can't be dragged along"
        await expect(page.locator(".revealed")).to_have_count(0, timeout=90_000)
        assert _stands_in(await page.content()) == []
        await page.go_back()
        assert _stands_in(await page.content()) == [], "nor is it in the history"
