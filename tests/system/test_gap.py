"""A serial that is missing is asked for, and never holds back the others."""

import base64

import pytest

from agent.stage import Stage
from tests.book import eventually
from tests.system.conversation import Conversation
from tests.system.test_bad_input import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_gap_is_asked_for_and_the_others_go_on(conversation: Conversation, stage: Stage) -> None:
    async with stage.regulator() as regulator:
        serial = len(await regulator.get("/messages")) + 1
        # A good order with a serial that leaves two out: the stand-in does not know it, and will send those two next.
        early = Desk(stage, serial + 2)
        raw = early.order(subjects=["+6281299900077"])
        await regulator.post("/raw", {"base64": base64.b64encode(raw).decode()})

        async def refused() -> bool:
            return (await conversation.caller.call("+6281299900077", seconds=0.3)).status == 603

        await eventually(refused, "the early order in force in spite of the gap")

        async def asked() -> bool:
            async with stage.agent() as agent:
                status = await agent.get("/v1/status")
            return bool(status["feed"]["missing_serials"] == [[serial, serial + 1]])

        await eventually(asked, "the gap known")
        await conversation.block()
        await conversation.block()
        await conversation.ended()

        async def filled() -> bool:
            async with stage.agent() as agent:
                status = await agent.get("/v1/status")
            return bool(status["feed"]["missing_serials"] == [])

        await eventually(filled, "the gap filled")
