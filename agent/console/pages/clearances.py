"""The unblock desk: what waits, a wrongly blocked number opened, and one clearance's whole story with its decisions.

A number goes in by a posted form and is never shown again: a form that was refused comes back without it.
"""

import hashlib
from typing import Annotated, Any, Final

from fastapi import APIRouter, File, Form, Path, Query, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from agent.client import ApiError
from agent.console.page import Page, ThePage
from agent.console.words import _
from sync.clearance_life import State

router = APIRouter()

MOST_DOCUMENT: Final = 1000 * 1024
"""Bytes of a document that we hash: so little is held in memory, and never lies on a disk here."""
STATES: Final = tuple(state.value for state in State if state is not State.NEW)
STEPS: Final = (_("opened"), _("approved"), _("passes"), _("told"), _("closed"))
REMEDIES: Final = {
    "lift": _("ends with the lift"),
    "exception": _("a prefix rule of the NOC; an exception for the number lets it pass"),
    "regulator": _("a prefix of the regulator's order; only the regulator lifts it"),
}
_EMPTY: Final = {"reference": "", "document": "", "reason": "", "exception": True}

Id = Annotated[str, Path(pattern=r"^c[1-9][0-9]{0,8}$")]
Text = Annotated[str, Form(max_length=400)]


@router.get("/clearances")
async def desk(
    page: ThePage,
    state: Annotated[str, Query(max_length=20)] = "",
    after: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """The desk: what waits, the nearest deadline first; or what stands in one state, the newest first."""
    query = {"state": state} if state in STATES else {} if state == "all" else {"waiting": "true"}
    found = await page.api.get("/v1/clearances", after=after, limit=50, **query)
    return page.show("clearances.html", _("Unblock desk"), found=found, state=state, states=STATES)


@router.get("/clearances/open")
async def opening(page: ThePage) -> Response:
    """The form for a number that is blocked wrongly."""
    return _form(page, _EMPTY)


@router.post("/clearances/open")
async def open_clearance(
    page: ThePage,
    number: Annotated[str, Form(max_length=64)],
    reference: Text,
    document: Text,
    reason: Text,
    exception: Annotated[bool, Form()] = False,
) -> Response:
    """Open it; what is refused comes back without the number."""
    given = {"reference": reference, "document": document.strip(), "reason": reason, "exception": exception}
    try:
        made = await page.api.post("/v1/clearances", {"number": number, **given})
    except ApiError as error:
        return _form(page, given, wrong=str(error), status=error.status)
    return page.go(f"/clearances/{made['id']}", _("Opened. It waits for a second person, who has to approve it."))


@router.post("/clearances/document")
async def hashed(page: ThePage, file: Annotated[UploadFile, File()], about: Annotated[str, Form()] = "") -> Response:
    """The hash of a document, for browsers that can't compute it. The document itself is dropped at once."""
    if (file.size or 0) > MOST_DOCUMENT:
        raise HTTPException(413)
    given = {**_EMPTY, "document": hashlib.sha256(await file.read()).hexdigest()}
    return await _story(page, about, given) if about else _form(page, given)


@router.get("/clearances/reassigned")
async def new_subscribers(page: ThePage) -> Response:
    """The form for numbers that were given to new subscribers."""
    return page.show("clearances/reassigned.html", _("Numbers with new subscribers"), counted=None, wrong="", reason="")


@router.post("/clearances/reassigned")
async def reassigned(
    page: ThePage,
    reason: Text,
    act: Annotated[str, Form(max_length=8)],
    numbers: Annotated[str, Form()] = "",
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Count what of a list is blocked, or open the reviews; the list is not kept between the two."""
    title = _("Numbers with new subscribers")
    try:
        text = numbers + "\n" + (await file.read()).decode() if file else numbers
        body = {"numbers": text.splitlines() or [""], "reason": reason, "commit": act == "open"}
        done = await page.api.post("/v1/clearances/reassigned", body)
    except UnicodeDecodeError:
        wrong = _("The file is not UTF-8 text.")
        return page.show("clearances/reassigned.html", title, counted=None, wrong=wrong, reason=reason, status=422)
    except ApiError as error:
        wrong = str(error)
        return page.show(
            "clearances/reassigned.html", title, counted=None, wrong=wrong, reason=reason, status=error.status
        )
    if act == "open":
        count = str(len(done["opened"]))
        return page.go("/clearances?state=review", _("{count} reviews opened."), count=count)
    return page.show("clearances/reassigned.html", title, counted=done, wrong="", reason=reason)


@router.get("/clearances/{clearance}")
async def one(page: ThePage, clearance: Id) -> Response:
    """One clearance's whole story."""
    return await _story(page, clearance, _EMPTY)


@router.post("/clearances/{clearance}/lift")
async def lift(
    page: ThePage,
    clearance: Id,
    reference: Text,
    document: Text,
    reason: Text,
    exception: Annotated[bool, Form()] = False,
) -> Response:
    """Ask for the lift that a review is about."""
    body = {"reference": reference, "document": document.strip(), "reason": reason, "exception": exception}
    return await page.act(
        "POST", f"/v1/clearances/{clearance}/lift", body, to=f"/clearances/{clearance}", said=_("Asked.")
    )


@router.post("/clearances/{clearance}/keep")
async def keep(page: ThePage, clearance: Id, reason: Text) -> Response:
    """Decide that the block stays."""
    path, to = f"/v1/clearances/{clearance}/keep", f"/clearances/{clearance}"
    return await page.act("POST", path, {"reason": reason}, to=to, said=_("The block stays."))


@router.post("/clearances/{clearance}/approve")
async def approve(page: ThePage, clearance: Id, reason: Text) -> Response:
    """Approve the lift that somebody else asked for."""
    return await _decide(page, clearance, "approve", reason, _("Approved. The nodes have to prove now that it passes."))


@router.post("/clearances/{clearance}/refuse")
async def refuse(page: ThePage, clearance: Id, reason: Text) -> Response:
    """Refuse it: the block stays."""
    return await _decide(page, clearance, "refuse", reason, _("Refused. The block stays."))


async def _decide(page: Page, clearance: str, word: str, reason: str, said: str) -> Response:
    to = f"/clearances/{clearance}"
    request = (await page.api.get(f"/v1/clearances/{clearance}"))["request"]
    if request is None:
        return page.go(to, _("Nobody has asked for a lift yet."), tone="bad")
    return await page.act("POST", f"/v1/approvals/{request}/{word}", {"reason": reason}, to=to, said=said)


def _form(page: Page, given: dict[str, Any], wrong: str = "", status: int = 200) -> Response:
    return page.show("clearances/open.html", _("Open a clearance"), given=given, wrong=wrong, status=status)


async def _story(page: Page, clearance: str, given: dict[str, Any]) -> Response:
    found = await page.api.get(f"/v1/clearances/{clearance}")
    waits = next((asked for asked in found["approvals"] if asked["state"] == "open"), None)
    return page.show(
        "clearances/one.html",
        _("Clearance"),
        one=found,
        waits=waits,
        given=given,
        course=_course(found),
        remedies=REMEDIES,
    )


def _course(one: dict[str, Any]) -> list[tuple[str, str | None]]:
    """The steps on the way, each with the time at which it was done."""
    told = [confirmation["queued_at"] for confirmation in one["confirmations"] if confirmation["status"] == "lifted"]
    times = (one["opened_at"], one["approved_at"], one["lifted_at"], max(told, default=None), one["closed_at"])
    return list(zip(STEPS, times, strict=True))
