"""Settings: a read-only view of what is in force and where it came from."""

from fastapi import APIRouter
from starlette.responses import Response

from agent.console.page import ThePage
from agent.console.words import _

router = APIRouter()


@router.get("/settings")
async def settings(page: ThePage) -> Response:
    """What is in force; a change is made in the file and needs a restart."""
    return page.show("settings.html", _("Settings"), settings=await page.api.get("/v1/settings"))
