"""Collector and brake with a real ledger and store, nodes that answer by the seam, and a steered clock."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.ledger_thread import LedgerThread
from agent.settings import ProofSettings, RosterNode, Settings
from agent.traffic.braking import Brake
from agent.traffic.collector import Collector
from agent.traffic.previews import Previews
from agent.traffic.settings import TrafficSettings
from agent.traffic.store import TrafficStore
from agent.traffic.thread import TrafficThread
from sync.gate import Gate
from sync.ledger import Ledger, RuleView
from sync.settings import GateSettings
from tests.agent.hyperloglog import Sketch
from tests.agent.traffic.days import NOON, Call, some_calls
from tests.agent.traffic.nodes import FakeNode
from tests.sync.house import OPERATOR, OURS
from tests.waiting import until


class World:
    """Two nodes, a ledger, a store, the collector, previews and the brake; `now_ms` is the time of all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = NOON * 60_000 + 15_000
        self.lost: list[str] = []
        self.alarms: list[tuple[str, str]] = []
        names = ("gw1", "gw2")
        self.nodes = {name: FakeNode(folder / f"{name}.sock", name, self.now_ms) for name in names}
        roster = tuple(RosterNode(name=name, control=folder / f"{name}.sock") for name in names)
        self.settings = Settings(
            proof=ProofSettings(roster=roster), traffic=TrafficSettings(poll_s=60, sketch_s=0.001, timeout_s=2)
        )
        self.ledger = LedgerThread(self._open_ledger)
        self.store = TrafficThread(lambda: TrafficStore(folder / "traffic.sqlite", Sketch, self.lost.append))
        self.begin()

    def _open_ledger(self) -> Ledger:
        return Ledger.open(self.folder / "ledger.sqlite", gate=Gate(GateSettings()), operator=OPERATOR, signer=OURS)

    def begin(self) -> None:
        """A new agent over the same files."""

        def clock() -> float:
            return self.now_ms / 1000

        self.collector = Collector(self.ledger, self.store, self.settings, self.lost.append, clock)
        self.previews = Previews(self.store, self.collector, self.settings, Sketch, clock)
        self.brake = Brake(
            self.ledger,
            self.store,
            self.collector,
            self.settings,
            lambda text, rule: self.alarms.append((text, rule)),
            clock,
        )

    @property
    def minute(self) -> int:
        return self.now_ms // 60_000

    def at(self) -> datetime:
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    async def turn(self, seconds: float = 5.0) -> None:
        """Time passes, then everybody does a round."""
        self.now_ms += int(seconds * 1000)
        for node in self.nodes.values():
            node.now_ms = self.now_ms
        await self.collector.round()
        await self.brake.round()

    async def propose(self, subject: str, action: Any = "reject") -> RuleView:
        rule = await self.ledger.change(Ledger.propose_rule, subject, action, "wangiri", "rina", self.at())
        self.collector.wake()
        return rule

    async def enforce(self, rule: RuleView, expected: int | None = None) -> RuleView:
        outcome = await self.ledger.change(
            Ledger.enforce_rule, rule.id, "rina", "wangiri", self.at(), expected=expected
        )
        self.collector.wake()
        return outcome.record

    def comes(self, count: int, caller: str = "7701", node: str = "gw1", **fields: Any) -> None:
        """Calls in this minute."""
        for number in range(count):
            self.nodes[node].calls.append(
                Call(self.minute, "intl-a", f"{caller}{number:07}", f"62811{number:06}", **fields)
            )

    async def hour(self, subject: str = "+77*") -> dict[str, Any]:
        return (await self.previews.of_idea(subject, "reject", (), "both", ()))["windows"]["hour"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    for node in made.nodes.values():
        await node.start()
    yield made
    for node in made.nodes.values():
        await node.close()
    made.store.close()
    made.ledger.close()


async def test_two_nodes_are_collected_and_asked_again_from_where_they_ended(world: World) -> None:
    world.comes(5)
    world.comes(7, node="gw2")
    await world.turn()
    await world.turn(60)
    world.comes(1)
    await world.turn()
    assert (await world.hour())["calls"] == 13
    await world.turn(60)
    world.comes(1)
    await world.turn()
    assert (await world.hour())["calls"] == 14
    assert [request["after"] for request in world.nodes["gw1"].asked] == [0, 0, 0, 0, world.minute - 1]
    assert world.collector.fresh_s() == 0
    assert {node["error"] for node in (await _idea(world))["nodes"]} == {None}


async def test_rounds_without_end_count_nothing_twice(world: World) -> None:
    for _ in range(20):
        world.comes(3)
        await world.turn(13)
    assert (await world.hour())["calls"] == 60
    callers = (await world.hour())["callers"]
    assert callers["low"] <= 3 <= callers["high"]


async def test_a_new_agent_over_the_same_store_goes_on(world: World) -> None:
    world.comes(5)
    await world.turn(120)
    world.begin()
    world.comes(2)
    await world.turn(60)
    assert (await world.hour())["calls"] == 7
    assert world.nodes["gw1"].asked[-1]["after"] == world.minute - 2


async def test_a_node_that_began_anew_keeps_what_it_told_and_says_what_is_not_covered(world: World) -> None:
    world.comes(5)
    await world.turn(60)
    world.nodes["gw1"].restart()
    world.comes(4)
    await world.turn(60)
    assert (await world.hour())["calls"] == 9


async def test_an_answer_that_is_cut_is_asked_on(world: World) -> None:
    node = world.nodes["gw1"]
    node.most_minutes = 3
    for _ in range(20):
        world.comes(1)
        world.now_ms += 60_000
    await world.turn()
    assert (await world.hour())["calls"] == 20
    assert len(node.asked) > 5


async def test_an_answer_that_is_cut_for_ever_ends(world: World) -> None:
    world.nodes["gw1"].changes = {"next": 0}
    await world.turn()
    assert "was cut at minute 0" in str(world.collector.nodes["gw1"].error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"node": "gw7"}, "that of node gw7"),
        ({"now_ms": (NOON + 9) * 60_000}, "its clock differs by +5"),
        ({"columns": ["minute"]}, "columns minute"),
        ({"rows": [[1, 2]]}, "shorter"),
        ({"rows": None}, "NoneType"),
    ],
)
async def test_a_node_that_is_wrong_is_told_and_the_other_counts(world: World, change: Any, says: str) -> None:
    world.nodes["gw1"].changes = change
    world.comes(3)
    world.comes(2, node="gw2")
    await world.turn()
    record = await _idea(world)
    assert record["windows"]["hour"]["calls"] == 2
    assert record["fresh_s"] is None
    assert says in record["nodes"][0]["error"] and record["nodes"][1]["error"] is None
    world.nodes["gw1"].changes = {}
    await world.turn()
    assert (await world.hour())["calls"] == 5


