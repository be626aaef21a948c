"""The torture messages of RFC 4475 and RFC 5118 through a real gateway, against what their index expects."""

import json
import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.sip_filter.peers import Bench, Message, Peer, headers, status

VECTORS = Path(__file__).parent.parent / "vectors"

# Where we do other than the index prefers (always within what it allows), and why.
DEVIATIONS = {
    "badaspec": "FORWARD",  # Spaces around the address of To: we don't use it, and the address is clear.
    "badbranch": "FORWARD",  # Our own branch does not depend on a good one of the client's.
    "mismatch02": "REJECT_400",  # A CSeq that contradicts the method is malformed, whatever the method.
    "regbadct": "REJECT_405",  # REGISTER is not for us, well formed or not.
    "novelsc": "REJECT_416",
    "unkscm": "REJECT_416",
    # REGISTER out of dialog gets 405 (DESIGN §6) where a proxy would pass it on.
    **dict.fromkeys(
        [
            "cparam01",
            "cparam02",
            "dblreq",
            "escnull",
            "regaut01",
            "regescrt",
            "unksm2",
            "ipv6-good",
            "port-ambiguous",
            "port-unambiguous",
        ],
        "REJECT_405",
    ),
    # An OPTIONS without a user part asks the element it reaches.
    "via-received-param-no-delim": "LOCAL_200",
}


def vectors() -> list[Any]:
    found = []
    for folder in ("rfc4475", "rfc5118"):
        index = json.loads((VECTORS / folder / "index.json").read_text())
        found += [pytest.param(folder, row, id=row["name"]) for row in index["messages"]]
    return found


