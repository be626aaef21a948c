"""A whole node: packets at once from its files, the list from Redis, proof on its socket, a clean end."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from joserfc.jwk import ECKey
from pydantic import ValidationError
from redis.asyncio import Redis

from sip_filter import settings
from sip_filter._core import Sketch
from sip_filter.control import AskError, ask
from sip_filter.keys import Report, line_of
from sip_filter.node import PROOF_NUMBERS, Node
from tests.book import BLOCK, KEYS, Book, eventually, publishing
from tests.redis_server import RedisServer
from tests.sip_filter.peers import KEY, Message, Peer

BLOCKED, FREE = "+6281000000003", "+6289999999999"


class Place:
    """A folder for one node, its settings, a peer on its trunk and a switch behind it."""

    def __init__(self, folder: Path) -> None:
        self.trunk, self.switch = Peer("127.0.0.2"), Peer("127.0.0.4")
        (folder / "key").write_text(KEY + "\n")
        self.node = settings.Node(
            name="gw1", live=folder / "live", state=folder / "state", control=folder / "gateway.sock"
        )
        self.gateway = settings.Gateway.model_validate(
            {
                "listen": ["udp:127.0.0.1:0"],
                "key_file": folder / "key",
                "trunks": [
                    {"name": "intl-a", "sources": ["127.0.0.2/32"]},
                    {"name": "intl-b", "sources": ["127.0.0.3/32"], "mode": "shadow"},
                ],
                "next_hops": [{"name": "switch-1", "address": self.switch.address, "networks": ["127.0.0.4/32"]}],
            }
        )

    def aim(self, address: str) -> None:
        host, _, port = address.removeprefix("udp:").rpartition(":")
        self.trunk.gateway = (host, int(port))

    def call(self, caller: str) -> str:
        """What a call comes to: its final status, or that the switch got it."""
        message = Message(self.trunk, caller=f"<sip:{caller}@a.example>")
        self.trunk.send(message.bytes())
        while True:
            for passed in self.switch.waiting():
                if message.call_id.encode() in passed:
                    return "passed"
            for reply in self.trunk.waiting():
                if message.call_id.encode() in reply:
                    return reply.split()[1].decode()

    def close(self) -> None:
        self.trunk.socket.close()
        self.switch.socket.close()


@pytest.fixture
def place() -> Iterator[Place]:
    with TemporaryDirectory(prefix="palang-") as folder:
        place = Place(Path(folder))
        yield place
        place.close()


@asynccontextmanager
async def running(server: RedisServer, place: Place) -> AsyncIterator[Node]:
    node = Node(place.node, settings.Redis(url=server.url), place.gateway)
    task = asyncio.create_task(node.run())
    try:
        await asyncio.wait({task, asyncio.create_task(node.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert not task.done() or await task
        place.aim(node.addresses[0])
        yield node
    finally:
        node.stop()
        await asyncio.wait_for(task, 10)


async def holds(place: Place, book: Book) -> None:
    last = book.rows[-1]

    async def current() -> bool:
        state = await ask(place.node.control, {"ask": "state"})
        return not state["stale"] and (state["epoch"], state["n"], state["digest"]) == (1, last.n, last.digest)

    await eventually(current, "the node has the list")


async def test_an_order_becomes_a_refused_call(redis_server: RedisServer, redis: Redis, place: Place) -> None:
    book = Book()
    async with publishing(redis_server, book) as publisher, running(redis_server, place):
        await holds(place, book)
        assert await asyncio.to_thread(place.call, BLOCKED) == "passed"
        book.commit(line_of(BLOCKED, BLOCK), line_of("+77*", "noc reject shadow call"))
        publisher.wake()
        await holds(place, book)
        await eventually(lambda: place.call(BLOCKED) == "603", "refused")
        assert place.call(FREE) == "passed"

        proof = await ask(place.node.control, {"ask": "proof", "numbers": [BLOCKED], "passes": [FREE, "+77012345678"]})
        last = book.rows[-1]
        assert (proof["node"], proof["epoch"], proof["n"], proof["digest"]) == ("gw1", 1, last.n, last.digest)
        assert proof["trunks"] == {"intl-a": "enforce", "intl-b": "shadow"}
        assert proof["answers"] == [
            {"trunk": "intl-a", "number": BLOCKED, "status": 603},
            {"trunk": "intl-a", "number": FREE, "status": 0},
            {"trunk": "intl-a", "number": "+77012345678", "status": 0},
        ]
        assert place.switch.waiting() == [], "a proof rings nobody"

        async def hits() -> list[dict[str, str]]:
            found: Any = await redis.xrange(KEYS.hits)
            return [fields for _, fields in found]

        async def arrived() -> bool:
            return bool(await hits())

        await eventually(arrived, "the hit is in Redis")
        (hit,) = {fields["call"]: fields for fields in await hits()}.values()
        assert (hit["node"], hit["subject"], hit["trunk"], hit["effect"]) == ("gw1", BLOCKED, "intl-a", "reject")
        assert (hit["authority"], hit["revision"]) == ("order", "1.1")

        touching = await ask(place.node.control, {"ask": "touching", "number": BLOCKED})
        assert touching == {"lines": [line_of(BLOCKED, BLOCK)]}
        reports: Any = await redis.hgetall(KEYS.nodes)
        report = Report.read(reports["gw1"])
        assert report and report.trunks == {"intl-a": "enforce", "intl-b": "shadow"} and report.counters
        await eventually(lambda: [r.node for r in publisher.state.nodes] == ["gw1"], "the publisher sees the node")


async def test_a_node_starts_from_its_files_without_redis(redis_server: RedisServer, place: Place) -> None:
    book = Book()
    book.commit(line_of(BLOCKED, BLOCK))
    async with publishing(redis_server, book), running(redis_server, place):
        await holds(place, book)
    redis_server.kill()
    async with running(redis_server, place):
        assert place.call(BLOCKED) == "603" and place.call(FREE) == "passed"
        state = await ask(place.node.control, {"ask": "state"})
        assert state["stale"] and state["why"] and state["origin"] == "snapshot"
        assert state["listen"] and state["sizes"]["numbers"] == 1 and state["next_hops"][0]["name"] == "switch-1"


async def test_without_any_list_calls_pass(redis_server: RedisServer, place: Place) -> None:
    redis_server.kill()
    async with running(redis_server, place):
        assert place.call(BLOCKED) == "passed"
        assert (await ask(place.node.control, {"ask": "state"}))["origin"] == "empty"


async def test_a_hanging_redis_delays_no_call_and_no_answer(redis_server: RedisServer, place: Place) -> None:
    book = Book()
    book.commit(line_of(BLOCKED, BLOCK))
    async with publishing(redis_server, book), running(redis_server, place):
        await holds(place, book)
        redis_server.send(signal.SIGSTOP)

        async def stale() -> bool:
            assert await asyncio.to_thread(place.call, BLOCKED) == "603"
            return bool((await ask(place.node.control, {"ask": "state"}, 2))["stale"])

        await eventually(stale, "the node says that its list may be old")
        redis_server.send(signal.SIGCONT)
        await holds(place, book)


async def test_a_rule_ends_by_itself_with_everything_else_dead(redis_server: RedisServer, place: Place) -> None:
    now = [1_000.0]
    book = Book()
    book.commit(line_of(BLOCKED, "noc reject enforce both until=2000"))
    async with publishing(redis_server, book):
        async with running(redis_server, place):
            pass
        node = Node(place.node, settings.Redis(url=redis_server.url), place.gateway, clock=lambda: now[0])
        task = asyncio.create_task(node.run())
        await node.ready.wait()
        place.aim(node.addresses[0])
        await holds(place, book)
        await eventually(lambda: place.call(BLOCKED) == "603", "in force")
        redis_server.kill()
        now[0] = 2_000.0
        await eventually(lambda: place.call(BLOCKED) == "passed", "ended")
        node.stop()
        await task


async def test_a_second_node_in_the_same_folders_is_refused(redis_server: RedisServer, place: Place) -> None:
    async with running(redis_server, place):
        with pytest.raises(BlockingIOError):
            Node(place.node, settings.Redis(url=redis_server.url), place.gateway)
        assert place.call(FREE) == "passed"


async def test_reload_takes_good_settings_and_refuses_bad_ones(redis_server: RedisServer, place: Place) -> None:
    book = Book()
    book.commit(line_of(BLOCKED, BLOCK))
    async with publishing(redis_server, book), running(redis_server, place) as node:
        await holds(place, book)
        assert place.call(BLOCKED) == "603"
        shadow = place.gateway.trunks[0].model_copy(update={"mode": "shadow"})
        node.reload(place.gateway.model_copy(update={"trunks": (shadow, place.gateway.trunks[1])}))
        assert place.call(BLOCKED) == "passed"
        proof = await ask(place.node.control, {"ask": "proof", "numbers": [BLOCKED]})
        assert proof["answers"] == [] and proof["trunks"]["intl-a"] == "shadow"
        node.reload(place.gateway)
        node.read_again(lambda: place.gateway.model_copy(update={"key_file": Path("/nonexistent")}))
        assert place.call(BLOCKED) == "603", "what worked before keeps working"


async def test_the_state_tells_next_hops_and_counts_per_trunk(redis_server: RedisServer, place: Place) -> None:
    checked = place.gateway.model_copy(update={"checks": settings.Checks(seconds=1, misses=1)})
    place.gateway = checked

    async def state() -> dict[str, Any]:
        return await ask(place.node.control, {"ask": "state"})

    async def silent() -> bool:
        (hop,) = (await state())["next_hops"]
        return not hop["healthy"]

    async with running(redis_server, place) as node:
        assert place.call(FREE) == "passed"
        assert (await state())["next_hops"][0]["healthy"]
        assert (await state())["trunk_counters"]["intl-a"]["judged"] == 1
        await eventually(silent, "a switch that answers no check is out of use")
        assert (await state())["counters"]["checks_missed"] >= 1
        assert place.call(FREE) == "500"
        node.reload(checked.model_copy(update={"checks": settings.Checks(seconds=0)}))
        await eventually(lambda: place.call(FREE) == "passed", "without checks it is used")


async def test_the_card_of_a_608_is_signed_while_the_node_runs(redis_server: RedisServer, place: Place) -> None:
    folder = place.node.control.parent
    (folder / "card.key").write_text(json.dumps(ECKey.generate_key("P-256").as_dict(private=True)))
    redress = settings.Redress(
        name="Operator",
        url="https://redress.example",
        card_url="https://redress.example/card.jws",
        card_x5u="https://redress.example/cert.pem",
        card_file=folder / "card.jws",
        card_key=folder / "card.key",
    )
    place.gateway = place.gateway.model_copy(update={"redress": redress})
    async with running(redis_server, place) as node:
        await eventually((folder / "card.jws").exists, "signed at the start")
        (folder / "card.jws").unlink()
        node.reload(place.gateway)
        await eventually((folder / "card.jws").exists, "signed after a reload")
        (folder / "card.key").write_text("no key")
        node.read_again(lambda: place.gateway)
        assert place.call(FREE) == "passed", "what worked before keeps working"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"numbers": ["+62x"]}, "malformed"),
        ({"numbers": "+6281000000003"}, "malformed"),
        ({"numbers": [1]}, "malformed"),
        ({"numbers": ["+6281000000003"] * (PROOF_NUMBERS + 1)}, "oversized"),
    ],
    ids=["no number", "no list", "no text", "too many"],
)
async def test_bad_questions_for_proof(redis_server: RedisServer, place: Place, request_: Any, code: str) -> None:
    async with running(redis_server, place):
        with pytest.raises(AskError) as caught:
            await ask(place.node.control, {"ask": "proof", **request_}, 5.0)
        assert caught.value.code == code
        assert (await ask(place.node.control, {"ask": "proof", "numbers": []}))["answers"] == []


SCRIPT = """
import asyncio, sys, uvloop
from sip_filter import node, settings
parts = [kind.model_validate_json(text) for kind, text in
         zip((settings.Node, settings.Redis, settings.Gateway), sys.argv[1:])]
