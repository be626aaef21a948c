"""Previews: what a rule matches or an idea would match, in figures that the nodes counted."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from agent.access import Permission, Viewer, needs
from agent.api.bodies import Body, TheParts
from agent.explain import plan_of
from sync.ledger import Ledger

router = APIRouter(tags=["previews"])

Reader = Annotated[Viewer, needs(Permission.SEE)]


class Idea(Body):
    """A rule that nobody has proposed yet."""

    subject: str = Field(max_length=32)
    action: Literal["reject", "allow", "label"] = "reject"
    kinds: Literal["call", "message", "both"] = "both"
    trunks: tuple[str, ...] = Field((), max_length=100)
    exceptions: tuple[Annotated[str, Field(max_length=32)], ...] = Field((), alias="except", max_length=100)


@router.post("/previews")
async def preview_idea(
    body: Idea, parts: TheParts, viewer: Annotated[Viewer, needs(Permission.PROPOSE)]
) -> dict[str, Any]:
    """What a rule would match, before anybody proposes it. Enforced `allow` rules inside it are its exceptions."""
    for trunk in body.trunks:
        plan_of(parts.settings, trunk)
    return await parts.previews.of_idea(body.subject, body.action, body.trunks, body.kinds, body.exceptions)


@router.get("/rules/{rule}/preview")
async def preview_rule(rule: str, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """What a rule matches in the last hour, day and week, with bounds and age, and what else the prefix covers."""
    return await parts.previews.of_rule(await parts.ledger.read(Ledger.rule, rule))


@router.get("/rules/{rule}/traffic")
async def traffic_of_rule(
    rule: str, parts: TheParts, viewer: Reader, window: Annotated[Literal["hour", "day", "week"], Query()] = "hour"
) -> dict[str, Any]:
    """The course of a rule's traffic, a list for each count; null where nothing was counted."""
    return await parts.previews.chart(await parts.ledger.read(Ledger.rule, rule), window)
