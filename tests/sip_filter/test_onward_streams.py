"""Next hops over TCP and TLS: connections that the gateway opens, keeps, loses and opens again, on real sockets."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_filter import settings
from sip_filter._core import Gateway
from tests.sip_filter.peers import Bench, Message, Peer, headers, respond, status
from tests.sip_filter.test_streams import Authority, Line, await_count, request

REJECT = "+77*\torder reject enforce both"
GOOD = "<sip:+62811000000@a.example>"
LISTEN = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
SWITCH = "127.0.0.4"


class Accepted(Line):
    """The gateway's connection, at the switch."""

    def __init__(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        self.socket, self.kept = plain, b""


class Switch:
    """A listening switch; it takes connections one by one, as TLS where it has a context."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server((SWITCH, port))
        self._listener.settimeout(5)
        self._tls = tls
        self.port = self._listener.getsockname()[1]

    def row(self, name: str = "switch-1", **more: Any) -> dict[str, Any]:
        transport = "tls" if self._tls else "tcp"
        networks = [f"{SWITCH}/32"]
        return {"name": name, "address": f"{transport}:{SWITCH}:{self.port}", "networks": networks, **more}

    def accept(self) -> Accepted:
        plain, _ = self._listener.accept()
        plain.settimeout(5)
        return Accepted(self._tls.wrap_socket(plain, server_side=True) if self._tls else plain)

    def is_asked(self, seconds: float = 0.3) -> bool:
        """Whether a connection waits, or comes in that time."""
        self._listener.settimeout(seconds)
        try:
            self._listener.accept()[0].close()
        except TimeoutError:
            return False
        finally:
            self._listener.settimeout(5)
        return True

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as closing:
        yield closing


@pytest.fixture
def switch(stack: contextlib.ExitStack) -> Callable[..., Switch]:
    def make(*words: Any, **more: Any) -> Switch:
        made = Switch(*words, **more)
        stack.callback(made.close)
        return made

    return make


@pytest.fixture
def start(stack: contextlib.ExitStack, tmp_path: Path) -> Callable[..., Bench]:
    def make(*hops: dict[str, Any], **more: Any) -> Bench:
        bench = Bench(tmp_path, [REJECT], **{"listen": LISTEN, "next_hops": list(hops), **more})
        stack.callback(bench.close)
        return bench

    return make


Start, Make = Callable[..., Bench], Callable[..., Switch]


def call(bench: Bench, caller: str = GOOD) -> Message:
    made = Message(bench.trunk, caller=caller)
    bench.trunk.send(made.bytes())
    return made


def answer(bench: Bench) -> int:
    """What the trunk gets next."""
    return status(bench.trunk.receive())


def hop(bench: Bench, name: str = "switch-1") -> Any:
    return next(row for row in bench.gateway.next_hops() if row["name"] == name)


def await_health(bench: Bench, healthy: bool, name: str = "switch-1") -> None:
    deadline = time.monotonic() + 10
    while hop(bench, name)["healthy"] != healthy:
        assert time.monotonic() < deadline, hop(bench, name)
        time.sleep(0.005)


def test_calls_share_one_connection_that_is_opened_when_first_needed(start: Start, switch: Make) -> None:
    behind = switch()
    bench = start(behind.row(), record_route=True)
    assert not behind.is_asked(0.1)
    first = call(bench)
    line = behind.accept()
    invite = line.receive()
    ours, theirs = headers(invite, "Via")
    assert ours.startswith(f"SIP/2.0/TCP {bench.bound[1].removeprefix('tcp:')};branch=z9hG4bK-palang")
    assert headers(invite, "Call-ID") == [first.call_id]
    # Both sides are recorded, each with what it can use (RFC 5658).
    inner, outer = headers(invite, "Record-Route")
    assert inner == f"<sip:{bench.bound[1].removeprefix('tcp:')};transport=tcp;lr>"
    assert outer == f"<sip:{bench.address};lr>"
    for code in ("180 Ringing", "200 OK"):
        line.send(respond(invite, code))
        reply = bench.trunk.receive()
        assert status(reply) == int(code[:3]) and headers(reply, "Via") == [theirs]
    call(bench, "<sip:+77012345678@a.example>")
    assert answer(bench) == 603
    second = call(bench)
    assert headers(line.receive(), "Call-ID") == [second.call_id]
    assert not behind.is_asked(0.1)
    assert hop(bench)["address"] == f"tcp:{SWITCH}:{behind.port}"

    # What belongs to the call goes the same way, the switch's own requests back over it.
    cancel = second.bytes("CANCEL")
    bench.trunk.send(cancel)
    assert line.receive().startswith(b"CANCEL ")
    line.send(request("BYE", target=f"sip:{bench.trunk.address}", to_tag=";tag=1", via=f"TCP {SWITCH}:5060"))
    bye = bench.trunk.receive()
    assert bye.startswith(b"BYE ") and ";flow=" in headers(bye, "Via")[0]
    bench.trunk.send(respond(bye, "200 OK"))
    assert status(line.receive()) == 200


def test_a_call_from_a_connection_to_a_connection(start: Start, switch: Make, stack: contextlib.ExitStack) -> None:
    behind = switch()
    bench = start(behind.row())
    name, _, port = bench.bound[1].removeprefix("tcp:").rpartition(":")
    caller = Line((name, int(port)))
    stack.callback(caller.close)
    caller.send(request(caller=GOOD))
    line = behind.accept()
    invite = line.receive()
    line.send(respond(invite, "200 OK"))
    assert status(caller.receive()) == 200
    # Inside the dialog, by the address that the switch named.
    target = f"sip:x@{SWITCH}:{behind.port};transport=tcp"
    caller.send(request("BYE", target=target, to_tag=";tag=switch1", caller=GOOD))
    assert line.receive().startswith(f"BYE {target} ".encode())


def test_a_hop_that_is_not_there_gets_500_and_is_found_when_it_comes(start: Start, switch: Make) -> None:
    empty = switch()
    empty.close()
    bench = start(empty.row())
    call(bench)
    reply = bench.trunk.receive()
    assert reply.startswith(b"SIP/2.0 500 ") and len(headers(reply, "Via")) == 1
    await_count(bench, "hop_unreachable", 1)
    await_health(bench, False)
    call(bench)
    assert answer(bench) == 500  # No next hop takes calls.
    behind = switch(empty.port)
    line = behind.accept()  # It is tried again without a call.
    await_health(bench, True)
    last = call(bench)
    assert headers(line.receive(), "Call-ID") == [last.call_id]


def test_new_calls_go_to_another_hop(start: Start, switch: Make) -> None:
    empty, behind = switch(), switch()
    empty.close()
    bench = start(empty.row("switch-1"), behind.row("switch-2"))
    calls = [call(bench) for _ in range(40)]
    line = behind.accept()
    found = [headers(line.receive(), "Call-ID")[0] for _ in calls]
    assert sorted(found) == sorted(made.call_id for made in calls)
    await_health(bench, False)
    await_count(bench, "hop_unreachable", 1)
    # Their course has changed with them: a CANCEL and a copy go where the call is.
    for made in calls:
        bench.trunk.send(made.bytes("CANCEL"))
        assert headers(line.receive(), "Call-ID") == [made.call_id]
        bench.trunk.send(made.bytes())
        assert line.receive().startswith(b"INVITE ")
    assert not bench.trunk.waiting()


def test_a_hop_that_restarts_in_the_middle_of_a_call(start: Start, switch: Make) -> None:
    behind = switch()
    bench = start(behind.row())
    made = call(bench)
    line = behind.accept()
    invite = line.receive()
    line.send(respond(invite, "180 Ringing"))
    assert answer(bench) == 180
    line.close()
    again = behind.accept()  # At once, so that the rest of the call has a way.
    await_health(bench, True)
    again.send(respond(invite, "200 OK"))
    assert answer(bench) == 200
    made.method, made.to_tag, made.cseq = "BYE", "switch1", 2
    bench.trunk.send(made.bytes())
    assert again.receive().startswith(b"BYE ")

    # Gone for longer: new calls are refused, and what is on course is answered.
    again.close()
    behind.close()
    await_health(bench, False)
    made.cseq = 3
    bench.trunk.send(made.bytes())
    assert answer(bench) == 500
    bench.trunk.send(made.bytes("ACK"))
    call(bench)
    assert answer(bench) == 500
    assert not bench.trunk.waiting()


def test_a_hop_that_accepts_and_never_reads_holds_nobody_up(start: Start, switch: Make) -> None:
    deaf = switch()
    bench = start(deaf.row(), streams={"message_seconds": 1})
    call(bench)
    line = deaf.accept()
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = bytes(40_000)
    got: list[int] = []
    deadline = time.monotonic() + 20
    while 500 not in got:  # Kernel buffers and ours fill up; then calls are answered.
        large = Message(bench.trunk, caller=GOOD)
        large.body = body
        bench.trunk.send(large.bytes())
        got += [status(reply) for reply in bench.trunk.waiting()]
        assert time.monotonic() < deadline
    # Meanwhile others are served as ever.
    before = time.monotonic()
    call(bench, "<sip:+77012345678@a.example>")
    while answer(bench) != 603:
        pass
    assert time.monotonic() - before < 1
    await_count(bench, "connections_late", 1)
    fresh = deaf.accept()
    bench.trunk.waiting()
    made = call(bench)
    assert headers(fresh.receive(), "Call-ID") == [made.call_id]


def test_responses_leave_from_the_address_that_was_called(start: Start, switch: Make) -> None:
    behind = switch()
    bench = start(behind.row(), listen=["udp:127.0.0.1:0", "udp:127.0.0.1:0", "tcp:127.0.0.1:0"])
    host, _, port = bench.bound[1].rpartition(":")
    bench.trunk.gateway = host, int(port)
    call(bench)
    line = behind.accept()
    line.send(respond(line.receive(), "200 OK"))
    reply, source = bench.trunk.socket.recvfrom(65_536)
    assert status(reply) == 200 and source == (host, int(port))


def test_checks_go_over_the_connection(start: Start, switch: Make) -> None:
    behind = switch()
    bench = start(behind.row(), checks={"seconds": 1, "misses": 1})
    line = behind.accept()
    check = line.receive()
    assert check.startswith(b"OPTIONS ") and headers(check, "Via")[0].startswith("SIP/2.0/TCP 127.0.0.1:")
    line.send(respond(check, "200 OK"))
    await_count(bench, "checks_answered", 1)
    line.receive()  # This one has no answer.
    await_health(bench, False)
    line.send(respond(line.receive(), "200 OK"))
    await_health(bench, True)


def test_an_idle_connection_is_closed_and_opened_when_needed(start: Start, switch: Make) -> None:
    behind = switch()
    bench = start(behind.row(), streams={"idle_seconds": 1})
    call(bench)
    line = behind.accept()
    assert line.receive() and line.is_closed()
    assert not behind.is_asked() and hop(bench)["healthy"]
    made = call(bench)
    assert headers(behind.accept().receive(), "Call-ID") == [made.call_id]


class TlsSwitch:
    """A switch with a certificate, and what a next hop's row says of it."""

    def __init__(self, make: Make, folder: Path, name: str = "gateway") -> None:
        self.authority, self.other = Authority(folder, "authority"), Authority(folder, "other")
        self.gateway = self.authority.issue("ours")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue(name))
        self.context = context
        self.switch = make(tls=context)

    def bench(self, start: Start, **row: Any) -> Bench:
        certificate, key = self.gateway
        return start(
            self.switch.row(**{"ca": str(self.authority.file), "server_name": "127.0.0.1", **row}),
            listen=[*LISTEN, "tls:127.0.0.1:0"],
            tls={"certificate": str(certificate), "key": str(key)},
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_calls_over_tls(start: Start, switch: Make, tmp_path: Path, version: ssl.TLSVersion) -> None:
    tls = TlsSwitch(switch, tmp_path)
    tls.context.minimum_version = tls.context.maximum_version = version
    bench = tls.bench(start)
    call(bench)
    line = tls.switch.accept()
    invite = line.receive()
    assert headers(invite, "Via")[0].startswith(f"SIP/2.0/TLS {bench.bound[2].removeprefix('tls:')};branch=")
    line.send(respond(invite, "200 OK"))
    assert answer(bench) == 200
    for _ in range(300):
        call(bench)
    assert all(line.receive().startswith(b"INVITE ") for _ in range(300))


def test_our_certificate_is_shown_to_who_asks(start: Start, switch: Make, tmp_path: Path) -> None:
    tls = TlsSwitch(switch, tmp_path)
    tls.context.verify_mode = ssl.CERT_REQUIRED
    tls.context.load_verify_locations(tls.authority.file)
    certificate, key = tls.gateway
    bench = tls.bench(start, certificate=str(certificate), key=str(key))
    call(bench)
    line = tls.switch.accept()
    assert isinstance(line.socket, ssl.SSLSocket)
    assert line.socket.getpeercert(binary_form=True)
    assert line.receive().startswith(b"INVITE ")


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_switch_that_proves_nothing_gets_no_call(start: Start, switch: Make, tmp_path: Path, wrong: str) -> None:
    tls = TlsSwitch(switch, tmp_path)
    row = {"ca": str(tls.other.file)} if wrong == "authority" else {"server_name": "switch.example"}
    bench = tls.bench(start, **row)

    def greet() -> None:
        with contextlib.suppress(ssl.SSLError, OSError):
            tls.switch.accept()

    greeting = threading.Thread(target=greet)
    greeting.start()
    call(bench)
    assert answer(bench) == 500
    greeting.join(10)
    await_count(bench, "tls_failures", 1)
    await_health(bench, False)


def test_settings_say_what_is_missing(start: Start, switch: Make, tmp_path: Path) -> None:
    networks = ("192.0.2.1/32",)

    def fields(**more: Any) -> settings.NextHop:
        return settings.NextHop.model_validate({"name": "s", "networks": networks, **more})

    for row, says in (
        ({"address": "tls:192.0.2.1:5061"}, "ca is missing"),
        ({"address": "tcp:192.0.2.1:5060", "ca": "ca.pem"}, "not reached by tls:; ca is for those"),
        ({"address": "tls:192.0.2.1:5061", "ca": "ca.pem", "key": "k.pem"}, "certificate and key are given together"),
        ({"address": "sctp:192.0.2.1:5060"}, "or that behind tcp: or tls:"),
        ({"address": "tcp:192.0.2.1:0"}, "port 0 is no destination"),
    ):
        with pytest.raises(ValueError, match=says):
            fields(**row)
    with pytest.raises(ValueError, match="needs a tcp: address in listen"):
        settings.Gateway(next_hops=(fields(address="tcp:192.0.2.1:5060"),))
    bench = start(switch().row())
    plain = {"name": "s", "networks": []}
    for row, says in (
        (
            {"address": "tls:127.0.0.4:5061", "ca": "x"},
            r"next_hops\[0\].address: tls:127.0.0.4:5061 needs a tls: address of IPv4",
        ),
        ({"address": "tcp:[::1]:5060"}, "needs a tcp: address of IPv6 in listen"),
        ({"address": "tcp:127.0.0.4:5060", "ca": "x"}, "is no tls: address"),
        ({"address": "tls:127.0.0.4:5061"}, r"next_hops\[0\].ca: missing"),
        ({"address": "tls:127.0.0.4:5061", "ca": "x", "key": "y"}, r"next_hops\[0\].certificate: missing"),
        ({"address": "quic:127.0.0.4:5061"}, "is not an address and port"),
    ):
        with pytest.raises(ValueError, match=says):
            Gateway(str(tmp_path), json.dumps({**bench.settings, "next_hops": [{**plain, **row}]}))
    missing = {"name": "s", "networks": [], "address": "tls:127.0.0.4:5061", "ca": "/none.pem"}
    tls = TlsSwitch(switch, tmp_path)
    own = {"certificate": str(tls.gateway[0]), "key": str(tls.gateway[1])}
    with pytest.raises(ValueError, match=r"next_hops\[0\].ca: /none.pem"):
        Gateway(
            str(tmp_path),
            json.dumps({**bench.settings, "listen": [*LISTEN, "tls:127.0.0.1:0"], "tls": own, "next_hops": [missing]}),
        )


def test_a_hop_may_change_its_transport(start: Start, switch: Make) -> None:
    behind = switch()
    udp = Peer(SWITCH)
    bench = start({"name": "switch-1", "address": udp.address, "networks": [f"{SWITCH}/32"]})
    udp.gateway = bench.trunk.gateway
    old = call(bench)
    assert udp.receive().startswith(b"INVITE ")
    bench.configure(next_hops=[behind.row()])
    made = call(bench)
    line = behind.accept()
    assert headers(line.receive(), "Call-ID") == [made.call_id]
    bench.trunk.send(old.bytes("CANCEL"))  # On its old course.
    assert udp.receive().startswith(b"CANCEL ")
    udp.socket.close()
