"""The shift's hand-over: one record of what changed, was braked, ends soon and is open."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from agent.access import Permission, Viewer, needs
from agent.alarms import KEPT
from agent.api.bodies import TheParts
from agent.shift import hand_over, with_alarms

router = APIRouter(tags=["shift"])

Hours = Annotated[int, Query(ge=1, le=168, description="How long the shift was, in hours.")]


@router.get("/shift")
async def shift(parts: TheParts, viewer: Annotated[Viewer, needs(Permission.SEE)], hours: Hours = 8) -> dict[str, Any]:
    """What the next shift has to know, for one page; numbers are masked. `by` is who asked for it."""
    now = datetime.now(UTC)
    record = await parts.ledger.read(hand_over, now, hours)
    return {"by": viewer.name, **with_alarms(record, parts.alarms.lately(now, KEPT), now)}
