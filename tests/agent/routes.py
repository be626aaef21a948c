"""Every route of the API, with what its guard says: what the role matrix and the tests of CSRF walk."""

import re
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import cast

from fastapi.routing import APIRoute, iter_route_contexts

from agent import api
from agent.access import Permission
from agent.access.guard import permissions_of
from agent.figures import Figures
from agent.settings import Settings
from agent.wiring import Parts

_SAMPLES = {"token": "1", "rule": "r1", "name": "nobody"}


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `permissions` open it; empty: whoever is known; None: anybody; `guarded` False: none."""

    method: str
    path: str
    permissions: tuple[Permission, ...] | None
    guarded: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def known(self) -> bool:
        """Whether somebody has to be known."""
        return self.permissions is not None

    @property
    def sample(self) -> str:
        """The path, with something in its braces."""
        return re.sub(r"\{(\w+)[^}]*\}", lambda found: _SAMPLES.get(found[1], "x1"), self.path)


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """All of them, in the order of their paths: what the app would route to, not what some list says."""
    parts = cast(Parts, SimpleNamespace(settings=Settings(), figures=Figures()))
    found = []
    for context in iter_route_contexts(api.app(parts).routes):
        assert context.path is not None and context.methods is not None, context
        try:
            route = context.original_route
            assert isinstance(route, APIRoute)
            permissions, guarded = permissions_of(route), True
        except (AssertionError, ValueError):
            permissions, guarded = None, False
        found += [Endpoint(method, context.path, permissions, guarded) for method in context.methods - {"HEAD"}]
    return tuple(sorted(found, key=lambda endpoint: (endpoint.path, endpoint.method)))
