"""Tokens: how programs come in for a person. A token opens its scopes, and never more than its person may."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from agent.access import Forbidden, Permission, Viewer, signed_in
from agent.access.entrance import roles_of
from agent.api.bodies import Body, TheParts
from agent.api.once import TOLD_ONCE
from agent.api.paging import After, Limit, page
from agent.views import plain_record
from sync.ledger import Ledger, NotFoundError

router = APIRouter(prefix="/tokens", tags=["tokens"])

Known = Annotated[Viewer, signed_in()]

_DAY_S = 86_400


class NewToken(Body):
    """A token to make."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[ -~]+$", description="What it is for.")
    scopes: frozenset[Permission] = Field(min_length=1, description="What it opens: permissions of one's own.")
    expires_s: int = Field(30 * _DAY_S, ge=60, le=365 * _DAY_S, description="Seconds until it ends.")
    person: str | None = Field(None, max_length=32, description="Whose it is: only from the agent's own socket.")


@router.get("")
async def tokens(parts: TheParts, viewer: Known, after: After = None, limit: Limit = 100) -> dict[str, Any]:
    """One's own live tokens, the newest first; for who keeps people, everybody's."""
    owner = None if viewer.may(Permission.MANAGE_PEOPLE) else viewer.name
    found = await parts.ledger.read(Ledger.tokens, owner, after, limit + 1)
    return page(found, limit, lambda token: token.id, plain_record)


@router.post("", dependencies=[TOLD_ONCE])
async def make_token(body: NewToken, parts: TheParts, viewer: Known) -> dict[str, Any]:
    """Make a token. `token` is told once. Needs the second factor; a token makes no tokens."""
    now = datetime.now(UTC)
    viewer.must_have_stepped_up(now)
    person = await _owner(body, parts, viewer)
    too_much = body.scopes - person.permissions
    if too_much:
        raise Forbidden(f"{person.name} may not do this: {', '.join(sorted(too_much))}")
    most = parts.settings.access.token_days
    if body.expires_s > most * _DAY_S:
        raise ValueError(f"expires_s is {body.expires_s}; the longest is {most * _DAY_S} (access.token_days)")
    expires = now + timedelta(seconds=body.expires_s)
    made, token = await parts.entrance.make_token(person.name, body.name, body.scopes, expires, viewer.name, now)
    return {**plain_record(made), "token": token}


@router.delete("/{token}")
async def end_token(token: Annotated[int, Path(ge=1, le=2**53)], parts: TheParts, viewer: Known) -> dict[str, Any]:
    """End a token of one's own; who keeps people ends anybody's."""
    owner = None if viewer.may(Permission.MANAGE_PEOPLE) else viewer.name
    return plain_record(await parts.ledger.change(Ledger.end_token, token, viewer.name, datetime.now(UTC), owner))


async def _owner(body: NewToken, parts: TheParts, viewer: Viewer) -> Viewer:
    """Whose the token will be: one's own, or from the agent's own socket anybody's."""
    if viewer.way != "local":
        if body.person not in (None, viewer.name):
            raise Forbidden("a token is made by the person whose it is")
        return viewer
    if body.person is None:
        raise ValueError("person: whose token it is has to be named here")
    person = await parts.ledger.read(Ledger.person, body.person)
    if person.state != "active":
        raise NotFoundError(f"{person.name} is {person.state}, and may not come in")
    return Viewer.of(person.name, roles_of(person.roles), "token")
