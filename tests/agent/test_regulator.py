"""The stand-in on a real broker, with an operator that the test plays: its acts, its judgement, its promises."""

import asyncio
import base64
import contextlib
import json
import os
import random
import stat
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.client import Api, ApiError, Unreachable
from agent.regulator.cli import app
from agent.regulator.service import serve
from agent.regulator.settings import RegulatorMqttSettings, RegulatorSettings
from sync.contract import (
    Advisory,
    Confirmation,
    NodeProof,
    Order,
    Proof,
    Receipt,
    Resend,
    down_topic,
    new_id,
    up_topic,
)
from sync.jws import JwsError, Keyring, Signer, generate_key, load_keyring, load_signer, public_part, write_key
from sync.mqtt import Link, LinkError, MqttSettings
from tests.mosquitto_server import Mosquitto
from tests.waiting import until

OPERATOR = "op"
ROOT = Path(__file__).parents[2]
NUMBER = "+6281234567890"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "mosquitto").start()
    yield server
    server.kill()


@pytest.fixture
def settings(tmp_path: Path, broker: Mosquitto) -> Iterator[RegulatorSettings]:
    for name in ("regulator", "operator"):
        key = generate_key()
        write_key(tmp_path / f"{name}.jwk", key, name, private=True)
        write_key(tmp_path / f"{name}.pub.jwk", public_part(key), name, private=False)
    with TemporaryDirectory(prefix="palang-") as short:  # a unix socket's path may have 107 bytes
        yield RegulatorSettings(
            state=tmp_path / "regulator.sqlite",
            socket=Path(short) / "regulator.sock",
            signing_key=tmp_path / "regulator.jwk",
            operator_keys=(tmp_path / "operator.pub.jwk",),
            operator=OPERATOR,
            republish_first_s=0.3,
            republish_cap_s=1.0,
            mqtt=RegulatorMqttSettings(port=broker.port, backoff_first_s=0.02, backoff_cap_s=0.2),
        )


@dataclass
class Operator:
    """The other side: it verifies what comes down, and says what the test wants."""

    link: Link
    signer: Signer
    regulator_keys: Keyring
    answers: bool = False  # confirm each order at once
    raw: list[bytes] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    advisories: list[Advisory] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)
    unreadable: int = 0

    async def run(self) -> None:
        while True:
            for message in await self.link.receive(64):
                self.raw.append(message.payload)
                await self._take(message.payload)
                with contextlib.suppress(LinkError):
                    message.ack()

    async def _take(self, raw: bytes) -> None:
        try:
            payload = self.regulator_keys.verify(raw).payload
        except JwsError:
            self.unreadable += 1
            return
        kind = json.loads(payload)["type"]
        if kind == "receipt":
            self.receipts.append(Receipt.model_validate_json(payload))
            return
        said = (Order if kind == "order" else Advisory).model_validate_json(payload)
        self.serials.append(said.serial)
        if isinstance(said, Advisory):
            self.advisories.append(said)
        else:
            known = self.orders.setdefault(said.id, said)
            assert known == said

    async def confirm(self, order: Order, status: str, *, proved: bool = True, **more: Any) -> Confirmation:
        said = self.confirmation(order, status, proved=proved, **more)
        await self.say(said)
        return said

    def confirmation(self, order: Order, status: str, *, proved: bool = True, **more: Any) -> Confirmation:
        now = datetime.now(UTC)
        node = NodeProof(node="gw1", revision="1.1", digest="0" * 32, asked=1, held=1)
        return Confirmation.model_validate(
            {
                "id": new_id(),
                "operator": OPERATOR,
                "issued_at": now,
                "order": order.id,
                "serial": order.serial,
                "ticket": order.ticket,
                "status": status,
                "late": False,
                "received_at": now,
                "effective_at": now,
                "proof": Proof(nodes=(node,), sample=1, sampled_of=1, at=now) if proved else None,
                **more,
            }
        )

    async def say(self, said: Confirmation | Resend) -> None:
        await self.link.publish(up_topic(OPERATOR), self.signer.sign(said.to_json()))

    def order(self, index: int = 0) -> Order:
        return list(self.orders.values())[index]


