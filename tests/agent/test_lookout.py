"""The lookout: what nobody else sees becomes an alarm, once."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.alarms import Alarms
from agent.ledger_thread import LedgerThread
from agent.watching import look
from tests.sync.house import World, order


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Any]:
    """A world whose ledger is in its thread, and the parts that the lookout looks at."""
    worlds: list[World] = []

    def opened() -> Any:
        worlds.append(World(tmp_path / "ledger.sqlite"))
        return worlds[0].ledger

    thread = LedgerThread(opened)
    world = worlds[0]
    publisher = SimpleNamespace(state=SimpleNamespace(differing=()))
    parts = SimpleNamespace(ledger=thread, publisher=publisher, alarms=Alarms(thread, lambda: world.now))
    yield SimpleNamespace(world=world, parts=parts)
    thread.close()


def _raised(place: Any) -> list[tuple[str, str | None]]:
    return [(alarm.kind, alarm.about) for alarm in place.parts.alarms.lately(place.world.now)]


async def test_an_order_past_its_deadline_is_one_alarm(place: Any) -> None:
    world, late = place.world, order(1, "+6281234567890")
    await place.parts.ledger.read(lambda _: world.take(late))
    await look(place.parts, world.now)
    assert _raised(place) == []
    world.pass_time(days=1, minutes=1)
    for _ in range(3):
        await look(place.parts, world.now)
    assert _raised(place) == [("order_overdue", late.id)]
    [alarm] = place.parts.alarms.lately(world.now)
    assert "T-1" in alarm.text and "applying" in alarm.text


async def test_an_order_that_was_proved_in_time_is_none(place: Any) -> None:
    world, proved = place.world, order(1, "+6281234567890")
    await place.parts.ledger.read(lambda _: (world.take(proved), world.prove(proved, "in_force")))
    world.pass_time(days=2)
    await look(place.parts, world.now)
    assert _raised(place) == []


async def test_a_node_with_another_list_is_an_alarm_about_that_node(place: Any) -> None:
    place.parts.publisher.state.differing = ("gateway-2",)
    for _ in range(2):
        await look(place.parts, place.world.now)
    assert _raised(place) == [("list_differs", "gateway-2")]
