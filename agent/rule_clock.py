"""What happens to rules by themselves: their time comes, people are warned, what nobody countersigned lapses.

Nodes drop a rule whose time has come by themselves; this tells the ledger, Redis and people.
"""

import asyncio
from datetime import UTC, datetime

import structlog

from agent.alarms import Alarms
from agent.ledger_thread import LedgerThread
from sync.ledger import Ledger, LedgerUnavailable

_log = structlog.get_logger("palang.rules")

_LONGEST_SLEEP = 1.0


async def run(ledger: LedgerThread, alarms: Alarms) -> None:
    """Do what is due, every second. Returns only when cancelled."""
    while True:
        try:
            await tick(ledger, alarms, datetime.now(UTC))
        except LedgerUnavailable as error:
            _log.error("ledger.unavailable", error=str(error))
        await asyncio.sleep(_LONGEST_SLEEP)


async def tick(ledger: LedgerThread, alarms: Alarms, now: datetime) -> None:
    """Do what is due at this moment. Raises LedgerUnavailable."""
    due = await ledger.read(Ledger.next_expiry)
    if due is not None and due <= now:
        await ledger.change(Ledger.expire, now)
        for step in await ledger.read(Ledger.transitions_since, now):
            if step.cause == "lapse":
                alarms.raise_("rule_lapsed", f"{step.rule} was enforced alone and nobody countersigned it", step.rule)
    due = await ledger.read(Ledger.next_warning)
    if due is not None and due <= now:
        for ending in await ledger.change(Ledger.warn, now):
            within = "1 hour" if ending.hours == 1 else f"{ending.hours} hours"
            text = f"the enforcement of {ending.rule.id} ends within {within}; then it is in shadow"
            alarms.raise_("rule_expires", text, ending.rule.id)
