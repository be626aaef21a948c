"""Explain: a number in any form, or a SIP message as it came: how it is read, what wins and why, since when, where.

What is asked comes in a posted form and is never shown again: a page that is left open on a desk holds no number.
"""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.responses import Response

from agent.client import ApiError
from agent.console.page import Page, ThePage
from agent.console.words import _

router = APIRouter()

_TOLD = frozenset({409, 422, 429})
"""Answers that say what to do: they stand above the form."""

Trunk = Annotated[str, Form(max_length=32)]


@router.get("/explain")
async def ask(page: ThePage) -> Response:
    """The two questions."""
    return await _show(page)


@router.post("/explain")
async def number(page: ThePage, text: Annotated[str, Form(max_length=256)], trunk: Trunk = "") -> Response:
    """A number explained."""
    return await _answer(page, "/v1/explain", {"text": text, "trunk": trunk or None})


@router.post("/explain/message")
async def message(page: ThePage, raw: Annotated[str, Form(max_length=70_000)], trunk: Trunk) -> Response:
    """A SIP message explained."""
    encoded = base64.b64encode(raw.encode()).decode()
    return await _answer(page, "/v1/explain/message", {"raw": encoded, "trunk": trunk})


async def _answer(page: Page, path: str, body: dict[str, Any]) -> Response:
    try:
        found = await page.api.post(path, body)
    except ApiError as error:
        if error.status not in _TOLD:
            raise
        return await _show(page, problem=str(error), status=error.status)
    return await _show(page, found=found)


async def _show(page: Page, *, found: Any = None, problem: str = "", status: int = 200) -> Response:
    nodes = (await page.api.get("/v1/wall"))["nodes"]["items"]
    trunks = sorted({trunk for node in nodes for trunk in node["trunks"]})
    return page.show("explain.html", _("Explain"), status=status, found=found, problem=problem, trunks=trunks)
