"""Approvals: what waits for a second person, who asked for it and why, and the decision with its reason."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from starlette.responses import Response

from agent.access import Permission
from agent.console.page import Page, ThePage
from agent.console.words import _
from sync.ledger.acts import TABLE
from sync.ledger.requests import one_person

router = APIRouter()

STATES: Final = ("open", "approved", "refused", "lapsed", "withdrawn")
_SAID: Final = {
    "approve": _("Approved: it is done."),
    "refuse": _("Refused: it is not done."),
    "withdraw": _("Withdrawn."),
}

Reason = Annotated[str, Form(max_length=400)]


@router.get("/approvals")
async def approvals(page: ThePage, state: str = "open", after: int | None = None) -> Response:
    """What waits, or waited."""
    asked = None if state == "all" else state
    found = await page.api.get("/v1/approvals", state=asked, after=after, limit=50)
    shown = [{**one, "decision": _decision(page, one)} for one in found["items"]]
    return page.show(
        "approvals.html", _("Approvals"), items=shown, next=found["next"], state=state, states=STATES, alone=None
    )


@router.get("/approvals/{approval}")
async def one(page: ThePage, approval: str) -> Response:
    """One of them."""
    found = await page.api.get(f"/v1/approvals/{approval}")
    shown = [{**found, "decision": _decision(page, found)}]
    return page.show(
        "approvals.html", _("Approval"), items=shown, next=None, state="", states=STATES, alone=found["id"]
    )


@router.post("/approvals/{approval}/approve")
async def approve(page: ThePage, approval: str, reason: Reason) -> Response:
    """Approve what somebody else asked for."""
    return await _decide(page, approval, "approve", reason)


@router.post("/approvals/{approval}/refuse")
async def refuse(page: ThePage, approval: str, reason: Reason) -> Response:
    """Refuse what somebody else asked for."""
    return await _decide(page, approval, "refuse", reason)


@router.post("/approvals/{approval}/withdraw")
async def withdraw(page: ThePage, approval: str, reason: Reason) -> Response:
    """Take back what one asked for oneself."""
    return await _decide(page, approval, "withdraw", reason)


async def _decide(page: Page, approval: str, word: str, reason: str) -> Response:
    to = f"/approvals/{approval}"
    return await page.act("POST", f"/v1{to}/{word}", {"reason": reason}, to=to, said=_SAID[word])


def _decision(page: Page, request: dict[str, Any]) -> str:
    """What this viewer can do about it: decide, withdraw, or nothing."""
    if request["state"] != "open" or page.viewer is None:
        return ""
    if one_person(request["author"], page.viewer.name):
        return "withdraw"
    return "decide" if page.may(Permission(TABLE[request["act"]].permission)) else ""
