"""kill -9 of every process, at each named write point and at random instants, with orders and calls under way."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from agent.stage import Stage
from sip_filter._core import Writer, list_digest
from sip_filter.store import connect
from sync.points import POINTS
from tests.book import eventually
from tests.system.conversation import Conversation

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

VICTIMS = ("agent", "gateway", "redis", "mosquitto")
INSTANTS = 24


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_named_point(conversation: Conversation, stage: Stage, point: str, victim: str) -> None:
    """The process that passes the point kills itself, or what it leans on, in the middle of its work."""
    passing = "gateway" if point.startswith("node.") else "agent"
    await stage.children[passing].stop()
    armed = f"{point}:3" if victim == passing else f"{point}:3:{stage.children[victim].pid}"
    await stage.start_child(passing, {"PALANG_KILL_AT": armed})
    killed = stage.children[victim]

    async def died() -> bool:
        await conversation.talk(0.2)
        return not killed.running

    await eventually(died, f"{victim} killed at {point}")
    assert killed.process.returncode == -9
    await stage.start_child(victim)
    await conversation.settle()


async def test_killed_at_random_instants(conversation: Conversation, stage: Stage) -> None:
    chance = random.Random(20261122)
    for instant in range(INSTANTS):
        victim = VICTIMS[instant % len(VICTIMS)]
        talking = asyncio.create_task(conversation.talk(0.6))
        await asyncio.sleep(chance.uniform(0.0, 0.6))
        await stage.children[victim].kill()
        await talking
        await stage.start_child(victim)
        await conversation.settle()


async def test_redis_emptied_under_way(conversation: Conversation, stage: Stage) -> None:
    redis = connect(f"unix://{stage.folder}/redis/redis.sock", 2.0)
    for _ in range(3):
        talking = asyncio.create_task(conversation.talk(0.5))
        await asyncio.sleep(0.2)
        await redis.flushall()
        await talking
        await conversation.settle()
    await redis.aclose()


async def test_the_gateway_starts_from_its_files_without_redis(conversation: Conversation, stage: Stage) -> None:
    await conversation.talk(0.3)
    await conversation.settle()
    await stage.children["redis"].kill()
    await stage.children["gateway"].kill()
    await stage.start_child("gateway")
    number = conversation.blocked[-1]

    async def refused() -> bool:
        return (await conversation.caller.call(number, seconds=0.2)).status == 603

    await eventually(refused, "the gateway refuses from its files", 5.0)
    await stage.start_child("redis")
    await conversation.settle()


async def test_a_copy_taken_at_a_random_instant_opens_whole(
    conversation: Conversation, stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for _ in range(5):
        talking = asyncio.create_task(conversation.talk(0.4))
        await asyncio.sleep(random.uniform(0.05, 0.4))
        copy = tmp_path_factory.mktemp("copy")
        pids = [stage.children[name].pid for name in ("agent", "gateway")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        _copy(stage.folder, copy)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        await talking
        with contextlib.closing(sqlite3.connect(copy / "ledger.sqlite")) as ledger:
            assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        writer = Writer(str(copy / "live"), str(copy / "node"))
        assert writer.digest == list_digest(writer.entries())
        assert writer.revision[1] > 0
        writer.close()
        shutil.rmtree(copy)
    await conversation.settle()


def _copy(folder: Path, copy: Path) -> None:
    """All files at one instant, as a snapshot of the volume has them: nobody writes meanwhile."""
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(folder / name, copy / name)
    shutil.copytree(folder / "node", copy / "node")
