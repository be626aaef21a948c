"""The unblock desk in a real browser: an operator opens, a supervisor approves, it passes, the receipt closes it."""

import hashlib
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from agent.access import Role
from agent.demo.phones import Caller
from tests.book import eventually
from tests.console.looking import Looked, open_as
from tests.console.scene import Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(300)]

NUMBER = "+6281366554433"
LONG = 60_000
"""Milliseconds until the nodes have proved and the regulator has acknowledged, on a busy machine."""


async def _blocked(scene: Scene, number: str) -> None:
    """Have the regulator block a number. The scene's hostile order took a serial from the stand-in, which tries on."""
    async with scene.stage.regulator() as regulator, scene.stage.agent() as agent:
        for _ in range(3):
            order = (await regulator.post("/orders", {"kind": "block", "subjects": [number]}))["id"]

            async def closed(order: str = order) -> bool:
                return any(each["id"] == order for each in (await agent.get("/v1/orders", state="closed"))["items"])

            async def settled(order: str = order) -> bool:
                told = await regulator.get("/confirmations", order=order)
                return await closed(order) or any(each["status"] == "refused" for each in told)

            await eventually(settled, f"order {order} settled", 60)
            if await closed():
                return
    raise AssertionError("the regulator's order was refused three times")


async def _open(looked: Looked, number: str, letter: Path) -> str:
    """Fill in the form as an operator does; the new clearance's id."""
    page = looked.page
    await looked.go("/clearances")
    await page.keyboard.press("n")
    await page.wait_for_url("**/clearances/open")
    await page.get_by_label("Number, with + and country code").fill(number)
    await page.get_by_label("Reference of the clarification").fill("KL-2026-7")
    await page.get_by_label("Document", exact=True).set_input_files(letter)
    await expect(page.get_by_label("SHA-256 of the document")).to_have_value(
        hashlib.sha256(letter.read_bytes()).hexdigest()
    )
    await page.get_by_label("Reason").fill("spoofed; came with a passport")
    assert await looked.faults() == []
    await page.get_by_role("button", name="Open, and ask a second person").click()
    await expect(page.get_by_role("status").first).to_contain_text("It waits for a second person")
    return page.url.rpartition("/")[2]


async def test_an_operator_opens_a_supervisor_approves(scene: Scene, chromium: Browser, tmp_path: Path) -> None:
    await _blocked(scene, NUMBER)
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"a clarification")
    caller = Caller(scene.stage.gateway)
    await caller.listen((scene.stage.caller, 0))
    assert (await caller.call(NUMBER)).status == 603
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        clearance = await _open(looked, NUMBER, letter)
        await expect(looked.page.get_by_text("A supervisor decides on it.")).to_be_visible()
        await expect(looked.page.get_by_text("ends with the lift")).to_be_visible()
        assert await looked.faults() == []
    async with open_as(chromium, scene, Role.SUPERVISOR, theme="dark") as looked:
        page = looked.page
        await looked.go("/clearances")
        await page.get_by_role("link", name=clearance, exact=True).click()
        await page.get_by_label("Reason").fill("the letter is in order")
        await page.get_by_role("button", name="Approve: lift the block").click()
        await expect(page.get_by_role("status").first).to_contain_text("Approved.")

        async def passes() -> bool:
            return (await caller.call(NUMBER)).status == 200

        await eventually(passes, "the number passes", LONG / 1000)
        for _ in range(LONG // 500):
            await looked.go(f"/clearances/{clearance}")
            if await page.locator(".head .pill.is-closed").count():
                break
            await page.wait_for_timeout(500)
        for text in ("1/1", "the letter is in order", "spoofed; came with a passport", "Lifted with revision"):
            await expect(page.get_by_text(text).first).to_be_visible()
        await expect(page.locator("section[aria-labelledby=told] .pill")).to_have_text("lifted")
        await expect(page.get_by_text("Nothing.", exact=True)).to_be_visible()
        assert await looked.faults() == []
    caller.close()
    assert NUMBER[1:] not in (scene.stage.folder / "agent.log").read_text()


async def test_its_author_finds_no_way_to_approve(scene: Scene, chromium: Browser, tmp_path: Path) -> None:
    number = "+6281366554422"
    await _blocked(scene, number)
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"another")
    async with open_as(chromium, scene, Role.SUPERVISOR, size={"width": 390, "height": 844}) as looked:
        await _open(looked, number, letter)
        await expect(looked.page.get_by_text("You asked for this; somebody else decides.")).to_be_visible()
        assert await looked.page.get_by_role("button", name="Approve: lift the block").count() == 0
        assert await looked.faults() == []
