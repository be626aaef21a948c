"""The wall: the page that hangs in the room, and the stream that keeps it live for everyone who looks."""

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from agent.access import Forbidden, Permission
from agent.console.page import House, ThePage
from agent.console.wall_stream import WallStream
from agent.console.words import _

router = APIRouter()

_MINUTES = 10


@router.get("/wall")
async def wall(page: ThePage) -> Response:
    """Everything at a glance."""
    record = await page.api.get("/v1/wall")
    return page.show("wall.html", _("Wall"), wall=record, minutes=by_minute(record["course"]))


@router.get("/wall/events")
async def wall_events(page: ThePage, request: Request) -> StreamingResponse:
    """What changed on the wall, as pieces of the page, each second."""
    if not page.may(Permission.SEE):
        raise Forbidden(f"this needs the permission {Permission.SEE}")
    house: House = request.app.state.house
    stream = house.kept(WallStream)
    pieces = stream.pieces(house.api.state.parts.wall, page.language, page.still_in)
    return StreamingResponse(pieces, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def by_minute(course: dict[str, list[float]]) -> list[dict[str, float]]:
    """The last minutes of the course, each figure its mean: what the chart draws, as a table."""
    minutes: dict[int, list[int]] = {}
    for place, at in enumerate(course["times"]):
        minutes.setdefault(int(at // 60), []).append(place)
    return [
        {"at": minute * 60}
        | {
            name: sum(values[place] for place in places) / len(places)
            for name, values in course.items()
            if name != "times"
        }
        for minute, places in sorted(minutes.items())[-_MINUTES:]
    ]
