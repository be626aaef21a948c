"""Roll back on the running set: within a second of its answer calls follow it on the node, and no order moves."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import pytest

from agent.stage import Stage
from tests.book import eventually
from tests.system.conversation import Conversation

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]  # alone: it looks at a clock

_log = logging.getLogger(__name__)  # `-o log_cli=true --log-level INFO` shows the figures
CALLER, SUBJECT = "+99871234567", "+9987"
WITHIN_S = 1.0
ROUNDS = 5


async def _until(conversation: Conversation, status: int, act: Callable[[], Awaitable[object]]) -> float:
    """Seconds from the act's answer to the start of the first call that gets `status`, calling without a pause."""
    await act()
    answered = time.monotonic()
    while True:
        began = time.monotonic()
        if (await conversation.caller.call(CALLER)).status == status:
            return began - answered
        assert began - answered < 10, f"no {status} within 10 s"
        await asyncio.sleep(0)


async def test_packets_follow_a_roll_back_within_a_second(conversation: Conversation, stage: Stage) -> None:
    blocked = await conversation.block()
    await conversation.ended()
    async with stage.agent() as noc:
        order = await noc.get(f"/v1/orders/{blocked}")
        rule = await noc.post("/v1/rules", {"subject": SUBJECT, "action": "reject", "reason": "one-ring calls"})
        path = f"/v1/rules/{rule['id']}"
        await noc.post(f"{path}/shadow", {"reason": "look first"})

        async def roll_back() -> None:
            await noc.post(f"{path}/roll-back", {"reason": "by one key"})

        async def refused() -> bool:
            return (await conversation.caller.call(CALLER)).status == 603

        await noc.post(f"{path}/enforce", {"reason": "a wave"})
        await eventually(refused, "refused")
        took = [
            await _until(conversation, status, roll_back) for _ in range(ROUNDS) for status in (200, 603)
        ]  # back, and the roll back rolled back
        _log.info("roll back to packets, seconds: %s", " ".join(f"{seconds:.3f}" for seconds in took))
        assert max(took) < WITHIN_S
        steps = (await noc.get(f"{path}/transitions"))["items"]
        assert [step["cause"] for step in steps[: 2 * ROUNDS]] == ["roll_back"] * 2 * ROUNDS
        assert await noc.get(f"/v1/orders/{blocked}") == order
        await noc.delete(path, {"reason": "over"})
