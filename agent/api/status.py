"""Everything at a glance."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from agent.access import Permission, Viewer, needs
from agent.api.bodies import TheParts
from agent.status import report

router = APIRouter(tags=["status"])


@router.get("/status")
async def status(parts: TheParts, viewer: Annotated[Viewer, needs(Permission.SEE)]) -> dict[str, Any]:
    """Feed, ledger, Redis, nodes, orders, outbox; `health` is healthy, degraded or down, `because` says why."""
    return await report(parts, datetime.now(UTC))
