"""A node's copy of the list follows Redis, and never follows it into the void.

The subscriber reads `head`, tails the change stream from its own revision and applies each revision in order. A gap,
or a digest that differs, means a fresh snapshot. Two rules protect what is in force:

1. A list is loaded only when its digest proves it whole and its revision is not lower than ours: Redis that was
   emptied, or went back, leaves the last list in force, marked stale, until the publisher has repaired it.
2. A snapshot of our own epoch that would drop more than nine entries in ten, with no revisions in the stream that
   lead there, waits until the publisher has compared Redis with the ledger at a later revision than ours. A new
   epoch needs no such confirmation: only the ledger begins one.

Packets are decided in Rust threads from mapped files; nothing here can delay them.
"""

import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from sip_filter import _core
from sip_filter.keeper import Keeper
from sip_filter.keys import Change, Head, Keys, Revision, Tally
from sip_filter.store import UNAVAILABLE, Backoff, describe, read_head, scan
from sip_filter.tasks import heed_cancel

BLOCK_SECONDS = 1.0
"""How long one read of the stream waits; the client it is given needs a longer timeout."""
NOT_TRIVIAL = 100
"""Entries from which losing nine in ten is suspicious."""

_BATCH = 100
_CATCH_UP = 1_000
_log = structlog.get_logger("sip_filter.subscriber")


class Step(Enum):
    """What to do about the head that Redis shows."""

    CURRENT = "read on from here"
    CATCH_UP = "read the revisions in between"
    SNAPSHOT = "load the whole list"
    WAIT = "keep the last list, marked stale"


def step(revision: Revision, digest: str, head: Head | None) -> tuple[Step, str]:
    """What a node at `revision` with `digest` does about `head`, and why when it is stale."""
    if head is None:
        return Step.WAIT, "redis has no list"
    if head.revision < revision:
        return Step.WAIT, f"redis is at {head.revision}, behind this node's {revision}"
    if head.revision == revision:
        if head.digest == digest:
            return Step.CURRENT, ""
        return Step.SNAPSHOT, f"redis has another list at {revision}"
    if head.revision.epoch != revision.epoch or head.revision.n - revision.n > _CATCH_UP:
        return Step.SNAPSHOT, f"redis is at {head.revision}, this node at {revision}"
    return Step.CATCH_UP, f"redis is at {head.revision}, this node at {revision}"


def refusal(revision: Revision, count: int, head: Head, entries: int, history: bool) -> str | None:
    """Why a snapshot whose digest is right is not loaded over our list of `count` entries; None when it may be."""
    if head.revision < revision:
        return f"snapshot {head.revision} is older than this node's {revision}"
    drops_most = count >= NOT_TRIVIAL and entries * 10 < count
    confirmed = head.verified is not None and head.verified > revision
    if drops_most and not history and not confirmed and head.revision.epoch == revision.epoch:
        return f"snapshot {head.revision} would leave {entries} of {count} entries, unconfirmed by the publisher"
    return None


