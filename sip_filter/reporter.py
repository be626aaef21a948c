"""What a node tells the others through Redis: that it lives and with which list, and every hit.

Both are best effort towards Redis and bounded towards the node: a report is tried once a second and given up within the
client's timeout; hits wait in memory, the oldest are dropped when there are too many, and counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from sip_filter.keeper import Keeper
from sip_filter.keys import Keys, Report
from sip_filter.store import UNAVAILABLE, Backoff, describe
from sip_filter.tasks import heed_cancel

REPORT_SECONDS = 1.0
DRAIN_SECONDS = 0.1
STREAM_HITS = 1_000_000
"""About how many hits the stream keeps."""

_BATCH = 500
_log = structlog.get_logger("sip_filter.reporter")


class Reporter:
    """Sends `report()` and the hits of `keeper`. `trunks` names the trunks by their key in hits."""

    def __init__(
        self,
        redis: Redis,
        keeper: Keeper,
        name: str,
        node: str,
        report: Callable[[], Report],
        trunks: Callable[[], Mapping[int, str]],
        *,
        hits_kept: int = 100_000,
    ) -> None:
        self._redis, self._keeper, self._keys, self._node = redis, keeper, Keys.of(name), node
        self._report, self._trunks, self._hits_kept = report, trunks, hits_kept
        self._waiting: deque[dict[str, str | int]] = deque()
        self.counters = {"hits_sent": 0, "hits_dropped": 0, "hits_lost": 0, "reports_failed": 0}

    async def report(self) -> None:
        """Report each second until cancelled."""
        while True:
            heed_cancel()
            try:
                await self._redis.hset(self._keys.nodes, self._node, self._report().text())
            except UNAVAILABLE:
                self.counters["reports_failed"] += 1
            await asyncio.sleep(REPORT_SECONDS)

    async def hits(self) -> None:
        """Take hits out of the rings and send them, until cancelled."""
        backoff, wait_until = Backoff(DRAIN_SECONDS), 0.0
        clock = asyncio.get_running_loop().time
        while True:
            heed_cancel()
            await self._drain()
            if self._waiting and clock() >= wait_until:
                try:
                    await self._send()
                    backoff.reset()
                except UNAVAILABLE as error:
                    wait_until = clock() + backoff.delay()
                    _log.warning("hits.waiting", waiting=len(self._waiting), error=describe(error))
            await asyncio.sleep(DRAIN_SECONDS)

    async def flush(self, seconds: float) -> None:
        """Send what is left before the end, for at most `seconds`."""
        with suppress(TimeoutError, *UNAVAILABLE):
            async with asyncio.timeout(seconds):
                await self._drain()
                await self._send()

    async def _drain(self) -> None:
        try:
            hits, lost = await self._keeper.drain_hits()
        except OSError as error:
            _log.error("hits.unreadable", error=type(error).__name__, errno=error.errno)
            return
        self.counters["hits_lost"] += lost
        trunks = self._trunks()
        for at_ms, subject, authority, action, effect, kind, trunk, (epoch, n), call in hits:
            fields: dict[str, str | int] = {
                "node": self._node,
                "at_ms": at_ms,
                "subject": subject,
                "authority": authority,
                "action": action,
                "effect": effect,
                "kind": kind,
                "trunk": trunks.get(trunk, ""),
                "revision": f"{epoch}.{n}",
                "call": f"{call:016x}",
            }
            self._waiting.append(fields)
        while len(self._waiting) > self._hits_kept:
            self._waiting.popleft()
            self.counters["hits_dropped"] += 1

    async def _send(self) -> None:
        """Send all that waits. What was sent without an answer is sent again: `call` makes that harmless."""
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]
            pipe = self._redis.pipeline(transaction=False)
            for fields in batch:
                pipe.xadd(self._keys.hits, cast(Any, fields), maxlen=STREAM_HITS, approximate=True)
            await pipe.execute()
            for _ in batch:
                self._waiting.popleft()
            self.counters["hits_sent"] += len(batch)
