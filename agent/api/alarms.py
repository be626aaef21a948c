"""Alarms: what people have to know now, and who looks after it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from agent.access import Permission, Viewer, needs, needs_any
from agent.api.bodies import Reason, TheParts
from agent.api.paging import Limit
from sync.ledger import NotFoundError

router = APIRouter(prefix="/alarms", tags=["alarms"])

Reader = Annotated[Viewer, needs(Permission.SEE)]
Actor = Annotated[Viewer, needs_any(Permission.ROLL_BACK, Permission.DECIDE_ORDERS, Permission.REBUILD)]


@router.get("")
async def alarms(parts: TheParts, viewer: Reader, limit: Limit = 100) -> dict[str, Any]:
    """The alarms of late: the open ones first, then the others, each the newest first."""
    now = datetime.now(UTC)
    return {"items": [alarm.record(now) for alarm in parts.alarms.lately(now, limit)], "next": None}


@router.post("/{alarm}/acknowledge")
async def acknowledge(alarm: str, body: Reason, parts: TheParts, viewer: Actor) -> dict[str, Any]:
    """Say that you look after it; it leaves the wall and stays in the journal."""
    try:
        acknowledged = await parts.alarms.acknowledge(alarm, viewer.name, body.reason)
    except KeyError:
        raise NotFoundError("no alarm of late has this id") from None
    return acknowledged.record(datetime.now(UTC))