async def test_a_node_that_is_away_is_a_part_that_is_not_covered_until_it_tells(world: World) -> None:
    await world.turn(60)
    world.nodes["gw1"].error = "busy"
    for _ in range(10):
        world.comes(1)
        await world.turn(60)
    record = await _idea(world)
    assert record["windows"]["hour"]["calls"] == 0 and "busy" in record["nodes"][0]["error"]
    assert record["fresh_s"] == 600
    covered = record["windows"]["hour"]["covered"]
    world.nodes["gw1"].error = None
    await world.turn()
    record = await _idea(world)
    assert record["windows"]["hour"]["calls"] == 10 and record["windows"]["hour"]["covered"] > covered


async def test_every_rule_and_proposal_is_watched_with_its_exceptions(world: World) -> None:
    rule = await world.propose("+770100*")
    await world.turn(60)
    (watch,) = world.nodes["gw2"].asked[-1]["watches"]
    assert (watch["subject"], watch["except"], watch["kinds"]) == ("+770100*", [], "both")
    await world.enforce(await world.propose("+7701000*", "allow"))
    await world.turn(60)
    watches = {watch["subject"]: watch for watch in world.nodes["gw2"].asked[-1]["watches"]}
    assert watches["+770100*"]["except"] == ["+7701000*"] and watches["+770100*"]["id"] != watch["id"]
    world.comes(1, "7701009")
    world.comes(1, "7701000")
    await world.turn()
    preview = await world.previews.of_rule(rule)
    assert preview["windows"]["hour"]["calls"] == 1 and preview["windows"]["hour"]["at_most"]["calls"] == 2
    assert [exception["subject"] for exception in preview["exceptions"]] == ["+7701000*"]
    assert preview["data"] == "prefix of 4 digits", "no minute of the watch is whole yet"
    await world.turn(120)
    assert (await world.previews.of_rule(rule))["data"] == "exact"


async def test_an_idea_about_a_number_is_answered_by_what_covers_it_only(world: World) -> None:
    await world.propose("+77010000001")
    await world.turn(60)
    world.comes(9)
    await world.turn(60)
    record = await _idea(world, "+77010000001")
    assert record["windows"]["hour"]["calls"] is None and record["windows"]["hour"]["at_most"]["calls"] == 9
    assert "77010000001" not in str(record)


async def test_counts_that_a_node_lost_are_told_once(world: World) -> None:
    world.nodes["gw1"].lost = 4
    await world.turn()
    await world.turn()
    assert world.lost == ["node gw1 had no room for 4 counts of calls since it began"]


async def test_minutes_that_a_node_keeps_no_longer_are_told_and_not_covered(world: World) -> None:
    await world.turn(120)
    world.nodes["gw1"].error = "busy"
    for _ in range(3):
        await world.turn(3_600)
    world.nodes["gw1"].error = None
    await world.turn()
    assert world.lost == ["85 minutes of what node gw1 counted were asked for too late"]
    await world.turn()
    assert len(world.lost) == 1
    world.nodes["gw2"].restart()
    await world.turn(3_600)
    assert len(world.lost) == 1, "what a node that began anew did not count is not lost"


