"""The shift's hand-over on one page, to read at the change of shifts, to print, or to send."""

from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.responses import Response

from agent.access import Permission
from agent.console.page import ThePage
from agent.console.words import _

router = APIRouter()

LENGTHS: Final = (4, 8, 12, 24, 168)
"""Hours that the page offers; a week for who comes back from leave."""
_ACKNOWLEDGING: Final = (Permission.ROLL_BACK, Permission.DECIDE_ORDERS, Permission.REBUILD)
"""Those who act on something acknowledge alarms; the API decides."""


@router.get("/shift")
async def shift(page: ThePage, hours: int = 8) -> Response:
    """What the next shift has to know."""
    record = await page.api.get("/v1/shift", hours=hours)
    acts = any(page.may(permission) for permission in _ACKNOWLEDGING)
    return page.show("shift.html", _("Shift hand-over"), shift=record, lengths=LENGTHS, acts=acts)


@router.post("/shift/alarms/{alarm}")
async def acknowledge(page: ThePage, alarm: str, reason: Annotated[str, Form(max_length=400)]) -> Response:
    """Say that one looks after an alarm."""
    body = {"reason": reason}
    return await page.act("POST", f"/v1/alarms/{alarm}/acknowledge", body, to="/shift", said=_("You look after it."))
