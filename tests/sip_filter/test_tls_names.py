"""Trunks that share a network, told apart by their certificates' names or by port, over real connections."""

import contextlib
import json
import ssl
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pydantic import ValidationError

from sip_filter import settings
from sip_filter._core import Gateway
from tests.sip_filter.peers import Bench, Message, Peer, respond, status
from tests.sip_filter.test_streams import GOOD, LISTEN, REJECT, Line, TlsBench, await_count, request

HERE = "127.0.0.2/32"
PAI = ("P-Asserted-Identity: <tel:+62811000000>", "Privacy: id")


def trunk(name: str, **more: Any) -> dict[str, Any]:
    return Bench.trunk_row(name, HERE, **more)


PLAIN = trunk("plain")
A = trunk("a", tls_names=["sip:A.example", "192.0.2.9"], trusted=True)
B = trunk("b", tls_names=["b.example"])


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsBench]:
    with contextlib.ExitStack() as stack:

        def start(**more: Any) -> Bench:
            bench = Bench(tmp_path, [REJECT], **more)
            stack.callback(bench.close)
            return bench

        yield TlsBench(start, tmp_path, mutual=True, trunks=[PLAIN])


@pytest.fixture
def connect(tls: TlsBench) -> Iterator[Callable[..., Line]]:
    """Connects as a peer whose certificate has these names."""
    opened: list[Line] = []

    def line(*names: x509.GeneralName) -> Line:
        certificate = tls.authority.issue(f"peer{len(opened)}", names=names)
        _, _, port = tls.bench.bound[2].rpartition(":")
        made = Line(("127.0.0.1", int(port)), "127.0.0.2", tls.client(certificate))
        opened.append(made)
        return made

    yield line
    for made in opened:
        made.close()


def trunk_of(bench: Bench, line: Line) -> str:
    """On which trunk a call over the connection is judged; empty when the connection ends instead."""
    before = {name: counts["judged"] for name, counts in bench.gateway.trunk_counters().items()}
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        line.send(request())
    if not line.receive():
        return ""
    after = bench.gateway.trunk_counters()
    (found,) = [name for name, count in before.items() if after[name]["judged"] == count + 1]
    return found


URI, DNS, IP = x509.UniformResourceIdentifier, x509.DNSName, x509.IPAddress


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([URI("sip:a.example")], "a"),
        ([URI("SIP:a.EXAMPLE")], "a"),
        ([DNS("a.example")], "a"),
        ([DNS("other.example"), DNS("B.Example")], "b"),
        ([URI("sip:a.example"), DNS("b.example")], "a"),
        ([URI("https://a.example"), DNS("b.example")], "b"),
        ([IP(ip_address("192.0.2.9"))], "a"),
        # None of these is an identity of a trunk (RFC 5922 §7.1, §7.2): what is left is the network.
        ([DNS("*.example")], "plain"),
        ([DNS("x.a.example")], "plain"),
        ([URI("sip:user@a.example")], "plain"),
        ([URI("sips:a.example")], "plain"),
        ([URI("sip:c.example"), DNS("a.example")], "plain"),
        ([IP(ip_address("192.0.2.10"))], "plain"),
        ([], "plain"),
    ],
)
def test_a_certificate_tells_the_trunk(
    tls: TlsBench, connect: Callable[..., Line], names: list[x509.GeneralName], expected: str
) -> None:
    tls.bench.configure(trunks=[PLAIN, A, B])
    assert trunk_of(tls.bench, connect(*names)) == expected


def test_who_shows_no_known_name_is_nobody(tls: TlsBench, connect: Callable[..., Line]) -> None:
    tls.bench.configure(trunks=[A, B])
    assert trunk_of(tls.bench, connect(DNS("a.example"))) == "a"
    assert trunk_of(tls.bench, connect(DNS("c.example"))) == ""
    await_count(tls.bench, "unknown_source", 1)
    plain = Line(("127.0.0.1", int(tls.bench.bound[1].rpartition(":")[2])), "127.0.0.2")
    assert trunk_of(tls.bench, plain) == "", "TCP shows no name"
    plain.close()
    await_count(tls.bench, "unknown_source", 2)
    assert tls.bench.gateway.counters()["received"] == 1, "nothing of them was read"


