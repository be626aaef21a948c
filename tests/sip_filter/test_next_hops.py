"""Several next hops on the wire: checks, failover of new calls, drain, and what peers and people are told of it."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sip_filter._core import Gateway
from tests.sip_filter.peers import Bench, Message, Peer, headers, respond, status

FREE = "<sip:+62811000000@a.example>"


class Hops:
    """A gateway before two switches; `alive` ones answer its checks. Nothing sleeps: `until` serves while it waits."""

    def __init__(self, folder: Path, seconds: int = 1) -> None:
        self.bench = Bench(folder)
        self.first, self.second = self.bench.switch, Peer("127.0.0.6")
        self.second.gateway = self.first.gateway
        self.hops = {"one": self.first, "two": self.second}
        self.alive = {"one", "two"}
        self.checks: list[bytes] = []
        self.calls: dict[str, list[bytes]] = {"one": [], "two": []}
        self.configure(seconds=seconds)

    def configure(self, seconds: int = 1, drain: str = "") -> None:
        self.bench.configure(
            checks={"seconds": seconds, "misses": 1},
            next_hops=[
                {"name": name, "address": peer.address, "networks": [f"{peer.host}/32"], "drain": name == drain}
                for name, peer in self.hops.items()
            ],
        )

    def serve(self) -> None:
        for name, peer in self.hops.items():
            for message in peer.waiting():
                if not message.startswith(b"OPTIONS "):
                    self.calls[name].append(message)
                    continue
                self.checks.append(message)
                if name in self.alive:
                    peer.send(respond(message, "200 OK"))

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not done():
            self.serve()
            assert time.monotonic() < deadline, self.bench.gateway.next_hops()

    def healthy(self) -> list[str]:
        return [hop["name"] for hop in self.bench.gateway.next_hops() if hop["healthy"]]

    def hop_of(self, call: Message) -> str:
        """Which switch got it; empty when the caller was answered."""
        self.serve()
        self.calls = {"one": [], "two": []}
        call.sender.send(call.bytes())
        found: list[str] = []

        def arrived() -> bool:
            found.extend(name for name, messages in self.calls.items() if messages)
            found.extend("" for answer in call.sender.waiting() if status(answer) >= 200)
            return bool(found)

        self.until(arrived)
        return found[0]

    def options(self) -> int:
        message = Message(self.bench.trunk, method="OPTIONS", target=f"sip:{self.bench.address}")
        self.bench.trunk.send(message.bytes())
        return status(self.bench.trunk.receive())


@pytest.fixture
def hops(tmp_path: Path) -> Iterator[Hops]:
    hops = Hops(tmp_path)
    yield hops
    hops.bench.close()
    hops.second.socket.close()


def test_checks_come_from_the_address_that_calls_come_from(hops: Hops) -> None:
    hops.until(lambda: len(hops.checks) == 4)
    assert hops.healthy() == ["one", "two"]
    check = next(check for check in hops.checks if hops.first.address.encode() in check)
    assert headers(check, "Via")[0].startswith(f"SIP/2.0/UDP {hops.bench.address};branch=z9hG4bK-palang")
    assert check.startswith(f"OPTIONS sip:{hops.first.address} SIP/2.0\r\n".encode())
    assert headers(check, "CSeq") == ["1 OPTIONS"] and headers(check, "Max-Forwards") == ["70"]
    assert len({headers(check, "Call-ID")[0] for check in hops.checks}) == 2, "one for each turn"
    counters = hops.bench.gateway.counters()
    hops.until(lambda: hops.bench.gateway.counters()["checks_answered"] >= 4)
    assert counters["checks_sent"] >= 4 and counters["checks_missed"] == 0


def test_new_calls_leave_a_silent_hop_and_come_back(hops: Hops) -> None:
    calls = [Message(hops.bench.trunk, caller=FREE) for _ in range(30)]
    before = [hops.hop_of(call) for call in calls]
    assert set(before) == {"one", "two"}, "both are used"
    hops.alive.remove("one")
    hops.until(lambda: hops.healthy() == ["two"])
    # What is on course stays: copies, CANCEL and all; new calls go around.
    assert [hops.hop_of(call) for call in calls] == before
    cancel = calls[before.index("one")]
    cancel.sender.send(cancel.bytes("CANCEL"))
    hops.until(lambda: any(message.startswith(b"CANCEL") for message in hops.calls["one"]))
    assert {hops.hop_of(Message(hops.bench.trunk, caller=FREE)) for _ in range(30)} == {"two"}
    assert hops.options() == 200
    # Nobody left: peers are told, by OPTIONS and not by 503 to a call.
    hops.alive.remove("two")
    hops.until(lambda: hops.healthy() == [])
    assert hops.options() == 503
    call = Message(hops.bench.trunk, caller=FREE)
    call.sender.send(call.bytes())
    assert status(call.sender.receive()) == 500
    assert hops.bench.gateway.synthetic("intl-a", ["+62811000000"]) == [("+62811000000", 0)]
    hops.alive |= {"one", "two"}
    hops.until(lambda: hops.healthy() == ["one", "two"])
    assert hops.hop_of(Message(hops.bench.trunk, caller=FREE)) and hops.options() == 200


def test_a_busy_hop_is_spared_and_a_forged_answer_saves_none(hops: Hops) -> None:
    hops.alive.clear()
    hops.until(lambda: len(hops.checks) >= 2)
    check = next(check for check in hops.checks if hops.first.address.encode() in check)
    hops.first.send(respond(check, "503 Service Unavailable"))
    for forger in (hops.second, hops.bench.trunk, hops.bench.stranger):
        forger.send(respond(check, "200 OK"))
    hops.until(lambda: hops.healthy() == [])
    assert hops.bench.gateway.counters()["checks_answered"] == 1
    state = hops.bench.gateway.next_hops()[0]
    assert (state["name"], state["healthy"], state["drain"]) == ("one", False, False) and state["misses"] >= 1


def test_a_drained_hop_ends_its_calls_and_gets_no_new_ones(hops: Hops) -> None:
    calls = [Message(hops.bench.trunk, caller=FREE) for _ in range(30)]
    before = [hops.hop_of(call) for call in calls]
    hops.configure(drain="one")
    assert [hops.hop_of(call) for call in calls] == before
    assert {hops.hop_of(Message(hops.bench.trunk, caller=FREE)) for _ in range(30)} == {"two"}
    assert hops.bench.gateway.next_hops()[0]["drain"]


def test_health_outlives_settings_and_ends_with_the_checks(hops: Hops) -> None:
    hops.alive.remove("one")
    hops.until(lambda: hops.healthy() == ["two"])
    hops.configure()
    assert hops.healthy() == ["two"]
    hops.configure(seconds=0)
    hops.until(lambda: hops.healthy() == ["one", "two"])


def test_two_nodes_choose_the_same_hop(hops: Hops, tmp_path: Path) -> None:
    settings = hops.bench.settings | {"checks": {"seconds": 0}}
    other = Gateway(str(hops.bench.live), json.dumps(settings))
    host, _, port = other.start()[0].removeprefix("udp:").rpartition(":")
    for _ in range(8):
        call = Message(hops.bench.trunk, caller=FREE)
        one = hops.hop_of(call)
        call.sender.gateway, home = (host, int(port)), call.sender.gateway
        assert hops.hop_of(call) == one
        call.sender.gateway = home
    other.stop()


def test_an_ipv6_hop_is_checked_from_an_ipv6_address(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.gateway.stop()
    hop = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    hop.bind(("::1", 0))
    hop.settimeout(20)
    bench.settings |= {
        "listen": ["udp:127.0.0.1:0", "udp:[::1]:0"],
        "checks": {"seconds": 1, "misses": 1},
        "next_hops": [{"name": "six", "address": f"[::1]:{hop.getsockname()[1]}", "networks": ["::1/128"]}],
    }
    bench.start(Gateway(str(bench.live), json.dumps(bench.settings)))
    check, source = hop.recvfrom(65_536)
    assert headers(check, "Via")[0].startswith(f"SIP/2.0/UDP {bench.bound[1]};") and source[1] == int(
        bench.bound[1].rpartition(":")[2]
    )
    hop.sendto(respond(check, "200 OK"), source)
    hop.recvfrom(65_536)
    assert bench.gateway.next_hops()[0]["healthy"] and bench.gateway.counters()["checks_answered"] == 1
    hop.close()
    bench.close()
