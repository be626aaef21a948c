"""Approvals: what waits for a second person, who asked for it and why, and their decision."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Response

from agent.access import Forbidden, Permission, Viewer, needs, needs_any
from agent.api.bodies import Reason, TheParts
from agent.api.paging import After, Limit, page
from agent.views import request_record
from agent.wiring import Parts
from sync.ledger import Ledger, Outcome
from sync.ledger.acts import TABLE

T = TypeVar("T")

router = APIRouter(prefix="/approvals", tags=["approvals"])

Reader = Annotated[Viewer, needs(Permission.SEE)]
Decider = Annotated[Viewer, needs_any(*sorted({Permission(act.permission) for act in TABLE.values()}))]


def outcome(done: Outcome[T], record: Callable[[T], dict[str, Any]], response: Response) -> dict[str, Any]:
    """What an act left; with 202 and the approval beside it where a second person has to decide."""
    if done.waits is None:
        return record(done.record)
    response.status_code = 202
    return {**record(done.record), "approval": request_record(done.waits)}


@router.get("")
async def approvals(
    parts: TheParts,
    viewer: Reader,
    state: Literal["open", "approved", "refused", "lapsed", "withdrawn"] | None = None,
    about: Annotated[str | None, Query(max_length=64, description="Only on this rule, order or clearance.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """What waits for a second person, or waited, the newest first."""
    found = await parts.ledger.read(Ledger.requests, state, about, after, limit + 1)
    return page(found, limit, lambda request: int(request.id[1:]), request_record)


@router.get("/{approval}")
async def one_approval(approval: str, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """One of them."""
    return request_record(await parts.ledger.read(Ledger.request, approval))


@router.post("/{approval}/approve")
async def approve(approval: str, body: Reason, parts: TheParts, viewer: Decider) -> dict[str, Any]:
    """Approve what somebody else asked for; it is done at once."""
    await _may_decide(parts, viewer, approval)
    return request_record(
        await parts.ledger.change(Ledger.approve_request, approval, viewer.name, body.reason, datetime.now(UTC))
    )


@router.post("/{approval}/refuse")
async def refuse(approval: str, body: Reason, parts: TheParts, viewer: Decider) -> dict[str, Any]:
    """Refuse what somebody else asked for."""
    await _may_decide(parts, viewer, approval)
    return request_record(
        await parts.ledger.change(Ledger.refuse_request, approval, viewer.name, body.reason, datetime.now(UTC))
    )


@router.post("/{approval}/withdraw")
async def withdraw(approval: str, body: Reason, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """Take back what one asked for oneself."""
    return request_record(
        await parts.ledger.change(Ledger.withdraw_request, approval, viewer.name, body.reason, datetime.now(UTC))
    )


async def _may_decide(parts: Parts, viewer: Viewer, approval: str) -> None:
    """Which permission decides follows from the act that waits."""
    request = await parts.ledger.read(Ledger.request, approval)
    permission = Permission(TABLE[request.act].permission)
    if not viewer.may(permission):
        raise Forbidden(f"this needs the permission {permission}")