@contextlib.asynccontextmanager
async def operating(settings: RegulatorSettings) -> AsyncIterator[Operator]:
    link = Link(
        MqttSettings(port=settings.mqtt.port, client_id="operator", backoff_first_s=0.02, backoff_cap_s=0.2),
        [down_topic(OPERATOR)],
    )
    folder = settings.state.parent
    operator = Operator(link, load_signer(folder / "operator.jwk"), load_keyring([folder / "regulator.pub.jwk"]))
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(operator.run())]
    try:
        await asyncio.wait_for(link.connected(), 10)
        yield operator
        assert not tasks[1].done() or tasks[1].exception() is None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(settings: RegulatorSettings) -> AsyncIterator[Api]:
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, stop))
    try:
        async with Api(settings.socket) as api:
            await _answering(api, task)
            yield api
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


async def _answering(api: Api, task: "asyncio.Task[None] | None" = None) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unreachable):
                await api.get("/status")
                return
            assert task is None or not task.done(), task
            await asyncio.sleep(0.01)


@pytest.fixture
async def api(settings: RegulatorSettings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def operator(settings: RegulatorSettings, api: Api) -> AsyncIterator[Operator]:
    async with operating(settings) as playing:
        yield playing


async def state_of(api: Api, ref: str) -> str:
    return str((await api.get(f"/tickets/{ref}"))["state"])


async def wait_for_state(api: Api, ref: str, state: str) -> dict[str, Any]:
    for _ in range(1500):
        story: dict[str, Any] = await api.get(f"/tickets/{ref}")
        if story["state"] == state:
            return story
        await asyncio.sleep(0.01)
    raise AssertionError(f"{ref} is {story['state']}, not {state}")


async def test_a_ticket_is_closed_by_a_proved_confirmation(api: Api, operator: Operator) -> None:
    ticket = await api.post("/tickets", {"subject": NUMBER, "category": "transfer scam"})
    assert ticket["ref"] == f"SMARTPPI-{datetime.now(UTC).year}-000001"
    assert ticket["state"] == "open"
    sent = await api.post("/orders", {"kind": "block", "subjects": [NUMBER], "ticket": ticket["ref"]})
    await until(lambda: operator.orders)
    order = operator.order()
    assert (order.id, order.serial, order.kind, order.subjects) == (sent["id"], 1, "block", (NUMBER,))
    assert (order.ticket, order.category) == (ticket["ref"], "transfer scam")
    assert (order.deadline - order.issued_at).total_seconds() == 24 * 3600

    await operator.confirm(order, "held", proved=False, code="burst", detail="5 times as many as ever")
    await until(lambda: len(operator.receipts) == 1)
    assert await state_of(api, ticket["ref"]) == "ordered"
    await operator.confirm(order, "in_force", proved=False)
    await until(lambda: len(operator.receipts) == 2)
    assert await state_of(api, ticket["ref"]) == "ordered"  # nobody's word without proof

    said = await operator.confirm(order, "in_force")
    await until(lambda: len(operator.receipts) == 3)
    receipt = operator.receipts[-1]
    assert (receipt.confirmation, receipt.order, receipt.status) == (said.id, order.id, "in_force")
    story = await wait_for_state(api, ticket["ref"], "closed")
    (told,) = story["orders"]
    assert told["status"] == "in_force"
    assert 0 <= told["effective_after_s"] <= told["done_after_s"] < 15
    assert [c["status"] for c in told["confirmations"]] == ["held", "in_force", "in_force"]


async def test_an_unblock_reopens_and_closes_the_ticket(api: Api, operator: Operator) -> None:
    block = await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
    await until(lambda: len(operator.orders) == 1)
    await operator.confirm(operator.order(0), "in_force")
    await wait_for_state(api, block["ticket"], "closed")
    await api.post("/orders", {"kind": "unblock", "subjects": [NUMBER], "ticket": block["ticket"]})
    assert await state_of(api, block["ticket"]) == "ordered"
    await until(lambda: len(operator.orders) == 2)
    await operator.confirm(operator.order(1), "still_blocked_by")
    await operator.confirm(operator.order(1), "in_force")  # not what an unblock asks for
    await until(lambda: len(operator.receipts) == 3)
    assert await state_of(api, block["ticket"]) == "ordered"
    await operator.confirm(operator.order(1), "lifted")
    await wait_for_state(api, block["ticket"], "closed")


async def test_a_clearance_is_receipted_and_ends_an_order_only_when_nothing_of_it_is_left(
    api: Api, operator: Operator
) -> None:
    await api.post("/orders", {"kind": "block", "subjects": [NUMBER, "+6281234567891"]})
    await until(lambda: operator.orders)
    order = operator.order()
    clearance = {
        "subject": NUMBER,
        "cause": "clarification",
        "reference": "KL-7",
        "document": "ab" * 32,
        "approved_at": datetime.now(UTC),
    }
    for left in (1, 0):
        said = await operator.confirm(order, "lifted", code="cleared", clearance={**clearance, "left": left})
        await until(lambda said=said: operator.receipts and operator.receipts[-1].confirmation == said.id)  # type: ignore[misc]
        assert operator.receipts[-1].status == "lifted"
        assert await state_of(api, order.ticket) == ("ordered" if left else "closed")
    (told,) = (await api.get(f"/tickets/{order.ticket}"))["orders"]
    assert (told["status"], told["code"], told["effective_after_s"]) == ("lifted", "cleared", None)
    assert [c["clearance"]["left"] for c in told["confirmations"]] == [1, 0]


async def test_a_list_is_one_message(api: Api, operator: Operator) -> None:
    numbers = [f"+62812{n:08d}" for n in range(3104)]
    sent = await api.post("/orders", {"kind": "block", "subjects": numbers})
    assert sent["count"] == 3104
    await until(lambda: operator.orders)
    assert operator.order().subjects == tuple(numbers)
    assert operator.order().count == 3104


async def test_serials_run_in_order_over_orders_and_advisories(api: Api, operator: Operator) -> None:
    for n in range(30):
        if n % 10 == 5:
            await api.post("/advisories", {"prefix": "+77"})
        else:
            await api.post("/orders", {"kind": "block", "subjects": [f"+62812345678{n:02d}"]})
    await until(lambda: len(set(operator.serials)) == 30)
    first_seen = list(dict.fromkeys(operator.serials))
    assert first_seen == list(range(1, 31))
    assert [advisory.prefix for advisory in operator.advisories] == ["+77*"] * 3


async def test_each_copy_of_a_confirmation_gets_a_receipt(api: Api, operator: Operator) -> None:
    await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
    await until(lambda: operator.orders)
    said = await operator.confirm(operator.order(), "in_force")
    await until(lambda: len(operator.receipts) == 1)
    await operator.say(said)
    await until(lambda: len(operator.receipts) == 2)
    assert {receipt.confirmation for receipt in operator.receipts} == {said.id}
    (known,) = await api.get("/confirmations")
    assert known["copies"] == 2


async def test_a_confirmation_that_is_not_authentic_gets_none(api: Api, operator: Operator) -> None:
    await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
    await until(lambda: operator.orders)
    good = operator.confirmation(operator.order(), "in_force")
    forger = Signer(generate_key(), operator.signer.kid)
    foreign = operator.confirmation(operator.order(), "in_force", operator="other")
    for raw in (
        b"not a token",
        good.to_json(),
        forger.sign(good.to_json()),
        operator.signer.sign(b'{"type":"order"}'),
        operator.signer.sign(b"[]"),
        operator.signer.sign(foreign.to_json()),
    ):
        await operator.link.publish(up_topic(OPERATOR), raw)
    await operator.say(good)
    await until(lambda: operator.receipts)
    assert len(operator.receipts) == 1
    codes = [reject["code"] for reject in reversed(await api.get("/rejects"))]
    assert codes == ["malformed", "unsigned", "bad_signature", "schema", "schema", "wrong_operator"]


async def test_a_confirmation_of_an_unreadable_message_is_receipted(api: Api, operator: Operator) -> None:
    await api.post("/raw", {"base64": base64.b64encode(b"garbage").decode()})
    await until(lambda: operator.unreadable == 1)
    assert operator.raw == [b"garbage"]
    await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
    await until(lambda: operator.orders)
    said = operator.confirmation(operator.order(), "refused", proved=False, code="malformed", message="0" * 64)
    await operator.say(said.model_copy(update={"order": None, "serial": None, "ticket": None}))
    await until(lambda: operator.receipts)
    assert operator.receipts[0].order is None


async def test_missing_serials_are_sent_again(api: Api, operator: Operator) -> None:
    for n in range(5):
        await api.post("/orders", {"kind": "block", "subjects": [f"+628123456789{n}"]})
    await until(lambda: len(operator.orders) == 5)
    for order in list(operator.orders.values()):
        await operator.confirm(order, "in_force")
    await until(lambda: len(operator.receipts) == 5)
    operator.serials.clear()
    before = len(operator.raw)
    now = datetime.now(UTC)
    await operator.say(
        Resend(id=new_id(), operator=OPERATOR, issued_at=now, serials=((2, 3), (5, 5), (900, 2**53 - 1)))
    )
    await until(lambda: sorted(operator.serials) == [2, 3, 5])
    assert len(operator.raw) == before + 3


async def test_an_order_that_nobody_confirms_is_published_again(api: Api, operator: Operator) -> None:
    await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
    await until(lambda: len(operator.serials) >= 3)
    await operator.confirm(operator.order(), "held", proved=False)
    await until(lambda: operator.receipts)
    (message,) = await api.get("/messages")
    assert message["due_at"] is None


async def test_an_order_waits_for_the_operators_first_connection(settings: RegulatorSettings, api: Api) -> None:
    await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
    async with operating(settings) as operator:
        await until(lambda: operator.orders)


async def test_what_is_refused_says_why(api: Api) -> None:
    for path, body, status, words in (
        ("/orders", {"kind": "block", "subjects": ["+62812345678901234"]}, 400, "15"),
        ("/orders", {"kind": "block", "subjects": ["081234567890"]}, 400, "begins with 0"),
        ("/orders", {"kind": "block", "subjects": [NUMBER], "ticket": "SMARTPPI-2026-999999"}, 404, "999999"),
        ("/orders", {"kind": "block", "subjects": [NUMBER], "category": "x" * 65}, 400, "category"),
        ("/orders", {"kind": "destroy", "subjects": [NUMBER]}, 422, "kind"),
        ("/orders", {"kind": "block", "subjects": []}, 422, "subjects"),
        ("/advisories", {"prefix": "+7"}, 400, "2"),
        ("/raw", {"base64": "!"}, 400, "base64"),
    ):
        with pytest.raises(ApiError, match=words) as refused:
            await api.post(path, body)
        assert refused.value.status == status
    assert await api.get("/messages") == []
    assert await api.get("/tickets") == []  # an order that is refused opens no ticket


async def test_the_socket_is_ours_alone(settings: RegulatorSettings, api: Api) -> None:
    assert stat.S_IMODE(settings.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.state.stat().st_mode) == 0o600


async def run(settings: RegulatorSettings, *arguments: str, stdin: str | None = None) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, app, list(arguments), input=stdin, env={"PALANG_REGULATOR_SOCKET": str(settings.socket)}
    )


