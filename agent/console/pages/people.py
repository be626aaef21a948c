"""People and their programs: who may come in, as what, and with which tokens; and the table of who may do what."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query
from starlette.responses import Response

from agent.access import Role
from agent.console.page import Page, ThePage
from agent.console.whole import ask, told
from agent.console.words import _

router = APIRouter()

Name = Annotated[str, Path(pattern=r"^[a-z][a-z0-9._-]{1,31}$")]
Reason = Annotated[str, Form(max_length=400)]
Roles = Annotated[list[str], Form()]
Version = Annotated[int, Form(ge=1)]

_DAY_S = 86_400


@router.get("/people")
async def people(page: ThePage, after: Annotated[str, Query(max_length=32)] = "") -> Response:
    """Everybody who may come in, or may not any more."""
    found = await page.api.get("/v1/people", after=after)
    return page.show("people.html", _("People"), people=found["items"], next=found["next"], roles=list(Role))


@router.post("/people")
async def invite(
    page: ThePage,
    name: Annotated[str, Form(max_length=64)],
    display: Annotated[str, Form(max_length=64)],
    reason: Reason,
    roles: Roles,
) -> Response:
    """Invite somebody; the word is shown once."""
    body: dict[str, Any] = {"name": name, "display": display, "roles": roles, "reason": reason}
    answer = await ask(page, "POST", "/v1/people", body)
    return _invited(page, answer.json()) if answer.is_success else told(page, answer, "/people", "")


@router.get("/people/{name}")
async def person(page: ThePage, name: Name) -> Response:
    """One person, and what can be decided about them."""
    found = await page.api.get(f"/v1/people/{name}")
    return page.show("person.html", _("Person"), person=found, roles=list(Role))


@router.post("/people/{name}/roles")
async def set_roles(page: ThePage, name: Name, roles: Roles, reason: Reason, version: Version) -> Response:
    """Give a person these roles and no others."""
    done = _("The roles are changed; sessions of this person have ended.")
    return await _decide(page, name, "roles", {"roles": roles, "reason": reason}, version, done)


@router.post("/people/{name}/disable")
async def disable(page: ThePage, name: Name, reason: Reason, version: Version) -> Response:
    """Keep a person out."""
    done = _("This person may not come in any more; sessions and tokens have ended.")
    return await _decide(page, name, "disable", {"reason": reason}, version, done)


@router.post("/people/{name}/enable")
async def enable(page: ThePage, name: Name, reason: Reason, version: Version) -> Response:
    """Let a person in again."""
    return await _decide(page, name, "enable", {"reason": reason}, version, _("This person may come in again."))


@router.post("/people/{name}/invite")
async def invite_again(page: ThePage, name: Name, reason: Reason, version: Version) -> Response:
    """Take password and second factor away, and invite anew; the word is shown once."""
    path = f"/v1/people/{name}/invite"
    answer = await ask(page, "POST", path, {"reason": reason}, **{"If-Match": f'"{version}"'})
    return _invited(page, answer.json()) if answer.is_success else told(page, answer, f"/people/{name}", "")


@router.get("/roles")
async def roles(page: ThePage) -> Response:
    """The table of who may do what, as the guard reads it."""
    found = await page.api.get("/v1/roles")
    return page.show("roles.html", _("Roles"), permissions=found["permissions"], roles=found["items"])


@router.get("/tokens")
async def tokens(page: ThePage, after: Annotated[int | None, Query(ge=0)] = None) -> Response:
    """One's own tokens, and making one."""
    found = await page.api.get("/v1/tokens", after=after)
    mine = await page.api.get("/v1/sessions/current")
    return page.show(
        "tokens.html", _("Tokens"), tokens=found["items"], next=found["next"], permissions=mine["permissions"]
    )


@router.post("/tokens")
async def make_token(
    page: ThePage,
    name: Annotated[str, Form(max_length=64)],
    scopes: Roles,
    days: Annotated[int, Form(ge=1, le=365)],
) -> Response:
    """Make a token; it is shown once."""
    answer = await ask(page, "POST", "/v1/tokens", {"name": name, "scopes": scopes, "expires_s": days * _DAY_S})
    if not answer.is_success:
        return told(page, answer, "/tokens", "")
    return page.show("token.html", _("Token"), token=answer.json())


@router.post("/tokens/{token}/end")
async def end_token(page: ThePage, token: Annotated[int, Path(ge=1, le=2**53)]) -> Response:
    """End a token."""
    return told(page, await ask(page, "DELETE", f"/v1/tokens/{token}"), "/tokens", _("The token has ended."))


async def _decide(page: Page, name: str, act: str, body: dict[str, Any], version: int, done: str) -> Response:
    answer = await ask(page, "POST", f"/v1/people/{name}/{act}", body, **{"If-Match": f'"{version}"'})
    return told(page, answer, f"/people/{name}", done)


def _invited(page: Page, person: dict[str, Any]) -> Response:
    return page.show("invitation.html", _("Invitation"), person=person)
