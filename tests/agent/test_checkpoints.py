"""Checkpoints leave the machine: to a real broker, retained, and to syslog; a cut tail shows against what they kept."""

import asyncio
import contextlib
import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import aiomqtt
import pytest

from agent.alarms import Alarms
from agent.checkpoints import Broker, Checkpoints, Place, Syslog, topic_of
from agent.ledger_thread import LedgerThread
from agent.settings_checkpoints import CheckpointSettings
from sync.journal import read_checkpoints
from sync.ledger import Ledger, verify_file
from sync.mqtt import Link, LinkLostError, MqttSettings
from tests.mosquitto_server import Mosquitto
from tests.sync.house import NOON, OURS, World

SETTINGS = CheckpointSettings(seconds=60, alarm_after_s=600)


class Clock:
    """A clock that the test moves."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)


class Shelf:
    """A place that the test looks into, and can close."""

    name = "a shelf"

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.closed = False

    async def send(self, jws: str, now: datetime) -> None:
        if self.closed:
            raise LinkLostError("nobody there")
        self.kept.append(jws)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[LedgerThread]:
    thread = LedgerThread(lambda: World(tmp_path / "ledger.sqlite").ledger)
    yield thread
    thread.close()


async def _act(ledger: LedgerThread, clock: Clock, count: int = 1) -> None:
    for _ in range(count):
        await ledger.change(Ledger.record, "node.drain", "sri", "gw1", {"reason": "new kernel"}, clock.now)


def _seqs(lines: list[str]) -> list[int]:
    return [point.seq for point in read_checkpoints(lines, OURS.keyring())]


async def test_the_chains_end_leaves_after_so_many_records_or_so_long(ledger: LedgerThread) -> None:
    clock, shelf = Clock(), Shelf()
    task = Checkpoints(ledger, [shelf], SETTINGS, Alarms(ledger, clock), clock)
    await task.turn()
    assert shelf.kept == []
    await _act(ledger, clock, 3)
    await task.turn()
    assert shelf.kept == [], "not yet due"
    clock.pass_time(seconds=60)
    await task.turn()
    await task.turn()
    assert _seqs(shelf.kept) == [3]
    clock.pass_time(hours=5)
    await task.turn()
    assert _seqs(shelf.kept) == [3], "nothing was added"
    await _act(ledger, clock, 256)
    await task.turn()
    assert _seqs(shelf.kept)[-1] >= 256


async def test_a_place_that_is_away_gets_it_later_and_somebody_is_told(ledger: LedgerThread) -> None:
    clock, shelf, other = Clock(), Shelf(), Shelf()
    other.name = "another"
    alarms = Alarms(ledger, clock)
    task = Checkpoints(ledger, [shelf, other], SETTINGS, alarms, clock)
    await _act(ledger, clock)
    clock.pass_time(seconds=60)
    shelf.closed = True
    await task.turn()
    assert (shelf.kept, _seqs(other.kept)) == ([], [1])
    clock.pass_time(seconds=599)
    await task.turn()
    assert alarms.raised["checkpoint_not_sent"] == 0
    clock.pass_time(seconds=1)
    await task.turn()
    assert alarms.raised["checkpoint_not_sent"] == 1
    shelf.closed = False
    await task.turn()
    assert _seqs(shelf.kept) == [1] and len(other.kept) == 1


@pytest.mark.parametrize("kind", ["udp", "unix"])
async def test_syslog_gets_a_line_that_verifies_again(ledger: LedgerThread, tmp_path: Path, kind: str) -> None:
    with contextlib.ExitStack() as opened:
        if kind == "udp":
            server = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            server.bind(("127.0.0.1", 0))
            address = f"udp:127.0.0.1:{server.getsockname()[1]}"
        else:
            server = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            server.bind(str(tmp_path / "log"))
            address = f"unix:{tmp_path}/log"
        server.settimeout(10)
        clock = Clock()
        place: Place = Syslog(CheckpointSettings(syslog=address).syslog)
        task = Checkpoints(ledger, [place], SETTINGS, Alarms(ledger, clock), clock)
        await _act(ledger, clock)
        clock.pass_time(seconds=60)
        await task.turn()
        line = (await asyncio.to_thread(server.recv, 4096)).decode()
    assert line.startswith("<109>1 2026-11-22T12:01:00Z ") and " palang - checkpoint - ey" in line
    assert _seqs([line]) == [1]


async def test_a_tail_cut_with_everything_here_shows_against_the_brokers_retained_checkpoint(
    ledger: LedgerThread, tmp_path: Path
) -> None:
    server = Mosquitto(tmp_path / "mosquitto").start()
    link = Link(MqttSettings(port=server.port, client_id="sender"))
    running = asyncio.create_task(link.run())
    try:
        await asyncio.wait_for(link.connected(), 10)
        clock = Clock()
        task = Checkpoints(ledger, [Broker(link, "operator")], SETTINGS, Alarms(ledger, clock), clock)
        await _act(ledger, clock, 20)
        clock.pass_time(seconds=60)
        await task.turn()
        async with aiomqtt.Client("127.0.0.1", server.port) as late:  # who subscribes later gets it too
            await late.subscribe(topic_of("operator"))
            kept = await asyncio.wait_for(anext(aiter(late.messages)), 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.kill()
    assert kept.retain and isinstance(kept.payload, bytes)
    points = read_checkpoints([kept.payload.decode()], OURS.keyring())
    await ledger.read(lambda one: one._house.store._connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)"))  # type: ignore[union-attr]
    copy = tmp_path / "copy.sqlite"
    shutil.copyfile(tmp_path / "ledger.sqlite", copy)
    with sqlite3.connect(copy) as cut:
        cut.execute("DELETE FROM journal WHERE seq > 15")
        cut.execute("DELETE FROM checkpoints")
        cut.execute(
            "UPDATE head SET journal_seq = 15, checkpoint_seq = 0, "
            "journal_hash = (SELECT hash FROM journal WHERE seq = 15)"
        )
    cut.close()
    assert verify_file(copy, OURS.keyring()).whole
    found = verify_file(copy, OURS.keyring(), elsewhere=points)
    assert (found.whole, found.first_bad) == (False, 16)
