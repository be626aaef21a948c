"""What requests carry: closed models, so that a field that nobody knows is an error."""

from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from agent.wiring import Parts


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid")


class Reason(Body):
    """Why a person did it; it goes into the journal."""

    reason: str = Field(min_length=3, max_length=400)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


TheParts = Annotated[Parts, Depends(_parts)]
"""The agent's parts, as a route's argument."""
