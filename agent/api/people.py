"""People: who may come in and as what. Inviting, roles, disabling and enabling; each with a reason, in the journal."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from agent.access import Permission, Role, Viewer, needs, needs_any
from agent.access.roles import check_together
from agent.api.bodies import Body, Reason, TheParts
from agent.api.conditions import Expected, tag
from agent.api.once import TOLD_ONCE
from agent.api.paging import Limit
from agent.views import plain_record
from sync.ledger import Ledger, PersonView

router = APIRouter(prefix="/people", tags=["people"])

Reader = Annotated[Viewer, needs_any(Permission.MANAGE_PEOPLE, Permission.READ_SETTINGS)]
Keeper = Annotated[Viewer, needs(Permission.MANAGE_PEOPLE)]
NAME = r"^[a-z][a-z0-9._-]{1,31}$"
Name = Annotated[str, Path(pattern=NAME)]

_OURS = frozenset({"palang", "regulator", "unknown", "local", "demo"})
"""Names that the journal gives to what is no person."""


class NewPerson(Body):
    """Somebody to invite."""

    name: str = Field(pattern=NAME, description="How they sign in, and how the journal names them for ever.")
    display: str = Field(min_length=1, max_length=64, description="How pages name them.")
    roles: frozenset[Role]
    reason: str = Field(min_length=3, max_length=400)


class NewRoles(Body):
    """The roles that a person has from now on."""

    roles: frozenset[Role]
    reason: str = Field(min_length=3, max_length=400)


@router.get("")
async def people(
    parts: TheParts,
    viewer: Reader,
    after: Annotated[str, Query(max_length=32, description="The `next` of the page before.")] = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """Everybody, in the order of their names."""
    found = await parts.ledger.read(Ledger.people, after, limit + 1)
    shown = found[:limit]
    return {"items": list(map(plain_record, shown)), "next": shown[-1].name if len(found) > limit else None}


@router.post("", dependencies=[TOLD_ONCE])
async def invite(body: NewPerson, parts: TheParts, viewer: Keeper, response: Response) -> dict[str, Any]:
    """Add a person. `invitation` is told once: the word with which they set password and second factor."""
    now = datetime.now(UTC)
    viewer.must_have_stepped_up(now)
    check_together(body.roles)
    if body.name in _OURS:
        raise ValueError(f"the journal gives the name {body.name} to what is no person")
    _check_display(body.display)
    person, word = await parts.entrance.invite(body.name, body.display, body.roles, viewer.name, body.reason, now)
    tag(response, person.version)
    return {**plain_record(person), "invitation": word}


@router.get("/{name}")
async def one_person(name: Name, parts: TheParts, viewer: Reader, response: Response) -> dict[str, Any]:
    """One person."""
    return _told(await parts.ledger.read(Ledger.person, name), response)


@router.post("/{name}/roles")
async def set_roles(
    name: Name, body: NewRoles, parts: TheParts, viewer: Keeper, expected: Expected, response: Response
) -> dict[str, Any]:
    """Give a person these roles and no others; their sessions end. Nobody changes their own."""
    now = datetime.now(UTC)
    viewer.must_have_stepped_up(now)
    check_together(body.roles)
    roles = [str(role) for role in body.roles]
    done = await parts.ledger.change(Ledger.set_roles, name, roles, viewer.name, body.reason, now, expected)
    return _told(done, response)


@router.post("/{name}/invite", dependencies=[TOLD_ONCE])
async def invite_again(
    name: Name, body: Reason, parts: TheParts, viewer: Keeper, expected: Expected, response: Response
) -> dict[str, Any]:
    """Take password, second factor, sessions and tokens away, and invite the person anew."""
    now = datetime.now(UTC)
    viewer.must_have_stepped_up(now)
    person, word = await parts.entrance.invite_again(name, viewer.name, body.reason, now, expected)
    return {**_told(person, response), "invitation": word}


@router.post("/{name}/disable")
async def disable(
    name: Name, body: Reason, parts: TheParts, viewer: Keeper, expected: Expected, response: Response
) -> dict[str, Any]:
    """Keep a person out from this moment; sessions and tokens end. Nobody disables themselves."""
    now = datetime.now(UTC)
    viewer.must_have_stepped_up(now)
    done = await parts.ledger.change(Ledger.disable, name, viewer.name, body.reason, now, expected)
    return _told(done, response)


@router.post("/{name}/enable")
async def enable(
    name: Name, body: Reason, parts: TheParts, viewer: Keeper, expected: Expected, response: Response
) -> dict[str, Any]:
    """Let a person in again; what ended stays ended."""
    now = datetime.now(UTC)
    viewer.must_have_stepped_up(now)
    done = await parts.ledger.change(Ledger.enable, name, viewer.name, body.reason, now, expected)
    return _told(done, response)


def _told(person: PersonView, response: Response) -> dict[str, Any]:
    tag(response, person.version)
    return plain_record(person)


def _check_display(text: str) -> None:
    if not text.isprintable() or text.strip() != text:
        raise ValueError("display: printable characters, no space at either end")
