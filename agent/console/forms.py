"""What a posted form must show before its page function runs: it was made by us, for this very session, on our site.

The door names the session's token; a guest's is an HMAC over a cookie of its own. The Origin that the browser writes is
looked at first: a page elsewhere can't forge it.
"""

import hashlib
import hmac
import secrets
from typing import Any, Final

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request

from agent.access import Door, Forbidden, NotSignedIn, Viewer
from agent.access.people_door import CSRF_FIELD, same_origin
from agent.masking import mask_reference

FIELD: Final = CSRF_FIELD
GUEST_COOKIE: Final = "palang_guest"
_PLACE: Final = "after"
"""The one word of a query that may be a large number of ours: how far a list was read."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


async def viewer_of(request: Request) -> Viewer | None:
    """Who asks, looked up once a request; None when nobody is signed in."""
    if not hasattr(request.state, "viewer"):
        door: Door = request.app.state.house.api.state.door
        try:
            request.state.viewer = await door.identify(request)
        except NotSignedIn:
            request.state.viewer = None
        except Forbidden:
            request.state.viewer = None  # whose form it was not is shown as a guest why it was refused
            raise
    found: Viewer | None = request.state.viewer
    return found


async def owner_of(request: Request) -> str:
    """Whose forms and lines these are: the session's, or this browser's while nobody is signed in."""
    viewer = await viewer_of(request)
    if viewer:
        return f"session {viewer.session or viewer.name}"
    if not hasattr(request.state, "guest"):
        request.state.guest = request.cookies.get(GUEST_COOKIE) or secrets.token_urlsafe(24)
    return f"guest {request.state.guest}"


async def token(request: Request) -> str:
    """What a form carries: the session's own token where the door knows one."""
    owner = await owner_of(request)
    known: str | None = getattr(request.state, "csrf", None)
    key: bytes = request.app.state.house.key
    return known or hmac.new(key, b"form\0" + owner.encode(), hashlib.sha256).hexdigest()


async def check(request: Request) -> None:
    """Let through what only reads, and forms of ours. Raises HTTPException 403, 422 for a number in the address."""
    if any(mask_reference(value) != value for name, value in request.query_params.items() if name != _PLACE):
        raise HTTPException(422, "a number has no place in an address, which is kept and passed on: post it")
    if request.method in _SAFE:
        return
    if not same_origin(request, strictly=False):
        raise HTTPException(403, "this form was sent from another site")
    shown = (await request.form()).get(FIELD)
    due = await token(request)
    if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), due.encode()):
        raise HTTPException(403, "this form is too old, or not of your session: go back, load the page again")


CHECKED: Final[Any] = Depends(check)
"""The check as a dependency of every route."""
