"""The subscriber on a real Redis and a real Writer: it follows every revision, and nothing in Redis empties it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from sip_filter import List, Writer
from sip_filter.keeper import Keeper
from sip_filter.keys import EMPTY_DIGEST, Head, Report, Revision, line_of
from sip_filter.reporter import Reporter
from sip_filter.store import Backoff, connect
from sip_filter.subscriber import BLOCK_SECONDS, Step, Subscriber, refusal, step
from tests.book import BLOCK, KEYS, Book, eventually, publishing
from tests.redis_server import RedisServer

BLOCKED, FREE = "+6281000000003", "+6289999999999"


@dataclass
class Copy:
    """A node's list, and what keeps it."""

    subscriber: Subscriber
    keeper: Keeper
    writer: Writer
    live: Path

    def holds(self, book: Book) -> bool:
        last = book.rows[-1]
        return not self.subscriber.stale and (self.keeper.revision, self.keeper.digest) == (
            (last.epoch, last.n),
            last.digest,
        )

    async def equals(self, book: Book) -> None:
        await eventually(lambda: self.holds(book), "the node holds the book's list")
        assert dict(line.split("\t") for line in self.writer.entries()) == book.tally.stacks

    async def turns_stale(self, why: str) -> None:
        await eventually(lambda: why in self.subscriber.stale, f"stale: {why}")


@asynccontextmanager
async def following(server: RedisServer, folder: Path) -> AsyncIterator[Copy]:
    writer = Writer(folder / "live", folder / "state")
    keeper = Keeper(writer)
    redis, tail = connect(server.url), connect(server.url, BLOCK_SECONDS + 0.2)
    subscriber = Subscriber(redis, tail, keeper, backoff=Backoff(0.01, 0.05))
    task = asyncio.create_task(subscriber.follow())
    try:
        yield Copy(subscriber, keeper, writer, folder / "live")
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await keeper.close()
        await redis.aclose()
        await tail.aclose()


def verdict(reader: List, number: str) -> str:
    return reader.judge([(number, False)], "intl-a").verdict


