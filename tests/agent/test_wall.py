"""The wall: one look for all who watch, each part with its age, and nothing of a number in it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest_asyncio

from agent.alarms import Alarms
from agent.ledger_thread import LedgerThread
from agent.wall import Wall, board
from agent.wall.wall import Look
from sync.ledger import Head, Ledger, LedgerStatus
from sync.ledger.lately import Act
from tests.agent.api_house import ApiHouse, api_house
from tests.sync.house import NOON, order
from tests.waiting import until

NUMBER = "+6281234567890"


def a_node(**fields: Any) -> dict[str, Any]:
    return {
        "node": "gw1",
        "answers": True,
        "error": "",
        "revision": "1.7",
        "digest": "d",
        "lag": 0,
        "stale": False,
        "why": "",
        "trunks": {"intl-a": "enforce"},
        "bypass": False,
        "drained": False,
        "next_hops": [],
        "trunk_counters": {"intl-a": {"judged": 10}},
        **fields,
    }


def a_status(ledger: LedgerStatus | None, *nodes: dict[str, Any]) -> dict[str, Any]:
    head = ledger and ledger.head
    return {
        "health": "healthy" if ledger else "down",
        "because": [],
        "feed": {
            "connected_since": board.text(NOON),
            "error": "",
            "last_message_at": None,
            "last_serial": 3,
            "missing_serials": [[4, 6]],
            "refused_messages": 0,
        },
        "ledger": {
            "writable": ledger is not None,
            "revision": str(head) if head else None,
            "entries": 1,
            "digest": head and head.digest,
            "journal": 1,
            "rules": {},
            "error": "" if ledger else "disk full",
        },
        "redis": {"connected": True, "revision": "1.7", "rebuilds": 0, "error": ""},
        "nodes": list(nodes),
        "orders": ledger and ledger.orders,
        "overdue": ledger and ledger.overdue,
        "deadlines": ledger
        and [
            {"order": d.order, "ticket": d.ticket, "state": d.state, "deadline": board.text(d.deadline)}
            for d in ledger.deadlines
        ],
        "outbox": {"waiting": 0, "oldest": None, "error": ""},
    }


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[tuple[ApiHouse, Wall]]:
    """An API whose wall looks at one node; the ledger is real."""
    wall = Wall()

    async def report(parts: Any, now: datetime, known: LedgerStatus | None = None) -> dict[str, Any]:
        return a_status(known, a_node())

    async with api_house(tmp_path, wall=wall, alarms=None) as made:
        ledger: LedgerThread = made.ledger
        made.parts.__dict__["alarms"] = Alarms(ledger)
        ledger.watch(wall.touch)
        task = asyncio.create_task(wall.run(made.parts, report))
        yield made, wall
        wall.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_record_has_every_part_with_its_age(house: tuple[ApiHouse, Wall]) -> None:
    made, _ = house
    await made.take(order(1, NUMBER))
    status, record = await made.ask("GET", "/wall", by="ana viewer")
    assert status == 200
    for part in ("calls", "broker", "feed", "ledger", "redis", "outbox", "nodes", "orders", "deadlines", "changes"):
        assert record[part]["at"] <= record["at"], part
    assert record["feed"] == record["feed"] | {"missing": 3, "tone": "warn"}
    assert record["course"]["times"] == [] or record["course"]["judged"][0] >= 0
    assert NUMBER[1:] not in json.dumps(record)


async def test_all_who_follow_get_the_same_look_and_are_let_go_at_the_end(house: tuple[ApiHouse, Wall]) -> None:
    _, wall = house
    got: list[list[Look]] = [[], [], []]

    async def follow(looks: list[Look]) -> None:
        async for look in wall.follow():
            looks.append(look)  # noqa: PERF401  they are counted while they come

    tasks = [asyncio.create_task(follow(looks)) for looks in got]
    await until(lambda: all(len(looks) >= 2 for looks in got))
    assert wall.watching == 3
    assert len({id(looks[1]) for looks in got}) == 1 and got[0][1].json is got[2][1].json
    assert got[0][1].n > got[0][0].n
    wall.close()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert wall.watching == 0


async def test_what_people_changed_is_told_with_name_and_reason_and_without_numbers(
    house: tuple[ApiHouse, Wall],
) -> None:
    made, wall = house
    await made.ledger.change(Ledger.propose_rule, "+77*", "reject", f"calls from {NUMBER}", "sari", NOON)

    def told() -> bool:
        return bool(wall._look and wall._look.record["changes"]["items"])

    async for _look in wall.follow():
        if told():
            break
    (change, *_) = (await wall.newest()).record["changes"]["items"]
    assert (change["actor"], change["about"], change["subject"]) == ("sari", "r1", "+77*")
    assert NUMBER[1:] not in json.dumps(change)


async def test_an_alarm_stays_until_somebody_looks_after_it(house: tuple[ApiHouse, Wall]) -> None:
    made, wall = house
    made.parts.alarms.raise_("list_differs", "gw1 holds another list", "gw1")
    async for look in wall.follow():
        if look.record["alarms"]["items"]:
            break
    assert (await wall.newest()).record["alarms"]["items"][0]["kind"] == "list_differs"


def test_an_act_is_masked_whoever_wrote_it() -> None:
    body = {"subject": NUMBER, "reason": f"{NUMBER} rang", "from": "shadow", "to": "enforce", "secret": "x"}
    shown = board.act(Act(1, NOON, "rule.mode", "sari", "r1", body))
    assert NUMBER[1:] not in json.dumps(shown) and "secret" not in shown
    assert (shown["from"], shown["to"]) == ("shadow", "enforce") and "•" in shown["subject"]
    stepped = Act(1, NOON, "rule.enforce", "sari", "r1", {"from": {"mode": "shadow"}, "to": {"mode": None}})
    assert (board.act(stepped)["from"], board.act(stepped)["to"]) == ("shadow", "")
    assert board.act(Act(1, NOON, "rule.add", "sari", "r1", {"subject": "what"}))["subject"] == "•••"


def test_a_node_that_is_silent_keeps_what_it_said_and_when() -> None:
    first, later = board.text(NOON), board.text(NOON + timedelta(minutes=1))
    said = board.node(a_node(), "1.7", "d", first, None)
    assert (said["list"], said["seen_at"], board.node_tone(said)) == ("equal", first, "good")
    silent = board.node({"node": "gw1", "answers": False, "error": "no answer"}, "1.7", "d", later, said)
    assert (silent["revision"], silent["seen_at"], board.node_tone(silent)) == ("1.7", first, "bad")
    assert board.node({"node": "gw2", "answers": False, "error": "x"}, "1.7", "d", later, None)["seen_at"] is None


def test_a_node_is_compared_with_the_ledger_only_at_the_same_revision() -> None:
    at = board.text(NOON)
    for fields, listed, tone in (
        ({}, "equal", "good"),
        ({"digest": "other"}, "differs", "bad"),
        ({"revision": "1.6", "digest": "other", "lag": 1}, "behind", "warn"),
        ({"stale": True}, "equal", "warn"),
        ({"bypass": True}, "equal", "bad"),
        ({"drained": True}, "equal", "warn"),
        ({"next_hops": [{"name": "s", "healthy": False}]}, "equal", "warn"),
    ):
        node = board.node(a_node(**fields), "1.7", "d", at, None)
        assert (node["list"], board.node_tone(node)) == (listed, tone), fields


def test_parts_of_the_ledger_keep_their_age_while_it_can_t_be_used() -> None:
    parts = board.from_status(a_status(None, a_node(lag=0, list="equal")), board.text(NOON))
    assert set(parts) == {"broker", "redis", "nodes"}
    ledger = LedgerStatus({}, (), 0, 0, None, 0, (), None, 0, Head(1, 7, "d", 0), 1, {})
    whole = board.from_status(a_status(ledger, a_node(lag=0, list="equal")), board.text(NOON))
    assert set(whole) - set(parts) == {"feed", "ledger", "outbox", "orders"}


def test_the_nearest_deadline_comes_first_whatever_waits() -> None:
    orders = [{"order": "o1", "ticket": "T", "state": "held", "deadline": board.text(NOON + timedelta(hours=2))}]
    request = type("R", (), {"id": "a1", "act": "rule.enforce", "until": NOON + timedelta(hours=1)})
    clearance = type(
        "C", (), {"id": "c1", "state": "asked", "reference": None, "deadline": NOON + timedelta(minutes=90)}
    )
    found = board.deadlines(orders, [request], [clearance])
    assert [due["about"] for due in found] == ["a1", "c1", "o1"]
    assert [due["about"] for due in board.deadlines(orders, [request], limit=1)] == ["a1"]
