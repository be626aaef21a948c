"""Calls through a real gateway, counted by it, collected by the agent, told as a preview, and braked by themselves."""

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.stage import TRUNK, Stage
from sip_filter.control import ask
from tests.book import eventually
from tests.system.pouring import Answering, Pouring

_SETTINGS = "\n[traffic]\nsketch_s = 1\n"
BLOCKED = "+77011999999"
"""An order's number, in the prefix of the rule that is braked."""

pytestmark = pytest.mark.asyncio(loop_scope="module")
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")


@shared
async def stage(tmp_path_factory: Any) -> AsyncIterator[Stage]:
    """The whole set, with a switch that answers thousands of calls."""
    switch = Answering()
    await switch.listen()
    folder: Path = tmp_path_factory.mktemp("traffic")
    (folder / "keys").mkdir()
    (folder / "keys" / "gateway.key").write_text("5a" * 32)  # with a key by chance a true count is out of bounds
    async with Stage(folder, switch.address, more_settings=_SETTINGS) as started:
        yield started
    switch.transport.close()


@shared
async def peer(stage: Stage) -> AsyncIterator[Pouring]:
    """The trunk's other end."""
    pouring = Pouring(stage.caller, stage.gateway)
    await pouring.listen()
    yield pouring
    pouring.close()


async def test_ten_thousand_calls_are_counted_exactly_and_callers_within_three_percent(
    stage: Stage, peer: Pouring
) -> None:
    chance = random.Random(7)
    watched = [f"+77017{number:06}" for number in range(2_000)]
    callers = {
        "+7701": [f"+77015{number:06}" for number in range(4_000)] + chance.choices(watched, k=3_000) + watched,
        "+7702": [f"+77025{number:06}" for number in range(1_500)],
        "+4420": [f"+4420791{number:05}" for number in range(1_500)],
    }
    async with stage.agent() as agent:
        rule = await agent.post("/v1/rules", {"subject": "+77017", "action": "reject", "reason": "wangiri"})

        before = await _hour(agent, "+77")
        assert before["calls"] in (None, 0)
        poured = [caller for group in callers.values() for caller in group]
        chance.shuffle(poured)
        await _until_watched(stage, rule["id"])
        assert set(await peer.pour(poured, seconds=110)) == {200}

        poured_of = (("+77", 10_500, 7_500), ("+7701", 9_000, 6_000), ("+4420", 1_500, 1_500))

        async def all_told() -> bool:
            told = [(await _hour(agent, subject), calls, distinct) for subject, calls, distinct in poured_of]
            return all(
                figures["answered"] == calls and figures["callers"] is not None and _near(figures, distinct)
                for figures, calls, distinct in told
            )

        await eventually(all_told, "10,500 calls of 7,500 callers told", 60)
        for subject, calls, distinct in poured_of:
            figures = await _hour(agent, subject)
            assert (figures["calls"], figures["rang"], figures["answered"]) == (calls, calls, calls), subject
            assert (figures["messages"], figures["rejected"], figures["brief"]) == (0, 0, 0)
            assert _near(figures, distinct), (subject, figures["callers"])
            assert figures["callers"]["low"] <= distinct <= figures["callers"]["high"]
            assert figures["subscribers"]["estimate"] == 1, "all of them called one number"
            assert figures["by_trunk"][0]["trunk"] == TRUNK
            assert abs(figures["traffic_share"] - calls / 12_000) < 1e-6
        of_rule = (await agent.get(f"/v1/rules/{rule['id']}/preview"))["windows"]["hour"]
        assert of_rule["calls"] == 5_000 and _near(of_rule, 2_000)
        assert of_rule["at_most"] is None or of_rule["at_most"]["calls"] == 9_000
        drawn = await agent.get(f"/v1/rules/{rule['id']}/traffic", window="hour")
        assert sum(count or 0 for count in drawn["calls"]) == 5_000


async def test_a_rule_that_stops_too_much_is_in_shadow_by_itself_and_orders_stay(stage: Stage, peer: Pouring) -> None:
    async with stage.regulator() as regulator:
        await regulator.post("/orders", {"kind": "block", "subjects": [BLOCKED]})
    async with stage.agent() as agent:
        rule = await agent.post("/v1/rules", {"subject": "+77011", "action": "reject", "reason": "wangiri"})
        await agent.post(f"/v1/rules/{rule['id']}/enforce", {"reason": "wangiri"})

        async def refuses() -> bool:
            return await peer.pour([BLOCKED, "+77011000000"]) == [603, 603]

        await eventually(refuses, "the rule and the order in force", 30)
        assert await peer.pour(["+77021000000"]) == [200]
        began = time.monotonic()
        statuses = await peer.pour([f"+77011{number:06}" for number in range(400)])
        assert 603 in statuses

        async def in_shadow() -> bool:
            return bool((await agent.get(f"/v1/rules/{rule['id']}"))["mode"] == "shadow")

        await eventually(in_shadow, "the rule in shadow", 30)
        seconds = time.monotonic() - began
        assert seconds < 10, f"braked after {seconds:.1f} s"

        async def passes() -> bool:
            return await peer.pour(["+77011000001"]) == [200]

        await eventually(passes, "calls of the prefix pass again")
        assert await peer.pour([BLOCKED] * 3) == [603] * 3, "an order is never braked"
        (alarm,) = [one for one in (await agent.get("/v1/alarms"))["items"] if one["kind"] == "brake"]
        assert alarm["about"] == rule["id"] and "brake.trunk_share" in alarm["text"]
        steps = (await agent.get(f"/v1/rules/{rule['id']}/transitions"))["items"]
        assert (steps[0]["cause"], steps[0]["from_mode"], steps[0]["to_mode"]) == ("brake", "enforce", "shadow")


async def _until_watched(stage: Stage, rule: str) -> None:
    """Until the node counts the rule by itself."""

    async def watching() -> bool:
        told = await ask(stage.folder / "run" / "gateway.sock", {"ask": "traffic", "after": 2**40})
        return bool(told["watching"])

    await eventually(watching, f"{rule} watched", 30)


async def _hour(agent: Any, subject: str) -> dict[str, Any]:
    return dict((await agent.post("/v1/previews", {"subject": subject}))["windows"]["hour"])


def _near(figures: dict[str, Any], truth: int) -> bool:
    return bool(abs(figures["callers"]["estimate"] / truth - 1) < 0.03)
