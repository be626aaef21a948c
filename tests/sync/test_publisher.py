"""The publisher on a real redis-server: in order, fenced, and Redis made equal to the ledger after every fault."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from sip_filter import list_digest
from sip_filter.keys import EMPTY_DIGEST, Change, Head, Report, Revision, Tally, blocks_calls, disagreeing, line_of
from sip_filter.store import connect
from sync.publisher import FencedError, Publisher, UnfitServerError
from tests.book import BLOCK, KEYS, Book, eventually, publishing
from tests.redis_server import RedisServer


async def stream(redis: Redis) -> list[Change]:
    found: Any = await redis.xrange(KEYS.changes)
    return [Change.read(*entry) for entry in found]


async def test_each_revision_goes_out_in_order(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        book.commit(line_of("+6281234567890", BLOCK), line_of("+77*", "noc reject enforce both"))
        book.commit(line_of("+6281234567891", "noc label enforce call"))
        publisher.wake()
        await equal(book)
        book.commit("+6281234567890\t")
        publisher.wake()
        await equal(book)
        changes = [change for change in await stream(redis) if not change.snapshot]
        assert [change.revision for change in changes] == [(1, 1), (1, 2), (1, 3)]
        assert [change.lines for change in changes] == [row.changes for row in book.rows[1:]]
        assert [change.digest for change in changes] == [row.digest for row in book.rows[1:]]
        assert await redis.sismember(KEYS.prefixes, "77")
        assert not await redis.sismember(KEYS.numbers, "6281234567890")
        state = publisher.state
        assert state.connected and state.published == (1, 3) and state.last_error is None and state.fence == 1


async def test_what_was_committed_while_away_follows_at_start(
    redis_server: RedisServer, redis: Redis, equal: Any
) -> None:
    book = Book()
    book.commit_numbers(5)
    async with publishing(redis_server, book):
        await equal(book)
    book.commit_numbers(100, first=6282000000000)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        assert publisher.state.rebuilds == 0
        assert len(await stream(redis)) == 101


async def test_a_list_of_many_chunks_is_swapped_in_whole(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    for start in range(0, 5_500, 1_000):
        lines = [line_of(f"+{6281000000000 + start + i}", BLOCK) for i in range(min(1_000, 5_500 - start))]
        book.commit(*lines)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        await eventually(lambda: publisher.state.rebuilds == 1, "said")
        head = Head.read(await redis.hgetall(KEYS.head))
        assert head and head.verified == head.revision
        assert await redis.exists(KEYS.fresh_entries, KEYS.fresh_numbers, KEYS.fresh_prefixes) == 0


async def test_a_ledger_that_moves_while_it_is_copied(redis_server: RedisServer, equal: Any) -> None:
    class Moving(Book):
        async def entries(self, after: str, limit: int) -> Sequence[str]:
            found = await super().entries(after, 10)
            if found and len(self.rows) < 120:
                first, last = found[0].split("\t")[0], max(self.tally.stacks)
                new, changed = f"+1{len(self.rows):08}", "noc allow enforce both"
                self.commit(f"{first}\t", line_of(new, BLOCK), line_of(last, changed))
            return found

    book = Moving()
    book.commit_numbers(60)
    async with publishing(redis_server, book):
        await equal(book)


async def test_a_rebuild_cut_short_leaves_the_old_list(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    class Failing(Book):
        fails = False

        async def entries(self, after: str, limit: int) -> Sequence[str]:
            if self.fails and after:
                raise RuntimeError("the agent dies here")
            return await super().entries(after, limit)

    book = Failing()
    book.commit(*(line_of(f"+{6281000000000 + i}", BLOCK) for i in range(1_000)))
    book.commit(*(line_of(f"+{6282000000000 + i}", BLOCK) for i in range(1_000)))
    async with publishing(redis_server, book):
        await equal(book)
    book.fails = True
    publisher = Publisher(redis, book)
    publisher.rebuild("asked for")
    with pytest.raises(RuntimeError, match="dies here"):
        await publisher.run()
    assert await redis.hlen(KEYS.fresh_entries) == 1_000, "it was under way"
    await equal(book)
    book.fails = False
    async with publishing(redis_server, book) as other:
        other.rebuild("again")
        await eventually(lambda: other.state.last_rebuild == "again", "rebuilt")
        await equal(book)


async def test_redis_killed_at_any_instant(redis_server: RedisServer, equal: Any) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher:
        for round_ in range(12):
            book.commit_numbers(30, first=6281000000000 + round_ * 1_000)
            publisher.wake()
            await asyncio.sleep(round_ * 0.003)  # the instant is the test's parameter, not a wait
            redis_server.kill()
            if round_ % 4 == 3:
                redis_server.cut(500)
            redis_server.start()
        await equal(book)


async def test_a_newer_fence_stops_the_older_loudly(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(3)
    client = connect(redis_server.url)
    older = Publisher(client, book, tick_seconds=0.05)
    task = asyncio.create_task(older.run())
    await equal(book)
    async with publishing(redis_server, book) as newer:
        with pytest.raises(FencedError, match="fence 1 is older than 2"):
            await asyncio.wait_for(task, 5)
        assert not older.state.connected and "another agent" in str(older.state.last_error)
        book.commit_numbers(1, first=6289000000000)
        newer.wake()
        await equal(book)
        assert newer.state.rebuilds == 0
    await client.aclose()


async def test_an_old_publisher_writes_nothing_after_it_was_fenced(
    redis_server: RedisServer, redis: Redis, equal: Any
) -> None:
    book = Book()
    async with publishing(redis_server, book, tick_seconds=30) as older:
        await equal(book)
        await redis.hset(KEYS.head, "fence", "9")
        book.commit_numbers(1)
        before = await redis.dbsize(), await redis.hgetall(KEYS.head)
        older.wake()
        await eventually(lambda: not older.state.connected, "stopped")
        assert (await redis.dbsize(), await redis.hgetall(KEYS.head)) == before


async def test_flushall_is_noticed_and_repaired(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(50)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        await redis.flushall()
        await equal(book)
        await eventually(lambda: publisher.state.rebuilds == 2, "said")


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (("HDEL", KEYS.entries, "+6281000000003"), "sizes"),
        (("SREM", KEYS.numbers, "6281000000003"), "sizes"),
        (("HSET", KEYS.entries, "+6281000000003", "noc allow enforce both"), "digest"),
        (("HSET", KEYS.entries, "+6281000000003", "order"), "digest"),
        (("HSET", KEYS.head, "n", "99999"), "stream ends"),
        (("HSET", KEYS.head, "n", "7"), "stream ends"),
        (("HSET", KEYS.head, "epoch", "7"), "stream ends"),
        (("HSET", KEYS.head, "digest", "f" * 32), "another history"),
        (("HDEL", KEYS.head, "n"), "no list"),
        (("DEL", KEYS.entries), "sizes"),
        (("SET", KEYS.entries, "text"), "another type"),
        (("SET", KEYS.head, "text"), "another type"),
        (("SET", KEYS.changes, "text"), "another type"),
        (("XADD", KEYS.changes, "1-777", "digest", "0", "changes", "x"), "stream ends"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value).partition("}:")[2],
)
async def test_tampering_is_noticed_and_repaired(
    redis_server: RedisServer, redis: Redis, equal: Any, tamper: tuple[str, ...], reason: str
) -> None:
    book = Book()
    book.commit_numbers(20)
    async with publishing(redis_server, book, verify_seconds=0.2) as publisher:
        await equal(book)
        await eventually(lambda: publisher.state.connected, "connected")
        rebuilds = publisher.state.rebuilds
        await redis.execute_command(*tamper)
        await eventually(lambda: publisher.state.rebuilds > rebuilds, "rebuilt")
        # Which look comes first, the quick one or the whole one, is a matter of milliseconds.
        told = (reason, "refused to confirm", "the sets for other switches")
        assert any(part in str(publisher.state.last_rebuild) for part in told), publisher.state.last_rebuild
        await equal(book)


async def test_a_swapped_member_of_a_set_is_noticed(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(20)
    async with publishing(redis_server, book, verify_seconds=0.1) as publisher:
        await equal(book)
        swap = redis.pipeline(transaction=True)
        swap.srem(KEYS.numbers, "6281000000003")
        swap.sadd(KEYS.numbers, "6299")
        await swap.execute()
        await eventually(lambda: "missing from the sets" in str(publisher.state.last_rebuild), "noticed")
        await equal(book)


async def test_publishing_goes_on_while_everything_is_compared(
    redis_server: RedisServer, redis: Redis, equal: Any
) -> None:
    book = Book()
    for start in range(0, 20_000, 1_000):
        book.commit(*(line_of(f"+{6281000000000 + start + i}", BLOCK) for i in range(1_000)))
    async with publishing(redis_server, book, verify_seconds=0.0) as publisher:
        await eventually(lambda: publisher.state.connected, "connected")
        for i in range(200):
            book.commit(f"+{6281000000000 + i * 97}\t", line_of(f"+{6283000000000 + i}", BLOCK))
            publisher.wake()
            await asyncio.sleep(0.002)
        await equal(book)
        done = publisher.state.verified_ms
        await eventually(lambda: publisher.state.verified_ms != done, "compared again")
        assert publisher.state.rebuilds == 1, publisher.state.last_rebuild


async def test_redis_killed_and_started_again(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(10)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        await eventually(lambda: publisher.state.connected, "connected")
        redis_server.kill()
        book.commit_numbers(10, first=6282000000000)
        publisher.wake()
        await eventually(lambda: not publisher.state.connected, "away is seen")
        assert "Error" in str(publisher.state.last_error)
        redis_server.start()
        await eventually(lambda: publisher.state.connected, "back")
        await equal(book)


async def test_a_cut_append_only_file_is_noticed_and_repaired(
    redis_server: RedisServer, redis: Redis, equal: Any
) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        book.commit_numbers(100)
        publisher.wake()
        await equal(book)
        redis_server.kill()
        redis_server.cut(2_000)
        redis_server.start()
        lost = Head.read(await connect(redis_server.url).hgetall(KEYS.head))
        assert lost is None or lost.revision < (1, 100)
        await equal(book)


async def test_a_cut_within_a_bulk_load_leaves_no_half_list(
    redis_server: RedisServer, redis: Redis, equal: Any
) -> None:
    book = Book()
    book.commit(*(line_of(f"+{6281000000000 + i}", BLOCK) for i in range(1_000)))
    async with publishing(redis_server, book):
        await equal(book)
    redis_server.kill()
    redis_server.cut(2_000)
    redis_server.start()
    async with publishing(redis_server, book):
        await equal(book)


async def test_memory_full_refuses_whole_revisions(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(10)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        await eventually(lambda: publisher.state.connected, "connected")
        before = await redis.hgetall(KEYS.head)
        await redis.config_set("maxmemory", "1mb")
        book.commit(*(line_of(f"+{6282000000000 + i}", BLOCK) for i in range(1_000)))
        publisher.wake()
        await eventually(lambda: "OutOfMemory" in str(publisher.state.last_error), "the refusal is seen")
        assert await redis.hgetall(KEYS.head) == before
        assert await redis.hlen(KEYS.entries) == 10, "no partial revision"
        await redis.config_set("maxmemory", "0")
        await equal(book)


async def test_a_server_that_may_evict_is_refused(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    book = Book()
    book.commit_numbers(3)
    async with publishing(redis_server, book) as publisher:
        await eventually(lambda: "allkeys-lru" in str(publisher.state.last_error), "refused")
        with pytest.raises(UnfitServerError, match="only noeviction"):
            await publisher.check_server()
        assert await redis.dbsize() == 0, "nothing is written to it"
        await redis.config_set("maxmemory-policy", "noeviction")
        await equal(book)


async def test_a_read_only_replica_counts_as_away(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    book = Book()
    async with publishing(redis_server, book) as publisher:
        await eventually(lambda: "ReadOnly" in str(publisher.state.last_error), "refused")
        assert not publisher.state.connected
        await redis.execute_command("REPLICAOF", "NO", "ONE")
        await equal(book)


async def test_a_hanging_redis_is_given_up_and_taken_up_again(
    redis_server: RedisServer, redis: Redis, equal: Any
) -> None:
    book = Book()
    client = connect(redis_server.url, 0.2)
    publisher = Publisher(client, book, tick_seconds=0.05)
    task = asyncio.create_task(publisher.run())
    await equal(book)
    await eventually(lambda: publisher.state.connected, "connected")
    redis_server.send(signal.SIGSTOP)
    book.commit_numbers(2)
    publisher.wake()
    await eventually(lambda: "Timeout" in str(publisher.state.last_error), "given up")
    redis_server.send(signal.SIGCONT)
    await equal(book)
    task.cancel()
    await client.aclose()


async def test_a_new_epoch_makes_redis_anew(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(5)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        book.begin_epoch()
        publisher.wake()
        await equal(book)
        assert [change.revision for change in await stream(redis)] == [(2, 5)]
        book.commit_numbers(1, first=6289000000000)
        publisher.wake()
        await equal(book)


async def test_a_restored_ledger_is_said_aloud(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(10)
    async with publishing(redis_server, book):
        await equal(book)
    old = book.go_back(4)
    async with publishing(redis_server, old) as publisher:
        await equal(old)
        await eventually(lambda: publisher.state.rebuilds, "said")
        assert "ahead: 1.10, the ledger is at 1.6" in str(publisher.state.last_rebuild)


async def test_rebuild_on_request(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(5)
    async with publishing(redis_server, book) as publisher:
        await equal(book)
        await eventually(lambda: publisher.state.connected, "connected")
        publisher.rebuild("asked for")
        await eventually(lambda: publisher.state.last_rebuild == "asked for", "rebuilt")
        await equal(book)


async def test_nodes_that_differ_or_stay_behind_are_named(redis_server: RedisServer, redis: Redis, equal: Any) -> None:
    book = Book()
    book.commit_numbers(3)
    moment = [1_000.0]
    async with publishing(redis_server, book, clock=lambda: moment[0]) as publisher:
        await equal(book)
        last = book.rows[-1]

        async def report(node: str, n: int, digest: str) -> None:
            text = Report(node, 1, n, digest, int(moment[0] * 1000), stale=False).text()
            await redis.hset(KEYS.nodes, node, text)

        await report("gw1", 3, last.digest)
        await report("gw2", 3, "f" * 32)
        await report("gw3", 1, "")
        await redis.hset(KEYS.nodes, "gw4", "garbage")
        await eventually(lambda: publisher.state.differing == ("gw2",), "gw2 differs")
        assert publisher.state.behind == ()
        moment[0] += 61
        await report("gw1", 3, last.digest)
        await report("gw3", 1, "")
        await eventually(lambda: publisher.state.behind == ("gw2", "gw3"), "silent gw2 and late gw3 are behind")


# --- encodings


def test_disagreeing_looks_only_at_nodes_of_that_revision() -> None:
    reports = [Report("a", 1, 5, "x", 0, False), Report("b", 1, 5, "y", 0, False), Report("c", 1, 4, "z", 0, False)]
    assert disagreeing(reports, Revision(1, 5), "x") == ["b"]


@pytest.mark.parametrize(
    ("stack", "blocks"),
    [
        ("order reject enforce both", True),
        ("order reject enforce call until=1798761600", True),
        ("order reject enforce message", False),
        ("noc reject shadow both", False),
        ("noc reject enforce both @intl-a", False),
        ("noc label enforce both", False),
        ("noc allow enforce both; noc reject enforce both", False),
        ("noc allow enforce both; order reject enforce both", True),
        ("noc allow shadow both; noc reject enforce both", True),
        ("", False),
    ],
)
def test_what_other_switches_are_told_to_block(stack: str, blocks: bool) -> None:
    assert blocks_calls(stack) is blocks


def test_a_tally_forgets_what_was_replaced() -> None:
    tally = Tally()
    first, other = line_of("+1000000", BLOCK), line_of("+1000000", "noc allow enforce both")
    tally.put_lines(
        [first, other, line_of("+77*", BLOCK), line_of("+2000000", BLOCK), "+2000000\t", "+2000000\t", other]
    )
    assert sorted(tally.lines()) == [other, line_of("+77*", BLOCK)]
    assert tally.digest == list_digest(tally.lines()), "the core's digest"
    tally.put_all({"+1000000": "", "+77*": ""})
    assert tally.digest == EMPTY_DIGEST


def test_a_report_survives_its_text_and_garbage_is_no_report() -> None:
    report = Report("gw1", 1, 2, "d", 3, True, "why", {"intl-a": "enforce"}, False, "0.1", {"hits": 1})
    assert Report.read(report.text()) == report
    for text in ("", "[]", "{}", "null", '{"node":"a","epoch":"x","n":1,"digest":"","at_ms":1,"stale":false}'):
        assert Report.read(text) is None


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "1.x", "-1.2", "1.2.3"])
def test_a_bad_revision_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not <epoch>\.<n>"):
        Revision.parse(text)
