"""The door for people and programs: a session's cookie, a token, or a page of our own that has asked already.

A request that changes something and comes with a cookie has to prove that a page of ours sent it: browsers attach the
cookie to requests that other sites cause (CSRF). Two proofs are asked for, since each alone has failed somewhere:
Sec-Fetch-Site or Origin says same origin, and the session's own token is in X-Palang-CSRF or the form field `csrf`.
"""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from agent.access.entrance import Entrance, roles_of
from agent.access.secrets import TOKEN_PREFIX, same
from agent.access.viewer import Forbidden, NotSignedIn, Viewer

COOKIE: Final = "__Host-palang"
CSRF_HEADER: Final = "X-Palang-CSRF"
CSRF_FIELD: Final = "csrf"
VIEWER: Final = "palang.viewer"
"""The key in an ASGI scope by which a page hands its viewer on. A scope is ours: nothing from the network is in it."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_SIGN_IN: Final = "sign in, or come with a token"


class PeopleDoor:
    """Where people sign in and programs bring tokens."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    async def identify(self, request: Request) -> Viewer:
        """Who asks. Raises NotSignedIn, Forbidden for a request that another site may have caused.

        For a session, `request.state.csrf` is what its forms have to carry.
        """
        handed_on: Viewer | None = request.scope.get(VIEWER)
        if handed_on is not None:
            return handed_on
        now = datetime.now(UTC)
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            return await self._by_token(authorization, now)
        return await self._by_cookie(request, now)

    async def _by_token(self, authorization: str, now: datetime) -> Viewer:
        scheme, _, token = authorization.partition(" ")
        viewer = None
        if scheme.lower() == "bearer" and token.startswith(TOKEN_PREFIX):
            viewer = await self._entrance.holder(token, now)
        if viewer is None:
            raise NotSignedIn("this token is unknown, was ended or has expired")
        return viewer

    async def _by_cookie(self, request: Request, now: datetime) -> Viewer:
        cookie = request.cookies.get(COOKIE)
        session = None if not cookie else await self._entrance.session(cookie, now)
        if session is None:
            raise NotSignedIn(_SIGN_IN)
        if request.method not in _SAFE:
            if not same_origin(request, strictly=True):
                raise Forbidden("this request did not come from a page of Palang's own")
            if not same(await _csrf_of(request), session.csrf):
                raise Forbidden(f"this request does not carry its session's token in {CSRF_HEADER} or {CSRF_FIELD}")
        request.state.csrf = session.csrf
        return Viewer.of(
            session.person,
            roles_of(session.roles),
            "session",
            session=session.id,
            stepped_up_until=session.stepped_up_until,
        )


def same_origin(request: Request, *, strictly: bool) -> bool:
    """Whether the browser says that the request came from our own pages.

    A program says nothing about it; `strictly` takes that for no.
    """
    fetch_site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if fetch_site is None and origin is None:
        return not strictly
    if fetch_site is None:
        return _origin_is_ours(origin or "", request)
    # Under Referrer-Policy: no-referrer a form of our own comes with `Origin: null` (Fetch, "append a request Origin").
    return fetch_site == "same-origin" and (origin in (None, "null") or _origin_is_ours(origin or "", request))


def _origin_is_ours(origin: str, request: Request) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return (parts.scheme, parts.netloc.lower()) == (request.url.scheme, request.headers.get("Host", "").lower())


async def _csrf_of(request: Request) -> str:
    told = request.headers.get(CSRF_HEADER)
    if told is None and request.headers.get("Content-Type", "").partition(";")[0].strip().lower() in _FORMS:
        field = (await request.form()).get(CSRF_FIELD)
        told = field if isinstance(field, str) else None
    return told or ""
