"""Who watches the agent: metrics and health on a listener of its own, and the lookout that raises what it sees.

Health is asked of the parts at that moment. Whether the ledger can be written is tried by writing: a full disk still
reads.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from agent.metrics import feed_age, redis_age, scrape
from agent.wiring import Parts
from sip_filter.exposition import CONTENT_TYPE
from sip_filter.listener import Answer, Listener, verdict
from sip_filter.tasks import heed_cancel
from sync.ledger import Ledger, LedgerUnavailable

_log = structlog.get_logger("palang.watching")

_WRITE_SECONDS = 2.0
"""A trial write that takes longer has failed: orders wait as long."""
_KEPT_SECONDS = 1.0
_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Trial:
    """What came of a trial write; `seconds` is None when it failed, and `why` says why."""

    seconds: float | None
    why: str = ""


class Pulse:
    """Whether the ledger can be written. One answer serves all who ask within a second."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last: tuple[float, Trial] | None = None
        self._lock = asyncio.Lock()

    async def feel(self) -> Trial:
        """The last trial, or one made now."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _KEPT_SECONDS:
                trial = await self._try()
                self._last = time.monotonic(), trial
            return self._last[1]

    async def _try(self) -> Trial:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._parts.ledger.read(Ledger.try_write)
        except TimeoutError:
            return Trial(None, f"the ledger did not take a write within {_WRITE_SECONDS:g} s")
        except LedgerUnavailable as error:
            return Trial(None, f"the ledger can't be written: {error}")
        return Trial(time.monotonic() - began)


def watchers(parts: Parts, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Listener:
    """The listener at `agent.metrics`."""
    pulse = Pulse(parts)
    limit = parts.settings.agent.stale_s

    async def figures() -> Answer:
        trial = await pulse.feel()
        return Answer(200, await scrape(parts, clock(), trial.seconds), CONTENT_TYPE)

    async def live() -> Answer:
        return verdict("live", [])

    async def ready() -> Answer:
        return verdict("ready", [line for line in ((await pulse.feel()).why, *_away(parts)) if line])

    async def stale() -> Answer:
        now = clock()
        ages = {"feed": feed_age(parts, now), "redis": redis_age(parts, now)}
        because = [
            f"the {name} is {age:.0f} s old; the limit is {limit:g} s (agent.stale_s): {_why(parts, name)}"
            for name, age in ages.items()
            if age > limit
        ]
        more: dict[str, Any] = {f"{name}_age_s": round(age, 1) for name, age in ages.items()}
        return verdict("fresh", because, **more)

    routes = {"/metrics": figures, "/health/live": live, "/health/ready": ready, "/health/stale": stale}
    return Listener(parts.settings.agent.metrics, routes)


async def look_out(parts: Parts) -> None:
    """Raise alarms for what nobody else sees: orders past their deadline, nodes with another list. Never returns."""
    while True:
        heed_cancel()
        try:
            await look(parts, datetime.now(UTC))
        except LedgerUnavailable as error:
            _log.warning("lookout.waits", error=str(error))
        await asyncio.sleep(_LOOK_SECONDS)


async def look(parts: Parts, now: datetime) -> None:
    """One look. The alarms' quiet time keeps what lasts from being raised at every look."""
    status = await parts.ledger.read(Ledger.status, now)
    for due in status.deadlines:
        if due.deadline < now:
            text = f"the order on ticket {due.ticket} was due at {due.deadline:%Y-%m-%d %H:%M}Z and is {due.state}"
            parts.alarms.raise_("order_overdue", text, due.order)
    for node in parts.publisher.state.differing:
        parts.alarms.raise_("list_differs", f"node {node} holds another list than the ledger at {status.head}", node)


def _away(parts: Parts) -> list[str]:
    link, store = parts.link.state, parts.publisher.state
    found = []
    if link.connected_since is None:
        found.append(f"the broker is away: {_why(parts, 'feed')}")
    if not store.connected:
        found.append(f"Redis is away: {_why(parts, 'redis')}")
    return found


def _why(parts: Parts, name: str) -> str:
    if name == "redis":
        return parts.publisher.state.last_error or "not connected yet"
    return parts.link.state.last_error or parts.feed.state.last_error or "not connected yet"