uvloop.run(node.run(*parts))
"""


async def test_sigterm_ends_it_cleanly_and_kill_9_loses_nothing(redis_server: RedisServer, place: Place) -> None:
    book = Book()
    book.commit(line_of(BLOCKED, BLOCK))
    parts = [part.model_dump_json() for part in (place.node, settings.Redis(url=redis_server.url), place.gateway)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *parts], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )

    async def address() -> bool:
        try:
            place.aim((await ask(place.node.control, {"ask": "state"}))["listen"][0])
        except AskError:
            return False
        return True

    async with publishing(redis_server, book):
        process = start()
        try:
            await eventually(address, "it serves")
            await holds(place, book)
            process.kill()
            process.wait()
            redis_server.kill()
            process = start()
            await eventually(address, "it serves again")
            assert place.call(BLOCKED) == "603"
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 10) == 0
            assert not place.node.control.exists()
        finally:
            process.kill()
            process.wait()


# --- settings


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (settings.Node, {"name": "GW 1"}, "name 'GW 1' must be 1 to 32"),
        (settings.Node, {"control": "/" + "x" * 107}, "has 108 bytes; the system allows 107"),
        (settings.Node, {"checkpoint_mib": 0}, "greater than or equal to 1"),
        (settings.Redis, {"url": "http://x"}, "must begin with unix:///"),
        (settings.Redis, {"verify_seconds": 61}, "less than or equal to 60"),
        (settings.Gateway, {"listen": []}, "at least 1"),
        (settings.Gateway, {"listen": ["sctp:127.0.0.1:5060"]}, "must begin with udp:"),
        (settings.Gateway, {"listen": ["udp:localhost:5060"]}, "'localhost' is not an IP address"),
        (settings.Gateway, {"listen": ["udp:127.0.0.1:65536"]}, "port 0 to 65535"),
        (settings.Gateway, {"listen": ["udp:0.0.0.0:5060"]}, "must name one address"),
        (settings.Gateway, {"listen": ["udp:::1:5060"]}, "stands in brackets"),
        (settings.Gateway, {"protected": ["+112"]}, "must be 2 to 15 digits"),
        (settings.Gateway, {"label": 'a"b'}, "without quote"),
        (settings.Gateway, {"workers": 65}, "less than or equal to 64"),
        (settings.Trunk, {"name": "a", "sources": ["10.0.0.1/8"]}, "has host bits set"),
        (settings.Trunk, {"name": "a", "sources": ["10.0.0.0/8"], "response": "607"}, "'608' or '403'"),
        (settings.NextHop, {"name": "a", "address": "10.0.0.1:0", "networks": ["10.0.0.0/8"]}, "port 0"),
        (
            settings.Gateway,
            {"trunks": [{"name": "a", "sources": ["10.0.0.0/8"]}, {"name": "a", "sources": ["11.0.0.0/8"]}]},
            "trunk 'a' is there 2 times",
        ),
        (
            settings.Gateway,
            {"trunks": [{"name": "a", "sources": ["10.0.0.0/8"]}, {"name": "b", "sources": ["10.0.0.0/8"]}]},
            "is of trunks 'a' and 'b'",
        ),
        (settings.Gateway, {"lisen": []}, "Extra inputs"),
    ],
)
def test_bad_settings_are_named(kind: type[settings.Section], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(fields)
    assert message in str(caught.value)


def test_the_core_gets_the_key_and_never_its_path(place: Place) -> None:
    fields = json.loads(place.gateway.to_core_json("gw1"))
    assert fields["key"] == [KEY] and fields["node"] == "gw1" and "key_file" not in fields
    place.gateway.key_file.write_text("abc")
    with pytest.raises(ValueError, match="key 1 must be 64 hex digits, it has 3 characters"):
        place.gateway.to_core_json("gw1")


def test_the_bypass_judges_nothing() -> None:
    gateway = settings.Gateway.model_validate({"bypass": True, "trunks": [{"name": "a", "sources": ["10.0.0.0/8"]}]})
    assert gateway.modes == {"a": "off"}


async def test_a_node_tells_its_traffic(redis_server: RedisServer, place: Place) -> None:
    watches = [{"id": "r1", "subject": "+6289*"}]
    book = Book()
    book.commit(line_of(BLOCKED, BLOCK))
    async with publishing(redis_server, book), running(redis_server, place):
        await holds(place, book)
        before = await ask(place.node.control, {"ask": "traffic", "watches": watches})
        assert (before["node"], before["rows"], before["next"]) == ("gw1", [], None)
        await eventually(lambda: place.call(BLOCKED) == "603", "refused")
        assert place.call(FREE) == "passed"

        async def told() -> bool:
            answer = await ask(place.node.control, {"ask": "traffic", "after": 0})
            rows = {tuple(row[1:6]) for row in [*answer["rows"], *answer["open"]]}
            return answer["run"] == before["run"] and {("intl-a", "6289", 1, 0, 0), ("intl-a", "r1", 1, 0, 0)} <= rows

        await eventually(told, "the call is counted, for its prefix and for the watch")
        hour = before["now_ms"] // 3_600_000
        answers = [await ask(place.node.control, {"ask": "sketches", "hour": hour + more}) for more in (0, 1)]
        pairs = {row[1]: row for answer in answers for row in answer["sketches"]}
        assert pairs.keys() == {"6281", "6289", "r1"} and answers[0]["hour"] == hour
        callers, callees = (Sketch(base64.b64decode(text)) for text in pairs["r1"][2:])
        assert round(callers.estimate()) == round(callees.estimate()) == 1
        for question, code in (
            ({"ask": "traffic", "after": -1}, "malformed"),
            ({"ask": "traffic", "watches": "r1"}, "malformed"),
            ({"ask": "traffic", "watches": [{"id": "7701", "subject": "+77*"}]}, "malformed"),
            ({"ask": "sketches"}, "malformed"),
            ({"ask": "sketches", "hour": True}, "malformed"),
        ):
            with pytest.raises(AskError) as error:
                await ask(place.node.control, question)
            assert error.value.code == code
