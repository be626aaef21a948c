"""A ledger in memory for tests of what is published, and a publisher that runs beside a test."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from redis.asyncio import Redis

from sip_filter.keys import EMPTY_DIGEST, Head, Keys, Tally, blocks_calls, line_of
from sip_filter.store import connect
from sync.publisher import FencedError, Publisher, Source
from tests.redis_server import RedisServer

BLOCK = "order reject enforce both"
KEYS = Keys.of("main")


@dataclass(frozen=True)
class Row:
    epoch: int
    n: int
    digest: str
    at_ms: int
    changes: tuple[str, ...]
    entries: int


class Book:
    """A ledger in memory: the same four questions, the same answers."""

    def __init__(self) -> None:
        self.tally, self.fence = Tally(), 0
        self.rows = [Row(1, 0, EMPTY_DIGEST, 0, (), 0)]

    def commit(self, *lines: str) -> None:
        self.tally.put_lines(lines)
        last = self.rows[-1]
        self.rows.append(Row(last.epoch, last.n + 1, self.tally.digest, last.n + 1, lines, len(self.tally.stacks)))

    def commit_numbers(self, count: int, first: int = 6281000000000) -> None:
        """Each number its own revision."""
        for number in range(first, first + count):
            self.commit(line_of(f"+{number}", BLOCK))

    def begin_epoch(self) -> None:
        self.rows = [replace(self.rows[-1], epoch=self.rows[-1].epoch + 1, changes=())]

    def go_back(self, revisions: int) -> "Book":
        """The ledger as it was some revisions ago: a restored backup."""
        old = Book()
        for row in self.rows[1 : len(self.rows) - revisions]:
            old.commit(*row.changes)
        old.fence = self.fence
        return old

    async def head(self) -> Row:
        return self.rows[-1]

    async def revisions(self, after_n: int, limit: int) -> Sequence[Row]:
        return [row for row in self.rows if row.n > after_n and row.changes][:limit]

    async def entries(self, after: str, limit: int) -> Sequence[str]:
        subjects = sorted(subject for subject in self.tally.stacks if subject > after)[:limit]
        return [line_of(subject, self.tally.stacks[subject]) for subject in subjects]

    async def take_fence(self) -> int:
        self.fence += 1
        return self.fence


@asynccontextmanager
async def publishing(server: RedisServer, source: Source, **options: Any) -> AsyncIterator[Publisher]:
    redis = connect(server.url, 1.0)
    publisher = Publisher(redis, source, **{"tick_seconds": 0.05, **options})
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, FencedError):
            await task
        await redis.aclose()


async def equals(redis: Redis, book: Book) -> bool:
    """Whether Redis holds exactly what the book says, sets and head too."""
    head = Head.read(await redis.hgetall(KEYS.head))
    entries = await redis.hgetall(KEYS.entries)
    numbers = {s.strip("+") for s, k in entries.items() if blocks_calls(k) and not s.endswith("*")}
    prefixes = {s.strip("+*") for s, k in entries.items() if blocks_calls(k) and s.endswith("*")}
    last = book.rows[-1]
    return (
        head is not None
        and (head.revision, head.digest, head.entries) == ((last.epoch, last.n), last.digest, len(entries))
        and entries == book.tally.stacks
        and await redis.smembers(KEYS.numbers) == numbers
        and await redis.smembers(KEYS.prefixes) == prefixes
        and (head.numbers, head.prefixes) == (len(numbers), len(prefixes))
    )


async def eventually(condition: Callable[[], Any], wanted: str, seconds: float = 30.0) -> None:
    """Wait for a condition, awaitable or not; never for a time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, f"not within {seconds} s: {wanted}"
        await asyncio.sleep(0.005)
