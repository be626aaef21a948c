"""A rule's traffic as a line, in a real browser: an hour, a day, a week, with buttons that say which is shown."""

import pytest
from playwright.async_api import Browser, expect

from agent.access import Role
from tests.console.looking import open_as
from tests.console.scene import Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def test_a_rules_traffic_is_drawn_for_each_window(scene: Scene, chromium: Browser) -> None:
    operator = await scene.sign_in(Role.OPERATOR)
    rule = await operator.post("/v1/rules", {"subject": "+8835111*", "action": "reject", "reason": "one ring each"})
    async with open_as(chromium, scene, Role.VIEWER) as looked:
        page = looked.page
        assert await looked.go(f"/rules/{rule['id']}") == 200
        await expect(page.locator("#chart-traffic canvas")).to_be_visible()
        for window, points in (("week", 169), ("day", 145), ("hour", 61)):
            async with page.expect_response(f"**/traffic?window={window}") as answered:
                await page.click(f"[data-window={window}]")
            told = await (await answered.value).json()
            assert abs(len(told["at"]) - points) <= 1
            await expect(page.locator(f"[data-window={window}]")).to_have_attribute("aria-pressed", "true")
            await expect(page.locator("[data-window][aria-pressed=true]")).to_have_count(1)
        assert await looked.faults() == []
