"""The outbox on a real broker: sent means a good PUBACK, and what the ledger has due leaves in order."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sync.ledger import LedgerUnavailable, Outgoing
from sync.mqtt import Link, MqttSettings
from sync.outbox import Outbox
from sync.settings_mqtt import OutboxSettings
from tests.mosquitto_server import Mosquitto
from tests.waiting import until

Connect = Callable[..., AbstractAsyncContextManager[Link]]

UP = "palang/v1/op/up"
ROOT = Path(__file__).parents[2]


class Book:
    """The ledger's side, in memory: due until it is marked as sent."""

    def __init__(self, count: int = 0) -> None:
        self.waiting = [Outgoing(str(n), f"confirmation {n}".encode(), 0) for n in range(count)]
        self.marked: list[str] = []
        self.asked = 0
        self.unavailable = False

    async def due(self, limit: int) -> Sequence[Outgoing]:
        self.asked += 1
        if self.unavailable:
            raise LedgerUnavailable("no space left on device")
        return self.waiting[:limit]

    async def sent(self, ids: Sequence[str]) -> None:
        self.marked += ids
        self.waiting = [item for item in self.waiting if item.id not in ids]


@contextlib.asynccontextmanager
async def sending(link: Link, book: Book, **rows: object) -> AsyncIterator[Outbox]:
    outbox = Outbox(link, UP, OutboxSettings.model_validate({"poll_s": 0.05, "retry_cap_s": 0.1, **rows}), book)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heard(regulator: Link, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            for message in await regulator.receive(100):
                message.ack()
                found.append(message.payload)
    return found


async def test_what_is_due_leaves_in_order_and_is_marked(connect: Connect) -> None:
    book = Book(50)
    async with connect("regulator", [UP]) as regulator, connect("agent") as agent, sending(agent, book) as outbox:
        assert await heard(regulator, 50) == [f"confirmation {n}".encode() for n in range(50)]
        await until(lambda: len(book.marked) == 50)
        await until(lambda: outbox.state.sent == 50)
    assert book.marked == [str(n) for n in range(50)]


async def test_a_wake_ends_the_sleep(connect: Connect) -> None:
    book = Book()
    async with (
        connect("regulator", [UP]) as regulator,
        connect("agent") as agent,
        sending(agent, book, poll_s=60) as outbox,
    ):
        await until(lambda: book.asked)
        began = time.monotonic()
        book.waiting.append(Outgoing("1", b"confirmation", 0))
        outbox.wake()
        await heard(regulator, 1)
        assert time.monotonic() - began < 5


async def test_a_refused_puback_marks_nothing(tmp_path: Path) -> None:
    denying = Mosquitto(tmp_path / "denying", acl=f"topic read #\ntopic write {UP}/other\n").start()
    link = Link(MqttSettings(port=denying.port, client_id="agent"))
    book = Book(2)
    task = asyncio.create_task(link.run())
    try:
        async with sending(link, book) as outbox:
            await until(lambda: book.asked > 2)
            assert book.marked == []
            assert "135" in outbox.state.last_error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        denying.kill()


async def test_while_the_broker_is_away_everything_waits(connect: Connect, broker: Mosquitto) -> None:
    async with connect("regulator", [UP]) as regulator, connect("agent") as agent:
        broker.kill()
        await until(lambda: agent.state.connected_since is None)
        book = Book(3)
        async with sending(agent, book):
            await asyncio.sleep(0.2)  # nothing happens, and nothing tells that it does not
            assert book.marked == []
            broker.start()
            assert await heard(regulator, 3) == [b"confirmation 0", b"confirmation 1", b"confirmation 2"]
            await until(lambda: len(book.marked) == 3)


async def test_a_ledger_that_can_not_be_read_is_asked_again(connect: Connect) -> None:
    book = Book(1)
    book.unavailable = True
    async with connect("regulator", [UP]) as regulator, connect("agent") as agent, sending(agent, book) as outbox:
        await until(lambda: book.asked > 2)
        assert "no space left" in outbox.state.last_error
        book.unavailable = False
        assert await heard(regulator, 1) == [b"confirmation 0"]
        await until(lambda: outbox.state.last_error == "")


_VICTIM = """
import asyncio, os, sys
from pathlib import Path
from sync.ledger import Outgoing
from sync.mqtt import Link, MqttSettings
from sync.outbox import Outbox
from sync.settings_mqtt import OutboxSettings

class Book:
    def __init__(self):
        self.path = Path(sys.argv[2])
    async def due(self, limit):
        return [] if self.path.exists() else [Outgoing("1", b"confirmation", 0)]
    async def sent(self, ids):
        self.path.touch()

async def main():
    link = Link(MqttSettings(port=int(sys.argv[1]), client_id="agent"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        tasks.create_task(Outbox(link, "palang/v1/op/up", OutboxSettings(), Book()).run())

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("point", "arrived", "marked"),
    [("outbox.before_send", 0, False), ("outbox.after_send", 1, False), ("outbox.after_record", 1, True)],
)
async def test_killed_around_the_sending_nothing_is_marked_that_did_not_arrive(
    connect: Connect, broker: Mosquitto, tmp_path: Path, point: str, arrived: int, marked: bool
) -> None:
    async with connect("regulator", [UP]) as regulator:
        victim = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _VICTIM, str(broker.port), str(tmp_path / "mark")],
            env={**os.environ, "PALANG_KILL_AT": point},
            cwd=ROOT,
            timeout=30,
            check=False,
        )
        assert victim.returncode == -9
        assert (tmp_path / "mark").exists() is marked
        async with connect("writer") as writer:
            await writer.publish(UP, b"end")
        assert await heard(regulator, arrived + 1) == [b"confirmation"] * arrived + [b"end"]
