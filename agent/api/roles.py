"""Roles: the table of who may do what, as it is in force."""

from typing import Annotated, Any

from fastapi import APIRouter

from agent.access import TABLE, Permission, Viewer, needs

router = APIRouter(prefix="/roles", tags=["roles"])


@router.get("")
async def roles(viewer: Annotated[Viewer, needs(Permission.SEE)]) -> dict[str, Any]:
    """Every role with its permissions, in the order of the table."""
    return {
        "permissions": list(Permission),
        "items": [
            {"role": role, "permissions": [permission for permission in Permission if permission in allowed]}
            for role, allowed in TABLE.items()
        ],
    }
