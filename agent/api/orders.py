"""Orders: what the regulator demanded, where each stands, and what the gate holds for a person."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from agent.access import Permission, Viewer, needs
from agent.api.approvals import outcome
from agent.api.bodies import Reason, TheParts
from agent.api.paging import After, Limit, page
from agent.views import order_record, story_record
from sync.ledger import Ledger
from sync.order_life import State

router = APIRouter(prefix="/orders", tags=["orders"])

Reader = Annotated[Viewer, needs(Permission.SEE)]
Decider = Annotated[Viewer, needs(Permission.DECIDE_ORDERS)]


@router.get("")
async def orders(
    parts: TheParts,
    viewer: Reader,
    state: Annotated[State | Literal["open"] | None, Query(description="`open`: not at its end yet.")] = None,
    ticket: Annotated[str | None, Query(max_length=64)] = None,
    by: Annotated[
        Literal["serial", "deadline"], Query(description="The newest, or the nearest deadline first.")
    ] = "serial",
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Orders, the newest serial first or the nearest deadline first."""
    found = await parts.ledger.read(Ledger.orders, state, limit + 1, ticket, after, by)
    return page(found, limit, lambda order: order.serial, order_record)


@router.get("/{order}")
async def order_story(order: str, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """One order with its subjects, confirmations and journal records."""
    return story_record(await parts.ledger.read(Ledger.order, order))


@router.post("/{order}/approve")
async def approve(order: str, body: Reason, parts: TheParts, viewer: Decider, response: Response) -> dict[str, Any]:
    """Apply what the gate held; 202 and what waits when a second person has to approve it too."""
    done = await parts.ledger.change(Ledger.approve, order, viewer.name, body.reason, datetime.now(UTC))
    return outcome(done, order_record, response)


@router.post("/{order}/refuse")
async def refuse(order: str, body: Reason, parts: TheParts, viewer: Decider) -> dict[str, Any]:
    """Refuse what the gate held; the regulator is told."""
    return order_record(await parts.ledger.change(Ledger.refuse, order, viewer.name, body.reason, datetime.now(UTC)))
