"""The wall: one record of what everyone must see, and the same as a stream of events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from agent.access import Permission, Viewer, needs
from agent.api.bodies import TheParts
from agent.wall import Wall

router = APIRouter(tags=["wall"])

LOOKS: Final = 300
"""After so many a stream ends."""

Reader = Annotated[Viewer, needs(Permission.SEE)]


@router.get("/wall")
async def wall(parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """Calls per second, nodes, parts, orders, deadlines, changes and alarms; each part with the time of its figures."""
    return (await parts.wall.newest()).whole()


@router.get("/events", response_class=StreamingResponse)
async def events(parts: TheParts, viewer: Reader) -> StreamingResponse:
    """Server-sent events: `wall` with the record, each second; its `point` continues the course of calls.

    It ends after five minutes, and who still may look connects again: whose session or token was ended can't.
    """
    return StreamingResponse(_events(parts.wall), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(wall: Wall) -> AsyncIterator[bytes]:
    told = 0
    async for look in wall.follow():
        yield b"event: wall\nid: %d\ndata: %s\n\n" % (look.n, look.json)
        told += 1
        if told == LOOKS:
            return
