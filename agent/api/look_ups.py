"""The dependency of every route that tells something about a number which the asker names: permission, then pace."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from agent.access import Permission, Viewer, needs_any
from agent.api.bodies import TheParts
from agent.api.errors import response
from agent.look_ups import Refused


class TooManyLookUps(Exception):
    """One person asks faster than a person has reason to."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.why}; ask again in {refused.wait_s} s. Somebody was told")
        self.wait_s = refused.wait_s


def looks_up(*permissions: Permission) -> Any:
    """Keep a route to those with one of these permissions (numbers.look_up by default), at a person's pace.

    The route gets the viewer. Raises NotSignedIn, Forbidden, TooManyLookUps.
    """
    opened_by = permissions or (Permission.LOOK_UP,)

    async def check(parts: TheParts, viewer: Annotated[Viewer, needs_any(*opened_by)]) -> Viewer:
        local = viewer.way == "local"
        refused = parts.pace.take(viewer.name, datetime.now(UTC), local=local)
        if refused is not None:
            parts.alarms.raise_("look_up_bulk", f"{viewer.name}: {refused.why}", viewer.name)
            raise TooManyLookUps(refused)
        return viewer

    check.permissions = opened_by  # type: ignore[attr-defined]  # the role matrix reads it
    return Depends(check)


def install(api: FastAPI) -> None:
    """Have too many look-ups answered with 429 and when to come back."""
    api.add_exception_handler(TooManyLookUps, _too_many)


async def _too_many(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TooManyLookUps)
    answer = response(429, "bulk_look_up", str(error))
    answer.headers["Retry-After"] = str(error.wait_s)
    return answer
