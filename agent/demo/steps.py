"""The seven steps of the main job, each asserted on packets and on the regulator's verified messages.

Nothing here asks Palang whether it did its work. A call counts as refused when its caller has a final response and
the switch never saw it; as answered when the switch answered and the caller heard it; a ticket as closed when the
regulator's own state says so.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from agent.client import Api, ApiError, Record
from agent.demo.people import two_operators
from agent.demo.phones import Call, Caller, Switch

SCAMMER = "+6281234567890"
NEIGHBOUR = "+6281234567891"
WANGIRI = "+77012345678"
EXCEPTION = "+77017654321"
MONTHLY = tuple(f"+62857{number:08d}" for number in range(1_000_000, 1_000_000 + 3_104 * 7, 7))
NOT_LISTED = "+6285701000001"
REFUSED = 603
_WHY = {"reason": "demo"}


class Broken(Exception):
    """A step did not hold. Its text says what was expected and what was seen."""


@dataclass
class Step:
    """One finished step."""

    number: int
    title: str
    seconds: float
    figures: Record = field(default_factory=dict)

    def record(self) -> Record:
        """As `--json` gives it."""
        return {
            "step": self.number,
            "title": self.title,
            "seconds": round(self.seconds, 3),
            "held": True,
            **self.figures,
        }


@dataclass
class Scene:
    """Everybody on the stage, as the steps see them."""

    caller: Caller
    switch: Switch
    gateway: tuple[str, int]
    regulator: Api
    noc: Api
    node: str
    trunk: str
    console: str
    refused: set[str] = field(default_factory=set)
    reference: str = ""
    order: str = ""

    async def answers(self, number: str) -> Call:
        """A call from `number` reaches the switch and is answered."""
        call = await self.caller.call(number)
        reached = len(self.switch.invites(call.call_id))
        expect(
            call.status == 200 and reached == 1,
            f"{number}: expected 200 by the switch; got {told(call)}, reached {reached}",
        )
        return call

    async def refuses(self, number: str) -> Call:
        """A call from `number` gets its final response from the gateway and never reaches the switch."""
        call = await self.caller.call(number)
        expect(call.status == REFUSED, f"{number}: expected {REFUSED}; got {told(call)}")
        expect(all(packet.peer == self.gateway for packet in call.responses), f"{number}: answered by somebody else")
        self.refused.add(call.call_id)
        return call

    def only_answered_calls_reached_the_switch(self) -> None:
        """Every call that the switch saw was placed by the caller and not refused: no probe, no refused call."""
        strangers = self.switch.calls() - (self.caller.calls() - self.refused)
        expect(not strangers, f"{len(strangers)} calls reached the switch that should not have")

    async def ticket(self, reference: str, state: str, seconds: float = 30.0) -> Record:
        """Wait until the regulator's ticket is in `state`."""

        async def look() -> Record | None:
            ticket: Record = await self.regulator.get(f"/tickets/{reference}")
            return ticket if ticket["state"] == state else None

        return await eventually(look, f"ticket {reference} {state}", seconds)

    async def confirmed(self, order: str, status: str, seconds: float = 30.0) -> Record:
        """Wait for a verified confirmation of `order` with `status` at the regulator."""

        async def look() -> Record | None:
            found: list[Record] = await self.regulator.get("/confirmations", order=order)
            return next((c for c in found if c["status"] == status), None)

        return await eventually(look, f"order {order} confirmed {status}", seconds)

    async def in_force(self, change: Callable[[], Awaitable[object]], wait: Callable[[], Awaitable[Call]]) -> float:
        """Make a change and call until it shows; the seconds between."""
        began = time.monotonic()
        await change()
        deadline = began + 10.0
        while True:
            try:
                await wait()
            except Broken:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)
            else:
                return time.monotonic() - began


def expect(held: bool, otherwise: str) -> None:
    """Raise Broken unless it held."""
    if not held:
        raise Broken(otherwise)


def told(call: Call) -> str:
    """What a caller heard, for a message."""
    return " then ".join(packet.start for packet in call.responses) or "nothing"


async def eventually(look: Callable[[], Awaitable[Record | None]], what: str, seconds: float) -> Record:
    """Look again and again until there is something. Raises Broken when the time is over."""
    deadline = time.monotonic() + seconds
    while (found := await look()) is None:
        expect(time.monotonic() < deadline, f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.02)
    return found


async def play(scene: Scene, started: float) -> AsyncIterator[Step]:
    """Play the steps in order. Raises Broken at the first one that does not hold."""
    began = started
    for number, step in enumerate((everybody_is_there, before, block, closed, advisory, monthly, unblock), 1):
        figures = await step(scene)
        await scene.answers(NEIGHBOUR)
        scene.only_answered_calls_reached_the_switch()
        assert step.__doc__
        yield Step(number, step.__doc__.strip(), time.monotonic() - began, figures)
        began = time.monotonic()


async def everybody_is_there(scene: Scene) -> Record:
    """Redis, Mosquitto, the regulator's stand-in, the agent, the gateway and a switch are up"""
    status = await scene.noc.get("/v1/status")
    expect(status["health"] == "healthy", f"expected a healthy agent; got {status['health']}: {status.get('because')}")
    return {}


async def before(scene: Scene) -> Record:
    """A call from +6281234567890 goes through and is answered"""
    await scene.answers(SCAMMER)
    return {}


