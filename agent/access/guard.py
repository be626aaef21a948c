"""The guard: every route names the permission that it needs, and a door says who the viewer is.

A route without `needs` can't be reached: the role matrix in the tests walks all of them.
"""

import getpass
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from agent.access.people_door import same_origin
from agent.access.roles import Permission
from agent.access.viewer import Forbidden, Viewer

_UNGUARDED = object()
_ACTOR = re.compile(r"[\w.@-]{1,64}", re.ASCII)


class Door(Protocol):
    """A way in. It knows the viewer of a request, or raises NotSignedIn."""

    async def identify(self, request: Request) -> Viewer:
        """Who asks."""
        ...


class LocalDoor:
    """The agent's own socket. The header X-Palang-Actor names who of those that can open it asks."""

    async def identify(self, request: Request) -> Viewer:
        """The local viewer. Raises ValueError for a name that is none."""
        name = request.headers.get("X-Palang-Actor") or getpass.getuser()
        if not _ACTOR.fullmatch(name):
            raise ValueError(f"the name in X-Palang-Actor has {len(name)} characters; letters, digits, . @ - up to 64")
        return Viewer.local(name)


def needs(permission: Permission) -> Any:
    """Keep a route to those with this permission; the route gets the viewer.

    Raises NotSignedIn, Forbidden.
    """
    return needs_any(permission)


def needs_any(*permissions: Permission) -> Any:
    """Likewise, for a route that several permissions open."""
    return Depends(_check(permissions))


def permissions_of(route: APIRoute) -> tuple[Permission, ...] | None:
    """What opens a route: any of these, if none whoever is known; None: anybody. Raises ValueError for no guard."""
    for part in _parts_of(route.dependant):
        opened_by: Any = getattr(part.call, "permissions", _UNGUARDED)
        if opened_by is not _UNGUARDED:
            return None if opened_by is None else tuple(opened_by)
    raise ValueError(f"{route.path}: nothing guards this route")


def _parts_of(dependant: Dependant) -> Iterator[Dependant]:
    for part in dependant.dependencies:
        yield part
        yield from _parts_of(part)


def signed_in() -> Any:
    """Keep a route to those who are known, whatever they may do: what it touches is their own."""
    return Depends(_check(()))


def anyone() -> Any:
    """Let anybody in, but no request that another site has caused: this is where people come in at all."""
    return Depends(_anybody)


async def _anybody(request: Request) -> None:
    if request.method != "GET" and not same_origin(request, strictly=False):
        raise Forbidden("this request did not come from a page of Palang's own")


_anybody.permissions = None  # type: ignore[attr-defined]  # the role matrix reads it


def _check(permissions: tuple[Permission, ...]) -> Callable[[Request], Awaitable[Viewer]]:
    async def check(request: Request) -> Viewer:
        door: Door = request.app.state.door
        viewer = await door.identify(request)
        if permissions and not any(map(viewer.may, permissions)):
            raise Forbidden(f"this needs the permission {' or '.join(permissions)}")
        return viewer

    check.permissions = permissions  # type: ignore[attr-defined]  # the role matrix reads it
    return check
