"""A conversation under way: orders going out, calls coming in, and what must be true whatever was killed meanwhile.

The law, checked after each fault: every order that the stand-in sent has exactly one final state and at least one
receipt; ledger, Redis and node hold the same list; sentinels were decided as the ledger's history says throughout; and
the journal verifies.
"""

import asyncio
import itertools
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.client import ApiError, Unreachable
from agent.demo.phones import Caller
from agent.stage import Stage
from sip_filter.keys import Keys
from sip_filter.store import connect
from tests.book import eventually

PALANG = Path(sys.executable).parent / "palang"
ALWAYS_BLOCKED = "+6281100000001"
NEVER_BLOCKED = "+6281100000002"
FINAL = {"closed", "refused", "expired", "cleared"}


@dataclass
class Conversation:
    """One stage, its caller, and the orders that were sent."""

    stage: Stage
    caller: Caller
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(6281200000000))
    orders: dict[str, tuple[str, str]] = field(default_factory=dict)  # id -> kind, subject
    open: set[str] = field(default_factory=set)  # ids of the orders that were not seen at their end yet
    blocked: list[str] = field(default_factory=list)
    decided: list[tuple[str, int]] = field(default_factory=list)  # every sentinel call: number, status

    async def block(self, number: str | None = None) -> str:
        """Order a block; the order's id."""
        number = number or f"+{next(self.numbers)}"
        order = await self._post({"kind": "block", "subjects": [number]})
        self._sent(order["id"], "block", number)
        self.blocked.append(number)
        return str(order["id"])

    async def unblock(self, number: str | None = None) -> str:
        """Lift a block, else the oldest that this conversation still has; the order's id."""
        number = number or self.blocked[0]
        self.blocked.remove(number)
        order = await self._post({"kind": "unblock", "subjects": [number]})
        self._sent(order["id"], "unblock", number)
        return str(order["id"])

    async def talk(self, seconds: float) -> None:
        """Order blocks and unblocks for some time, as fast as the stand-in takes them."""
        until = time.monotonic() + seconds
        for turn in itertools.count():
            await (self.unblock() if turn % 4 == 3 and len(self.blocked) > 2 else self.block())
            if time.monotonic() > until:
                return
            await asyncio.sleep(0.01)

    async def watch_sentinels(self) -> None:
        """Call as the sentinels until cancelled, and remember every decision."""
        while True:
            for number in (ALWAYS_BLOCKED, NEVER_BLOCKED):
                call = await self.caller.call(number, seconds=0.4)
                self.decided.append((number, call.status))
            await asyncio.sleep(0.02)

    async def ended(self, seconds: float = 60.0) -> None:
        """Wait until every order has its end."""
        await eventually(self._all_final, "every order in its final state with a receipt", seconds)

    async def settle(self, seconds: float = 60.0) -> None:
        """Wait until every order has its end, then check the law."""
        await self.ended(seconds)
        await eventually(self.stage.healthy, "the agent healthy", seconds)
        await eventually(self._one_list, "ledger, Redis and node hold one list", seconds)
        self._sentinels_held()
        await self._journal_verifies()
        await self._calls_follow_the_ledger()

    async def _all_final(self) -> bool:
        """Whether every order has its end: asked one by one, since a page of the newest need not hold the oldest."""
        try:
            async with self.stage.agent() as agent, self.stage.regulator() as regulator:
                for order in sorted(self.open):
                    if (await agent.get(f"/v1/orders/{order}"))["state"] not in FINAL:
                        return False
                    confirmations: list[dict[str, Any]] = await regulator.get("/confirmations", order=order)
                    if not any(confirmation["receipts"] for confirmation in confirmations):
                        return False
                    self.open.remove(order)
                by_state: dict[str, int] = (await agent.get("/v1/status"))["orders"]
        except (ApiError, Unreachable):
            return False
        return sum(by_state.get(state, 0) for state in FINAL) >= len(self.orders)

    async def _one_list(self) -> bool:
        async with self.stage.agent() as agent:
            status = await agent.get("/v1/status")
        redis = connect(f"unix://{self.stage.folder}/redis/redis.sock", 2.0)
        try:
            head = await redis.hgetall(Keys.of("main").head)
        finally:
            await redis.aclose()
        ledger, node = status["ledger"], status["nodes"][0]
        there = (f"{head.get('epoch')}.{head.get('n')}", head.get("digest"))
        return (ledger["revision"], ledger["digest"]) == there == (node.get("revision"), node.get("digest"))

    def _sentinels_held(self) -> None:
        wrong = {(number, status) for number, status in self.decided if status not in _ALLOWED[number]}
        assert not wrong, f"sentinels decided wrongly: {wrong} of {len(self.decided)} calls"
        assert {status for number, status in self.decided if number == ALWAYS_BLOCKED} >= {603}

    async def _journal_verifies(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(str(PALANG), "audit", "verify", "--config", str(self.stage.settings), "--json"),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        assert json.loads(said)["whole"]

    async def _calls_follow_the_ledger(self) -> None:
        lifted = [n for kind, n in self.orders.values() if kind == "unblock" and n not in self.blocked]
        for number in self.blocked[-5:]:
            assert (await self.caller.call(number)).status == 603, number
        for number in lifted[-5:]:
            assert (await self.caller.call(number)).status == 200, number

    def _sent(self, order: str, kind: str, number: str) -> None:
        self.orders[order] = (kind, number)
        self.open.add(order)

    async def _post(self, body: dict[str, object]) -> dict[str, Any]:
        async with self.stage.regulator() as regulator:
            order: dict[str, Any] = await regulator.post("/orders", body)
            return order


_ALLOWED = {ALWAYS_BLOCKED: {603, 0}, NEVER_BLOCKED: {200, 0}}
"""0: nothing came, since the gateway itself was away."""
