"""Every page, as people see it: without fault for every role, theme and language, on a phone, by keyboard,
without JavaScript; and nothing that somebody else wrote becomes more than text.
"""

import signal

import pytest
from playwright.async_api import Browser, expect

from agent.access import Role
from tests.console.looking import PHONE, open_as, paths
from tests.console.scene import ATTACK, Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SIP = f"""INVITE sip:+622150001234@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK1;rport
Max-Forwards: 70
From: "{ATTACK.replace('"', "")}" <sip:+6281299887766@127.0.0.2>;tag=<script>alert(5)</script>
To: <sip:+622150001234@127.0.0.1>
Call-ID: <img/src=x/onerror=alert(6)>@there
CSeq: 1 INVITE
User-Agent: {ATTACK}
Contact: <sip:127.0.0.2>
Content-Length: 0

"""


async def test_the_pages_are_without_fault_for_an_operator_at_night(scene: Scene, chromium: Browser) -> None:
    faults: dict[str, list[str]] = {}
    async with open_as(chromium, scene, Role.OPERATOR, theme="dark", language="id") as looked:
        for path in ("/wall", "/orders", f"/orders/{scene.orders['hostile']}", "/explain", "/nowhere"):
            assert await looked.go(path) == (404 if path == "/nowhere" else 200), path
            if found := await looked.faults():
                faults[path] = found
    assert faults == {}


@pytest.mark.slow
@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("role", list(Role))
async def test_every_page_is_without_fault(
    scene: Scene, chromium: Browser, role: Role, theme: str, language: str
) -> None:
    faults: dict[str, list[str]] = {}
    async with open_as(chromium, scene, role, theme=theme, language=language) as looked:
        for path in paths(scene):
            status = await looked.go(path)
            if found := [*await looked.faults(), *([f"status {status}"] if status >= 500 else [])]:
                faults[path] = found
    assert faults == {}


@pytest.mark.slow
@pytest.mark.parametrize("language", ["id", "en"])
async def test_every_page_fits_a_phone(scene: Scene, chromium: Browser, language: str) -> None:
    faults: dict[str, list[str]] = {}
    async with open_as(chromium, scene, Role.SUPERVISOR, theme="dark", language=language, size=PHONE) as looked:
        for path in paths(scene):
            await looked.go(path)
            if found := await looked.faults():
                faults[path] = found
    assert faults == {}


async def test_what_others_wrote_is_shown_as_text(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        for path in ("/wall", "/orders", f"/orders/{scene.orders['hostile']}"):
            await looked.go(path)
            assert await looked.page.get_by_text("<script>alert(1)</script>").count() > 0, path
            assert await looked.page.locator("main script, main img, main svg, main b[onclick]").count() == 0, path
            assert await looked.faults(axe=False) == []
        await looked.go("/explain")
        await looked.page.fill("textarea[name=raw]", SIP)
        await looked.page.click("form[action='/explain/message'] button")
        await expect(looked.page.locator(".verdict .subject").first).to_contain_text("+62 812")
        assert looked.page.url.endswith("/explain/message")
        assert await looked.page.locator("main script, main img, main svg").count() == 0
        assert await looked.faults() == []


async def test_a_number_is_explained_and_never_shown_again(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        await looked.go("/explain")
        await looked.page.fill("input[name=text]", "0812 9988-7766")
        await looked.page.select_option("#trunk", "intl-a")
        await looked.page.click("form[action='/explain'] button")
        await expect(looked.page.locator(".verdict")).to_be_visible()
        await looked.page.fill("input[name=text]", "+6281299887766")
        await looked.page.click("form[action='/explain'] button")
        await expect(looked.page.locator(".verdict")).to_contain_text("reject")
        await expect(looked.page.locator("tr.wins")).to_contain_text("wins")
        assert await looked.faults() == []


async def test_the_wall_lives(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.VIEWER, theme="dark") as looked:
        await looked.go("/wall")
        await expect(looked.page.locator("#chart-judged canvas")).to_be_visible()
        await expect(looked.page.locator("#stale")).to_be_hidden()
        operator = await scene.sign_in(Role.OPERATOR)
        rule = await operator.post(
            "/v1/rules", {"subject": "+23276*", "action": "reject", "reason": "seen while the wall was looked at"}
        )
        told = looked.page.locator(".changes").get_by_text("seen while the wall was looked at")
        await expect(told).to_be_visible()
        await expect(looked.page.locator(".changes")).to_contain_text(rule["id"])
        assert await looked.faults() == []


@pytest.mark.slow
async def test_the_wall_says_loudly_that_nothing_comes_any_more(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.VIEWER) as looked:
        await looked.go("/wall")
        await expect(looked.page.locator("#chart-judged canvas")).to_be_visible()
        agent = scene.stage.children["agent"].process
        agent.send_signal(signal.SIGSTOP)
        try:
            await expect(looked.page.locator("#stale")).to_be_visible()
        finally:
            agent.send_signal(signal.SIGCONT)
        await expect(looked.page.locator("#stale")).to_be_hidden()


async def test_a_keyboard_is_enough(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        page = looked.page
        await looked.go("/wall")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await page.keyboard.press("?")
        await expect(page.locator("#keys")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#keys")).to_be_hidden()
        await page.keyboard.press("g")
        await page.keyboard.press("o")
        await page.wait_for_url("**/orders")
        await page.keyboard.press("j")
        await expect(page.locator("tr.at")).to_have_count(1)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/orders/*")
        await page.keyboard.press("t")
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_every_act_works_without_scripts(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.SUPERVISOR, scripts=False) as looked:
        page = looked.page
        await looked.go("/wall")
        assert await page.locator("noscript").count() == 1
        await expect(page.locator(".figures")).to_contain_text("Nodes that answer")
        await looked.go(f"/orders/{scene.orders['held']}")
        await page.click("button[name=to][value=id]")
        await expect(page.locator("h1")).to_contain_text("Perintah")
        await page.click("button[name=to][value=en]")
        await page.fill("input[name=reason]", "too wide: the whole country")
        await page.click("button.danger")
        await expect(page.locator(".said.good")).to_contain_text("Refused")
        await expect(page.locator(".pill.is-refused").first).to_be_visible()
        await looked.go("/explain")
        await page.fill("input[name=text]", "+6281299887766")
        await page.click("form[action='/explain'] button")
        await expect(page.locator(".verdict")).to_be_visible()


async def test_who_looks_stands_across_the_page_also_on_paper(scene: Scene, chromium: Browser) -> None:
    async with open_as(chromium, scene, Role.OPERATOR) as looked:
        await looked.go("/orders")
        marks = looked.page.locator(".watermark span")
        await expect(marks.first).to_contain_text("oki")
        await looked.page.emulate_media(media="print")
        await expect(marks.first).to_be_visible()
        assert await looked.page.locator(".top nav").is_hidden()
