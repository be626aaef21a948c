"""Sessions: signing in, who one is, showing the second factor again, signing out."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, SecretStr

from agent.access import Viewer, anyone, signed_in
from agent.access.people_door import COOKIE
from agent.api.bodies import Body, TheParts
from agent.api.once import TOLD_ONCE
from agent.views import plain_record
from sync.ledger import Ledger, SessionView

router = APIRouter(prefix="/sessions", tags=["sessions"])

Known = Annotated[Viewer, signed_in()]
Code = Annotated[str, Field(pattern="^[0-9]{6}$", description="What the authenticator shows.")]


class SignIn(Body):
    """Who comes in, and the two proofs of it."""

    name: str = Field(max_length=64)
    password: SecretStr = Field(max_length=128)
    code: Code


class StepUp(Body):
    """The second factor once more."""

    code: Code


class NewPassword(Body):
    """One's own new password."""

    old: SecretStr = Field(max_length=128)
    new: SecretStr = Field(max_length=128)
    code: Code


def address_of(request: Request) -> str | None:
    """Where the request came from; None for the unix socket."""
    return request.client.host if request.client else None


Address = Annotated[str | None, Depends(address_of)]


@router.post("", dependencies=[anyone()])
async def sign_in(body: SignIn, parts: TheParts, address: Address, response: Response) -> dict[str, Any]:
    """Begin a session; its cookie can be read by no script. `csrf` is what requests that change something carry."""
    now = datetime.now(UTC)
    signed = await parts.entrance.sign_in(body.name, body.password.get_secret_value(), body.code, address, now)
    response.set_cookie(COOKIE, signed.cookie, secure=True, httponly=True, samesite="strict", path="/")
    return session_record(signed.session)


@router.get("/current")
async def current(request: Request, parts: TheParts, viewer: Known) -> dict[str, Any]:
    """Who one is and what one may do; for a session also when it ends and its CSRF token."""
    record: dict[str, Any] = {
        "name": viewer.name,
        "way": viewer.way,
        "roles": sorted(viewer.roles),
        "permissions": sorted(viewer.permissions),
    }
    if viewer.session is None:
        return record
    session = await parts.ledger.read(Ledger.session, viewer.session, datetime.now(UTC), parts.entrance.idle)
    return record if session is None else {**record, **session_record(session)}


@router.post("/current/step-up", dependencies=[TOLD_ONCE])
async def step_up(body: StepUp, parts: TheParts, address: Address, viewer: Known) -> dict[str, Any]:
    """Show the second factor again; for some minutes the session may do what needs it."""
    return session_record(await parts.entrance.step_up(viewer, body.code, address, datetime.now(UTC)))


@router.post("/current/password")
async def change_password(
    body: NewPassword, parts: TheParts, address: Address, viewer: Known, response: Response
) -> dict[str, Any]:
    """Replace one's own password; all one's sessions end, this one too."""
    old, new = body.old.get_secret_value(), body.new.get_secret_value()
    person = await parts.entrance.change_password(viewer, old, new, body.code, address, datetime.now(UTC))
    _take_cookie_away(response)
    return plain_record(person)


@router.delete("/current")
async def sign_out(parts: TheParts, viewer: Known, response: Response) -> dict[str, Any]:
    """End this session."""
    if viewer.session is None:
        raise ValueError("there is no session here to end")
    await parts.entrance.sign_out(viewer.session, datetime.now(UTC))
    _take_cookie_away(response)
    return {"name": viewer.name, "ended": True}


def session_record(session: SessionView) -> dict[str, Any]:
    """A session as its own person may see it."""
    record = plain_record(session)
    del record["id"]
    return {**record, "name": record.pop("person")}


def _take_cookie_away(response: Response) -> None:
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict", path="/")
