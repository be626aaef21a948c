"""Rules and approvals in a real browser: from idea to enforcement, back with one key, and a second person's word."""

import pytest
from playwright.async_api import Browser, Page, expect

from agent.access import Role
from tests.console.looking import PHONE, open_as
from tests.console.scene import Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def _propose(page: Page, subject: str) -> str:
    """Propose a rule by the form; its id."""
    await page.fill("#subject", subject)
    await page.fill("#reason", "one ring each, since midnight")
    await page.click("button[value=propose]")
    await page.wait_for_url("**/rules/r*")
    return page.url.rpartition("/")[2]


async def _step(page: Page, rule: str, word: str) -> None:
    form = page.locator(f"form[action='/rules/{rule}/{word}']")
    await form.locator("input[name=reason]").fill("seen on the wall")
    await form.locator("button").click()


async def test_from_idea_to_enforcement_and_back_with_one_key(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        page = looked.page
        pill = page.locator("h1 .pill")
        assert await looked.go("/rules") == 200 and await looked.faults() == []
        await page.keyboard.press("n")
        await page.wait_for_url("**/rules/new")
        await page.fill("#subject", "+8835110")
        await page.click("button[value=preview]")
        await expect(page.get_by_role("heading", name="2. Preview")).to_be_visible()
        assert await looked.faults() == []
        rule = await _propose(page, "+8835110")
        await expect(pill).to_have_text("disabled")
        await _step(page, rule, "shadow")
        await expect(pill).to_have_text("shadow")
        await _step(page, rule, "enforce")
        await expect(pill).to_have_text("enforce")
        assert await looked.faults() == []
        await page.keyboard.press("u")
        await expect(page.locator(".said")).to_contain_text("Rolled back: enforce until")
        await expect(pill).to_have_text("shadow")
        await page.wait_for_load_state()  # a key pressed before is nobody's
        await page.keyboard.press("u")  # and undone
        await expect(page.locator(".said")).to_contain_text("Rolled back: shadow until")
        await expect(pill).to_have_text("enforce")
        await expect(page.locator("table").last).to_contain_text("rolled back")
        assert await looked.faults() == []
        await page.get_by_role("button", name="Roll back").first.click()  # by hand
        await expect(pill).to_have_text("shadow")


async def test_a_wide_rule_waits_and_a_supervisor_countersigns(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.OPERATOR, theme="dark", language="id") as looked:
        await looked.go("/rules/new")
        rule = await _propose(looked.page, "+62899")
        await _step(looked.page, rule, "enforce")
        waits = looked.page.locator(".said a[href^='/approvals/a']").first
        await expect(waits).to_be_visible()
        approval = await waits.inner_text()
        assert await looked.go(f"/approvals/{approval}") == 200 and await looked.faults() == []
        assert await looked.page.locator(f"form[action='/approvals/{approval}/approve']").count() == 0
    async with open_as(chromium, scene, Role.SUPERVISOR, scripts=False, size=PHONE) as looked:
        page = looked.page
        await looked.go("/approvals")
        card = page.locator("article", has=page.locator(f"#approval-{approval}"))
        await expect(card).to_contain_text("our own country")
        await expect(card).to_contain_text("oki")
        await card.locator("input[name=reason]").fill("the wave is real")
        await card.get_by_role("button", name="Approve").click()
        await expect(page.locator(".said")).to_have_text("Approved: it is done.")
        await looked.go(f"/rules/{rule}")
        await expect(page.locator("h1 .pill")).to_have_text("enforce")
        await expect(page.locator("table").last).to_contain_text("countersigned")
    await (await scene.sign_in(Role.OPERATOR)).post(f"/v1/rules/{rule}/disable", {"reason": "the test is over"})
