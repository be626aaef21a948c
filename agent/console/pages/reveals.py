"""Reveals: the form with its reason, the number for a minute, and who revealed what.

The page with the number forgets it by itself: it loads itself again when the time is over, and finds it masked.
"""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query
from starlette.responses import Response

from agent.access import Viewer
from agent.client import Api, ApiError
from agent.console.asking import InProcess
from agent.console.look import parse
from agent.console.page import Page, ThePage
from agent.console.words import _

router = APIRouter()

_ROWS: Final = 50
_GONE: Final = 410

About = Annotated[str, Query(max_length=64)]
Place = Annotated[int, Query(ge=0, lt=100_000)]


@router.get("/reveals")
async def reveals(page: ThePage, mine: bool = False, after: int | None = None) -> Response:
    """Who revealed what: one's own, or everybody's for those who read the journal."""
    found = await page.api.get("/v1/reveals", mine="true" if mine else None, after=after, limit=_ROWS)
    return page.show(
        "reveals/list.html",
        _("Reveals"),
        items=found["items"],
        next=found["next"],
        mine=mine,
        all=page.may("journal.read"),
    )


@router.get("/reveals/new")
async def new(page: ThePage, about: About = "", position: Place = 0) -> Response:
    """The form: which number, and why."""
    return _form(page, {"about": about, "position": position, "code": "", "reason": "", "ticket": ""}, None)


@router.post("/reveals")
async def reveal(
    page: ThePage,
    about: Annotated[str, Form(max_length=64)],
    position: Annotated[int, Form(ge=0, lt=100_000)] = 0,
    code: Annotated[str, Form(max_length=32)] = "",
    reason: Annotated[str, Form(max_length=400)] = "",
    ticket: Annotated[str, Form(max_length=64)] = "",
    factor: Annotated[str, Form(max_length=16)] = "",
) -> Response:
    """Show the second factor again where it is asked for, put the reveal into the journal, go to its page."""
    body = {"about": about, "position": position, "code": code, "reason": reason, "ticket": ticket}
    try:
        done = await (await _stepped_up(page, factor)).post("/v1/reveals", body)
    except ApiError as error:
        if error.status in (401, 403, 409, 422, 429):
            return _form(page, body, str(error), status=error.status if error.status != 401 else 403)
        raise
    if waits := done.get("approval"):
        return page.go(f"/approvals/{waits['id']}", _("It waits for a second person, who has to approve it."))
    return page.go(f"/reveals/{done['id']}")


@router.get("/reveals/{reveal}")
async def revealed(page: ThePage, reveal: str) -> Response:
    """The number, while its time lasts."""
    try:
        shown = await page.api.get(f"/v1/reveals/{reveal}")
    except ApiError as error:
        if error.status != _GONE:
            raise
        return page.show("reveals/over.html", _("Masked again"), status=_GONE)
    return page.show("reveals/shown.html", _("Revealed"), shown=shown)


def _form(page: Page, given: dict[str, Any], wrong: str | None, *, status: int = 200) -> Response:
    settings = page.house.api.state.parts.settings.reveal
    fresh = page.viewer is not None and page.viewer.stepped_up(page.now)
    return page.show(
        "reveals/new.html",
        _("Reveal a number"),
        status=status,
        given=given,
        wrong=wrong,
        settings=settings,
        fresh=fresh,
    )


async def _stepped_up(page: Page, factor: str) -> Api:
    """The API as this viewer, whose second factor was shown a moment ago if a code came along."""
    viewer: Viewer | None = page.viewer
    if not factor or viewer is None or viewer.stepped_up(page.now):
        return page.api
    session = await page.api.post("/v1/sessions/current/step-up", {"code": factor})
    return InProcess(page.house.api, replace(viewer, stepped_up_until=parse(session["stepped_up_until"])))
