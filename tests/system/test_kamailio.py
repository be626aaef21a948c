"""A live Kamailio that asks the hook, and one that asks Redis: SIPp's calls through the configurations that we ship."""

import re
import site
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent import children
from agent.reference import ROOT
from sip_filter import Writer, list_digest, trunk_key
from sip_filter.keys import line_of
from tests.book import BLOCK, KEYS, Book, eventually, publishing
from tests.redis_server import RedisServer
from tests.sip_filter.peers import Message, Peer, status
from tests.sip_filter.test_identity import SMS, deliver
from tests.system.sipp_calls import SCENARIOS, answering, place

SHIPPED = ROOT / "config" / "switches" / "kamailio"
TRUNK = "127.0.0.2"
SCAMMER, WANGIRI, EXCEPTION, FRIEND = "+6281234567890", "+77012345678", "+77017654321", "+6281234567891"
CALLEE = "+622150001234"
ANSWERED, REFUSED = SCENARIOS / "answered.xml", SCENARIOS / "refused.xml"
REFUSED_MESSAGE = SCENARIOS / "refused_message.xml"

Address = tuple[str, int]


@asynccontextmanager
async def kamailio(folder: Path, config: str, port: int) -> AsyncIterator[Address]:
    """A private Kamailio under this configuration, on loopback; ready when it answers its trunk."""
    (folder / "kamailio.cfg").write_text(config)
    command = [children.program("kamailio"), "-DD", "-E", "-m", "32", "-M", "8", "-Y", str(folder)]
    command += ["-f", str(folder / "kamailio.cfg"), "-P", str(folder / "kamailio.pid")]
    child = await children.start("kamailio", command, folder / "kamailio.log")
    knocker = Peer(TRUNK)
    knocker.gateway = ("127.0.0.1", port)

    async def answers() -> bool:
        knock = Message(knocker, caller="<sip:alice@a.example>")
        knocker.send(knock.bytes().replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
        return any(status(reply) == 483 for reply in knocker.waiting())

    try:
        await child.ready(answers)
        yield "127.0.0.1", port
        assert "exception" not in (folder / "kamailio.log").read_text()
    finally:
        await child.stop()
        knocker.socket.close()


def fill(text: str, **values: str) -> str:
    """The shipped text with this site's values; each must stand in it once."""
    for old, new in values.items():
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the shipped file"
        text = text.replace(old, new)
    return text


def asks_hook(folder: Path, live: Path, hop: Address) -> tuple[str, int]:
    """The shipped hook configuration for a test, and its port."""
    port = children.free_port(socket.SOCK_DGRAM)
    settings = fill(
        (SHIPPED / "palang.toml").read_text(),
        **{
            "/opt/palang/lib/python3.11/site-packages": site.getsitepackages()[0],
            "/run/palang/list": str(live),
            "sip:192.0.2.9:5060": f"sip:{hop[0]}:{hop[1]}",
            "192.0.2.1/32": f"{TRUNK}/32",
            "trusted = false": "trusted = true",
        },
    )
    (folder / "palang.toml").write_text(settings)
    (folder / "palang.py").write_text((SHIPPED / "palang.py").read_text())
    listen = {"udp:192.0.2.10:5060": f"udp:127.0.0.1:{port}", "/etc/kamailio/palang.py": str(folder / "palang.py")}
    return fill((SHIPPED / "palang.cfg").read_text(), **listen), port


def asks_redis(redis: RedisServer, hop: Address) -> tuple[str, int]:
    """The shipped Redis configuration for a test, and its port."""
    port = children.free_port(socket.SOCK_DGRAM)
    text = fill(
        (SHIPPED / "palang-redis.cfg").read_text(),
        **{
            "udp:192.0.2.10:5060": f"udp:127.0.0.1:{port}",
            "!sip:192.0.2.9:5060!": f"!sip:{hop[0]}:{hop[1]}!",
            "!HOP_ADDRESS!192.0.2.9!": f"!HOP_ADDRESS!{hop[0]}!",
            "192.0.2.0/29": f"{TRUNK}/32",
            "addr=127.0.0.1;port=6379": f"unix={redis.socket}",
            'cmd_timeout", 200': 'cmd_timeout", 5000',  # here nobody waits for a call, but the machine may be busy
        },
    )
    return text, port


class List:
    """The node's list, changed as its writer does."""

    def __init__(self, folder: Path) -> None:
        self.live = folder / "live"
        self.writer = Writer(self.live, folder / "state")
        self._lines: dict[str, str] = {}
        self._n = 0

    def put(self, subject: str, stack: str) -> None:
        self._n += 1
        line = line_of(subject, stack)
        self._lines[subject] = line
        if not stack:
            del self._lines[subject]
        self.writer.apply(1, self._n, [line], list_digest(self._lines.values()), 0)


class NarrowRedis(RedisServer):
    """A Redis whose default user may do what docs/switches/kamailio.md says, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        keys = (f"~{KEYS.numbers}", f"~{KEYS.prefixes}")
        assert self.cli("ACL", "SETUSER", "palang", "on", ">secret", "~*", "&*", "+@all") == b"OK\n"
        narrow = ("reset", "on", "nopass", *keys, "+sismember", "+ping", "+select")
        assert self.cli("ACL", "SETUSER", "default", *narrow) == b"OK\n"

    @property
    def url(self) -> str:
        return f"unix://palang:secret@{self.socket}"


@pytest.fixture
def narrow_redis() -> Iterator[RedisServer]:
    server = NarrowRedis()
    yield server
    server.close()


@pytest.fixture
def emergency(tmp_path: Path) -> Path:
    """An answered call to 112."""
    scenario = tmp_path / "emergency.xml"
    scenario.write_text(ANSWERED.read_text().replace(CALLEE, "112"))
    return scenario


def test_each_page_says_what_was_tested() -> None:
    said = {}
    for page in (ROOT / "docs" / "switches").glob("*.md"):
        said[page.stem] = re.findall(r"^\*(tested with version [\d.]+|untested)\*", page.read_text(), re.MULTILINE)
    version = subprocess.run([children.program("kamailio"), "-v"], capture_output=True, text=True, check=True).stdout
    (tested,) = said.pop("kamailio")
    assert tested.removeprefix("tested with version ").rpartition(".")[0] in version.split("\n")[0]
    assert said == {name: ["untested"] for name in ("opensips", "freeswitch", "asterisk")}


async def test_calls_through_the_hook(tmp_path: Path, emergency: Path) -> None:
    node = List(tmp_path)
    node.put(SCAMMER, "order reject enforce both")
    node.put("+77*", "noc reject enforce both")
    node.put(EXCEPTION, "noc allow enforce both")
    async with answering(tmp_path) as callee:
        config, port = asks_hook(tmp_path, node.live, callee)
        async with kamailio(tmp_path, config, port) as switch:

            async def call(scenario: Path, number: str) -> None:
                await place(switch, TRUNK, scenario, number, tmp_path)

            await call(REFUSED, SCAMMER)
            await call(REFUSED, WANGIRI)
            await call(ANSWERED, EXCEPTION)
            await call(ANSWERED, FRIEND)
            await call(emergency, SCAMMER)
            await call(REFUSED_MESSAGE, SCAMMER)
            node.put(FRIEND, "order reject enforce both")
            await call(REFUSED, FRIEND)
            node.put(FRIEND, "")
            await call(ANSWERED, FRIEND)
            node.put("+77*", "noc reject shadow both")
            await call(ANSWERED, WANGIRI)
            hits, lost = node.writer.drain_hits()
            counted: dict[tuple[str, str, str], set[int]] = {}
            for _, subject, _, _, effect, kind, trunk, _, call_key in hits:
                assert trunk == trunk_key("intl-a")
                counted.setdefault((subject, effect, kind), set()).add(call_key)
            assert lost == 0
            assert {key: len(calls) for key, calls in counted.items()} == {
                (SCAMMER, "reject", "call"): 5,
                (SCAMMER, "reject", "message"): 5,
                (FRIEND, "reject", "call"): 5,
                ("+77*", "reject", "call"): 5,
                ("+77*", "shadow", "call"): 5,
            }
    node.writer.close()


async def test_each_request_meets_the_list_as_it_is_then(tmp_path: Path) -> None:
    node = List(tmp_path)
    caller, switch, stranger = Peer(TRUNK), Peer("127.0.0.4"), Peer("127.0.0.5")
    config, port = asks_hook(tmp_path, node.live, (switch.host, switch.port))
    async with kamailio(tmp_path, config, port) as address:
        caller.gateway = switch.gateway = stranger.gateway = address

        def send(message: Message, answer: int) -> bytes:
            """What comes of it: back to the caller when an answer is due, else at the switch."""
            caller.send(message.bytes())
            got = caller.receive() if answer else switch.receive()
            assert status(got) == answer
            return got

        for listed in [False, True] * 20:
            node.put(SCAMMER, "order reject enforce both" if listed else "")
            send(Message(caller, caller=f"<sip:{SCAMMER}@a.example>"), 603 if listed else 0)
            send(Message(caller, caller=f"<sip:{FRIEND}@a.example>"), 0)

        # An SMS names its sender inside, and its bytes are no text.
        node.put("+77*", "order reject enforce both")
        for sender, answer in ((WANGIRI, 603), (FRIEND, 0)):
            sms = Message(caller, caller=f"<sip:{FRIEND}@a.example>", method="MESSAGE")
            sms.headers, sms.body = [f"Content-Type: {SMS}"], deliver(sender[1:]) + b"\x00\xff\xfe"
            got = send(sms, answer)
            assert answer or got.endswith(sms.body)

        # What can't be judged whole is not passed on, by the hook or by Kamailio itself.
        crowd = Message(caller, caller=f"<sip:{FRIEND}@a.example>")
        crowd.headers = ["P-Asserted-Identity: " + ", ".join(["<sip:a@b>"] * 17)]
        send(crowd, 400)
        double = Message(caller, caller=f"<sip:{FRIEND}@a.example>")
        double.headers = [f"From: <sip:{SCAMMER}@a.example>;tag=2"]
        caller.send(double.bytes())

        # Strangers get nothing; the switch reaches the trunk and nobody else.
        stranger.send(Message(stranger).bytes())
        switch.send(Message(switch, method="BYE", target=f"sip:{stranger.address}").bytes())
        switch.send(Message(switch, method="BYE", target=f"sip:{caller.address}").bytes())
        assert caller.receive().startswith(b"BYE ")
        assert not stranger.waiting() and not switch.waiting()
    node.writer.close()


async def test_calls_through_stock_redis(tmp_path: Path, emergency: Path, narrow_redis: RedisServer) -> None:
    book = Book()
    book.commit(line_of(SCAMMER, BLOCK), line_of("+77*", "noc reject enforce both"))
    book.commit(line_of(EXCEPTION, "noc allow enforce both"))
    async with answering(tmp_path) as callee, publishing(narrow_redis, book) as publisher:

        async def published() -> None:
            publisher.wake()
            await eventually(lambda: publisher.state.published == (book.rows[-1].epoch, book.rows[-1].n), "published")

        await published()
        for command in (("SMEMBERS", KEYS.numbers), ("HGETALL", KEYS.entries), ("SADD", KEYS.numbers, "1")):
            assert b"NOPERM" in narrow_redis.cli(*command)  # The list can't be carried off, nor changed.
        config, port = asks_redis(narrow_redis, callee)
        async with kamailio(tmp_path, config, port) as switch:

            async def call(scenario: Path, number: str) -> None:
                await place(switch, TRUNK, scenario, number, tmp_path)

            await call(REFUSED, SCAMMER)
            await call(REFUSED, f"00{SCAMMER[1:]}")
            await call(REFUSED, WANGIRI)
            await call(REFUSED, EXCEPTION)  # What the sets don't say, as the page warns.
            await call(ANSWERED, FRIEND)
            await call(emergency, SCAMMER)
            await call(REFUSED_MESSAGE, SCAMMER)
            book.commit(line_of(FRIEND, BLOCK))
            await published()
            await call(REFUSED, FRIEND)
            book.commit(f"{FRIEND}\t", f"{SCAMMER}\t")
            await published()
            await call(ANSWERED, FRIEND)
            await call(ANSWERED, SCAMMER)
            # Without Redis it knows nothing, and calls go on.
            await call(REFUSED, WANGIRI)
            narrow_redis.kill()
            await call(ANSWERED, WANGIRI)


async def test_asserted_identities_are_asked_in_redis(tmp_path: Path, narrow_redis: RedisServer) -> None:
    book = Book()
    book.commit(line_of(WANGIRI, BLOCK), line_of("+6281234*", BLOCK))
    caller, switch = Peer(TRUNK), Peer("127.0.0.4")
    config, port = asks_redis(narrow_redis, (switch.host, switch.port))
    async with publishing(narrow_redis, book) as publisher, kamailio(tmp_path, config, port) as address:
        await eventually(lambda: publisher.state.published == (1, 1), "published")
        caller.gateway = address
        good = "<sip:+62811000000@a>"
        for from_, asserted, answer in (
            (good, [f"<sip:{WANGIRI}@a>"], 603),
            (good, ["<tel:+7-701-234-5678>"], 603),
            (good, [f"{good}, <tel:{SCAMMER}>"], 603),
            (good, [good, f"<tel:{SCAMMER};npdi>"], 603),
            (f"<sip:{SCAMMER};npdi;rn=+62811@a>", [], 603),
            (good, [good], 0),
            ("<sip:anonymous@anonymous.invalid>", [], 0),
            ("<sip:a.example>", ["<sip:a.example>"], 0),
            (good, [f'"x, <tel:{SCAMMER}>" {good}'], 0),
        ):
            message = Message(caller, caller=from_)
            message.headers = [f"P-Asserted-Identity: {value}" for value in asserted]
            caller.send(message.bytes())
            got = switch.receive() if not answer else caller.receive()
            assert status(got) == answer, (from_, asserted)
