"""Redis is derived: the publisher makes it equal to the ledger, and keeps checking that it is.

One writer. It holds a fencing token from the ledger; a publisher with a newer token makes an older one stop. Each
revision goes to Redis in order through one server-side function (`publish.lua`) that checks fence and expected
revision before its first write. What can't be continued is made anew: a whole list in chunks into fresh keys, read
back, then swapped in by one step, so that no reader ever sees half a list.

Redis is looked at every second (head and sizes) and compared whole, entry by entry, every `verify_seconds`. Emptied,
behind, ahead, forked, tampered with: each is said loudly and repaired from the ledger.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sip_filter.keys import (
    EMPTY_DIGEST,
    MAX_CHANGES,
    Head,
    Keys,
    Report,
    Revision,
    Tally,
    blocks_calls,
    digits,
    disagreeing,
    split_line,
)
from sip_filter.store import UNAVAILABLE, Backoff, describe, scan
from sip_filter.tasks import heed_cancel
from sync.points import reach

_log = structlog.get_logger("sync.publisher")


class SourcePoint(Protocol):
    """One revision of the ledger's list, by its name and digest."""

    @property
    def epoch(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def digest(self) -> str: ...


class SourceHead(SourcePoint, Protocol):
    """The ledger's list at one moment."""

    @property
    def entries(self) -> int: ...


class SourceRevision(SourcePoint, Protocol):
    """One revision of the ledger: at most 1,000 entry lines, an empty stack deletes."""

    @property
    def at_ms(self) -> int: ...
    @property
    def changes(self) -> Sequence[str]: ...


class Source(Protocol):
    """The ledger as the publisher sees it."""

    async def head(self) -> SourceHead: ...
    async def revisions(self, after_n: int, limit: int) -> Sequence[SourceRevision]:
        """Revisions of the current epoch after `after_n`, in order, without a hole; fewer when that is all."""
        ...

    async def entries(self, after: str, limit: int) -> Sequence[str]:
        """Entry lines whose subject text sorts after `after`, in that order."""
        ...

    async def take_fence(self) -> int:
        """The next fencing token: durable, and greater than every one given before."""
        ...


class FencedError(Exception):
    """A publisher with a newer fence is at work: this one must stop."""


class UnfitServerError(Exception):
    """This Redis would lose entries by itself, so nothing is written to it."""


class _DivergedError(Exception):
    """Redis holds something that the next revision can't be put on."""


@dataclass(frozen=True)
class StoreState:
    """What `palang status` shows of Redis."""

    connected: bool
    since_ms: int
    """Since when it is connected, or not."""
    published: Revision | None = None
    digest: str = EMPTY_DIGEST
    fence: int = 0
    last_error: str | None = None
    verified_ms: int | None = None
    rebuilds: int = 0
    last_rebuild: str | None = None
    nodes: tuple[Report, ...] = ()
    differing: tuple[str, ...] = ()
    """Nodes that stand at the published revision and hold another list."""
    behind: tuple[str, ...] = ()
    """Nodes that have not reached what was published a minute ago, or are silent."""


class Publisher:
    """Publishes `source` to the list `name` in `redis`. Run it as a task; `wake()` it after each ledger commit."""

    def __init__(
        self,
        redis: Redis,
        source: Source,
        name: str = "main",
        *,
        verify_seconds: float = 60.0,
        tick_seconds: float = 1.0,
        behind_seconds: float = 60.0,
        stream_length: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis, self._source, self._keys = redis, source, Keys.of(name)
        self._verify_seconds, self._tick_seconds = verify_seconds, tick_seconds
        self._behind_ms, self._stream_length, self._clock = int(behind_seconds * 1000), stream_length, clock
        self._script = redis.register_script(resources.files("sync").joinpath("publish.lua").read_text())
        self._woken = asyncio.Event()
        self._asked: str | None = None
        self._fence = 0
        self._at: tuple[Revision, str] | None = None
        self._overlay: list[str] | None = None
        self._published: deque[tuple[int, Revision]] = deque()
        self._state = StoreState(connected=False, since_ms=self._now_ms())

    @property
    def state(self) -> StoreState:
        return self._state

    def wake(self) -> None:
        """There may be a new revision. Call it from the loop that runs the publisher."""
        self._woken.set()

    def rebuild(self, reason: str) -> None:
        """Make Redis anew from the ledger at the next turn, whatever it holds."""
        self._asked = reason
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled. Raises FencedError when a newer publisher has taken over."""
        self._fence = await self._source.take_fence()
        self._note(fence=self._fence)
        backoff = Backoff()
        while True:
            try:
                await self._serve(backoff)
            except FencedError as error:
                self._disconnected(str(error))
                _log.critical("redis.fenced", error=str(error))
                raise
            except UnfitServerError as error:
                if self._disconnected(str(error)):
                    _log.critical("redis.refused", error=str(error))
                await backoff.sleep()
            except UNAVAILABLE as error:
                if self._disconnected(describe(error)):
                    _log.error("redis.away", error=describe(error))
                await backoff.sleep()

    async def check_server(self) -> None:
        """Raises UnfitServerError for a server that may evict: an entry that it drops is a block that lapses."""
        policy = (await self._redis.info("memory")).get("maxmemory_policy")
        if policy != "noeviction":
            raise UnfitServerError(f"redis has maxmemory-policy {policy}; only noeviction keeps every block")

    # --- the turn

    async def _serve(self, backoff: Backoff) -> None:
        await self.check_server()
        await self._call("claim")
        await self._settle("found at start")
        await self._publish()
        self._connected()
        verify_at = look_at = 0.0
        while True:
            heed_cancel()
            if time.monotonic() >= verify_at:
                await self.check_server()
                await self._verify()
                verify_at = time.monotonic() + self._verify_seconds
            if time.monotonic() >= look_at:
                await self._settle("found by looking")
                await self._watch_nodes()
                look_at = time.monotonic() + self._tick_seconds
            await self._publish()
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(look_at, verify_at) - time.monotonic())):
                    await self._woken.wait()

    async def _settle(self, when: str) -> None:
        """Compare Redis with the ledger by head and sizes; make it anew unless the next revision can be put on it."""
        reason = await self._difference()
        if reason:
            await self._rebuild(f"{reason} ({when})")

    async def _difference(self) -> str | None:
        keys = self._keys
        pipe = self._redis.pipeline(transaction=True)
        pipe.hgetall(keys.head)
        pipe.hlen(keys.entries)
        pipe.scard(keys.numbers)
        pipe.scard(keys.prefixes)
        pipe.xrevrange(keys.changes, count=1)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        for error in answers:
            if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                return "a key has another type"
            if isinstance(error, Exception):
                raise error
        head, sizes = Head.read(answers[0]), answers[1:4]
        if head is None:
            return "redis has no list"
        if head.fence > self._fence:
            raise FencedError(_fenced(self._fence, head.fence))
        if sizes != [head.entries, head.numbers, head.prefixes]:
            return f"sizes {sizes} differ from the head's {[head.entries, head.numbers, head.prefixes]}"
        if answers[4] and answers[4][0][0] != head.revision.stream_id:
            return f"the change stream ends at {answers[4][0][0]}, the head is {head.revision}"
        if self._at == (head.revision, head.digest):
            return None
        return await self._place(head)

    async def _place(self, head: Head) -> str | None:
        """Find a head that isn't the one last written in the ledger's history."""
        ledger = await self._source.head()
        top = Revision(ledger.epoch, ledger.n)
        if head.revision.epoch != top.epoch:
            return f"redis is at epoch {head.revision.epoch}, the ledger at {top.epoch}"
        if head.revision > top:
            return f"redis is ahead: {head.revision}, the ledger is at {top}"
        if await self._digest_at(head.revision, top, ledger.digest) != head.digest:
            return f"redis has another history at {head.revision}"
        if self._at and head.revision < self._at[0]:
            _log.error("redis.went_back", had=str(self._at[0]), has=str(head.revision))
        self._at = (head.revision, head.digest)
        return None

    async def _digest_at(self, revision: Revision, top: Revision, top_digest: str) -> str | None:
        """The ledger's digest at `revision`; None when it no longer knows."""
        if revision == top:
            return top_digest
        if revision.n == 0:
            return EMPTY_DIGEST
        rows = await self._source.revisions(revision.n - 1, 1)
        known = rows and (rows[0].epoch, rows[0].n) == revision
        return rows[0].digest if known else None

    # --- revisions

    async def _publish(self) -> None:
        """Publish everything after what Redis holds, in order."""
        self._woken.clear()
        if self._asked:
            await self._rebuild(self._asked)
            self._asked = None
        while True:
            try:
                if not await self._publish_some():
                    return
            except _DivergedError as error:
                await self._rebuild(str(error))

    async def _publish_some(self) -> bool:
        assert self._at is not None
        rows = await self._source.revisions(self._at[0].n, 64)
        if not rows:
            top = await self._source.head()
            if top.epoch != self._at[0].epoch:
                raise _DivergedError(f"the ledger has begun epoch {top.epoch}")
            return False
        for row in rows:
            before, revision = self._at[0], Revision(row.epoch, row.n)
            if revision != Revision(before.epoch, before.n + 1):
                raise _DivergedError(f"the ledger goes from {before} to {revision}")
            reach("redis.before_publish")
            changes = _triples(row.changes)
            await self._call(
                "publish", row.epoch, row.n, before.n, row.digest, row.at_ms, self._stream_length, *changes
            )
            reach("redis.after_publish")
            self._at = (revision, row.digest)
            if self._overlay is not None:
                self._overlay.extend(row.changes)
        self._note(published=self._at[0], digest=self._at[1])
        return True

    async def _call(self, operation: str, *arguments: str | int) -> str:
        outcome, detail = await self._script(keys=list(self._script_keys), args=[operation, self._fence, *arguments])
        if outcome == "fenced":
            raise FencedError(_fenced(self._fence, int(detail)))
        if outcome == "gap":
            raise _DivergedError(f"redis refused to {operation}: there stands {detail}")
        return str(outcome)

    @property
    def _script_keys(self) -> Iterable[str]:
        keys = self._keys
        yield from (keys.head, keys.entries, keys.numbers, keys.prefixes, keys.changes)
        yield from (keys.fresh_entries, keys.fresh_numbers, keys.fresh_prefixes)

    # --- the whole list

    async def _rebuild(self, reason: str) -> None:
        """Stage the ledger's list in fresh keys, read it back, swap it in. Readers keep the old one until then."""
        # A new server has no list and that is no fault; once something was published, it is.
        say = _log.error if self._at else _log.warning
        say("redis.rebuilding", reason=reason, fence=self._fence)
        started = time.monotonic()
        backoff = Backoff()
        while True:
            heed_cancel()
            head = await self._stage()
            tally = await self._read_back(self._keys.fresh_entries)
            numbers, prefixes = _blocking(tally)
            if (tally.digest, len(tally.stacks)) == (head.digest, head.entries):
                try:
                    await self._call(
                        "swap", head.epoch, head.n, head.digest, self._now_ms(), head.entries, numbers, prefixes
                    )
                    break
                except _DivergedError:
                    pass
            self._note(last_error="the staged list differs from the ledger's head")
            _log.error("redis.rebuild_failed", error=self._state.last_error, entries=head.entries)
            await backoff.sleep()
        self._at = (Revision(head.epoch, head.n), head.digest)
        self._overlay = None
        seconds = round(time.monotonic() - started, 3)
        say("redis.rebuilt", reason=reason, revision=str(self._at[0]), entries=head.entries, seconds=seconds)
        self._note(
            published=self._at[0],
            digest=head.digest,
            last_error=None,
            verified_ms=self._now_ms(),
            rebuilds=self._state.rebuilds + 1,
            last_rebuild=reason,
        )

    async def _stage(self) -> SourceHead:
        """Copy the ledger to the fresh keys. It may move meanwhile: the revisions made since the start go on top."""
        keys = self._keys
        # Outside the function, for memory must be freed even when the server refuses every write.
        await self._redis.unlink(keys.fresh_entries, keys.fresh_numbers, keys.fresh_prefixes)
        head = await self._source.head()
        after = ""
        while lines := await self._source.entries(after, MAX_CHANGES):
            await self._call("stage", *_triples(lines))
            after = split_line(lines[-1])[0]
        while (now := await self._source.head()) and now.n != head.n and now.epoch == head.epoch:
            for row in await self._source.revisions(head.n, now.n - head.n):
                await self._call("stage", *_triples(row.changes))
            head = now
        return now

    async def _read_back(self, key: str) -> Tally:
        tally = Tally()
        async for part in scan(self._redis, key):
            tally.put_all(part)
        return tally

    async def _verify(self) -> None:
        """Compare every entry and both sets with what the ledger published; go on publishing meanwhile."""
        self._overlay = []
        tally, missing = Tally(), 0
        async for part in scan(self._redis, self._keys.entries):
            tally.put_all(part)
            missing += await self._missing(part)
            if self._woken.is_set():
                await self._publish()
                if self._overlay is None:
                    return  # made anew meanwhile, which is a verification of its own
        tally.put_lines(self._overlay)
        self._overlay = None
        await self._judge_verification(tally, missing)

    async def _missing(self, part: dict[str, str]) -> int:
        """How many of these entries should be in a set for other switches and are not."""
        wanted = [subject for subject, stack in part.items() if blocks_calls(stack)]
        missing = 0
        for key, prefix in ((self._keys.numbers, False), (self._keys.prefixes, True)):
            names = [digits(subject) for subject in wanted if subject.endswith("*") is prefix]
            if names:
                missing += [bool(found) for found in await self._redis.smismember(key, names)].count(False)
        return missing

    async def _judge_verification(self, tally: Tally, missing: int) -> None:
        assert self._at is not None
        revision, digest = self._at
        numbers, prefixes = _blocking(tally)
        reason = await self._difference()
        if self._at != (revision, digest):
            reason = reason or f"redis went back to {self._at[0]}"
        if reason is None and tally.digest != digest:
            reason = f"the entries' digest {tally.digest} is not the ledger's {digest} at {revision}"
        if reason is None and missing:
            reason = f"{missing} blocked subjects are missing from the sets for other switches"
        if reason is None:
            sizes = [await self._redis.scard(self._keys.numbers), await self._redis.scard(self._keys.prefixes)]
            if sizes != [numbers, prefixes]:
                reason = f"the sets for other switches hold {sizes}, the entries say {[numbers, prefixes]}"
        if reason:
            await self._rebuild(f"{reason} (found by comparing all)")
            return
        try:
            await self._call("confirm", revision.epoch, revision.n, digest)
        except _DivergedError as error:
            await self._rebuild(str(error))
        else:
            self._note(verified_ms=self._now_ms())

    # --- nodes and state

    async def _watch_nodes(self) -> None:
        """Read every node's report; say when one holds another list or stays behind."""
        assert self._at is not None
        now, (revision, digest) = self._now_ms(), self._at
        texts = await self._redis.hvals(self._keys.nodes)
        reports = sorted((r for r in (Report.read(str(text)) for text in texts) if r), key=lambda report: report.node)
        differing = tuple(disagreeing(reports, revision, digest))
        due = self._published_before(now - self._behind_ms, now, revision)
        behind = tuple(r.node for r in reports if r.revision < due or now - r.at_ms > self._behind_ms)
        for node in set(differing) - set(self._state.differing):
            _log.error("node.differs", node=node, revision=str(revision))
        for node in set(behind) - set(self._state.behind):
            _log.error("node.behind", node=node, published=str(revision))
        self._note(nodes=tuple(reports), differing=differing, behind=behind)

    def _published_before(self, then: int, now: int, revision: Revision) -> Revision:
        """The latest revision that was in Redis at `then`: what every node must have by now."""
        self._published.append((now, revision))
        while len(self._published) > 1 and self._published[1][0] <= then:
            self._published.popleft()
        at, due = self._published[0]
        return due if at <= then else Revision(0, 0)

    def _connected(self) -> None:
        assert self._at is not None
        self._note(connected=True, since_ms=self._now_ms(), last_error=None, published=self._at[0], digest=self._at[1])
        _log.info("redis.connected", revision=str(self._at[0]), fence=self._fence)

    def _disconnected(self, error: str) -> bool:
        """True when this is news."""
        news = self._state.connected or self._state.last_error != error
        since = self._now_ms() if self._state.connected else self._state.since_ms
        self._note(connected=False, since_ms=since, last_error=error)
        self._overlay = None
        return news

    def _note(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _triples(lines: Iterable[str]) -> list[str]:
    triples: list[str] = []
    for line in lines:
        subject, stack = split_line(line)
        triples += (subject, stack, "1" if blocks_calls(stack) else "0")
    return triples


def _blocking(tally: Tally) -> tuple[int, int]:
    """How many numbers and prefixes of the list belong in the sets for other switches."""
    blocking = [subject.endswith("*") for subject, stack in tally.stacks.items() if blocks_calls(stack)]
    return blocking.count(False), blocking.count(True)


def _fenced(ours: int, theirs: int) -> str:
    return f"fence {ours} is older than {theirs}: another agent publishes this list now"
