"""The viewer: who a request comes from, by which way they came, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.access.roles import EVERYTHING, TABLE, Permission, Role

LOCAL = "local:"
"""Before the name of who came by the agent's own socket. All of them count as one person where two are needed."""


class NotSignedIn(Exception):
    """Nobody is known behind this request. Its text says what to do."""


class Forbidden(Exception):
    """This viewer may not do that. Its text names the permission."""


class StepUpNeeded(Forbidden):
    """This act needs the second factor once more. Its text says so."""


@dataclass(frozen=True)
class Viewer:
    """Who asks. `name` is what the journal and the pages carry."""

    name: str
    roles: frozenset[Role]
    permissions: frozenset[Permission]
    way: Literal["local", "session", "token"]
    session: str | None = None
    stepped_up_until: datetime | None = None

    @classmethod
    def local(cls, user: str) -> "Viewer":
        """The one who holds the agent's own socket, which only the agent's user can open."""
        return cls(f"{LOCAL}{user}", frozenset(), EVERYTHING, "local")

    @classmethod
    def of(
        cls,
        name: str,
        roles: frozenset[Role],
        way: Literal["session", "token"],
        *,
        scopes: frozenset[Permission] = EVERYTHING,
        session: str | None = None,
        stepped_up_until: datetime | None = None,
    ) -> "Viewer":
        """A person with these roles; a token's scopes narrow what they may do."""
        allowed = frozenset(permission for role in roles for permission in TABLE[role])
        return cls(name, roles, allowed & scopes, way, session, stepped_up_until)

    def may(self, permission: Permission) -> bool:
        """Whether the table lets this viewer do that."""
        return permission in self.permissions

    def stepped_up(self, now: datetime) -> bool:
        """Whether the second factor was shown again a moment ago. Who came by the socket or a token has none."""
        return self.stepped_up_until is not None and now < self.stepped_up_until

    def must_have_stepped_up(self, now: datetime) -> None:
        """Keep an act to those whose second factor was shown a moment ago, and to the socket. Raises StepUpNeeded."""
        if self.way != "local" and not self.stepped_up(now):
            raise StepUpNeeded("this needs a session whose second factor was shown again a moment ago")
