"""The flows of people who come in, decide on what is held, and audit, typed and clicked in a real browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from agent.access import Role
from tests.authenticator import Authenticator
from tests.book import eventually
from tests.console.looking import open_as
from tests.console.scene import PASSWORD, Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def _enrol(page: Page, word: str) -> Authenticator:
    """Go from the invitation to the place where people sign in."""
    await page.fill("#invitation", word)
    await page.fill("#password", PASSWORD)
    await page.fill("#again", PASSWORD)
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("img[src^='data:image/svg+xml']")).to_be_visible()
    phone = Authenticator(await page.locator("input[name=key]").get_attribute("value") or "")
    await page.fill("#code", phone.code())
    await page.get_by_role("button", name="Enrol").click()
    await page.wait_for_url("**/sign-in")
    return phone


async def _sign_in(page: Page, name: str, phone: Authenticator) -> None:
    await page.fill("#name", name)
    await page.fill("#password", PASSWORD)
    await page.fill("#code", phone.code())
    await page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_an_admin_enrols_signs_in_and_invites(scene: Scene, chromium: Browser, scripts: bool) -> None:
    name = "tia" if scripts else "tio"
    async with scene.stage.agent() as agent:
        asked = {"name": name, "display": name.title(), "roles": ["admin"], "reason": "the first one"}
        word = (await agent.post("/v1/people", asked))["invitation"]
    async with open_as(chromium, scene, None, scripts=scripts) as looked:
        page = looked.page
        await looked.go("/people")
        await page.wait_for_url(re.compile(r"/sign-in\b"))
        await page.get_by_role("link", name="I have an invitation").click()
        phone = await _enrol(page, word)
        await looked.go("/sign-in?next=/people")
        await _sign_in(page, name, phone)
        await page.wait_for_url("**/people")
        await expect(page.locator(".watermark")).to_contain_text(name)
        for _ in range(2):  # the first asks for the second factor once more
            await page.fill("#name", f"new-{name}")
            await page.fill("#display", "New")
            await page.get_by_role("checkbox", name="viewer").check()
            await page.locator("form[action='/people'] input[name=reason]").fill("new in the room")
            await page.get_by_role("button", name="Invite").click()
            if "/step-up" not in page.url:
                break
            await page.fill("#code", phone.code())
            await page.get_by_role("button", name="Show it").click()
            await page.wait_for_url("**/people")
        await expect(page.locator("p.detail")).to_have_text(re.compile(r"[\w-]{43}"))
        await page.get_by_role("button", name="Sign out").click()
        await looked.go("/people")
        await page.wait_for_url(re.compile(r"/sign-in\b"))


async def _held(scene: Scene, subject: str) -> str:
    """Have the regulator order what the gate holds. The scene's hostile order took a serial: the stand-in tries on."""
    async with scene.stage.regulator() as regulator, scene.stage.agent() as agent:
        for _ in range(3):
            order = str((await regulator.post("/orders", {"kind": "block", "subjects": [subject]}))["id"])

            async def held(order: str = order) -> bool:
                return any(each["id"] == order for each in (await agent.get("/v1/orders", state="held"))["items"])

            async def settled(order: str = order) -> bool:
                return await held(order) or bool(await regulator.get("/confirmations", order=order))

            await eventually(settled, f"order {order} settled", 60)
            if await held():
                return order
    raise AssertionError("the regulator's order was refused three times")


async def test_a_supervisor_refuses_what_the_gate_holds(scene: Scene, chromium: Browser) -> None:
    order = await _held(scene, "+6289*")
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        await looked.go(f"/orders/{order}")
        await expect(looked.page.get_by_role("heading", name="Held for a person")).to_be_visible()
        assert await looked.page.locator(f"button[formaction='/orders/{order}/refuse']").count() == 0
    async with open_as(chromium, scene, Role.SUPERVISOR) as looked:
        page = looked.page
        await looked.go(f"/orders/{order}")
        await page.locator("form.act input[name=reason]").fill("half of our own subscribers")
        await page.get_by_role("button", name="Refuse, and tell the regulator").click()
        await expect(page.locator("h1 .pill, .pill").first).to_have_text("refused")
        assert await looked.faults() == []

    async def told() -> bool:
        async with scene.stage.regulator() as regulator:
            return any(each["status"] == "refused" for each in await regulator.get("/confirmations", order=order))

    await eventually(told, "the regulator knows", 30)


async def test_an_auditor_verifies_the_journal_and_takes_it_along(
    scene: Scene, chromium: Browser, tmp_path: Path
) -> None:
    async with open_as(chromium, scene, Role.AUDITOR) as looked:
        page = looked.page
        await looked.go("/audit")
        await page.get_by_role("link", name="Is the journal whole?").click()
        await page.get_by_role("button", name="Verify").click()
        await expect(page.locator(".lead")).to_contain_text("Whole:")
        await looked.go("/audit")
        async with page.expect_download() as begun:
            await page.get_by_role("link", name="JSON", exact=True).click()
        taken = await begun.value
        assert "adi" in taken.suggested_filename
        await taken.save_as(tmp_path / "journal.jsonl")
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert "adi" in lines[0] and "adi" in lines[-1] and all(json.loads(line) for line in lines)
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        assert await looked.go("/audit") == 403