@dataclass
class Wire:
    """A bench whose trunk hears on every port that the vectors name in Via."""

    bench: Bench
    ears: list[socket.socket] = field(default_factory=list)

    def send(self, datagram: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """What the trunk, the switch and anybody else got."""
        got = self.bench.send(self.bench.trunk, datagram)
        replies = got[self.bench.trunk]
        for ear in self.ears:
            while True:
                try:
                    replies.append(ear.recv(65_536))
                except BlockingIOError:
                    break
        return replies, got[self.bench.switch], got[self.bench.other] + got[self.bench.stranger]


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    # An address of our own: the ports in the vectors' Via are well known.
    host = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
    bench = Bench(
        tmp_path_factory.mktemp("vectors"),
        ["+77*\torder reject enforce both"],
        trunks=[Bench.trunk_row("vectors", f"{host}/32", trusted=True)],
    )
    bench.trunk.socket.close()
    bench.trunk = Peer(host)
    bench.trunk.gateway = bench.switch.gateway
    bench.peers = (bench.trunk, bench.other, bench.switch, bench.stranger)
    wire = Wire(bench)
    for port in (5060, 5050, 5070, 6050, 19823):
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ear.bind((host, port))
        ear.setblocking(False)
        wire.ears.append(ear)
    yield wire
    for ear in wire.ears:
        ear.close()
    bench.close()


@pytest.mark.parametrize(("folder", "row"), vectors())
def test_vector(wire: Wire, folder: str, row: dict[str, Any]) -> None:
    raw = (VECTORS / folder / row["file"]).read_bytes()
    replies, forwarded, strays = wire.send(raw)
    came = outcome(raw, (replies, forwarded, strays))
    assert came in row["allowed"]
    assert came == DEVIATIONS.get(row["name"], row["preferred"])

    if forwarded:
        for pattern in row.get("forward_forbid", []):
            assert not re.search(pattern.encode(), forwarded[0])
        head, _, body = raw.partition(b"\r\n\r\n")
        declared = row["facts"]["content_length"]
        assert forwarded[0].partition(b"\r\n\r\n")[2] == (body[: int(declared[0])] if declared else body)
        kept = [line for line in head.split(b"\r\n")[1:] if not re.match(rb"(?i)(via|v|max-forwards)\s*:", line)]
        at = 0
        for line in kept:  # In order, and byte for byte.
            at = forwarded[0].index(line, at) + len(line)
    if came == "REJECT_420":
        assert headers(replies[0], "Unsupported") == ["noProxiesSupportThis, norDoAnyProxiesSupportThis"]

    call = Message(wire.bench.trunk)
    replies, forwarded, strays = wire.send(call.bytes())
    assert [status(reply) for reply in replies] == [603] and not forwarded and not strays


def outcome(raw: bytes, got: tuple[list[bytes], list[bytes], list[bytes]]) -> str:
    """What became of a datagram, by what the trunk, the switch and others got; the laws of every one hold."""
    replies, forwarded, strays = got
    assert not strays
    assert len(replies) + len(forwarded) <= 1
    if forwarded:
        return "FORWARD"
    if not replies:
        return "DROP"
    assert len(replies[0]) <= len(raw) + 400
    assert not raw.startswith((b"ACK ", b"SIP/2.0 "))
    code = status(replies[0])
    return "LOCAL_200" if code == 200 else f"REJECT_{code}"


TAILS = (b"\r\n", b"\0", b"x" * 900, b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n")


@pytest.mark.parametrize(("folder", "row"), vectors())
def test_vector_cut_at_every_byte_and_extended(wire: Wire, folder: str, row: dict[str, Any]) -> None:
    raw = (VECTORS / folder / row["file"]).read_bytes()
    whole = outcome(raw, wire.send(raw))
    declared = row["facts"]["content_length"]
    head = raw.find(b"\r\n\r\n") + 4 if row["facts"]["has_header_terminator"] else len(raw)
    for cut in range(len(raw)):
        part = raw[:cut]
        came = outcome(part, wire.send(part))
        if cut < head or declared:
            # An unfinished header, or less of the body than it declares, is refused or dropped.
            assert came == "DROP" or came.startswith("REJECT_4") or came in {"REJECT_505", whole}, cut
            assert came != "FORWARD" or cut - head >= int(declared[0]), cut
            assert came != "LOCAL_200" or cut >= head, cut
        else:
            assert came == whole, cut
    if not row["facts"]["has_header_terminator"]:
        return
    lacking = int(declared[0]) - row["facts"]["body_bytes"] if declared else 0
    for tail in TAILS:
        if not 0 < lacking <= len(tail):  # Otherwise it is the rest of the body.
            assert outcome(raw + tail, wire.send(raw + tail)) == whole, tail


def test_the_callers_of_vectors_are_read(wire: Wire) -> None:
    raw = (VECTORS / "rfc4475" / "inv2543.dat").read_bytes()
    try:
        wire.bench.rule(["+13035551111\torder reject enforce both"])
        fresh = raw.replace(b"inv2543.1717", b"inv2543.1718")  # Its first copies have taken their course.
        assert outcome(fresh, wire.send(fresh)) == "REJECT_603"
        head = fresh.find(b"\r\n\r\n") + 4
        for cut in range(len(fresh)):
            came = outcome(fresh[:cut], wire.send(fresh[:cut]))
            assert came == "REJECT_603" if cut >= head else came in {"DROP", "REJECT_400"}, cut
    finally:
        wire.bench.rule(["+77*\torder reject enforce both"])


def test_forwarded_numbers_and_values_stay_as_written(wire: Wire) -> None:
    (forwarded,) = wire.send((VECTORS / "rfc4475" / "wsinv.dat").read_bytes())[1]
    assert b"MaX-fOrWaRdS: 67\r\n" in forwarded
    vias = [forwarded.index(host) for host in (b"192.0.2.2", b"spindle.example.com", b"192.168.255.111")]
    assert vias == sorted(vias)
    (forwarded,) = wire.send((VECTORS / "rfc4475" / "esc01.dat").read_bytes())[1]
    assert forwarded.startswith(b"INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\r\n")


def test_large_datagrams_are_refused_or_passed_whole(wire: Wire) -> None:
    call = Message(wire.bench.trunk, caller="<sip:+62811000000@x>")
    call.body = bytes(60_000)
    assert wire.send(call.bytes())[1][0].endswith(call.body)
    call.body = bytes(65_507 - (len(call.bytes()) - len(call.body)) - 10)  # No room left for our Via.
    replies, forwarded, _ = wire.send(call.bytes())
    assert [status(reply) for reply in replies] == [513] and not forwarded
