"""Audit: who did what, when and why; whether the journal is whole; files for the auditor."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form
from starlette.responses import Response

from agent.client import ApiError
from agent.console.page import ThePage
from agent.console.words import _

router = APIRouter()

_ROWS: Final = 50
_MOST_CHECKPOINTS: Final = 900_000

Day = Annotated[str, Form(max_length=10)]


@router.get("/audit")
async def audit(
    page: ThePage,
    kind: str = "",
    actor: str = "",
    about: str = "",
    since: str = "",
    until: str = "",
    after: int | None = None,
) -> Response:
    """The journal, the newest first."""
    words = {"kind": kind, "actor": actor, "about": about, "since": since, "until": until}
    wanted = _wanted(words)
    kinds = (await page.api.get("/v1/journal/kinds"))["items"]
    try:
        found, wrong = await page.api.get("/v1/journal", **wanted, after=after, limit=_ROWS), None
    except ApiError as error:
        if error.status != 422:
            raise
        found, wrong = {"items": [], "next": None}, str(error)
    return page.show(
        "audit/journal.html",
        _("Audit"),
        records=found["items"],
        next=found["next"],
        wrong=wrong,
        words=words,
        kinds=kinds,
        export=urlencode(wanted),
    )


@router.get("/audit/verify")
async def verified(page: ThePage) -> Response:
    """How far the verification is, and what it found."""
    return page.show("audit/verify.html", _("Is the journal whole?"), run=await page.api.get("/v1/journal/verify"))


@router.post("/audit/verify")
async def verify(page: ThePage, checkpoints: Annotated[str, Form(max_length=_MOST_CHECKPOINTS)] = "") -> Response:
    """Begin to verify."""
    body = {"checkpoints": checkpoints}
    return await page.act("POST", "/v1/journal/verify", body, to="/audit/verify", said=_("Verifying has begun."))


def _wanted(words: dict[str, str]) -> dict[str, Any]:
    """The filter as the API takes it; a day begins at midnight UTC."""
    given = {name: value.strip() for name, value in words.items() if value.strip()}
    for name in ("since", "until"):
        if len(given.get(name, "")) == len("2026-11-22"):
            given[name] += "T00:00:00Z"
    return given
