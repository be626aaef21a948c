"""How a test looks at a page: as a person of some role, in a theme and a language; and what must hold on every page.

`open_as` makes a browser context with a real session; `Looked` hears what the browser complains about; `faults` names
everything that is wrong with the page as it stands, so that a failing test tells all of it at once.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Dialog, Page

import agent.console
from agent.access import Role
from agent.access.people_door import COOKIE
from agent.console.pages import PAGES
from tests.console.scene import CANARIES, Scene

CHROMIUM: Final = "/usr/bin/chromium"
PHONE: Final = {"width": 390, "height": 844}
DESK: Final = {"width": 1440, "height": 900}
_CONSOLE = Path(agent.console.__file__).parent
_AXE: Final = _CONSOLE / "node_modules" / "axe-core" / "axe.min.js"
_WATCH_POLICY: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  (window.broken ??= []).push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""
_NO_PAGE: Final = ("/static/", "/wall/events")


@dataclass
class Looked:
    """A page in a browser, and what the browser said while it was shown."""

    page: Page
    said: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Hear what the browser complains about."""
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("console", lambda told: self.said.append(f"{told.type}: {told.text}"))
        self.page.on("dialog", self._refuse)

    async def go(self, path: str) -> int:
        """Open a path; the status of the answer."""
        answer = await self.page.goto(path, wait_until="load")
        assert answer is not None
        return answer.status

    async def faults(self, *, axe: bool = True) -> list[str]:
        """What is wrong with the page as it stands."""
        page = self.page
        found = [line for line in self.said if line.startswith(("error", "dialog")) and "status of 4" not in line]
        found += [f"policy: {line}" for line in await page.evaluate("window.broken ?? []")]
        title, content = await page.title(), await page.content()
        if re.search(r"\d", title):
            found.append(f"the title has a digit: {title}")
        found += [f"{number} is shown" for number in CANARIES if _stands_in(number, content + page.url)]
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append(f"the page is {wide} px wider than its window")
        if axe and title:  # a piece that htmx puts into a page has none, and is looked at there
            found += await self._axe()
        self.said.clear()
        return found

    async def _axe(self) -> list[str]:
        # By the debugger, which the page's policy does not bind: the page itself loads nothing of it.
        await self.page.evaluate(_AXE.read_text())
        # The name across the page is faint on purpose and hidden from screen readers, which have it at the top.
        ran = await self.page.evaluate("axe.run({exclude: ['.watermark']}, {resultTypes: ['violations']})")
        told: list[dict[str, Any]] = ran["violations"]
        return [
            f"axe {one['id']}: {one['help']}: " + "; ".join(" ".join(node["target"]) for node in one["nodes"][:4])
            for one in told
        ]

    async def _refuse(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


@asynccontextmanager
async def open_as(
    chromium: Browser,
    scene: Scene,
    role: Role | None,
    *,
    theme: str = "light",
    language: str = "en",
    scripts: bool = True,
    size: dict[str, int] = DESK,
) -> AsyncIterator[Looked]:
    """A page of the console, looked at by the person of that role, or by nobody."""
    context: BrowserContext = await chromium.new_context(
        base_url=scene.url,
        color_scheme=theme,  # type: ignore[arg-type]
        locale=language,
        java_script_enabled=scripts,
        viewport=size,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    try:
        if role is not None:
            cookie = (await scene.sign_in(role)).cookie
            await context.add_cookies(
                [{"name": COOKIE, "value": cookie, "url": scene.url.replace("http:", "https:"), "secure": True}]
            )
        await context.add_init_script(_WATCH_POLICY)
        looked = Looked(await context.new_page())
        looked.watch()
        yield looked
    finally:
        await context.close()


def paths(scene: Scene) -> list[str]:
    """Every page that the console has; where a path names a thing, one that is there."""
    samples = {
        "order": scene.orders["hostile"],
        "rule": scene.rules["shadowed"],
        "clearance": scene.clearances["asked"],
        "name": "vina",
        "person": "vina",
    }
    routes = [route for page in PAGES for route in page.router.routes if "GET" in getattr(route, "methods", ())]
    found = [
        re.sub(r"{(\w+)[^}]*}", lambda named: samples.get(named[1], "none"), str(getattr(route, "path", "")))
        for route in routes
        if not getattr(route, "path", "").startswith(_NO_PAGE)
    ]
    return sorted({*found, f"/orders/{scene.orders['many']}", "/orders?state=all", "/nowhere"})


def _stands_in(number: str, text: str) -> bool:
    """Whether the digits of a number, or its national part, stand there together or with separators between."""
    digits = re.sub(r"[\s().•-]", "", text)
    return number[1:] in digits or number[3:] in digits
