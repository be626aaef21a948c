"""A path with a small MTU: large responses don't fit a segmented send, and are sent one by one."""

import json
import socket
import time
from pathlib import Path

import pytest

from sip_filter import Writer, list_digest
from sip_filter._core import Gateway
from tests.sip_filter.peers import headers
from tests.system.burst import Burst
from tests.system.network import GATEWAY_SIDE, PEER_SIDE, Link, link

_MTU = 1280
"""The least that IPv6 allows (RFC 8200 §5)."""
_CALLS = 200


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_responses_over_the_mtu_are_answered_once_each(tmp_path: Path, family: str) -> None:
    side = family == "IPv6"
    writer = Writer(str(tmp_path / "live"), str(tmp_path / "state"))
    lines = ["+77*\torder reject enforce both"]
    writer.load(1, 1, lines, list_digest(lines), 0)
    bracketed = f"[{GATEWAY_SIDE[side]}]" if side else GATEWAY_SIDE[side]
    settings = {
        "listen": [f"udp:{bracketed}:5060"],
        "workers": 1,
        "node": "gw1",
        "key": "5a" * 32,
        "protected": [],
        "trunks": [{"name": "t", "sources": [PEER_SIDE[side]], "plan": "international", "mode": "enforce"}],
        "next_hops": [{"name": "switch", "address": f"{bracketed}:5080", "networks": [f"{GATEWAY_SIDE[side]}"]}],
        "checks": {"seconds": 0},
    }
    gateway = Gateway(str(tmp_path / "live"), json.dumps(settings))
    with link(_MTU) as between:
        between.inside(between.gateway, gateway.start)
        try:
            with _peer(between, side) as peer:
                _meet(peer)
                _answered_once(gateway, peer, large=True)
                refused = gateway.counters()["segments_refused"]
                # A batch holds at most two sends' worth of these; the refusal of the first ones is remembered.
                assert 1 <= refused <= 2
                _answered_once(gateway, peer, large=False)
                _answered_once(gateway, peer, large=True)
                counters = _settled(gateway)
        finally:
            gateway.stop()
            writer.close()
    assert counters["segments_refused"] == refused
    assert (counters["send_errors"], counters["receive_errors"]) == (0, 0)
    assert counters["sent"] == counters["rejected"] == counters["received"]


def _peer(between: Link, side: bool) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET6 if side else socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind((PEER_SIDE[side], 0))
        made.connect((GATEWAY_SIDE[side], 5060))
        made.settimeout(5)
        return made

    return between.inside(between.peer, make)


def _settled(gateway: Gateway) -> dict[str, int]:
    """The counters when what was sent is counted, too: a reply is there a moment before."""
    until = time.monotonic() + 10
    while (found := gateway.counters())["sent"] != found["received"]:
        assert time.monotonic() < until, found
        time.sleep(0.005)
    return found


def _meet(peer: socket.socket) -> None:
    """One call first: until the ends know each other's link address, the kernel keeps only a few datagrams."""
    peer.send(_invite(peer, "first@peer.example", large=False))
    assert peer.recv(65_536).startswith(b"SIP/2.0 603 ")


def _answered_once(gateway: Gateway, peer: socket.socket, large: bool) -> None:
    """Send blocked calls at once, until some were answered in one batch; each gets one 603."""
    deadline = time.monotonic() + 30
    while True:
        refused = gateway.counters()["segments_refused"]
        calls = {f"{time.monotonic_ns()}-{n:04}@peer.example" for n in range(_CALLS)}
        Burst([_invite(peer, call, large) for call in calls]).send(peer)
        answered = []
        for _ in calls:
            reply = peer.recv(65_536)
            assert reply.startswith(b"SIP/2.0 603 ") and (len(reply) > _MTU) == large
            answered += headers(reply, "Call-ID")
        assert len(answered) == len(calls) and set(answered) == calls
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        peer.settimeout(5)
        if refused or not large or gateway.counters()["segments_refused"]:
            return
        assert time.monotonic() < deadline, "no two calls came in one batch"


def _invite(peer: socket.socket, call: str, large: bool) -> bytes:
    host, port = peer.getsockname()[:2]
    here = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    proxies = [f"Via: SIP/2.0/UDP proxy-{n}.carrier.example;branch=z9hG4bK{n:0100}" for n in range(9 if large else 1)]
    lines = [
        "INVITE sip:+62215550100@b.example SIP/2.0",
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{call};rport",
        *proxies,
        "From: <sip:+77012345678@a.example>;tag=from1",
        "To: <sip:+62215550100@b.example>",
        f"Call-ID: {call}",
        "CSeq: 1 INVITE",
        "Max-Forwards: 70",
        *[f"Record-Route: <sip:proxy-{n}.carrier.example;lr>" for n in range(len(proxies))],
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
