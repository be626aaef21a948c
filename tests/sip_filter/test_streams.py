"""The gateway over connections: framing, limits, TLS, and answers on the connection that asked, on real sockets."""

import contextlib
import datetime
import ipaddress
import json
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sip_filter import settings
from sip_filter._core import Gateway
from tests.sip_filter.peers import KEY, Bench, headers, respond, status

REJECT = "+77*\torder reject enforce both"
BLOCKED, GOOD = "<sip:+77012345678@a.example>", "<sip:+62811000000@a.example>"
LISTEN = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
_calls = count(1)


class Line:
    """A connection to the gateway, and what comes over it, message by message."""

    def __init__(self, to: tuple[str, int], host: str = "127.0.0.2", tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(to, timeout=5, source_address=(host, 0))
        self.address = f"{host}:{plain.getsockname()[1]}"
        self.socket = tls.wrap_socket(plain, server_hostname=to[0]) if tls else plain
        self.kept = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """One message; empty at the end of the connection."""
        while b"\r\n\r\n" not in self.kept:
            more = self._read()
            if not more:
                return b""
            self.kept += more
        head, _, rest = self.kept.partition(b"\r\n\r\n")
        length = int(headers(head + b"\r\n\r\n", "Content-Length")[0])
        while len(rest) < length:
            rest += self._read()
        self.kept = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    def is_closed(self) -> bool:
        return self.receive() == b""

    def _read(self) -> bytes:
        try:
            return self.socket.recv(65_536)
        except (ConnectionError, ssl.SSLError):
            return b""

    def close(self) -> None:
        self.socket.close()


def request(
    method: str = "INVITE",
    caller: str = BLOCKED,
    length: str | None = "Content-Length: 0",
    body: bytes = b"",
    via: str = "TCP 127.0.0.2:5060",
    call: str = "",
    extra: tuple[str, ...] = (),
    to_tag: str = "",
    target: str = "sip:+62215550100@b.example",
) -> bytes:
    call = call or f"stream-{next(_calls)}"
    lines = [
        f"{method} {target} SIP/2.0",
        f"Via: SIP/2.0/{via};branch=z9hG4bK-{call};rport",
        f"From: {caller};tag=from1",
        f"To: <sip:+62215550100@b.example>{to_tag}",
        f"Call-ID: {call}",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
        *extra,
        *([length] if length else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def call_id(message: bytes) -> str:
    return headers(message, "Call-ID")[0]


@pytest.fixture
def lines() -> Iterator[Callable[..., Line]]:
    with contextlib.ExitStack() as stack:

        def line(bench: Bench, host: str = "127.0.0.2", tls: ssl.SSLContext | None = None, listener: int = 1) -> Line:
            name, _, port = bench.bound[listener].partition(":")[2].rpartition(":")
            made = Line((name.strip("[]"), int(port)), host, tls)
            stack.callback(made.close)
            return made

        yield line


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with contextlib.ExitStack() as stack:

        def make(**more: Any) -> Bench:
            bench = Bench(tmp_path, [REJECT], **{"listen": LISTEN, **more})
            stack.callback(bench.close)
            return bench

        yield make


Start, Lines = Callable[..., Bench], Callable[..., Line]


def await_count(bench: Bench, counter: str, least: int) -> None:
    deadline = time.monotonic() + 10
    while bench.gateway.counters()[counter] < least:
        assert time.monotonic() < deadline, f"{counter}: {bench.gateway.counters()[counter]}, not {least}"
        time.sleep(0.005)


def test_a_call_is_refused_over_its_connection(start: Start, lines: Lines) -> None:
    bench = start()
    line = lines(bench)
    line.send(request())
    reply = line.receive()
    assert reply.startswith(b"SIP/2.0 603 Decline\r\n")
    assert headers(reply, "Via")[0].endswith(f";rport={line.address.rpartition(':')[2]};received=127.0.0.2")
    ack = request("ACK", call=call_id(reply), to_tag=headers(reply, "To")[0].partition(">")[2])
    line.send(ack + request(call="after-ack"))
    assert call_id(line.receive()) == "after-ack"
    await_count(bench, "acks_absorbed", 1)
    assert bench.gateway.counters()["acks_absorbed"] == 1


def test_a_call_is_forwarded_by_udp_and_answered_on_the_connection(start: Start, lines: Lines) -> None:
    bench = start()
    other, line = lines(bench), lines(bench)
    body = b"v=0\r\n\r\nx"
    line.send(request(caller=GOOD, length=f"Content-Length: {len(body)}", body=body))
    forwarded = bench.switch.receive()
    ours, theirs = headers(forwarded, "Via")
    assert forwarded.endswith(b"\r\n\r\n" + body)
    assert ours.startswith(f"SIP/2.0/UDP {bench.address};branch=z9hG4bK-palang") and ";flow=" in ours
    for code in ("180 Ringing", "200 OK"):
        bench.switch.send(respond(forwarded, code))
        reply = line.receive()
        assert status(reply) == int(code[:3]) and headers(reply, "Via") == [theirs]
    # A second connection is another one, though it comes from the same host.
    other.send(request("OPTIONS", target="sip:127.0.0.1"))
    assert status(other.receive()) == 200


def test_cancel_over_another_connection_takes_the_same_way(start: Start, lines: Lines) -> None:
    bench = start()
    first, second = lines(bench), lines(bench)
    first.send(request(caller=GOOD, call="cancelled"))
    invite = bench.switch.receive()
    second.send(request("CANCEL", caller=GOOD, call="cancelled"))
    cancel = bench.switch.receive()
    branches = [headers(message, "Via")[0].partition("branch=")[2].partition(";")[0] for message in (invite, cancel)]
    assert branches[0] == branches[1]


def test_an_answer_whose_connection_has_gone_takes_another_to_the_same_peer(start: Start, lines: Lines) -> None:
    bench = start()
    line = lines(bench)
    line.send(request(caller=GOOD))
    forwarded = bench.switch.receive()
    line.close()
    stranger, again = lines(bench, "127.0.0.3"), lines(bench)
    again.send(request())
    assert status(again.receive()) == 603
    bench.switch.send(respond(forwarded, "200 OK"))
    assert status(again.receive()) == 200
    again.close()
    await_count(bench, "connections", 3)
    forged = respond(forwarded, "486 Busy Here").replace(b"received=127.0.0.2", b"received=127.0.0.3")
    bench.switch.send(forged)
    await_count(bench, "responses_dropped", 1)
    stranger.send(request("OPTIONS", target="sip:127.0.0.1"))
    assert status(stranger.receive()) == 200


def test_both_sides_are_recorded_and_the_callee_reaches_the_caller(start: Start, lines: Lines) -> None:
    bench = start(record_route=True)
    line = lines(bench)
    line.send(request(caller=GOOD, call="dialog"))
    routes = headers(bench.switch.receive(), "Record-Route")
    tcp = bench.bound[1].removeprefix("tcp:")
    assert routes == [f"<sip:{bench.address};lr>", f"<sip:{tcp};transport=tcp;lr>"]
    bye = request(
        "BYE",
        via=f"UDP {bench.switch.address}",
        target="sip:c@127.0.0.2:5060",
        extra=tuple(f"Route: {route}" for route in routes),
        to_tag=";tag=from1",
    )
    bench.switch.send(bye)
    received = line.receive()
    assert received.startswith(b"BYE ") and headers(received, "Via")[0].startswith(f"SIP/2.0/TCP {tcp};branch=")
    assert not headers(received, "Route")
    line.send(respond(received, "200 OK"))
    assert status(bench.switch.receive()) == 200


def test_pipelined_requests_are_answered_in_order(start: Start, lines: Lines) -> None:
    bench = start()
    line = lines(bench)
    calls = [f"pipe-{n}" for n in range(500)]
    line.send(b"\r\n".join(request(call=call, length="l: 3", body=b"abc") for call in calls))
    assert [call_id(line.receive()) for _ in calls] == calls
    await_count(bench, "rejected", 500)
    assert bench.gateway.counters()["rejected"] == 500


def test_a_message_split_at_every_byte(start: Start, lines: Lines) -> None:
    bench = start()
    line = lines(bench)
    line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    message = request(call="fixed-call", length="Content-Length: 4", body=b"\r\n\r\n")
    for at in range(1, len(message)):
        line.send(message[:at])
        line.send(message[at:])
    for byte in message:
        line.send(bytes([byte]))
    for _ in range(len(message)):
        assert status(line.receive()) == 603
    assert bench.gateway.counters()["unframeable"] == 0


@pytest.mark.parametrize(
    "length",
    [None, "Content-Length: -1", f"Content-Length: {2**32 + 4}", "Content-Length: 4\r\nContent-Length: 4", "l: 70000"],
)
def test_what_can_t_be_framed_gets_400_and_the_connection_ends(start: Start, lines: Lines, length: str | None) -> None:
    bench = start()
    line = lines(bench)
    smuggled = request(call="smuggled", caller=GOOD)
    line.send(request(length=length) + smuggled)
    assert status(line.receive()) == 400
    assert line.is_closed()
    await_count(bench, "unframeable", 1)
    assert bench.gateway.counters()["unframeable"] == 1
    assert not bench.switch.waiting()


VECTORS = Path(__file__).parent.parent / "vectors"
# What a stream makes of the vectors whose index says so; the others are whole messages on it as well.
ON_STREAMS = {
    "clerr": "nothing",
    "dblreq": "two",
    "inv2543": "closed",
    "mcl01": "closed",
    "ncl": "closed",
}


def stream_vectors() -> list[Any]:
    found = []
    for folder in ("rfc4475", "rfc5118"):
        rows = json.loads((VECTORS / folder / "index.json").read_text())["messages"]
        found += [pytest.param(folder, row, id=row["name"]) for row in rows]
        named = {row["name"] for row in rows if row.get("tcp")}
        assert named == {name for name in ON_STREAMS if folder == "rfc4475"}
    return found


@pytest.mark.parametrize(("folder", "row"), stream_vectors())
def test_vectors_over_a_connection(start: Start, lines: Lines, folder: str, row: dict[str, Any]) -> None:
    bench = start(streams={"message_seconds": 1})
    line, good = lines(bench), lines(bench)
    raw = (VECTORS / folder / row["file"]).read_bytes()
    for at in range(0, len(raw), 50):
        line.send(raw[at : at + 50])
    wanted = ON_STREAMS.get(row["name"])
    if wanted == "closed":
        assert status(line.receive()) == 400 and line.is_closed()
    elif wanted == "nothing":
        assert line.is_closed()
        await_count(bench, "connections_late", 1)
    elif wanted == "two":
        assert status(line.receive()) == 405
        assert bench.switch.receive().startswith(b"INVITE ")
    else:
        # A call right behind it is refused as ever, where the vector is as long as it says and not refused itself.
        with contextlib.suppress(ConnectionError):
            line.send(request(call="behind"))
        while (reply := line.receive()) and headers(reply, "Call-ID") != ["behind"]:
            assert len(reply) <= len(raw) + 400
        whole = row["facts"]["content_length"] == [str(row["facts"]["body_bytes"])]
        assert status(reply) == 603 if reply else not whole or row["preferred"] != "FORWARD"
    good.send(request(call="good"))
    assert status(good.receive()) == 603


def test_an_endless_header_is_refused(start: Start, lines: Lines) -> None:
    bench = start()
    line = lines(bench)
    line.send(request(length="X: " + "y" * 20_000))
    assert status(line.receive()) == 513 and line.is_closed()


def test_keep_alives_are_answered_and_junk_is_not(start: Start, lines: Lines) -> None:
    bench = start()
    line = lines(bench)
    line.send(b"\r\n\r\n")
    assert line.socket.recv(10) == b"\r\n"
    line.send(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    assert line.is_closed()
    stranger = lines(bench, "127.0.0.5")
    stranger_closed = stranger.is_closed()
    assert stranger_closed
    await_count(bench, "unknown_source", 1)


def test_slow_and_idle_connections_are_closed_and_others_served(start: Start, lines: Lines) -> None:
    bench = start(streams={"message_seconds": 1, "idle_seconds": 2})
    slow, idle, good = lines(bench), lines(bench), lines(bench, "127.0.0.3")
    message = request()
    began = time.monotonic()
    slow.socket.settimeout(0.05)
    with contextlib.suppress(ConnectionError):
        for byte in message:  # One byte at a time, so never silent.
            slow.send(bytes([byte]))
            good.send(request())
            assert status(good.receive()) == 603
            with contextlib.suppress(TimeoutError):
                if slow.socket.recv(1) == b"":
                    break
    assert 0.9 <= time.monotonic() - began < 3
    assert idle.is_closed()
    await_count(bench, "connections_late", 2)
    assert bench.gateway.counters()["connections_late"] == 2


def test_connections_are_capped_by_source_and_in_all(start: Start, lines: Lines) -> None:
    bench = start(streams={"per_source": 150, "total": 170})
    held = [lines(bench) for _ in range(200)]
    await_count(bench, "connections_over", 50)
    more = [lines(bench, "127.0.0.3") for _ in range(30)]
    await_count(bench, "connections_over", 60)
    await_count(bench, "connections", 170)
    assert bench.gateway.counters()["connections"] == 170
    held[0].send(request())
    assert status(held[0].receive()) == 603
    more[0].close()
    deadline = time.monotonic() + 5
    while True:  # The place that came free is given again.
        line = lines(bench, "127.0.0.3")
        with contextlib.suppress(ConnectionError):
            line.send(request())
        if line.receive():
            break
        assert time.monotonic() < deadline


def test_a_peer_that_does_not_read_stops_only_itself(start: Start, lines: Lines) -> None:
    bench = start()
    deaf, good = lines(bench), lines(bench, "127.0.0.3")
    deaf.socket.settimeout(0.2)
    flood = request() * 200
    with pytest.raises(TimeoutError):
        deaf.send(flood * 1000)
    good.send(request())
    assert status(good.receive()) == 603


def test_out_of_file_descriptors_the_listener_pauses(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "listen": LISTEN,
            "node": "gw1",
            "key": KEY,
            "trunks": [{"name": "t", "sources": ["127.0.0.2/32"], "plan": "international"}],
            "streams": {"per_source": 1000},
        }
    )
    code = (
        "import sys; from sip_filter._core import Gateway; g = Gateway(sys.argv[1], sys.argv[2]);"
        "print(*g.start(), flush=True); sys.stdin.readline(); print(g.counters()['accept_errors'], flush=True)"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path), text]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        assert process.stdout and process.stdin and process.stderr
        host, _, port = process.stdout.readline().split()[1].removeprefix("tcp:").rpartition(":")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (64, 64))
        opened = [Line((host, int(port))) for _ in range(200)]
        for line in opened:
            stack.callback(line.close)
        ask = request("OPTIONS", target="sip:127.0.0.1")
        opened[0].send(ask)
        assert status(opened[0].receive()) == 503  # No next hop; but it answers.
        assert process.poll() is None
        for line in opened:
            line.close()
        fresh = Line((host, int(port)))
        stack.callback(fresh.close)
        fresh.send(ask)
        assert status(fresh.receive()) == 503
        process.stdin.write("\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) >= 1
        assert process.wait(10) == 0
        said = process.stderr.read().splitlines()
        assert 1 <= len(said) <= 10 and json.loads(said[0])["event"] == "node.no_connections"


def test_ipv6(start: Start, lines: Lines) -> None:
    hop = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    hop.bind(("::1", 0))
    hop.settimeout(5)
    port = hop.getsockname()[1]
    bench = start(
        listen=["udp:127.0.0.1:0", "tcp:[::1]:0", "udp:[::1]:0", "tcp:127.0.0.1:0"],
        trunks=[{"name": "six", "sources": ["::1/128", "127.0.0.2/32"], "plan": "international", "trusted": True}],
        next_hops=[{"name": "s", "address": f"[::1]:{port}", "networks": ["2001:db8::/64"]}],
        record_route=True,
    )
    assert bench.bound[1].startswith("tcp:[::1]:")
    six = lines(bench, "::1")
    six.send(request(via="TCP [::1]:5060"))
    reply = six.receive()
    assert status(reply) == 603 and headers(reply, "Via")[0].endswith(";received=::1")
    four = lines(bench, listener=3)
    for line, via, outer in ((six, "TCP [::1]:5060", "tcp:[::1]"), (four, "TCP 127.0.0.2:5060", "tcp:127.0.0.1")):
        line.send(request(caller=GOOD, via=via))
        forwarded, source = hop.recvfrom(65_536)
        assert headers(forwarded, "Via")[0].startswith("SIP/2.0/UDP [::1]:")
        routes = headers(forwarded, "Record-Route")
        assert routes[0].startswith("<sip:[::1]:") and routes[1].startswith(f"<sip:{outer[4:]}:")
        hop.sendto(respond(forwarded, "180 Ringing"), source)
        assert status(line.receive()) == 180
    hop.close()


def test_settings_say_what_is_missing(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"listen \['tcp:127.0.0.1:5060'\] names no udp: address"):
        settings.Gateway(listen=("tcp:127.0.0.1:5060",))
    with pytest.raises(ValueError, match=r"tls\.certificate is missing"):
        settings.Gateway(listen=("udp:127.0.0.1:5060", "tls:127.0.0.1:5061"))
    bench = start()
    for wrong, message in (
        ({"listen": ["tcp:127.0.0.1:0"]}, r"listen: .* names no udp: address"),
        ({"listen": [*LISTEN, "tls:127.0.0.1:0"]}, r"tls: missing"),
        ({"listen": ["sctp:127.0.0.1:0"]}, r"listen\[0\]: \"sctp"),
        ({"streams": {"message_seconds": 31}}, r"streams.message_seconds: 31 is not a whole number from 1 to 30"),
    ):
        with pytest.raises(ValueError, match=message):
            Gateway(str(tmp_path), json.dumps({**bench.settings, **wrong}))


class Authority:
    """Makes certificates, good and bad, in PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self.name, self.key, days=10, ca=True))

    def issue(self, name: str, days: int = 10, names: Sequence[x509.GeneralName] | None = None) -> tuple[Path, Path]:
        """Certificate and key of `name`, good until so many days from now, for 127.0.0.1 or for `names`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._sign(subject, key, days, ca=False, names=names))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key_file

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: int,
        ca: bool,
        names: Sequence[x509.GeneralName] | None = None,
    ) -> bytes:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        if names is None:
            names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - datetime.timedelta(days=20))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TlsBench:
    """A gateway with a TLS listener, and contexts of clients that trust it."""

    def __init__(self, start: Start, folder: Path, mutual: bool, **more: Any) -> None:
        self.authority, self.other = Authority(folder, "authority"), Authority(folder, "other")
        certificate, key = self.authority.issue("gateway")
        self.tls = {"certificate": str(certificate), "key": str(key)}
        if mutual:
            self.tls["client_ca"] = str(self.authority.file)
        self.bench = start(listen=[*LISTEN, "tls:127.0.0.1:0"], tls=self.tls, **more)

    def client(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if certificate:
            context.load_cert_chain(*certificate)
        return context


def shown(line: Line) -> bytes | None:
    """The certificate that the gateway showed."""
    assert isinstance(line.socket, ssl.SSLSocket)
    return line.socket.getpeercert(binary_form=True)


def is_refused(bench: Bench, lines: Lines, client: ssl.SSLContext) -> bool:
    """Whether a TLS client gets no answer. In TLS 1.3 it learns of the refusal only when it reads."""
    try:
        line = lines(bench, tls=client, listener=2)
        line.send(request())
    except (ssl.SSLError, ConnectionError):
        return True
    return line.is_closed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_calls_over_tls(start: Start, lines: Lines, tmp_path: Path, version: ssl.TLSVersion) -> None:
    tls = TlsBench(start, tmp_path, mutual=False)
    client = tls.client()
    client.minimum_version = client.maximum_version = version
    line = lines(tls.bench, tls=client, listener=2)
    line.send(request(via="TLS 127.0.0.2:5061"))
    assert status(line.receive()) == 603
    line.send(request(caller=GOOD, via="TLS 127.0.0.2:5061"))
    tls.bench.switch.send(respond(tls.bench.switch.receive(), "200 OK"))
    assert status(line.receive()) == 200
    calls = [f"tls-{n}" for n in range(300)]
    line.send(b"".join(request(call=call, extra=("X: " + "y" * 900,)) for call in calls))
    assert [call_id(line.receive()) for _ in calls] == calls
    line.send(request(length=None))
    assert status(line.receive()) == 400 and line.is_closed()


def test_mutual_tls_takes_good_certificates_only(start: Start, lines: Lines, tmp_path: Path) -> None:
    tls = TlsBench(start, tmp_path, mutual=True)
    line = lines(tls.bench, tls=tls.client(tls.authority.issue("peer")), listener=2)
    line.send(request())
    assert status(line.receive()) == 603
    bad = [tls.client(), tls.client(tls.authority.issue("late", days=-1)), tls.client(tls.other.issue("foreign"))]
    assert all(is_refused(tls.bench, lines, client) for client in bad)
    await_count(tls.bench, "tls_failures", len(bad))
    await_count(tls.bench, "received", 1)
    assert tls.bench.gateway.counters()["received"] == 1


def test_certificates_are_reloaded_and_bad_ones_are_not(start: Start, lines: Lines, tmp_path: Path) -> None:
    tls = TlsBench(start, tmp_path, mutual=False)
    kept = lines(tls.bench, tls=tls.client(), listener=2)
    first = shown(kept)
    good = Path(tls.tls["certificate"]).read_bytes()
    Path(tls.tls["certificate"]).write_bytes(good[:100])
    with pytest.raises(ValueError, match=r"tls.certificate: .*gateway.pem"):
        tls.bench.configure()
    assert shown(lines(tls.bench, tls=tls.client(), listener=2)) == first
    tls.authority.issue("gateway")
    tls.bench.configure()
    deadline = time.monotonic() + 5
    while shown(lines(tls.bench, tls=tls.client(), listener=2)) == first:
        assert time.monotonic() < deadline
    kept.send(request())
    assert status(kept.receive()) == 603


def test_junk_and_half_handshakes_on_tls_block_nobody(start: Start, lines: Lines, tmp_path: Path) -> None:
    tls = TlsBench(start, tmp_path, mutual=False, streams={"handshake_seconds": 1, "per_source": 600})
    bench, client = tls.bench, tls.client()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert is_refused(bench, lines, old)
    version_2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40)
    for junk in (request(), version_2, b"\x16\x03\x01\xff\xff" * 50_000):
        line = lines(bench, listener=2)
        with contextlib.suppress(ConnectionError):
            line.send(junk)
        while (came := line._read()) and came[:1] == b"\x15":  # An alert, never an answer.
            pass
        assert came == b""
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1").do_handshake()
    begun = hello.read()
    half = [lines(bench, listener=2) for _ in range(300)]
    for line in half:
        line.send(begun[:-10])
    for line in half[:100]:
        line.send(begun[-10:])
    good = lines(bench, "127.0.0.3", tls=client, listener=2)
    good.send(request())
    assert status(good.receive()) == 603
    await_count(bench, "tls_failures", 304)
    good.send(request())
    assert status(good.receive()) == 603
