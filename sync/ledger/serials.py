"""Serials: what was taken, what is missing, and asking for it.

The regulator numbers its orders and advisories 1, 2, 3, … A serial that jumps leaves a gap; the gap holds nobody back,
and is asked for again and again, ever more slowly, until it is filled.
"""

from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy as sa

from sync import schema
from sync.contract import Resend, now_text
from sync.ledger.confirmations import backoff_ms
from sync.ledger.transaction import House, Transaction, from_ms
from sync.ledger.views import Outgoing

_serials, _gaps = schema.serials, schema.gaps
ASK = "resend:"
_RANGES = 100  # most ranges of one Resend


@dataclass(frozen=True)
class Known:
    """Who used a serial; content is None where it was only a refused message."""

    id: str | None
    content: str | None


def known(tx: Transaction, serial: int) -> Known | None:
    """What the serial was used for, if it was."""
    row = tx.run(sa.select(_serials.c.id, _serials.c.content).where(_serials.c.serial == serial)).first()
    return None if row is None else Known(row.id, row.content)


def use(tx: Transaction, serial: int, message_id: str | None, content: str | None) -> bool:
    """Note that the serial has come. True when serials before it are missing for the first time."""
    tx.run(sa.insert(_serials).prefix_with("OR REPLACE").values(serial=serial, id=message_id, content=content))
    last = tx.head.last_serial
    if serial <= last:
        _fill(tx, serial)
        return False
    tx.head.last_serial = serial
    if serial == last + 1:
        return False
    row = {"first": last + 1, "last": serial - 1, "found_at": tx.now_ms, "attempts": 0, "next_at": tx.now_ms}
    tx.run(sa.insert(_gaps).values(row))
    tx.journal("gap", "palang", None, {"first": last + 1, "last": serial - 1})
    return True


def missing(connection: sa.Connection) -> tuple[tuple[int, int], ...]:
    """The gaps, lowest first."""
    return tuple((row.first, row.last) for row in connection.execute(_ranges()))


def due(connection: sa.Connection, house: House, now_ms: int) -> Outgoing | None:
    """The ask for what is missing, when it is time. Its id names the ranges asked for, so that `sent` finds them."""
    rows = connection.execute(
        _ranges().add_columns(_gaps.c.attempts).where(_gaps.c.next_at <= now_ms).limit(_RANGES)
    ).all()
    if not rows:
        return None
    body = Resend(
        id=_ask_id(rows[0].first, rows[-1].last, now_ms),
        operator=house.operator,
        issued_at=from_ms(now_ms),
        serials=tuple((first, last) for first, last, _ in rows),
    )
    return Outgoing(f"{ASK}{rows[0].first}-{rows[-1].last}", house.signer.sign(body.to_json()), rows[0].attempts)


def sent(tx: Transaction, ask: str) -> None:
    """Note that an ask went out: its gaps wait before they are asked for again."""
    first, _, last = ask.removeprefix(ASK).partition("-")
    wanted = sa.and_(_gaps.c.first >= int(first), _gaps.c.last <= int(last))
    for row in tx.run(sa.select(_gaps.c.first, _gaps.c.attempts).where(wanted)).all():
        attempts = row.attempts + 1
        next_at = tx.now_ms + backoff_ms(tx.house.settings, attempts)
        tx.run(sa.update(_gaps).where(_gaps.c.first == row.first).values(attempts=attempts, next_at=next_at))


def _ranges() -> sa.Select[tuple[int, int]]:
    return sa.select(_gaps.c.first, _gaps.c.last).order_by(_gaps.c.first)


def _fill(tx: Transaction, serial: int) -> None:
    row = tx.run(sa.select(_gaps).where(_gaps.c.first <= serial, _gaps.c.last >= serial)).mappings().first()
    if row is None:
        return
    tx.run(sa.delete(_gaps).where(_gaps.c.first == row["first"]))
    for first, last in ((row["first"], serial - 1), (serial + 1, row["last"])):
        if first <= last:
            tx.run(sa.insert(_gaps).values({**row, "first": first, "last": last}))


def _ask_id(first: int, last: int, now_ms: int) -> str:
    return str(uuid5(NAMESPACE_URL, f"palang:resend:{first}-{last}:{now_text(from_ms(now_ms))}"))
