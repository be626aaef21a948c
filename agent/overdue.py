"""The unblock desk's clock: an alarm for each clearance that is past its deadline, until it is settled."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from agent.alarms import Alarms
from agent.ledger_thread import LedgerThread
from sync.ledger import Ledger, LedgerUnavailable

_log = structlog.get_logger("palang.agent")

LOOK_SECONDS: Final = 10.0


async def watch_clearances(ledger: LedgerThread, alarms: Alarms) -> None:
    """Look for ever. Returns only when cancelled."""
    while True:
        try:
            await tell_overdue(ledger, alarms, datetime.now(UTC))
        except LedgerUnavailable as error:
            _log.error("ledger.unavailable", error=str(error))
        await asyncio.sleep(LOOK_SECONDS)


async def tell_overdue(ledger: LedgerThread, alarms: Alarms, now: datetime) -> int:
    """Raise the alarms that are due; how many clearances are overdue."""
    found = await ledger.read(Ledger.clearances_overdue, now)
    for late in found:
        hours = (now - late.deadline).total_seconds() / 3600
        text = f"clearance {late.id} is {late.state}, {hours:.1f} h past its deadline"
        alarms.raise_("clearance_overdue", text, late.id)
    return len(found)