async def block(scene: Scene) -> Record:
    """The regulator opens a ticket and orders a block: the next call from that number is refused"""
    ticket = await scene.regulator.post("/tickets", {"subject": SCAMMER, "category": "transfer scam"})
    scene.reference = ticket["ref"]
    order = await scene.regulator.post("/orders", {"kind": "block", "subjects": [SCAMMER], "ticket": ticket["ref"]})
    scene.order = order["id"]
    await scene.confirmed(order["id"], "in_force")
    call = await scene.refuses(SCAMMER)
    assert call.final
    return {"response": call.final.start}


async def closed(scene: Scene) -> Record:
    """The confirmation came with proof and coverage; its receipt closed the order, and the ticket is closed"""
    confirmation = await scene.confirmed(scene.order, "in_force")
    proof, coverage = confirmation["proof"], confirmation["coverage"]
    expect([node["node"] for node in proof["nodes"]] == [scene.node], f"the proof names {proof['nodes']}")
    expect(
        all(node["asked"] == node["held"] > 0 for node in proof["nodes"]),
        f"the proof does not hold on every node: {proof['nodes']}",
    )
    expect(coverage["covered"] == [{"node": scene.node, "trunk": scene.trunk}], f"covered: {coverage['covered']}")
    expect(bool(coverage["not_covered"]), "the confirmation claims to cover every path")
    story = await scene.ticket(scene.reference, "closed")

    async def look() -> Record | None:
        order: Record = await scene.noc.get(f"/v1/orders/{scene.order}")
        return order if order["state"] == "closed" else None

    await eventually(look, "the order closed by its receipt", 10.0)
    times = next(order for order in story["orders"] if order["id"] == scene.order)
    return {"ticket": "closed", "in_force_s": times["effective_after_s"], "closed_s": times["receipted_after_s"]}


async def advisory(scene: Scene) -> Record:
    """The advisory for +77 becomes a rule: counted in shadow, enforced by two people with an exception, rolled back"""
    await scene.regulator.post("/advisories", {"prefix": "+77", "reason": "one-ring calls"})

    async def proposed() -> Record | None:
        rules: list[Record] = (await scene.noc.get("/v1/rules"))["items"]
        return next((r for r in rules if r["subject"] == "+77*" and r["mode"] == "disabled"), None)

    rule = await eventually(proposed, "the advisory as a proposed rule", 10.0)
    path = f"/v1/rules/{rule['id']}"
    await scene.answers(WANGIRI)
    first, second = await two_operators(scene.noc, scene.console)
    async with first, second:
        await first.post(f"{path}/shadow", _WHY)

        async def counted() -> Record | None:
            await scene.answers(WANGIRI)
            found: Record = await scene.noc.get(path)
            return found if found["hits"].get("shadow") else None

        await eventually(counted, "the shadowed call counted", 10.0)
        exception = await scene.noc.post("/v1/rules", {"subject": EXCEPTION, "action": "allow", **_WHY})
        await scene.noc.post(f"/v1/rules/{exception['id']}/enforce", _WHY)

        asked = await first.post(f"{path}/enforce", _WHY)
        expect("approval" in asked, "so wide a prefix was enforced by one person")
        approve = f"/v1/approvals/{asked['approval']['id']}/approve"
        try:
            await first.post(approve, _WHY)
        except ApiError as error:
            expect(error.code == "refused", f"the author's own approval: {error.code}")
        else:
            raise Broken("somebody approved what they had asked for themselves")
        await scene.answers(WANGIRI)
        seconds = await scene.in_force(lambda: second.post(approve, _WHY), lambda: scene.refuses(WANGIRI))
        await scene.answers(EXCEPTION)
        back = await scene.in_force(lambda: first.post(f"{path}/roll-back", _WHY), lambda: scene.answers(WANGIRI))
    await scene.answers(EXCEPTION)
    await scene.noc.delete(f"/v1/rules/{exception['id']}", _WHY)
    return {"rule": rule["id"], "enforced_s": round(seconds, 3), "rolled_back_s": round(back, 3)}


async def monthly(scene: Scene) -> Record:
    """A monthly list of 3,104 numbers in one signed message is in force"""
    await scene.answers(MONTHLY[0])
    order = await scene.regulator.post("/orders", {"kind": "block", "subjects": list(MONTHLY)})
    confirmation = await scene.confirmed(order["id"], "in_force", 60.0)
    for number in MONTHLY[:: len(MONTHLY) // 16]:
        await scene.refuses(number)
    await scene.answers(NOT_LISTED)
    story = await scene.ticket(order["ticket"], "closed")
    times = next(one for one in story["orders"] if one["id"] == order["id"])
    asked = confirmation["proof"]["nodes"][0]["asked"]
    return {
        "numbers": len(MONTHLY),
        "in_force_s": times["effective_after_s"],
        "closed_s": times["receipted_after_s"],
        "asked": asked,
    }


async def unblock(scene: Scene) -> Record:
    """An unblock order lifts the first number: it passes again, and the regulator is told"""
    await scene.refuses(SCAMMER)
    order = await scene.regulator.post("/orders", {"kind": "unblock", "subjects": [SCAMMER], "ticket": scene.reference})
    confirmation = await scene.confirmed(order["id"], "lifted")
    await scene.answers(SCAMMER)
    expect(bool(confirmation["proof"]["nodes"]), "the regulator was told without proof")
    story = await scene.ticket(scene.reference, "closed")
    times = next(one for one in story["orders"] if one["id"] == order["id"])
    return {"lifted_s": times["effective_after_s"], "closed_s": times["receipted_after_s"]}
