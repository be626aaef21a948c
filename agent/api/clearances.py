"""Clearances: the unblock desk. A number comes in a body, never in a path; everything else names a clearance by its id.

A lift is asked for by one person and decided on by another one at /v1/approvals; what a clearance says of itself names
that request.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from agent.access import Permission, Viewer, needs
from agent.api.approvals import outcome
from agent.api.bodies import Body, Reason, TheParts
from agent.api.look_ups import looks_up
from agent.api.paging import After, Limit, page
from agent.clearance_views import clearance_record, clearance_story
from agent.number_list import read_lines, read_number, told
from agent.wiring import Parts
from sync.clearance_life import State
from sync.ledger import ClearanceView, Ledger

router = APIRouter(prefix="/clearances", tags=["clearances"])

Reader = Annotated[Viewer, needs(Permission.SEE)]
Clearer = Annotated[Viewer, needs(Permission.CLEAR)]
Asker = Annotated[Viewer, looks_up(Permission.CLEAR)]

_MOST_LINES = 200_000


class Evidence(Body):
    """Why a block may be lifted, and where that is written down."""

    reference: str = Field(
        min_length=3,
        max_length=64,
        pattern=r"^[A-Za-z](?:[0-9]{0,6}[A-Za-z./_-])*[0-9]{0,6}$",
        description="The clarification's reference: it begins with a letter and has at most 6 digits in a row, so that "
        "no number can stand in it.",
    )
    document: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the document in hex; the document itself stays outside."
    )
    reason: str = Field(min_length=3, max_length=400)
    exception: bool = Field(
        True, description="Where a prefix rule of the NOC catches the number too, make an exception with the approval."
    )


class NewClearance(Evidence):
    """A number that is blocked wrongly."""

    number: str = Field(min_length=1, max_length=64, description="With + and country code.")


class NewSubscribers(Body):
    """Numbers that were given to new subscribers, a line each; what stands behind a # is passed over."""

    numbers: tuple[Annotated[str, Field(max_length=256)], ...] = Field(min_length=1, max_length=_MOST_LINES)
    reason: str = Field(min_length=3, max_length=400)
    commit: bool = Field(False, description="Open the reviews; without it they are only counted.")


@router.get("")
async def clearances(
    parts: TheParts,
    viewer: Reader,
    state: State | None = None,
    waiting: Annotated[bool, Query(description="Those whose deadline runs, the nearest first.")] = False,
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Clearances, the newest first."""
    now = datetime.now(UTC)
    found = await parts.ledger.read(Ledger.clearances, state, waiting=waiting, after=after, limit=limit + 1)
    return page(found, limit, lambda one: int(one.id[1:]), lambda one: clearance_record(one, now))


@router.post("", status_code=201)
async def open_clearance(body: NewClearance, parts: TheParts, viewer: Asker, response: Response) -> dict[str, Any]:
    """Open a clearance after a clarification. 202: a second person has to approve the lift."""
    number, now = read_number(body.number), datetime.now(UTC)
    done = await parts.ledger.change(
        Ledger.open_clearance,
        *(number, body.reference, body.document, body.reason, viewer.name, _deadline(parts, now), now),
        exception=body.exception,
    )
    return outcome(done, lambda one: clearance_record(one, now), response)


@router.post("/reassigned")
async def reassigned(body: NewSubscribers, parts: TheParts, viewer: Asker) -> dict[str, Any]:
    """Open a review for each number that is blocked; all lines or none. It tells how many are blocked, not which."""
    numbers, bad = read_lines(body.numbers, parts.settings.clearance.most_numbers)
    if bad:
        raise ValueError(told(bad))
    now = datetime.now(UTC)
    done = await parts.ledger.change(
        Ledger.reassigned,
        *(numbers, body.reason, viewer.name, _deadline(parts, now), now),
        commit=body.commit,
    )
    return {
        "numbers": done.numbers,
        "blocked": done.blocked,
        "open_already": done.open,
        "new": done.new,
        "opened": list(done.opened),
    }


@router.get("/{clearance}")
async def one_clearance(clearance: str, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """One clearance's whole story: who, when, why, what blocks the number, approvals, proof, confirmations."""
    return clearance_story(await parts.ledger.read(Ledger.clearance, clearance), datetime.now(UTC))


@router.post("/{clearance}/lift")
async def lift(clearance: str, body: Evidence, parts: TheParts, viewer: Clearer, response: Response) -> dict[str, Any]:
    """Ask for the lift that a review is about. 202: a second person has to approve it."""
    now = datetime.now(UTC)
    done = await parts.ledger.change(
        Ledger.ask_clearance,
        *(clearance, body.reference, body.document, body.reason, viewer.name, now),
        exception=body.exception,
    )
    return outcome(done, lambda one: clearance_record(one, now), response)


@router.post("/{clearance}/keep")
async def keep(clearance: str, body: Reason, parts: TheParts, viewer: Clearer) -> dict[str, Any]:
    """Decide that the block stays."""
    now = datetime.now(UTC)
    kept: ClearanceView = await parts.ledger.change(Ledger.keep_clearance, clearance, viewer.name, body.reason, now)
    return clearance_record(kept, now)


def _deadline(parts: Parts, now: datetime) -> datetime:
    return now + timedelta(hours=parts.settings.clearance.hours)