async def test_every_revision_arrives(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher, following(redis_server, tmp_path) as copy:
        await copy.equals(book)
        for first in (1, 1001, 2001):
            book.commit(*(line_of(f"+{6281000000000 + first + i}", BLOCK) for i in range(1_000)))
        book.commit(line_of("+77*", "noc reject shadow both"))
        book.commit(f"{BLOCKED}\t")
        publisher.wake()
        await copy.equals(book)
        counters = copy.subscriber.counters  # what the list holds is counted a moment later
        await eventually(lambda: counters["revisions_applied"] == 5, "five revisions are counted")
        assert counters["snapshots_loaded"] == 0
        reader = List(copy.live)
        assert verdict(reader, BLOCKED) == "pass" and verdict(reader, "+6281000000004") == "reject"


async def test_a_new_node_takes_a_snapshot_when_history_is_long(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher:
        book.commit_numbers(1_500)
        publisher.wake()
        async with following(redis_server, tmp_path) as copy:
            await copy.equals(book)
            assert copy.subscriber.counters["snapshots_loaded"] <= 1


async def test_a_trimmed_stream_means_a_snapshot(redis_server: RedisServer, redis: Redis, tmp_path: Path) -> None:
    book = Book()
    book.commit_numbers(10)
    async with publishing(redis_server, book) as publisher:
        async with following(redis_server, tmp_path) as copy:
            await copy.equals(book)
        book.commit_numbers(300, first=6282000000000)
        publisher.wake()
        await eventually(lambda: publisher.state.published == (1, 310), "published")
        await redis.xtrim(KEYS.changes, maxlen=5, approximate=False)
        async with following(redis_server, tmp_path) as copy:
            await copy.equals(book)
            await eventually(lambda: copy.subscriber.counters["snapshots_loaded"] == 1, "a snapshot is counted")


async def test_a_revision_that_does_not_fit_means_a_snapshot(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    book = Book()
    book.commit_numbers(5)
    async with publishing(redis_server, book, tick_seconds=30), following(redis_server, tmp_path) as copy:
        await copy.equals(book)
        before = copy.keeper.digest
        await redis.xadd(KEYS.changes, {"digest": "f" * 32, "changes": line_of(FREE, BLOCK)}, id="1-6")
        await eventually(lambda: copy.subscriber.counters["snapshots_loaded"], "asked for the whole list")
        assert (copy.keeper.revision, copy.keeper.digest) == ((1, 5), before)
        assert copy.writer.entry(FREE) == ""
    async with publishing(redis_server, book), following(redis_server, tmp_path) as copy:
        book.commit_numbers(1, first=6283000000000)
        await copy.equals(book)


async def test_a_node_that_is_killed_goes_on_from_its_files(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    book.commit_numbers(20)
    async with publishing(redis_server, book), following(redis_server, tmp_path) as copy:
        await copy.equals(book)
    redis_server.kill()
    async with following(redis_server, tmp_path) as copy:
        assert copy.keeper.revision == (1, 20)
        await copy.turns_stale("redis is away")
        assert verdict(List(copy.live), BLOCKED) == "reject"
        redis_server.start()
        async with publishing(redis_server, book):
            await copy.equals(book)


async def test_flushall_disturbs_no_decision(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, equal: Any
) -> None:
    book = Book()
    book.commit_numbers(200)
    async with following(redis_server, tmp_path) as copy:
        async with publishing(redis_server, book):
            await copy.equals(book)
        await redis.flushall()
        reader, asked = List(copy.live), 0
        await copy.turns_stale("redis has no list")
        assert copy.keeper.count == 200
        async with publishing(redis_server, book) as publisher:
            while not copy.holds(book) or asked < 1_000:
                assert verdict(reader, BLOCKED) == "reject" and verdict(reader, FREE) == "pass"
                asked += 1
                await asyncio.sleep(0)
            await equal(book)
            book.commit(line_of(FREE, BLOCK))
            publisher.wake()
            await copy.equals(book)


@pytest.mark.parametrize("way", ["an empty ledger", "an old backup"])
async def test_a_lower_list_is_never_loaded(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, equal: Any, way: str
) -> None:
    book = Book()
    book.commit_numbers(200)
    async with following(redis_server, tmp_path) as copy:
        async with publishing(redis_server, book):
            await copy.equals(book)
        other = Book() if way == "an empty ledger" else book.go_back(150)
        other.fence = book.fence
        async with publishing(redis_server, other):
            await equal(other)
            await copy.turns_stale("behind this node's 1.200")
            assert copy.keeper.count == 200 and verdict(List(copy.live), BLOCKED) == "reject"
            other.begin_epoch()
            await copy.equals(other)


async def test_tampered_entries_are_not_loaded(redis_server: RedisServer, redis: Redis, tmp_path: Path) -> None:
    book = Book()
    book.commit_numbers(200)
    async with following(redis_server, tmp_path) as copy:
        async with publishing(redis_server, book):
            await copy.equals(book)
        await redis.hset(KEYS.head, mapping={"n": 205})
        await redis.hdel(KEYS.entries, *(f"+{6281000000000 + i}" for i in range(195)))
        await copy.turns_stale("does not match its digest")
        assert copy.keeper.revision == (1, 200) and copy.keeper.count == 200
        async with publishing(redis_server, book):
            await copy.equals(book)


async def test_a_mass_delete_waits_for_the_publishers_word(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    book = Book()
    book.commit_numbers(200)
    async with following(redis_server, tmp_path) as copy:
        async with publishing(redis_server, book):
            await copy.equals(book)
        # A whole, consistent list that history does not lead to, and that no publisher has compared with a ledger.
        gone = [f"+{6281000000000 + i}" for i in range(195)]
        book.commit(*(f"{subject}\t" for subject in gone))
        last = book.rows[-1]
        change = redis.pipeline(transaction=True)
        change.hdel(KEYS.entries, *gone)
        change.srem(KEYS.numbers, *(subject.strip("+") for subject in gone))
        change.delete(KEYS.changes)
        change.hset(KEYS.head, mapping={"n": last.n, "digest": last.digest, "entries": 5, "numbers": 5})
        await change.execute()
        await copy.turns_stale("would leave 5 of 200 entries")
        assert verdict(List(copy.live), BLOCKED) == "reject"
        async with publishing(redis_server, book):
            await copy.equals(book)
        assert verdict(List(copy.live), BLOCKED) == "pass"


async def test_redis_killed_and_started_again(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    book.commit_numbers(50)
    async with publishing(redis_server, book) as publisher, following(redis_server, tmp_path) as copy:
        await copy.equals(book)
        redis_server.kill()
        await copy.turns_stale("redis is away")
        book.commit(line_of(FREE, BLOCK))
        publisher.wake()
        redis_server.start()
        await copy.equals(book)


async def test_a_cut_append_only_file_takes_nothing_from_the_node(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher, following(redis_server, tmp_path) as copy:
        book.commit_numbers(100)
        publisher.wake()
        await copy.equals(book)
        redis_server.kill()
        redis_server.cut(2_000)
        redis_server.start()
        book.commit(line_of(FREE, BLOCK))
        await copy.equals(book)
        assert copy.subscriber.counters["snapshots_refused"] == 0


async def test_a_hanging_redis_stops_neither_decisions_nor_the_loop(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    book.commit_numbers(50)
    async with publishing(redis_server, book), following(redis_server, tmp_path) as copy:
        await copy.equals(book)
        reader = List(copy.live)
        redis_server.send(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        longest, last = 0.0, loop.time()
        while not copy.subscriber.stale:
            assert verdict(reader, BLOCKED) == "reject"
            await asyncio.sleep(0.005)
            longest, last = max(longest, loop.time() - last), loop.time()
        assert "Timeout" in copy.subscriber.stale
        assert longest < 1.0, "the loop went on, where a blocking read would have held it 1.2 s"
        redis_server.send(signal.SIGCONT)
        await copy.equals(book)


async def test_a_rebuild_under_way_is_never_seen_half(redis_server: RedisServer, tmp_path: Path) -> None:
    book = Book()
    for start in range(0, 5_000, 1_000):
        book.commit(*(line_of(f"+{6281000000000 + start + i}", BLOCK) for i in range(1_000)))
    async with publishing(redis_server, book) as publisher, following(redis_server, tmp_path) as copy:
        await copy.equals(book)
        for i in range(10):
            before = publisher.state.rebuilds
            publisher.rebuild("again")
            if i % 2:
                book.commit(line_of(f"+{6283000000000 + i}", BLOCK))
            await eventually(lambda before=before: publisher.state.rebuilds > before, "rebuilt")
            await copy.equals(book)
        assert copy.subscriber.counters["snapshots_refused"] == 0


async def test_two_nodes_with_different_lists_are_noticed(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    book = Book()
    book.commit_numbers(5)
    async with publishing(redis_server, book) as publisher, following(redis_server, tmp_path / "a") as good:
        await good.equals(book)
        with_other = Book()
        with_other.commit_numbers(4)
        with_other.commit(line_of(FREE, BLOCK))
        bad = Keeper(Writer(tmp_path / "b/live", tmp_path / "b/state"))
        await bad.load(Revision(1, 5), with_other.tally.lines(), with_other.tally.digest)
        tasks = []
        for name, keeper in (("gw1", good.keeper), ("gw2", bad)):

            def report(name: str = name, keeper: Keeper = keeper) -> Report:
                return Report(
                    name, *keeper.revision, keeper.digest, int(asyncio.get_running_loop().time()), stale=False
                )

            tasks.append(asyncio.create_task(Reporter(redis, keeper, "main", name, report, dict).report()))
        await eventually(lambda: publisher.state.differing == ("gw2",), "gw2 is named")
        assert [report.node for report in publisher.state.nodes] == ["gw1", "gw2"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bad.close()


class Rings:
    """A keeper that has only hits: its `drain_hits` gives what the rings hold, once."""

    def __init__(self) -> None:
        self.made = 0

    async def drain_hits(self) -> tuple[list[tuple[Any, ...]], int]:
        hits = [(1_000 + i, BLOCKED, "order", "reject", "reject", "call", 7, (1, 5), i) for i in range(self.made)]
        self.made = 0
        return hits, 2 if hits else 0


async def test_hits_wait_for_redis_and_the_oldest_make_room(redis_server: RedisServer, redis: Redis) -> None:
    rings: Any = Rings()
    client = connect(redis_server.url, 5.0)  # after a time-out it would send them again
    reporter = Reporter(
        client, rings, "main", "gw1", lambda: Report("gw1", 1, 0, "", 0, False), lambda: {7: "intl-a"}, hits_kept=1_200
    )
    redis_server.kill()
    task = asyncio.create_task(reporter.hits())
    rings.made = 1_500
    await eventually(lambda: reporter.counters["hits_dropped"] == 300, "the oldest are dropped")
    redis_server.start()
    await eventually(lambda: reporter.counters["hits_sent"] == 1_200, "sent")
    task.cancel()
    found: Any = await redis.xrange(KEYS.hits)
    assert len(found) == 1_200 and reporter.counters["hits_lost"] == 2
    assert found[0][1] == {
        "node": "gw1",
        "at_ms": "1300",
        "subject": BLOCKED,
        "authority": "order",
        "action": "reject",
        "effect": "reject",
        "kind": "call",
        "trunk": "intl-a",
        "revision": "1.5",
        "call": f"{300:016x}",
    }
    await client.aclose()


# --- the two rules, as tables


def head(epoch: int, n: int, digest: str = "a", verified: Revision | None = None) -> Head:
    return Head(Revision(epoch, n), digest, 0, 0, 0, 1, 0, verified)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, Step.WAIT),
        (head(2, 50), Step.CURRENT),
        (head(2, 50, "b"), Step.SNAPSHOT),
        (head(2, 49), Step.WAIT),
        (head(1, 99), Step.WAIT),
        (head(2, 51), Step.CATCH_UP),
        (head(2, 1_050), Step.CATCH_UP),
        (head(2, 1_051), Step.SNAPSHOT),
        (head(3, 0, EMPTY_DIGEST), Step.SNAPSHOT),
    ],
)
def test_step(shown: Head | None, expected: Step) -> None:
    what, why = step(Revision(2, 50), "a", shown)
    assert what is expected and bool(why) == (what is not Step.CURRENT)


@pytest.mark.parametrize(
    ("shown", "count", "entries", "history", "refused"),
    [
        (head(2, 49), 10, 10, True, "older"),
        (head(1, 99), 10, 10, True, "older"),
        (head(2, 51), 1_000, 100, False, None),
        (head(2, 51), 1_000, 99, False, "would leave 99 of 1000"),
        (head(2, 51), 1_000, 99, True, None),
        (head(2, 51, verified=Revision(2, 50)), 1_000, 99, False, "would leave"),
        (head(2, 51, verified=Revision(2, 51)), 1_000, 0, False, None),
        (head(2, 51), 99, 0, False, None),
        (head(3, 0), 1_000, 0, False, None),
        (head(2, 50), 1_000, 0, False, "would leave"),
    ],
)
def test_refusal(shown: Head, count: int, entries: int, history: bool, refused: str | None) -> None:
    found = refusal(Revision(2, 50), count, shown, entries, history)
    assert found is None if refused is None else refused in str(found)