def test_settings_change_whose_a_connection_is(tls: TlsBench, connect: Callable[..., Line]) -> None:
    tls.bench.configure(trunks=[PLAIN, A, B])
    line = connect(DNS("a.example"), IP(ip_address("192.0.2.77")))
    assert trunk_of(tls.bench, line) == "a"
    tls.bench.configure(trunks=[PLAIN, trunk("c", tls_names=["192.0.2.77"])])
    assert trunk_of(tls.bench, line) == "c", "an address that nobody asked for before"
    tls.bench.configure(trunks=[PLAIN])
    assert trunk_of(tls.bench, line) == "plain"
    tls.bench.configure(trunks=[B])
    assert trunk_of(tls.bench, line) == ""


def test_a_call_over_tls_keeps_to_its_trunk(tls: TlsBench, connect: Callable[..., Line]) -> None:
    tls.bench.configure(trunks=[PLAIN, A, B])
    for names, kept in ((DNS("a.example"), True), (DNS("c.example"), False)):
        line = connect(names)
        line.send(request(caller=GOOD, via="TLS 127.0.0.2:5061", extra=PAI))
        forwarded = tls.bench.switch.receive()
        assert (b"P-Asserted-Identity" in forwarded) == kept, "only trunk a is trusted"
        tls.bench.switch.send(respond(forwarded, "200 OK"))
        assert status(line.receive()) == 200


def test_ports_tell_datagrams_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REJECT], listen=LISTEN)
    second = Peer("127.0.0.2")
    second.gateway = bench.trunk.gateway
    bench.configure(
        trunks=[
            trunk("first", port=bench.trunk.port),
            trunk("second", port=second.port, response="403"),
            trunk("rest", mode="off"),
        ]
    )
    for peer, expected in ((bench.trunk, 603), (second, 403)):
        peer.send(Message(peer).bytes())
        assert status(peer.receive()) == expected
    third = Peer("127.0.0.2")
    third.gateway = bench.trunk.gateway
    third.send(Message(third).bytes())
    assert bench.switch.receive().startswith(b"INVITE "), "the trunk of any port judges nothing"
    line = Line(("127.0.0.1", int(bench.bound[1].rpartition(":")[2])), "127.0.0.2")
    line.send(request())
    assert bench.switch.receive().startswith(b"INVITE "), "nor of any connection"
    line.close()
    second.socket.close()
    third.socket.close()
    bench.close()


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"tls_names": ["*.example"]}], r"must be a domain|is no name to know a peer by"),
        ([{"tls_names": ["sip:u@a.example"]}], r"must be a domain|is no name to know a peer by"),
        ([{"tls_names": ["a.example"], "port": 5061}], r"5061.* of datagrams"),
        ([{}, {}], "give each a port or tls_names of its own"),
        ([{"port": 5060}, {"port": 5060}], "give each a port or tls_names of its own"),
        ([{"port": 5060}, {"port": 5070}], "a port tells datagrams apart, not connections"),
        ([{"tls_names": ["a.b"]}, {"tls_names": ["c.d", "A.b"]}], "give each tls_names of its own"),
        ([{"tls_names": ["a.b"]}, {"tls_names": ["c.d"]}, {"port": 1}, {}], ""),
        ([{"port": 5060}, {"port": 5070}, {}], ""),
    ],
)
def test_trunks_that_could_not_be_told_apart_are_refused(tls: TlsBench, rows: list[dict[str, Any]], error: str) -> None:
    trunks = [trunk(f"t{at}", **row) for at, row in enumerate(rows)]
    changed = {**tls.bench.settings, "trunks": trunks}
    fields = {"listen": changed["listen"], "tls": changed["tls"], "trunks": trunks}
    if error:
        with pytest.raises(ValueError, match=error):
            Gateway(str(tls.bench.live), json.dumps(changed))
        with pytest.raises(ValidationError, match=error):
            settings.Gateway.model_validate(fields)
    else:
        Gateway(str(tls.bench.live), json.dumps(changed))
        settings.Gateway.model_validate(fields)


def test_names_need_certificates(tls: TlsBench) -> None:
    trunks = [trunk("t", tls_names=["a.example"])]
    without = {"certificate": tls.tls["certificate"], "key": tls.tls["key"]}
    for change in ({"listen": LISTEN}, {"tls": without}):
        changed = {**tls.bench.settings, "trunks": trunks, **change}
        with pytest.raises(ValueError, match=r"tls_names.* needs a tls: address in listen"):
            Gateway(str(tls.bench.live), json.dumps(changed))
        fields = {name: changed[name] for name in ("listen", "tls", "trunks")}
        with pytest.raises(ValidationError, match="tls_names needs a tls: address"):
            settings.Gateway.model_validate(fields)
