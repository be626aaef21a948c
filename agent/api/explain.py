"""Explain: how a number or a message is read, what touches it, and which rule wins."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Base64Bytes, Field

from agent.access import Viewer
from agent.api.bodies import Body, TheParts
from agent.api.look_ups import looks_up
from agent.explain import explain
from agent.explain_message import explain_message
from agent.raw_message import MOST_RAW_TEXT

router = APIRouter(prefix="/explain", tags=["explain"])

Asker = Annotated[Viewer, looks_up()]


class Question(Body):
    """A number in any form, and the trunk whose dial plan reads it."""

    text: str = Field(max_length=256)
    trunk: str | None = Field(None, max_length=32)


class RawQuestion(Body):
    """A SIP message as it came, and the trunk that it came on."""

    raw: Base64Bytes = Field(max_length=MOST_RAW_TEXT, description="At most one datagram, in base64.")
    trunk: str = Field(max_length=32)


@router.post("")
async def explain_number(body: Question, parts: TheParts, viewer: Asker) -> dict[str, Any]:
    """How a number is read, what touches it, which rule wins and why."""
    return await explain(parts, body.text, body.trunk)


@router.post("/message")
async def explain_raw(body: RawQuestion, parts: TheParts, viewer: Asker) -> dict[str, Any]:
    """How a SIP message is read on a trunk, who it says it comes from, what it would get and why."""
    return await explain_message(parts, body.raw, body.trunk)
