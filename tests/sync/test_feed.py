"""The feed on a real broker: nothing is acknowledged before it is durable, and no message stops the others."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sync.codes import Code
from sync.feed import Feed
from sync.intake import Refusal
from sync.ledger import LedgerUnavailable
from sync.mqtt import Link
from sync.settings_mqtt import FeedSettings
from tests.mosquitto_server import Mosquitto
from tests.waiting import until

Connect = Callable[..., AbstractAsyncContextManager[Link]]

DOWN = "palang/v1/op/down"
ROOT = Path(__file__).parents[2]


class Book:
    """An intake in memory: what was durably taken, and what goes wrong."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.batches: list[int] = []
        self.refused: list[Refusal] = []
        self.unavailable = False
        self.poison: dict[bytes, int] = {}  # how often each raised
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = 0

    async def take(self, batch: Sequence[bytes]) -> None:
        self.entered += 1
        await self.gate.wait()
        self._available()
        for raw in batch:
            if raw in self.poison:
                self.poison[raw] += 1
                raise ZeroDivisionError("as a programming error would")
        self.taken += batch
        self.batches.append(len(batch))

    async def refuse(self, refusal: Refusal) -> None:
        self._available()
        self.refused.append(refusal)

    def _available(self) -> None:
        if self.unavailable:
            raise LedgerUnavailable("no space left on device")


@contextlib.asynccontextmanager
async def feeding(link: Link, book: Book, **rows: object) -> AsyncIterator[Feed]:
    quick = {"retry_first_s": 0.01, "retry_cap_s": 0.05}
    feed = Feed(link, FeedSettings.model_validate({**quick, **rows}), book)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def left_with(broker: Mosquitto, connect: Connect) -> list[bytes]:
    """What the broker still holds for the reader: everything that was not acknowledged."""
    broker.left("reader")
    async with connect("writer") as writer:
        await writer.publish(DOWN, b"end")
    found: list[bytes] = []
    async with connect("reader", [DOWN]) as reader, asyncio.timeout(15):
        while b"end" not in found:
            for message in await reader.receive(100):
                found.append(message.payload)
                message.ack()
    return found[: found.index(b"end")]


async def test_nothing_is_acknowledged_before_it_is_durable(connect: Connect, broker: Mosquitto) -> None:
    book = Book()
    book.gate.clear()
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book):
        for n in range(10):
            await writer.publish(DOWN, str(n).encode())
        await until(lambda: book.entered)
    assert sorted(await left_with(broker, connect)) == [str(n).encode() for n in range(10)]
    assert book.taken == []


async def test_what_is_durable_is_acknowledged(connect: Connect, broker: Mosquitto) -> None:
    book = Book()
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book) as feed:
        for n in range(200):
            await writer.publish(DOWN, str(n).encode())
        await until(lambda: len(book.taken) == 200)
        await until(lambda: feed.state.taken == 200)
    assert book.taken == [str(n).encode() for n in range(200)]
    assert await left_with(broker, connect) == []


async def test_messages_that_wait_share_a_commit(connect: Connect) -> None:
    book = Book()
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book, batch=8):
        book.gate.clear()
        for n in range(17):
            await writer.publish(DOWN, str(n).encode())
        book.gate.set()
        await until(lambda: len(book.taken) == 17)
        assert max(book.batches) <= 8
        assert len(book.batches) < 17


async def test_a_ledger_that_can_not_be_written_holds_the_acknowledgement(connect: Connect, broker: Mosquitto) -> None:
    book = Book()
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book) as feed:
        book.unavailable = True
        await writer.publish(DOWN, b"one")
        await until(lambda: book.entered > 2)
        assert feed.state.waiting_since is not None
        assert "no space left" in feed.state.last_error
        assert reader.state.connections == 1
        book.unavailable = False
        await until(lambda: book.taken == [b"one"])
        await until(lambda: feed.state.waiting_since is None)
    assert await left_with(broker, connect) == []


