"""The journal as people read it: filtered, masked, verified, exported.

A body is shown with every number in it masked, here on the server: what people wrote, what the regulator sent, what was
refused. The clear text stays in the ledger.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, Field

from agent.access import Permission, Viewer, needs
from agent.api.bodies import Body, TheParts
from agent.api.paging import After, Limit, page
from agent.exports import EXPORT_TYPE, MEDIA, Sheet, Taken
from agent.masking import mask_json, mask_text
from agent.wiring import Parts
from sync.contract import now_text
from sync.journal import canonical, read_checkpoints
from sync.ledger import Filter, JournalView, Ledger, journal_kinds, newest, onward

router = APIRouter(prefix="/journal", tags=["journal"])

Reader = Annotated[Viewer, needs(Permission.READ_JOURNAL)]
Exporter = Annotated[Viewer, needs(Permission.EXPORT)]
Word = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00-\x1f]+$")]
Moment = Annotated[AwareDatetime | None, Query(description="With its zone: 2026-11-22T15:00:00Z.")]

COLUMNS = ("seq", "at", "kind", "actor", "about", "body")
_COUNTS = frozenset(
    {"n", "epoch", "serial", "first", "last", "seq", "count", "subjects", "records", "bytes", "size", "entries", "of"}
)
"""Fields whose integers are counts of ours, however large."""
_STEP = 1_000


class Verify(Body):
    """Checkpoints that were kept off this machine, one a line, or nothing."""

    checkpoints: str = Field("", max_length=900_000)


@router.get("")
async def journal(
    parts: TheParts,
    viewer: Reader,
    kind: Word = None,
    actor: Word = None,
    about: Word = None,
    since: Moment = None,
    until: Moment = None,
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Who did what, when and why, the newest first."""
    wanted = Filter(kind, actor, about, since, until)
    found = await asyncio.to_thread(newest, parts.settings.ledger.path, wanted, limit + 1, after)
    return page(found, limit, lambda record: record.seq, journal_record)


@router.get("/kinds")
async def kinds(parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """Every kind of record that there is."""
    return {"items": await asyncio.to_thread(journal_kinds, parts.settings.ledger.path), "next": None}


@router.post("/verify", status_code=202)
async def verify(body: Verify, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """Begin to verify the chain, or find the verification that runs already. `GET` tells how far it is."""
    keyring = parts.verifier.signers()
    points = await asyncio.to_thread(read_checkpoints, body.checkpoints.splitlines(), keyring)
    return parts.verifier.start(viewer.name, points).record()


@router.get("/verify")
async def verified(parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """The newest verification: how far it is, what it found; the first bad record by its number."""
    run = parts.verifier.run
    return {"state": "none"} if run is None else run.record()


@router.get("/export", response_class=StreamingResponse)
async def export(
    parts: TheParts,
    viewer: Exporter,
    form: Annotated[Literal["jsonl", "csv"], Query(alias="format")] = "jsonl",
    kind: Word = None,
    actor: Word = None,
    about: Word = None,
    since: Moment = None,
    until: Moment = None,
) -> StreamingResponse:
    """Records in order as a file that says who took it, signed over its content. The journal has that first."""
    wanted = Filter(kind, actor, about, since, until)
    said = {name: _said(value) for name, value in vars(wanted).items() if value is not None}
    taken = Taken("journal", viewer.name, datetime.now(UTC), {k: mask_text(v) for k, v in said.items()}, form)
    body = {"file": taken.file, "only": said}
    last = await parts.ledger.change(Ledger.record, "journal.export", viewer.name, None, body, taken.at)
    headers = {"Content-Disposition": f'attachment; filename="{taken.file}"', "Cache-Control": "no-store"}
    return StreamingResponse(
        _pieces(parts, wanted, Sheet(taken, COLUMNS), last), headers=headers, media_type=MEDIA[form]
    )


async def _pieces(parts: Parts, wanted: Filter, sheet: Sheet, last: int) -> AsyncIterator[bytes]:
    yield sheet.first()
    seq = 0
    while found := await asyncio.to_thread(onward, parts.settings.ledger.path, wanted, seq, last, _STEP):
        yield await asyncio.to_thread(sheet.rows, map(journal_record, found))
        seq = found[-1].seq
    seal = await parts.ledger.read(Ledger.sign, canonical(sheet.statement()).encode(), EXPORT_TYPE)
    yield sheet.last(seal)


def journal_record(record: JournalView) -> dict[str, Any]:
    """A journal record as a person may see it."""
    return {
        "seq": record.seq,
        "at": now_text(record.at),
        "kind": record.kind,
        "actor": mask_text(record.actor),
        "about": record.about and mask_text(record.about),
        "body": mask_json(record.body, _COUNTS),
    }


def _said(value: Any) -> str:
    return now_text(value) if isinstance(value, datetime) else str(value)
