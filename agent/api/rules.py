"""Rules: what the NOC proposes, shadows and enforces by itself."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from agent.access import Permission, Viewer, needs
from agent.api.bodies import Body, Reason, TheParts
from agent.api.paging import After, Limit, page
from agent.explain import plan_of
from agent.views import rule_record
from sip_filter.number import parse_subject
from sync.ledger import Ledger

router = APIRouter(prefix="/rules", tags=["rules"])

Reader = Annotated[Viewer, needs(Permission.SEE)]


class NewRule(Body):
    """A rule that the NOC adds."""

    subject: str = Field(max_length=32)
    action: Literal["reject", "allow", "label"]
    mode: Literal["enforce", "shadow", "disabled"] = "disabled"
    kinds: Literal["call", "message", "both"] = "both"
    trunks: tuple[str, ...] = Field((), max_length=100)
    expires_s: int | None = Field(None, ge=60, description="Seconds until it ends; absent: the ledger's default.")
    reason: str = Field(min_length=3, max_length=400)


class NewMode(Body):
    """A rule's next mode."""

    mode: Literal["enforce", "shadow", "disabled"]
    reason: str = Field(min_length=3, max_length=400)


@router.get("")
async def rules(parts: TheParts, viewer: Reader, after: After = None, limit: Limit = 100) -> dict[str, Any]:
    """Every live rule that is not an order's own, the newest first."""
    found = await parts.ledger.read(Ledger.rules, limit=limit + 1, after=after)
    return page(found, limit, lambda rule: int(rule.id[1:]), rule_record)


@router.post("")
async def add_rule(
    body: NewRule, parts: TheParts, viewer: Annotated[Viewer, needs(Permission.ENFORCE)]
) -> dict[str, Any]:
    """Add a NOC rule; it is published at once. Its trunks have to be in the settings."""
    for trunk in body.trunks:
        plan_of(parts.settings, trunk)
    now = datetime.now(UTC)
    expires = now + timedelta(seconds=body.expires_s) if body.expires_s else None
    rule = await parts.ledger.change(
        Ledger.add_rule,
        *(str(parse_subject(body.subject)), body.action, body.mode, body.kinds, body.trunks),
        *(expires, body.reason, viewer.name, now),
    )
    return rule_record(rule)


@router.get("/{rule}")
async def one_rule(rule: str, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """One rule with its hits."""
    return rule_record(await parts.ledger.read(Ledger.rule, rule))


@router.post("/{rule}/mode")
async def change_rule(
    rule: str, body: NewMode, parts: TheParts, viewer: Annotated[Viewer, needs(Permission.ENFORCE)]
) -> dict[str, Any]:
    """Enforce, shadow or disable a NOC rule."""
    return rule_record(
        await parts.ledger.change(Ledger.change_rule, rule, body.mode, viewer.name, body.reason, datetime.now(UTC))
    )


@router.delete("/{rule}")
async def remove_rule(
    rule: str, body: Reason, parts: TheParts, viewer: Annotated[Viewer, needs(Permission.REMOVE)]
) -> dict[str, Any]:
    """End a NOC rule for good; its history stays."""
    return rule_record(await parts.ledger.change(Ledger.remove_rule, rule, viewer.name, body.reason, datetime.now(UTC)))
