"""Hits, from the stream in Redis into the ledger's counters, each counted once."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog
from redis.asyncio import Redis

from agent.ledger_thread import LedgerThread
from sip_filter.keys import Keys
from sip_filter.store import UNAVAILABLE, Backoff, describe
from sip_filter.tasks import heed_cancel
from sync.ledger import Ledger, LedgerHit, LedgerUnavailable

_log = structlog.get_logger("palang.hits")

_BATCH = 1_000
_IDLE_SECONDS = 0.2


class Hits:
    """Counts hits. `run` is a task for as long as the agent lives.

    How far the stream is read stands in the ledger, in the transaction that counted; and a hit that comes twice all the
    same (a node sent it again) has the same call key and is counted once.
    """

    def __init__(self, ledger: LedgerThread, redis: Redis, name: str) -> None:
        self._ledger = ledger
        self._redis = redis
        self._stream = Keys.of(name).hits

    async def run(self) -> None:
        """Count for ever. Returns only when cancelled."""
        backoff = Backoff()
        while True:
            heed_cancel()
            try:
                counted = await self._count()
            except (*UNAVAILABLE, LedgerUnavailable) as error:
                _log.warning("hits.wait", error=describe(error))
                await backoff.sleep()
                continue
            backoff.reset()
            if counted < _BATCH:
                await asyncio.sleep(_IDLE_SECONDS)

    async def _count(self) -> int:
        """Count one batch; how many hits it had."""
        after = await self._ledger.read(Ledger.hits_cursor)
        found: Any = await self._redis.xrange(self._stream, f"({after}" if after else "-", "+", _BATCH)
        if found:
            hits = [hit for _, fields in found if (hit := _hit(fields))]
            await self._ledger.read(Ledger.count_hits, hits, datetime.now(UTC), found[-1][0])
        return len(found)


def _hit(fields: dict[str, Any]) -> LedgerHit | None:
    """A hit as a node reported it; None when it can't be read (another program wrote into the stream)."""
    try:
        epoch, _, n = fields["revision"].partition(".")
        return LedgerHit(
            subject=fields["subject"],
            authority=fields["authority"],
            action=fields["action"],
            effect=fields["effect"],
            epoch=int(epoch),
            n=int(n),
            at_ms=int(fields["at_ms"]),
            call=fields["call"],
        )
    except (KeyError, ValueError):
        return None
