"""The API asked whole, for the few pages that need more than a record: the visitor's address, headers, cookies.

`told` leads on from an answer: to where the second factor is shown, or back with what was refused.
"""

from typing import Any, Final

import httpx
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent.access.people_door import VIEWER
from agent.console.page import Page
from agent.console.words import _

STEP_UP: Final = "/step-up"

_TEXTS: Final = {
    "not_signed_in": _("Name, password or code is wrong, or this person may not come in."),
    "wrong": _("That is not right. Wait for the next code, and look at the phone's clock."),
    "too_often": _("Too many attempts. Wait a minute, then try again."),
    "changed_meanwhile": _("Somebody changed this meanwhile. Look again, then decide."),
}
"""What the API refuses, by its code, in the visitor's language; the rest is shown as the API says it."""


async def ask(page: Page, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    """One request to the API as the page's viewer, from the visitor's own address."""
    viewer, client = page.viewer, page.request.client

    async def as_viewer(scope: Scope, receive: Receive, send: Send) -> None:
        await page.house.api({**scope, VIEWER: viewer} if viewer else scope, receive, send)

    transport = httpx.ASGITransport(app=as_viewer, client=(client.host, client.port) if client else ("", 0))
    async with httpx.AsyncClient(transport=transport, base_url="http://local", trust_env=False) as http:
        return await http.request(method, path, json=body, headers=headers)


def said(answer: httpx.Response) -> str:
    """What the API refused, in a line that can be put into the visitor's language."""
    error = answer.json()["error"]
    return _TEXTS.get(error["code"], str(error["message"]))


def told(page: Page, answer: httpx.Response, to: str, done: str) -> Response:
    """On to `to`, with what was done or refused; to the second factor first when it is needed."""
    if answer.is_success:
        return page.go(to, done)
    if answer.json()["error"]["code"] == "step_up_needed":
        return page.go(f"{STEP_UP}?next={to}", _("Show your second factor again, then repeat that."), tone="bad")
    return page.go(to, said(answer), tone="bad")
