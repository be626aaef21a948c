"""Alarms: in the log, the counter and the journal, once, without a number, also while the ledger can't be written."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.alarms import KINDS, Alarms
from agent.ledger_thread import LedgerThread
from sync.ledger import Ledger, LedgerUnavailable
from tests.sync.house import NOON, World
from tests.waiting import until

NUMBER = "+6281234567890"


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[LedgerThread]:
    """An empty ledger in its thread."""
    thread = LedgerThread(lambda: World(tmp_path / "ledger.sqlite").ledger)
    yield thread
    thread.close()


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Failing:
    """A ledger whose disk is full until `mended`."""

    def __init__(self, ledger: LedgerThread) -> None:
        self._ledger, self.mended, self.tries = ledger, False, 0

    async def read(self, method: Any, *args: Any) -> Any:
        return await self._ledger.read(method, *args)

    async def change(self, method: Any, *args: Any) -> Any:
        self.tries += 1
        if not self.mended:
            raise LedgerUnavailable("disk full")
        return await self._ledger.change(method, *args)


async def _journal(ledger: LedgerThread) -> list[Any]:
    return await ledger.read(Ledger.journal)


async def test_an_alarm_is_told_at_once_and_journaled_without_its_number(ledger: LedgerThread) -> None:
    alarms = Alarms(ledger, Clock())
    with structlog.testing.capture_logs() as said:
        raised = alarms.raise_("brake", f"r17 stopped\r\n{NUMBER} 400 times", "r17")
    assert [(line["event"], line["kind"], line["log_level"]) for line in said] == [("alarm", "brake", "error")]
    assert alarms.raised["brake"] == 1
    assert NUMBER not in json.dumps([raised.record(NOON), said]) and "\n" not in raised.text

    task = asyncio.create_task(alarms.run())
    await alarms.written()
    [record] = await _journal(ledger)
    assert (record.kind, record.actor, record.body["alarm"]) == ("alarm.brake", "palang", raised.id)
    assert NUMBER not in json.dumps(record.body)
    task.cancel()


async def test_it_may_be_raised_from_the_ledgers_thread(ledger: LedgerThread) -> None:
    alarms = Alarms(ledger, Clock())
    task = asyncio.create_task(alarms.run())
    woken = asyncio.Event()
    alarms.watch(woken.set)
    await ledger.read(lambda _: alarms.raise_("traffic_lost", "a minute is missing"))
    await asyncio.wait_for(woken.wait(), 5)
    await alarms.written()
    assert [record.kind for record in await _journal(ledger)] == ["alarm.traffic_lost"]
    task.cancel()


async def test_what_lasts_is_one_alarm_until_its_quiet_time_is_over(ledger: LedgerThread) -> None:
    clock = Clock()
    alarms = Alarms(ledger, clock)
    first = alarms.raise_("order_overdue", "T-1 is late", "order-1")
    assert alarms.raise_("order_overdue", "T-1 is later", "order-1") == first
    assert alarms.raise_("order_overdue", "T-2 is late", "order-2") != first
    clock.now += timedelta(seconds=KINDS["order_overdue"].quiet_s)
    assert alarms.raise_("order_overdue", "T-1 is still late", "order-1") != first
    assert alarms.raised["order_overdue"] == 3


async def test_it_stays_raised_while_the_ledger_cant_be_written_and_is_journaled_after(ledger: LedgerThread) -> None:
    failing = Failing(ledger)
    alarms = Alarms(failing, Clock())  # type: ignore[arg-type]
    task = asyncio.create_task(alarms.run())
    alarms.raise_("list_differs", "gateway-1 differs")
    await until(lambda: failing.tries)
    assert alarms.lately(NOON) and await _journal(ledger) == []
    failing.mended = True
    await alarms.written()
    assert [record.kind for record in await _journal(ledger)] == ["alarm.list_differs"]
    task.cancel()


async def test_an_agent_started_again_knows_its_alarms_and_who_looks_after_them(ledger: LedgerThread) -> None:
    clock = Clock()
    before = Alarms(ledger, clock)
    task = asyncio.create_task(before.run())
    one, two = before.raise_("brake", "r1", "r1"), before.raise_("brake", "r2", "r2")
    await before.written()
    await before.acknowledge(one.id, "sari", "looking at r1")
    task.cancel()

    after = Alarms(ledger, clock)
    task = asyncio.create_task(after.run())
    await after.written()
    known = {alarm.id: alarm for alarm in after.lately(clock.now)}
    assert known[one.id].acknowledged_by == "sari" and not known[one.id].open(clock.now)
    assert known[two.id].open(clock.now) and known[two.id].about == "r2"
    assert [alarm.id for alarm in after.lately(clock.now)] == [two.id, one.id], "open ones stand first"
    assert await after.acknowledge(one.id, "budi", "me too") == known[one.id]
    with pytest.raises(KeyError):
        await after.acknowledge("nothing", "sari", "none such")
    task.cancel()


def test_a_kind_without_a_row_is_a_fault_of_ours(tmp_path: Path) -> None:
    thread = LedgerThread(lambda: World(tmp_path / "ledger.sqlite").ledger)
    with pytest.raises(KeyError):
        Alarms(thread, lambda: datetime.now(UTC)).raise_("unheard_of", "x")
    thread.close()


def test_every_kind_says_what_it_means_in_a_sentence() -> None:
    for name, kind in KINDS.items():
        assert name == kind.name and kind.sentence.endswith(".") and kind.severity in {"page", "warn"}