async def test_a_week_passes(world: World) -> None:
    calls = some_calls(3, 400, NOON, NOON + 9 * 24 * 60)
    node = world.nodes["gw1"]
    while world.minute < NOON + 9 * 24 * 60:
        node.calls = [call for call in calls if world.minute - 90 <= call.minute < world.minute + 60]
        await world.turn(3_600)
    week = (await _idea(world))["windows"]["week"]
    first = (world.minute - 7 * 24 * 60) // 60 * 60
    mine = [call for call in calls if first <= call.minute <= world.minute and call.caller.startswith("77")]
    assert week["calls"] + week["messages"] == len(mine) > 100
    truth = len({call.caller for call in mine})
    assert week["callers"]["low"] <= truth <= week["callers"]["high"]

    def rows(store: TrafficStore, table: str, column: str) -> list[int]:
        return [at for (at,) in store._all(f"SELECT DISTINCT {column} FROM {table} ORDER BY 1")]

    minutes = await world.store.ask(rows, "minutes", "minute")
    hours = await world.store.ask(rows, "hours", "hour")
    assert minutes[0] >= (world.minute - 25 * 60) and hours[-1] * 60 < world.minute - 24 * 60 + 60
    assert hours[0] * 60 >= world.minute - 8 * 24 * 60 - 60


async def test_a_rule_that_stops_more_than_it_promised_is_in_shadow_within_one_round(world: World) -> None:
    rule = await world.enforce(await world.propose("+7701*"), expected=120)
    await world.turn()
    world.comes(3_000, "6281", "gw2")  # other traffic, so that it is not the trunk's share
    for _ in range(3):
        world.comes(7, rejected=True)
        await world.turn(4)
    assert (await world.ledger.read(Ledger.rule, rule.id)).mode == "enforce" and not world.alarms
    world.comes(3_000, "6281", "gw2")
    world.comes(10, rejected=True)
    await world.turn()
    braked = await world.ledger.read(Ledger.rule, rule.id)
    assert braked.mode == "shadow"
    (alarm,) = world.alarms
    assert alarm == (
        f"rule {rule.id} is in shadow: it stopped 31 calls in 5 minutes; 3 times its preview"
        " (120 an hour) is 30 (brake.factor)",
        rule.id,
    )
    steps = await world.ledger.read(Ledger.transitions, rule.id)
    assert (steps[0].cause, steps[0].actor, steps[0].to_mode) == ("brake", "palang", "shadow")
    await world.turn()
    assert len(world.alarms) == 1


async def test_a_rule_that_is_enforced_again_is_judged_by_what_it_stops_then(world: World) -> None:
    rule = await world.enforce(await world.propose("+7701*"), expected=1)
    await world.turn()
    world.comes(30, rejected=True)
    await world.turn()
    assert len(world.alarms) == 1
    rule = await world.enforce(await world.ledger.read(Ledger.rule, rule.id), expected=1)
    await world.turn()
    assert (await world.ledger.read(Ledger.rule, rule.id)).mode == "enforce"
    world.now_ms += 60_000
    world.comes(30, rejected=True)
    await world.turn()
    assert (await world.ledger.read(Ledger.rule, rule.id)).mode == "shadow" and len(world.alarms) == 2


async def test_the_brake_leaves_a_rule_that_stops_nothing_by_itself(world: World) -> None:
    rule = await world.propose("+7701*")
    await world.turn(60)
    world.comes(500, rejected=True)  # an order on its numbers stops them; the rule does nothing yet
    await world.turn()
    assert not world.alarms and (await world.ledger.read(Ledger.rule, rule.id)).mode == "disabled"


async def test_a_preview_promises_the_busiest_hour(world: World) -> None:
    rule = await world.propose("+7701*")
    await world.turn(60)
    assert (await world.previews.of_rule(rule))["expected"] is None
    for minute in range(180):
        world.comes(2 if 60 <= minute < 120 else 1)
        await world.turn(60)
    assert (await world.previews.of_rule(rule))["expected"] == 120


async def test_a_new_rule_is_watched_within_a_moment_not_at_the_next_round(world: World) -> None:
    collecting = asyncio.create_task(world.collector.run())
    await world.collector.news(5)
    asked = len(world.nodes["gw1"].asked)
    rule = await world.propose("+7701*")
    assert not await world.collector.watches(rule.id, 0)
    assert await world.collector.watches(rule.id, 10)
    assert world.nodes["gw1"].watching
    assert len(world.nodes["gw1"].asked) == asked + 1
    world.collector.wake()  # an order, say: nothing else is to be watched
    await until(lambda: not world.collector._changed.is_set())
    assert len(world.nodes["gw1"].asked) == asked + 1
    collecting.cancel()
    await asyncio.gather(collecting, return_exceptions=True)


async def test_it_runs_until_it_is_cancelled(world: World) -> None:
    tasks = [asyncio.create_task(world.collector.run()), asyncio.create_task(world.brake.run())]
    await world.collector.news(5)
    assert world.collector.nodes["gw1"].error is None
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in done)


async def _idea(world: World, subject: str = "+77*") -> dict[str, Any]:
    return await world.previews.of_idea(subject, "reject", (), "both", ())
