"""Reveals: one masked number shown to one person, for a reason, for a minute; and who revealed what, masked.

A number is shown only to a session that has just shown its second factor again, after the journal's record is durable,
and by `GET` alone, to that session, until its time is over. The local socket and tokens reveal nothing.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Response
from pydantic import Field

from agent.access import Forbidden, Permission, StepUpNeeded, Viewer, needs, needs_any
from agent.api.bodies import Body, TheParts
from agent.api.paging import After, Limit, page
from agent.views import mask_digits, request_record
from agent.wiring import Parts
from sync.ledger import Asked, Ledger, NotFoundError, RevealView

router = APIRouter(prefix="/reveals", tags=["reveals"])

Revealer = Annotated[Viewer, needs(Permission.REVEAL)]
Reviewer = Annotated[Viewer, needs_any(Permission.READ_JOURNAL, Permission.REVEAL)]

_ID = re.compile(r"v([1-9][0-9]{0,9})", re.ASCII)
_LEAST_REASON, _LEAST_LETTERS = 10, 5


class NewReveal(Body):
    """Which number, and why: `about` is an order's id, r17 or c3; `position` counts an order's subjects from 0."""

    about: str = Field(min_length=2, max_length=64)
    position: int = Field(0, ge=0, lt=100_000)
    code: str = Field(max_length=32, description="One of the reasons in reveal.codes.")
    reason: str = Field(min_length=_LEAST_REASON, max_length=400, description="In your own words.")
    ticket: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ./_#-]{1,63}$", description="The case that it is for.")


@router.post("", status_code=201)
async def reveal(body: NewReveal, parts: TheParts, viewer: Revealer, response: Response) -> dict[str, Any]:
    """Put a reveal into the journal; the number itself is read at `GET /v1/reveals/{id}`, by this session.

    Above a quota 202: a second person has to agree, then the same request is made again.
    """
    now = datetime.now(UTC)
    session = _session(viewer)
    if not viewer.stepped_up(now):
        raise StepUpNeeded("show your second factor again: a number is revealed within 5 minutes of that")
    asked = Asked(body.about, body.position, body.code, _reason(body.reason), body.ticket)
    done = await parts.ledger.change(Ledger.reveal, asked, viewer.name, session, parts.settings.reveal, now)
    if done.waits is not None:
        response.status_code = 202
        return {"approval": request_record(done.waits)}
    for one in done.unusual:
        kind = "reveal_honey" if one.kind == "honey" else "reveal_unusual"
        parts.alarms.raise_(kind, f"{viewer.name} revealed a number: {one.text}", viewer.name)
    assert done.reveal is not None
    return reveal_record(done.reveal)


@router.get("")
async def reveals(
    parts: TheParts, viewer: Reviewer, mine: bool = False, after: After = None, limit: Limit = 100
) -> dict[str, Any]:
    """Who revealed what and why, the newest first; `mine` only, for those who may not read the journal."""
    person = viewer.name if mine or not viewer.may(Permission.READ_JOURNAL) else None
    found = await parts.ledger.read(Ledger.reveals, person, limit + 1, after)
    return page(found, limit, lambda one: one.id, reveal_record)


@router.get("/{reveal}")
async def revealed(reveal: str, parts: TheParts, viewer: Revealer, response: Response) -> dict[str, Any]:
    """The number, to the session that revealed it, until its time is over; then 410."""
    response.headers["Cache-Control"] = "no-store"
    return await read_number(parts, viewer, reveal, datetime.now(UTC))


async def read_number(parts: Parts, viewer: Viewer, reveal_id: str, now: datetime) -> dict[str, Any]:
    """The one record of the whole API that holds a number in clear."""
    found = _ID.fullmatch(reveal_id)
    if found is None:
        raise NotFoundError("no reveal of this session has that id; an id looks like v5")
    shown = await parts.ledger.read(Ledger.revealed, int(found[1]), viewer.name, _session(viewer), now)
    if shown is None:
        raise HTTPException(410, "its time is over; the number is masked again")
    left = (shown.reveal.ends_at - now).total_seconds()
    return {**reveal_record(shown.reveal), "number": shown.text, "left_s": max(1, round(left))}


def reveal_record(view: RevealView) -> dict[str, Any]:
    """A reveal without its number."""
    return {
        "id": f"v{view.id}",
        "person": view.person,
        "at": _time(view.at),
        "about": view.about,
        "position": view.position,
        "code": view.code,
        "reason": mask_digits(view.reason),
        "ticket": mask_digits(view.ticket),
        "ends_at": _time(view.ends_at),
        "unusual": list(view.unusual),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _session(viewer: Viewer) -> str:
    if viewer.session is None:
        raise Forbidden(
            "a number is revealed only to somebody who signed in to the console; a socket or token gets none"
        )
    return viewer.session


def _reason(text: str) -> str:
    words = " ".join(text.split())
    letters = len({letter for letter in words.lower() if letter.isalpha()})
    if len(words) < _LEAST_REASON or letters < _LEAST_LETTERS:
        limits = f"at least {_LEAST_REASON} characters, {_LEAST_LETTERS} different letters among them"
        raise ValueError(
            f"reason: {len(words)} characters with {letters} different letters; say in words why, {limits}"
        )
    return words
