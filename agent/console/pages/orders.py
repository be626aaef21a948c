"""Orders: by state and deadline, one order's whole story, a ticket's orders; what the gate holds is decided here."""

from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.responses import Response

from agent.access import Permission
from agent.console.page import ThePage
from agent.console.words import _
from sync.order_life import State

router = APIRouter()

_A_PAGE = 50
_STATES = tuple(state for state in State if state is not State.NEW)

Why = Annotated[str, Form(max_length=400)]


@router.get("/orders")
async def orders(
    page: ThePage,
    state: Annotated[str, Query(max_length=32)] = "open",
    ticket: Annotated[str, Query(max_length=64)] = "",
    after: int | None = None,
) -> Response:
    """A page of orders: the open ones by their deadline, others the newest first."""
    asked = None if state == "all" or ticket else state
    by = "deadline" if asked == "open" else "serial"
    found = await page.api.get("/v1/orders", state=asked, ticket=ticket or None, by=by, after=after, limit=_A_PAGE)
    counts = (await page.api.get("/v1/wall"))["orders"]["by_state"]
    return page.show(
        "orders.html",
        _("Orders"),
        found=found,
        state="" if ticket else state,
        ticket=ticket,
        states=_STATES,
        counts=counts,
    )


@router.get("/orders/{order}")
async def order(page: ThePage, order: str) -> Response:
    """One order's story."""
    story = await page.api.get(f"/v1/orders/{order}")
    waiting = await page.api.get("/v1/approvals", about=order, limit=20)
    decides = page.may(Permission.DECIDE_ORDERS) and story["held"] > 0
    return page.show("order.html", _("Order"), order=story, waiting=waiting["items"], decides=decides)


@router.post("/orders/{order}/approve")
async def approve(page: ThePage, order: str, reason: Why) -> Response:
    """Apply what the gate held."""
    said = _("Approved: what was held is being applied.")
    return await page.act("POST", f"/v1/orders/{order}/approve", {"reason": reason}, to=f"/orders/{order}", said=said)


@router.post("/orders/{order}/refuse")
async def refuse(page: ThePage, order: str, reason: Why) -> Response:
    """Refuse what the gate held."""
    said = _("Refused: the regulator is told.")
    return await page.act("POST", f"/v1/orders/{order}/refuse", {"reason": reason}, to=f"/orders/{order}", said=said)
