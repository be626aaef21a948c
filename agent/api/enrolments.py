"""Enrolments: with an invitation's word a person sets password and second factor, then confirms with a code."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field, SecretStr

from agent.access import anyone
from agent.api.bodies import Body, TheParts
from agent.api.sessions import Address, Code
from agent.views import plain_record

router = APIRouter(prefix="/enrolments", tags=["enrolments"])


class Enrol(Body):
    """An invitation's word, and the password to set."""

    invitation: SecretStr = Field(max_length=64)
    password: SecretStr = Field(max_length=128)


class Confirm(Body):
    """The same word, and a code that the new second factor shows."""

    invitation: SecretStr = Field(max_length=64)
    code: Code


@router.post("", dependencies=[anyone()])
async def enrol(body: Enrol, parts: TheParts, address: Address) -> dict[str, Any]:
    """Set the password; the answer has the second factor's key. Nothing holds until `confirm`."""
    word, password = body.invitation.get_secret_value(), body.password.get_secret_value()
    made = await parts.entrance.enrol(word, password, address, datetime.now(UTC))
    return {"name": made.name, "key": made.key, "uri": made.uri}


@router.post("/confirm", dependencies=[anyone()])
async def confirm(body: Confirm, parts: TheParts, address: Address) -> dict[str, Any]:
    """Show a code of the new second factor: the invitation is used up, the person may sign in."""
    word = body.invitation.get_secret_value()
    return plain_record(await parts.entrance.confirm(word, body.code, address, datetime.now(UTC)))
