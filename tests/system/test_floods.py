"""Floods of twice what the gateway can take, from one peer, while another trunk's calls get through."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_filter import Writer, list_digest
from tests.sip_filter.peers import headers
from tests.system.flood import invite

REPOSITORY = Path(__file__).parents[2]
FLOODER, GOOD, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.9"
LIST = ["+77*\torder reject enforce both"]
CALLS = 300
T1, T2, PATIENCE = 0.5, 4.0, 32.0
"""Seconds: RFC 3261 §17.1.1.2, and 64 times T1."""


class Server:
    """A gateway in a process of its own, whose memory can be looked at."""

    def __init__(self, folder: Path) -> None:
        certificate, key = folder / "cert.pem", folder / "key.pem"
        words = (
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gw -out {certificate}"
        )
        subprocess.run(["openssl", *words.split(), "-keyout", str(key)], check=True, capture_output=True)
        trunk = {"plan": "international", "mode": "enforce"}
        settings: dict[str, Any] = {
            "listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0"],
            "workers": 1,
            "node": "gw1",
            "key": "5a" * 32,
            "protected": [],
            "trunks": [
                {"name": "flooder", "sources": [f"{FLOODER}/32"], **trunk},
                {"name": "good", "sources": [f"{GOOD}/32"], **trunk},
            ],
            "next_hops": [{"name": "switch", "address": "127.0.0.1:9", "networks": []}],
            "checks": {"seconds": 0},
            "tls": {"certificate": str(certificate), "key": str(key)},
        }
        writer = Writer(str(folder / "live"), str(folder / "state"))
        writer.load(1, 1, LIST, list_digest(LIST), 0)
        writer.close()
        program = REPOSITORY / "perf" / "palang_server.py"
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), str(folder / "live"), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        bound = [local.rpartition(":") for local in json.loads(self._line())]
        self.ports = {head.partition(":")[0]: int(port) for head, _, port in bound}

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def counters(self) -> dict[str, int]:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counters: dict[str, int] = json.loads(self._line())
        return counters

    def memory(self) -> int:
        """Bytes of it that are resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) << 10

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


class Flood:
    """Senders of one kind, each a process; the gateway's processor is not theirs."""

    def __init__(self, kind: str, source: str, port: int, senders: int = 2) -> None:
        command = [
            sys.executable,
            "-P",
            str(REPOSITORY / "tests/system/flood.py"),
            kind,
            source,
            "127.0.0.1",
            str(port),
        ]
        self._senders = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={"PYTHONPATH": str(REPOSITORY)},
            )
            for _ in range(senders)
        ]
        for sender in self._senders:
            assert sender.stdout
            assert sender.stdout.readline() == "ready\n"

    def end(self) -> int:
        """How much it sent in all."""
        return sum(int(sender.communicate("\n", timeout=30)[0]) for sender in self._senders)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("floods"))
    _calls(server, 1000, 0.001)
    yield server
    server.close()


def _calls(server: Server, calls: int, every: float) -> tuple[int, int]:
    """Make calls on the good trunk as SIP does it; how many were answered at the first send, and at all."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((GOOD, 0))
    peer.connect(("127.0.0.1", server.ports["udp"]))
    here = f"{GOOD}:{peer.getsockname()[1]}"
    waiting: dict[str, tuple[float, float, int]] = {}
    first = answered = made = 0
    began = time.monotonic()
    while made < calls or waiting:
        now = time.monotonic()
        if made < calls and now >= began + made * every:
            waiting[f"{time.monotonic_ns()}-{made}"] = (now, T1 / 2, 0)
            made += 1
        for call, (due, wait, sends) in list(waiting.items()):
            if now >= due:
                peer.send(invite(here, call))
                waiting[call] = (now + min(2 * wait, T2), min(2 * wait, T2), sends + 1)
        if now > began + calls * every + PATIENCE:
            break
        peer.settimeout(every / 2)
        try:
            reply = peer.recv(65_536)
        except TimeoutError:
            continue
        assert reply.startswith(b"SIP/2.0 603 ")
        _, _, sends = waiting.pop(headers(reply, "Call-ID")[0], (0, 0, 0))
        answered += sends > 0
        first += sends == 1
    peer.close()
    return first, answered


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "source", "times"),
    [
        ("valid", FLOODER, 2),
        pytest.param("malformed", FLOODER, 2, marks=slow),
        pytest.param("valid", STRANGER, 0.9, marks=slow),
        pytest.param("malformed", STRANGER, 0.9, marks=slow),
    ],
)
def test_a_flood_of_datagrams_from_one_peer_leaves_room_for_the_others(
    server: Server, kind: str, source: str, times: float
) -> None:
    """`times` what is read: a stranger's datagrams cost so little that hardly any sender is faster than that."""
    received, memory = server.counters()["received"], server.memory()
    flood = Flood(kind, source, server.ports["udp"])
    first, answered = _calls(server, CALLS, 0.01)
    sent = flood.end()
    received, grown = server.counters()["received"] - received, server.memory() - memory
    assert sent >= times * received, f"only {sent} sent for {received} received"
    _got_through(first, answered, grown)


@pytest.mark.parametrize(
    ("kind", "transport"),
    [
        ("slow", "tcp"),
        pytest.param("junk", "tcp", marks=slow),
        pytest.param("slow", "tls", marks=slow),
        pytest.param("junk", "tls", marks=slow),
    ],
)
def test_a_flood_of_connections_leaves_room_for_the_others(server: Server, kind: str, transport: str) -> None:
    connections, memory = server.counters()["connections"], server.memory()
    flood = Flood(kind, FLOODER, server.ports[transport])
    first, answered = _calls(server, CALLS, 0.01)
    over_tcp = _calls_over_tcp(server, 50)
    sent = flood.end()
    connections, grown = server.counters()["connections"] - connections, server.memory() - memory
    assert sent > 50 and connections > 50
    assert over_tcp == 50
    _got_through(first, answered, grown)


def _got_through(first: int, answered: int, grown: int) -> None:
    """In one queue with the flood, a quarter to a half of the calls were answered at the first send."""
    assert answered == CALLS
    assert first >= 0.8 * CALLS
    assert grown < 8 << 20


def _calls_over_tcp(server: Server, calls: int) -> int:
    """Calls of the good trunk, each over a connection of its own; how many were answered."""
    answered = 0
    for n in range(calls):
        with socket.socket() as peer:
            peer.bind((GOOD, 0))
            peer.settimeout(5)
            peer.connect(("127.0.0.1", server.ports["tcp"]))
            call = invite(f"{GOOD}:5060", f"{time.monotonic_ns()}-{n}").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
            peer.sendall(call)
            answered += peer.recv(65_536).startswith(b"SIP/2.0 603 ")
    return answered
