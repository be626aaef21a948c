"""The judge of caller-identity evasion: what a live Kamailio reads as the blocked number must not pass the gateway.

The messages are data, in `tests/evasion/*.toml`: each is a call as `call` puts it together, and says what must become
of it. "block" is refused by rule (603), "refuse" is refused as malformed (4xx), "drop" can't be answered, and "pass"
reaches the switch. Kamailio, which shares no line of code with us, reads each message as it was sent and, where the
gateway forwards it, as the switch got it. Two things must hold whatever the file says: nothing passes in which Kamailio
reads the blocked number, and nothing is refused by rule in which it doesn't read it, unless the message tells why we
read it `alone`.
"""

import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agent import children
from tests.sip_filter.peers import Bench, Peer, status

DATA = Path(__file__).parent.parent / "evasion"
BLOCKED = "77012345678"
GOOD = "<sip:+6281100000001@a.example>;tag=1"
FAMILIES = ("from", "user", "asserted", "remote_party", "field", "decoy")
# Who may be read where: Remote-Party-ID only on the trunk that takes it for an identity.
READ = {"plain": {"From", "PAI"}, "rpid": {"From", "PAI", "RPID"}}
OUTCOMES = {0: "pass", 603: "block"}
COUNTED = {"pass": "forwarded", "block": "rejected", "refuse": "malformed", "drop": "not_sip"}

Row = dict[str, Any]
_calls = count(1)


def rows() -> list[Any]:
    found = []
    for family in FAMILIES:
        with (DATA / f"{family}.toml").open("rb") as file:
            messages = tomllib.load(file)["message"]
        found += [pytest.param(row, id=f"{family}: {row['name']}") for row in messages]
    return found


def call(row: Row, sender: str) -> tuple[bytes, str]:
    """The datagram of a row, and its Call-ID.

    `from` is the value of From; `first` are lines before Via, `headers` lines behind Max-Forwards, `last` lines behind
    Content-Length; `without` leaves lines out by name; `end` ends lines; `before` stands before the start line, `tail`
    behind the body, `via` behind its branch.
    """
    number, body = next(_calls), row.get("body", "")
    lines = [
        f"Via: SIP/2.0/UDP {sender};rport;branch=z9hG4bK-evasion-{number}{row.get('via', '')}",
        f"From: {row.get('from', GOOD)}",
        "To: <sip:+622150001234@b.example>",
        f"Call-ID: evasion-{number}",
        "CSeq: 1 INVITE",
        "Max-Forwards: 70",
        *row.get("headers", []),
        f"Content-Length: {len(body.encode())}",
    ]
    kept = [line for line in lines if line in row.get("headers", []) or line.partition(":")[0] not in _without(row)]
    start = row.get("start", "INVITE sip:+622150001234@b.example SIP/2.0")
    end = row.get("end", "\r\n")
    text = row.get("before", "") + end.join([start, *row.get("first", []), *kept, *row.get("last", []), "", ""]) + body
    return (text + row.get("tail", "")).encode(row.get("encoding", "utf-8")), f"evasion-{number}"


def _without(row: Row) -> list[str]:
    return list(row.get("without", []))


class Reader:
    """A private Kamailio that answers what it reads."""

    def __init__(self, folder: Path) -> None:
        self._peer = Peer("127.0.0.2")
        self._peer.gateway = "127.0.0.1", children.free_port(socket.SOCK_DGRAM)
        text = (DATA / "reader.cfg").read_text()
        address = "udp:127.0.0.1:{}"
        assert text.count(address.format(5060)) == 1
        (folder / "reader.cfg").write_text(text.replace(address.format(5060), address.format(self._peer.gateway[1])))
        command = [children.program("kamailio"), "-DD", "-E", "-m", "32", "-M", "8", "-Y", str(folder)]
        command += ["-f", str(folder / "reader.cfg"), "-P", str(folder / "reader.pid")]
        with (folder / "reader.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._peer.socket.settimeout(0.1)
        deadline = time.monotonic() + 20
        while not self._is_ready():
            assert time.monotonic() < deadline and self._process.poll() is None, (folder / "reader.log").read_text()
        self._peer.socket.settimeout(5)

    def _is_ready(self) -> bool:
        self._peer.send(call({}, self._peer.address)[0])
        try:
            return bool(status(self._peer.receive()))
        except (TimeoutError, ConnectionRefusedError):
            return False

    def read(self, datagram: bytes) -> set[tuple[str, str]]:
        """Where it reads which number, in digits; nothing of what it drops."""
        fence, fence_id = call({}, self._peer.address)
        self._peer.send(datagram)
        self._peer.send(fence)  # One worker: answered behind what was sent before.
        found: set[tuple[str, str]] = set()
        while fence_id.encode() not in (reply := self._peer.receive()):
            said = [line.split() for line in reply.split(b"\r\n") if line.startswith(b"X-Read: ")]
            found |= {
                (words[1].decode(), bytes.fromhex(b"".join(words[2:]).decode()).decode("latin-1")) for words in said
            }
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._peer.socket.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    started = Reader(tmp_path_factory.mktemp("reader"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    trunks = [
        Bench.trunk_row("plain", "127.0.0.2/32", trusted=True),
        Bench.trunk_row("rpid", "127.0.0.3/32", trusted=True, rpid=True),
    ]
    bench = Bench(tmp_path_factory.mktemp("evasion"), [f"+{BLOCKED}\torder reject enforce both"], trunks=trunks)
    yield bench
    bench.close()


@pytest.mark.parametrize("row", rows())
def test_no_evasion_and_no_false_block(bench: Bench, reader: Reader, row: Row) -> None:
    trunk = row.get("trunk", "plain")
    sender = bench.trunk if trunk == "plain" else bench.other
    datagram, _ = call(row, sender.address)
    before = bench.gateway.counters()
    got = bench.send(sender, datagram)
    came = got[sender] + got[bench.switch]
    assert len(came) <= 1
    outcome = OUTCOMES.get(status(came[0]), "refuse") if came else "drop"

    def reads(message: bytes) -> bool:
        return any(where in READ[trunk] and digits == BLOCKED for where, digits in reader.read(message))

    is_read = reads(datagram)
    assert not (outcome == "pass" and (is_read or reads(came[0]))), "an evasion: the switch reads the blocked number"
    assert not (outcome == "block" and not is_read and "alone" not in row), (
        "a false block: nobody else reads the number"
    )
    assert outcome == row["expect"]
    counter = COUNTED[outcome]
    assert bench.gateway.counters()[counter] == before[counter] + 1


def test_the_judge_is_worth_its_name() -> None:
    found = [param.values[0] for param in rows()]
    assert len(found) >= 300
    assert len({param.id for param in rows()}) == len(found)
    for expect, least in (("block", 150), ("refuse", 25), ("pass", 80)):
        assert sum(row["expect"] == expect for row in found) >= least
    assert sum("alone" in row for row in found) < 35, "most of what we block has to be read by another, too"


def test_the_reader_reads(reader: Reader) -> None:
    lines = [
        "P-Asserted-Identity: <tel:+1>, <tel:+2>",
        "Remote-Party-ID: <sip:3@a>;party=calling, <sip:4@a>;party=called",
    ]
    read = reader.read(call({"headers": lines}, "127.0.0.2:5060")[0])
    assert read >= {("From", "6281100000001"), ("PAI", "1"), ("PAI", "2"), ("RPID", "3")}
    assert ("RPID", "4") not in read