async def test_the_commands(settings: RegulatorSettings, api: Api, operator: Operator, tmp_path: Path) -> None:
    opened = await run(settings, "ticket", "open", "-", "--category", "vishing", "--json", stdin=f"{NUMBER}\n")
    assert opened.exit_code == 0
    ref = json.loads(opened.stdout)["ref"]
    ordered = await run(settings, "order", "block", NUMBER, "--ticket", ref)
    assert ordered.stdout == f"order 1 block {NUMBER} on ticket {ref}\n"
    await until(lambda: operator.orders)
    await operator.confirm(operator.order(), "in_force")
    await wait_for_state(api, ref, "closed")
    shown = await run(settings, "ticket", "show", ref)
    assert shown.exit_code == 0
    assert "closed" in shown.stdout and "closed after" in shown.stdout and "proved on gw1" in shown.stdout
    assert json.loads((await run(settings, "ticket", "show", ref, "--json")).stdout)["state"] == "closed"
    assert (await run(settings, "order", "unblock", "-", stdin=NUMBER)).exit_code == 0
    listed = tmp_path / "list.txt"
    listed.write_text("# monthly\n+628111111111\n\n+628111111112  # second\n")
    sent = await run(settings, "order", "list", str(listed))
    assert "2 numbers" in sent.stdout
    assert (await run(settings, "order", "list", "-", stdin="+628111111113\n")).exit_code == 0
    assert "+77*" in (await run(settings, "advisory", "+77")).stdout
    tickets = await run(settings, "tickets")
    assert ref in tickets.stdout
    assert len(json.loads((await run(settings, "tickets", "--json")).stdout)) == 4
    await until(lambda: len(operator.orders) == 4 and operator.advisories)


