"""SIPp as caller and as callee: two user agents that share no line of code with us decide what a call got."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.client import Record
from agent.stage import Stage
from tests.book import eventually
from tests.system.conftest import shared
from tests.system.sipp_calls import SCENARIOS, answering, place

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCAMMER, WANGIRI, EXCEPTION, FRIEND = "+6281234567890", "+77012345678", "+77017654321", "+6281234567891"
CALLS = 20


@shared
async def callee(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, int]]:
    """SIPp's own answering scenario, as the switch."""
    async with answering(tmp_path_factory.mktemp("callee")) as address:
        yield address


@shared
async def stage(tmp_path_factory: pytest.TempPathFactory, callee: tuple[str, int]) -> AsyncIterator[Stage]:
    """The whole set, with SIPp behind it. Its scenario takes an OPTIONS for a broken call: no checks."""
    unchecked = "[gateway.checks]\nseconds = 0\n"
    async with Stage(tmp_path_factory.mktemp("stage"), callee, more_settings=unchecked) as started:
        yield started


async def call(stage: Stage, scenario: str, number: str, folder: Path) -> None:
    """Place calls as `number`; SIPp's exit code says whether each went as the scenario has it."""
    await place(stage.gateway, stage.caller, SCENARIOS / f"{scenario}.xml", number, folder, CALLS)


async def _confirmed(stage: Stage, order: Record, status: str) -> None:
    async def look() -> bool:
        async with stage.regulator() as regulator:
            found: list[Record] = await regulator.get("/confirmations", order=order["id"])
        return any(c["status"] == status for c in found)

    await eventually(look, f"confirmed {status}")


async def test_the_main_job_as_sipp_sees_it(stage: Stage, tmp_path: Path) -> None:
    await call(stage, "answered", SCAMMER, tmp_path)
    async with stage.regulator() as regulator, stage.agent() as noc:
        order = await regulator.post("/orders", {"kind": "block", "subjects": [SCAMMER]})
        await _confirmed(stage, order, "in_force")
        await call(stage, "refused", SCAMMER, tmp_path)
        await call(stage, "answered", FRIEND, tmp_path)

        await regulator.post("/advisories", {"prefix": "+77", "reason": "one-ring calls"})
        rules: list[Record] = []

        async def proposed() -> bool:
            rules[:] = (await noc.get("/v1/rules"))["items"]
            return bool(rules)

        await eventually(proposed, "a proposed rule")
        path = f"/v1/rules/{rules[0]['id']}"
        await noc.post(f"{path}/shadow", {"reason": "look first"})
        await call(stage, "answered", WANGIRI, tmp_path)
        allow = await noc.post("/v1/rules", {"subject": EXCEPTION, "action": "allow", "reason": "known"})
        await noc.post(f"/v1/rules/{allow['id']}/enforce", {"reason": "known"})
        await noc.post(f"{path}/enforce", {"reason": "wangiri"})
        await _in_step(stage)
        await call(stage, "refused", WANGIRI, tmp_path)
        await call(stage, "answered", EXCEPTION, tmp_path)
        await noc.post(f"{path}/disable", {"reason": "over"})
        await _in_step(stage)
        await call(stage, "answered", WANGIRI, tmp_path)

        numbers = [f"+62857{number:08d}" for number in range(3_104)]
        order = await regulator.post("/orders", {"kind": "block", "subjects": numbers})
        await _confirmed(stage, order, "in_force")
        await call(stage, "refused", numbers[1_552], tmp_path)

        order = await regulator.post("/orders", {"kind": "unblock", "subjects": [SCAMMER]})
        await _confirmed(stage, order, "lifted")
        await call(stage, "answered", SCAMMER, tmp_path)


async def _in_step(stage: Stage) -> None:
    """Until the node holds the ledger's newest list."""

    async def look() -> bool:
        async with stage.agent() as agent:
            status = await agent.get("/v1/status")
        return bool(status["nodes"][0]["digest"] == status["ledger"]["digest"])

    await eventually(look, "the node in step")
