"""Redis: made anew from the ledger."""

from typing import Annotated, Any

from fastapi import APIRouter

from agent.access import Permission, Viewer, needs
from agent.api.bodies import Body, TheParts

router = APIRouter(prefix="/store", tags=["store"])


class Rebuild(Body):
    """How Redis is made anew."""

    new_epoch: bool = False


@router.post("/rebuild")
async def rebuild(
    body: Rebuild, parts: TheParts, viewer: Annotated[Viewer, needs(Permission.REBUILD)]
) -> dict[str, Any]:
    """Make Redis anew from the ledger; nodes go on deciding meanwhile."""
    return await parts.rebuild(viewer.name, new_epoch=body.new_epoch)