async def test_a_stop_while_the_ledger_can_not_be_written_leaves_it_to_the_broker(
    connect: Connect, broker: Mosquitto
) -> None:
    book = Book()
    book.unavailable = True
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book):
        await writer.publish(DOWN, b"one")
        await until(lambda: book.entered > 1)
    assert await left_with(broker, connect) == [b"one"]


async def test_a_lost_connection_during_the_commit_brings_the_batch_again(connect: Connect, broker: Mosquitto) -> None:
    book = Book()
    book.gate.clear()
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book):
        await writer.publish(DOWN, b"one")
        await until(lambda: book.entered)
        reader.reset("the test asks for it")
        await until(lambda: reader.state.connections == 2)
        book.gate.set()
        await until(lambda: book.taken == [b"one", b"one"])  # the ledger knows the second by its id
    assert await left_with(broker, connect) == []


async def test_a_poison_message_is_refused_after_its_tries_and_the_others_go_on(
    connect: Connect, broker: Mosquitto
) -> None:
    book = Book()
    book.poison[b"poison"] = 0
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer, feeding(reader, book, tries=3) as feed:
        book.gate.clear()
        await writer.publish(DOWN, b"first")
        await until(lambda: book.entered)
        for raw in (b"before", b"poison", b"after"):
            await writer.publish(DOWN, raw)
        book.gate.set()
        await until(lambda: book.refused and b"after" in book.taken)
        await until(lambda: feed.state.refused == 1)
    assert sorted(book.taken) == [b"after", b"before", b"first"]
    assert book.poison[b"poison"] == 4  # once in the batch, then three times alone
    assert "ZeroDivisionError at each of 3 tries" in book.refused[0].detail
    assert await left_with(broker, connect) == []


async def test_an_oversized_message_is_refused_unread_and_acknowledged(connect: Connect, broker: Mosquitto) -> None:
    book = Book()
    async with (
        connect("reader", [DOWN], max_message_bytes=5000) as reader,
        connect("writer") as writer,
        feeding(reader, book),
    ):
        await writer.publish(DOWN, bytes(5001))
        await writer.publish(DOWN, b"next")
        await until(lambda: b"next" in book.taken)
    assert [refusal.code for refusal in book.refused] == [Code.OVERSIZED]
    assert "5001 bytes; the limit is 5000" in book.refused[0].detail
    assert await left_with(broker, connect) == []


_VICTIM = """
import asyncio, os, sys
from sync.feed import Feed
from sync.mqtt import Link, MqttSettings
from sync.settings_mqtt import FeedSettings

class Journal:
    def __init__(self):
        self.file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async def take(self, batch):
        os.write(self.file, b"".join(raw + b"\\n" for raw in batch))
        os.fsync(self.file)

async def main():
    link = Link(MqttSettings(port=int(sys.argv[1]), client_id="reader"), ["palang/v1/op/down"])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        tasks.create_task(Feed(link, FeedSettings(), Journal()).run())

asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["feed.before_ack", "feed.after_ack"])
async def test_killed_around_the_acknowledgement_no_message_is_lost(
    connect: Connect, broker: Mosquitto, tmp_path: Path, point: str
) -> None:
    async with connect("reader", [DOWN]):
        pass
    async with connect("writer") as writer:
        for n in range(5):
            await writer.publish(DOWN, str(n).encode())
    journal = tmp_path / "journal"
    victim = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _VICTIM, str(broker.port), str(journal)],
        env={**os.environ, "PALANG_KILL_AT": point},
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert victim.returncode == -9
    written = journal.read_bytes().split()
    left = await left_with(broker, connect)
    assert written
    assert set(written) | set(left) == {b"0", b"1", b"2", b"3", b"4"}
    if point == "feed.before_ack":
        assert set(written) <= set(left)
    # After it some may still come again: a killed process's socket is reset, which can overtake what it had sent.