class Subscriber:
    """Keeps `keeper` at the list `name`. `redis` answers at once or fails; `tail` may block for BLOCK_SECONDS."""

    def __init__(
        self,
        redis: Redis,
        tail: Redis,
        keeper: Keeper,
        name: str = "main",
        *,
        clock: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
    ) -> None:
        self._redis, self._tail, self._keeper, self._keys, self._clock = redis, tail, keeper, Keys.of(name), clock
        self._backoff = backoff or Backoff()
        self._distrusted: str | None = None
        self.stale: str = "not compared with redis yet"
        """Why the list may be old; empty when Redis has confirmed it within the last second or so."""
        self.stale_since: float = clock()
        self.counters = {"revisions_applied": 0, "snapshots_loaded": 0, "snapshots_refused": 0, "redis_errors": 0}

    async def follow(self) -> None:
        """Follow until cancelled."""
        while True:
            heed_cancel()
            try:
                go_on = await self._turn()
            except UNAVAILABLE as error:
                self.counters["redis_errors"] += 1
                self._mark(f"redis is away: {describe(error)}")
                go_on = False
            if not go_on:
                await self._backoff.sleep()

    async def _turn(self) -> bool:
        """Look at the head and do the step that it asks for. False: wait before the next."""
        head = await read_head(self._redis, self._keys)
        what, why = step(self._keeper.revision, self._keeper.digest, head)
        if head is None or what is Step.WAIT:
            self._mark(why)
            return False
        if what is Step.SNAPSHOT or self._distrusted:
            return await self._snapshot(head, self._distrusted or why)
        if what is Step.CURRENT:
            self._mark("")
        changes = await self._read(wait=what is Step.CURRENT)
        if what is Step.CATCH_UP and not self._continues(changes):
            return await self._snapshot(head, f"{why}, and the stream does not lead there")
        if not changes:
            self._backoff.reset()
        return await self._apply(changes)

    async def _read(self, *, wait: bool) -> list[Change]:
        """The revisions after ours that the stream has; none when it has none within BLOCK_SECONDS."""
        start = {self._keys.changes: self._keeper.revision.stream_id}
        if wait:
            answer = await self._tail.xread(cast(Any, start), count=_BATCH, block=int(BLOCK_SECONDS * 1000))
        else:
            answer = await self._redis.xread(cast(Any, start), count=_BATCH)
        found = cast(Any, answer)[self._keys.changes][0] if answer else []
        return [Change.read(stream_id, fields) for stream_id, fields in found]

    def _continues(self, changes: Sequence[Change]) -> bool:
        ours = self._keeper.revision
        return bool(changes) and changes[0].revision == (ours.epoch, ours.n + 1) and not changes[0].snapshot

    async def _apply(self, changes: Sequence[Change]) -> bool:
        for change in changes:
            if not self._continues([change]):
                return True  # the next look at the head says what to do
            try:
                await self._keeper.apply(change)
            except (_core.GapError, _core.DigestError, ValueError) as error:
                self._distrust(f"revision {change.revision} does not fit: {type(error).__name__}")
                return False
            except OSError as error:
                self._mark(f"revision {change.revision} can't be kept: {type(error).__name__} {error.errno}")
                return False
            self._backoff.reset()
            self.counters["revisions_applied"] += 1
        return True

    # --- snapshots

    async def _snapshot(self, head: Head, why: str) -> bool:
        """Read the whole list, prove it, load it. False when it was not loaded."""
        self._mark(why)
        _log.warning("list.snapshot", reason=why, ours=str(self._keeper.revision), redis=str(head.revision))
        tally = Tally()
        async for part in scan(self._redis, self._keys.entries):
            tally.put_all(part)
        after = await read_head(self._redis, self._keys)
        if after is None or not await self._bring_up(tally, head, after):
            return False  # Redis changed under our hands: from the start
        if tally.digest != after.digest:
            return self._refuse(f"snapshot {after.revision} does not match its digest")
        ours = self._keeper.revision
        reason = refusal(ours, self._keeper.count, after, len(tally.stacks), await self._leads_on(ours))
        if reason:
            return self._refuse(reason)
        try:
            await self._keeper.load(after.revision, tally.lines(), after.digest)
        except (_core.DigestError, ValueError) as error:
            return self._refuse(f"snapshot {after.revision} does not fit: {type(error).__name__}")
        except OSError as error:
            return self._refuse(f"snapshot {after.revision} can't be kept: {type(error).__name__} {error.errno}")
        self._distrusted = None
        self.counters["snapshots_loaded"] += 1
        _log.warning("list.loaded", revision=str(after.revision), entries=len(tally.stacks))
        return True

    async def _bring_up(self, tally: Tally, before: Head, after: Head) -> bool:
        """Put the revisions made during the scan on top of it. False when they can't all be had."""
        if after.revision < before.revision or after.revision.epoch != before.revision.epoch:
            return False
        first, last = f"({before.revision.stream_id}", after.revision.stream_id
        found: Any = await self._redis.xrange(self._keys.changes, first, last)
        changes = [Change.read(stream_id, fields) for stream_id, fields in found]
        wanted = [Revision(before.revision.epoch, n) for n in range(before.revision.n + 1, after.revision.n + 1)]
        if [change.revision for change in changes if not change.snapshot] != wanted:
            return False
        for change in changes:
            tally.put_lines(change.lines)
        return True

    async def _leads_on(self, revision: Revision) -> bool:
        """Whether the stream still has the revision after ours; it is trimmed from its start only."""
        following = Revision(revision.epoch, revision.n + 1).stream_id
        found: Any = await self._redis.xrange(self._keys.changes, following, following)
        return bool(found) and not Change.read(*found[0]).snapshot

    # --- what is said

    def _distrust(self, why: str) -> None:
        self._distrusted = why
        self._mark(why)

    def _refuse(self, why: str) -> bool:
        self.counters["snapshots_refused"] += 1
        if why != self.stale:
            _log.critical("list.refused", reason=why, ours=str(self._keeper.revision))
        self._mark(why)
        return False

    def _mark(self, why: str) -> None:
        if bool(why) != bool(self.stale):
            self.stale_since = self._clock()
            if why:
                _log.warning("list.stale", reason=why, revision=str(self._keeper.revision))
            else:
                _log.info("list.fresh", revision=str(self._keeper.revision))
        self.stale = why
