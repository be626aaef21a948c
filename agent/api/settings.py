"""Settings, read-only: what is in force in this agent and where each value came from."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter

from agent.access import Permission, Viewer, needs
from agent.api.bodies import TheParts
from agent.settings_view import view

router = APIRouter(tags=["settings"])


@router.get("/settings")
async def settings(parts: TheParts, viewer: Annotated[Viewer, needs(Permission.READ_SETTINGS)]) -> dict[str, Any]:
    """Every setting with its value, default and origin; trunks, plans, roster, roles; keys as fingerprints."""
    return await asyncio.to_thread(view, parts.settings)