async def test_commands_say_what_is_wrong(settings: RegulatorSettings, api: Api, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("+628111111111\n6,28E+12\n")
    wrong = await run(settings, "order", "list", str(listed))
    assert wrong.exit_code == 1
    assert "list.txt:2" in wrong.stderr and "6,28E+12" in wrong.stderr
    assert (await run(settings, "order", "block", "12345678901234567")).exit_code == 1
    assert (await run(settings, "ticket", "show", "SMARTPPI-2026-000009")).exit_code == 1
    assert (await run(settings, "order", "list", str(tmp_path / "absent"))).exit_code == 2
    away = await run(settings, "tickets", "--socket", str(tmp_path / "absent.sock"))
    assert away.exit_code == 2
    assert "nobody answers at" in away.stderr and "absent.sock" in away.stderr


async def test_serve_stops_on_sigterm_and_refuses_a_second(settings: RegulatorSettings, tmp_path: Path) -> None:
    rows = json.loads(settings.model_dump_json(exclude={"mqtt"}))
    lines = ["[regulator]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())]
    lines += ["[regulator.mqtt]", f"port = {settings.mqtt.port}"]
    file = tmp_path / "palang.toml"
    file.write_text("\n".join(lines))
    command = (sys.executable, "-c", "from agent.regulator.cli import app; app()", "serve", "--config", str(file))
    first = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    async with Api(settings.socket) as api:
        await _answering(api)
        second = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
        _, said = await second.communicate()
        assert second.returncode == 2
        assert "another process listens there" in said.decode().splitlines()[-1]
        assert (await api.get("/status"))["operator"] == OPERATOR
    first.terminate()
    assert await asyncio.wait_for(first.wait(), 15) == 0
    assert not settings.socket.exists()


_VICTIM = """
import asyncio, sys
from agent.regulator.service import serve
from agent.regulator.settings import RegulatorSettings
asyncio.run(serve(RegulatorSettings.model_validate_json(sys.argv[1]), asyncio.Event()))
"""


async def start_victim(settings: RegulatorSettings, api: Api) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _VICTIM, settings.model_dump_json()),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    await _answering(api)
    return process


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


@pytest.mark.parametrize("kills", [4, pytest.param(25, marks=pytest.mark.slow)])
async def test_killed_at_random_instants_it_keeps_its_promises(settings: RegulatorSettings, kills: int) -> None:
    seed = uuid.uuid4().int & 0xFFFF
    chance = random.Random(seed)
    promised: dict[str, int] = {}
    said: dict[str, Confirmation] = {}
    async with operating(settings) as operator, Api(settings.socket) as api:

        async def press() -> None:
            """Order for as long as the test runs; what was answered is promised."""
            while True:
                with contextlib.suppress(Unreachable, ApiError):
                    sent = await api.post("/orders", {"kind": "block", "subjects": [NUMBER]})
                    promised[sent["id"]] = sent["serial"]
                await asyncio.sleep(0.02)

        async def confirm() -> None:
            """Confirm each order until its receipt has come, as an outbox would."""
            while True:
                receipted = {receipt.confirmation for receipt in operator.receipts}
                for order in list(operator.orders.values()):
                    if order.id not in said:
                        said[order.id] = operator.confirmation(order, "in_force")
                    if said[order.id].id not in receipted:
                        await operator.say(said[order.id])
                await asyncio.sleep(0.1)

        victim = await start_victim(settings, api)
        pressing, confirming = asyncio.create_task(press()), asyncio.create_task(confirm())
        try:
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.05, 0.6))
                await kill(victim)
                victim = await start_victim(settings, api)
            pressing.cancel()
            await until(
                lambda: (
                    set(promised) <= set(operator.orders)
                    and {c.id for c in said.values()} <= {r.confirmation for r in operator.receipts}
                    and set(said) == set(operator.orders)
                ),
                100,
            )
            assert not confirming.done()
            kept = await api.get("/confirmations", limit=100_000)
            assert {c["id"] for c in kept} == {r.confirmation for r in operator.receipts}, seed
            messages = await api.get("/messages", limit=100_000)
            assert [m["serial"] for m in messages] == list(range(1, len(messages) + 1)), seed
            assert {m["id"] for m in messages} == set(operator.orders), seed
            assert all(m["done_at"] for m in messages), seed
            assert all(t["state"] == "closed" for t in await api.get("/tickets")), seed
        finally:
            for task in (pressing, confirming):
                task.cancel()
            await asyncio.gather(pressing, confirming, return_exceptions=True)
            await kill(victim)
    assert operator.unreadable == 0
    assert len(promised) > kills


async def test_a_killed_broker_delays_and_loses_nothing(
    settings: RegulatorSettings, broker: Mosquitto, api: Api, operator: Operator
) -> None:
    for n in range(10):
        await api.post("/orders", {"kind": "block", "subjects": [f"+628123456789{n}"]})
    broker.kill()
    for n in range(10):
        await api.post("/orders", {"kind": "block", "subjects": [f"+628123456780{n}"]})
    broker.start()
    await until(lambda: len(operator.orders) == 20)
    for order in list(operator.orders.values()):
        await operator.confirm(order, "in_force")
    await until(lambda: len({receipt.order for receipt in operator.receipts}) == 20)
