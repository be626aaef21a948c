"""The edge: which host, how large, how slow, which headers; and requests that another site caused."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent import web
from agent.access import Role, edge
from agent.access.people_door import COOKIE
from agent.children import free_port
from agent.settings_access import ConsoleSettings
from config import ConfigError
from tests.agent.front_door import HOST, ORIGIN, FrontDoor, front_door
from tests.agent.routes import Endpoint, endpoints
from tests.book import eventually

CHANGING = [endpoint for endpoint in endpoints() if endpoint.method != "GET"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(tmp_path) as opened:
        yield opened


# --- requests that another site caused


FORGED: dict[str, dict[str, str | None]] = {
    "no token": {"X-Palang-CSRF": None},
    "another session's token": {"X-Palang-CSRF": "x" * 43},
    "from elsewhere": {"Origin": "https://evil.example"},
    "from elsewhere, as the browser says": {"Sec-Fetch-Site": "cross-site"},
    "from a neighbour": {"Sec-Fetch-Site": "same-site", "Origin": f"https://other.{HOST}"},
    "over another scheme": {"Origin": f"http://{HOST}", "Sec-Fetch-Site": None},
    "from nowhere": {"Origin": "null", "Sec-Fetch-Site": None},
    "without a word on where from": {"Origin": None, "Sec-Fetch-Site": None},
}


@pytest.mark.parametrize("endpoint", CHANGING, ids=str)
async def test_no_change_is_made_for_another_site(door: FrontDoor, endpoint: Endpoint) -> None:
    """With a session that may do everything its cookie alone opens nothing, on any route that changes something."""
    signed = (
        await door.session_of("admin", *(Role if endpoint.known else ()), stepped_up=True) if endpoint.known else None
    )
    for forged in FORGED.values():
        headers = {**(signed.headers if signed else {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}), **forged}
        if signed is None and not {"Origin", "Sec-Fetch-Site"} & {n for n, v in forged.items() if v}:
            continue
        answer = await door.http.request(
            endpoint.method, endpoint.sample, json={}, headers={n: v for n, v in headers.items() if v is not None}
        )
        assert answer.status_code == 403, forged
        assert "own" in answer.json()["error"]["message"] or "token" in answer.json()["error"]["message"]


async def test_a_form_of_ours_is_taken(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    headers = {name: value for name, value in signed.headers.items() if name != "X-Palang-CSRF"}
    form = {"csrf": signed.csrf}
    refused = await door.http.post("/v1/sessions/current/step-up", data={}, headers=headers)
    taken = await door.http.post("/v1/sessions/current/step-up", data=form, headers=headers)
    assert (refused.status_code, taken.status_code) == (403, 422), "behind the guard its body is not JSON"


async def test_reading_needs_no_token(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    answer = await door.http.get("/v1/roles", headers={"Cookie": f"{COOKIE}={signed.cookie}"})
    assert answer.status_code == 200


# --- headers, hosts, sizes


PLACES = ["/", "/v1/roles", "/v1/nothing", "/nothing", "/sign-in", "/v1/openapi.json"]


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("host", [HOST, "evil.example"])
async def test_every_answer_carries_the_headers(door: FrontDoor, path: str, host: str) -> None:
    answer = await door.http.get(path, headers={"Host": host})
    told = {name: answer.headers.get(name) for name in edge.HEADERS}
    assert told == dict(edge.HEADERS)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "server" not in answer.headers


def test_the_content_policy_is_the_strict_one() -> None:
    assert edge.CONTENT_POLICY == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8443", "127.0.0.1", "127.0.0.1:8444", f"{HOST}.evil.example", ""]
)
async def test_a_name_that_is_not_ours_leads_nowhere(door: FrontDoor, host: str) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    answer = await door.http.get("/v1/roles", headers={**signed.headers, "Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "misdirected")


@pytest.mark.parametrize("host", [HOST, "localhost:8443", "LOCALHOST:8443"])
async def test_our_own_names_lead_here(door: FrontDoor, host: str) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    assert (await door.http.get("/v1/roles", headers={**signed.headers, "Host": host})).status_code == 200


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield b"x" * 65536


@pytest.mark.parametrize("path", ["/v1/sessions", "/sign-in"])
@pytest.mark.parametrize("told", [True, False])
async def test_a_body_may_be_so_large(door: FrontDoor, path: str, told: bool) -> None:
    size = 2 * edge.MOST_BODY
    headers = {"Content-Type": "application/json" if path.startswith("/v1") else "application/x-www-form-urlencoded"}
    answer = await door.http.post(path, content=b"x" * size if told else _pieces(size), headers=headers)
    assert answer.status_code == 413
    if path.startswith("/v1"):
        assert answer.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize("length", [str(edge.MOST_BODY + 1), "9" * 5000, "-1", "1e3", "\u0663", ""])
async def test_a_length_that_is_too_much_or_none_is_refused_before_anything_is_read(length: str) -> None:
    async def not_asked(*_: Any) -> Any:
        raise AssertionError("nobody is asked")

    async def receive() -> Any:
        assert len(sent) == 2, "nothing is read before"
        return {"type": "http.disconnect"}

    sent: list[Any] = []
    headers = [(b"host", HOST.encode()), (b"content-length", length.encode("latin-1", "replace"))]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}

    async def send(message: Any) -> None:
        sent.append(message)

    await edge.Edge(not_asked, frozenset({HOST}), tls=False)(scope, receive, send)
    assert sent[0]["status"] == 413 and b"too_large" in sent[1]["body"]
    assert sent[-1]["body"] == b"" and not sent[-1].get("more_body")


async def test_no_header_of_ours_is_made_of_what_was_sent(door: FrontDoor) -> None:
    signed = await door.session_of("admin", Role.ADMIN)
    body = {"name": "sri", "display": "Sri\r\nX-Evil: 1", "roles": ["viewer"], "reason": "new\r\nX-Evil: 1"}
    refused = await door.ask("POST", "/v1/people", body, signed)
    assert refused.status_code == 422
    taken = await door.ask("POST", "/v1/people", {**body, "display": "Sri"}, signed)
    for answer in (refused, taken, await door.ask("GET", "/v1/nothing%0d%0aX-Evil:%201", signed=signed)):
        assert "x-evil" not in answer.headers


# --- the settings


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "192.0.2.1:8443", "[::]:8443"])
def test_beyond_loopback_it_needs_tls(listen: str) -> None:
    with pytest.raises(ValueError, match="no loopback address"):
        ConsoleSettings(listen=listen)
    assert ConsoleSettings(listen=listen, certificate=Path("c.pem"), key=Path("k.pem")).listen == listen


@pytest.mark.parametrize(
    "listen", ["8443", "localhost:8443", "127.0.0.1:0", "127.0.0.1:70000", "::1:8443", "127.0.0.1:"]
)
def test_an_address_is_an_ip_address_and_a_port(listen: str) -> None:
    with pytest.raises(ValueError, match=r"address|IPv4"):
        ConsoleSettings(listen=listen)


def test_certificate_and_key_stand_together() -> None:
    with pytest.raises(ValueError, match="stand together"):
        ConsoleSettings(certificate=Path("c.pem"))


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ConsoleSettings(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"console\.listen 127"):
            web.listen(settings)


# --- on a real socket


@contextlib.asynccontextmanager
async def serving(door: FrontDoor, **more: Any) -> AsyncIterator[int]:
    port = free_port(socket.SOCK_STREAM)
    settings = ConsoleSettings(listen=f"127.0.0.1:{port}", **more)
    server = web.WebServer(web.site(door.parts), settings)
    task = asyncio.create_task(server.serve(sockets=[web.listen(settings)]))
    await eventually(lambda: server.started, "the server has started")
    try:
        yield port
    finally:
        server.should_exit = True
        await task


async def _closed_after(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v1/roles HTTP/1.1\r\nHo", b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\n"],
    ids=["nothing", "half a head", "a head without an end"],
)
async def test_who_sends_slowly_is_not_waited_for(
    door: FrontDoor, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_HEAD_SECONDS", 0.2)
    async with serving(door) as port:
        assert await _closed_after(port, sent) == b""


async def test_a_body_that_does_not_come_is_not_waited_for(door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(web, "_HEAD_SECONDS", 2)
    async with serving(door) as port:
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 10\r\n\r\n{{"
        answer = await _closed_after(port, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("length", [2 * edge.MOST_BODY, None], ids=["told", "in pieces"])
async def test_what_is_refused_of_a_body_still_under_way_is_told(door: FrontDoor, length: int | None) -> None:
    framing = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
    piece = b"x" * 65536
    async with serving(door) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}{framing}\r\n\r\n".encode())
        for _ in range(2 * edge.MOST_BODY // len(piece)):
            writer.write(piece if length else b"10000\r\n" + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"" if length else b"0\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"}}"), 10)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ") and b'"too_large"' in answer


async def test_a_body_without_end_is_not_taken(door: FrontDoor) -> None:
    taken = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        while taken < 2**28:
            writer.write(b"x" * 65536)
            await writer.drain()
            taken += 65536

    async with serving(door) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {2**30}\r\n\r\n"
        writer.write(head.encode())
        with pytest.raises(ConnectionError):
            await pour(writer)
        writer.close()
    assert taken < 2**26, "what the system keeps for it included"


async def test_a_refused_body_that_does_not_come_is_not_waited_for(
    door: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_LINGER_SECONDS", 0.2)
    async with serving(door) as port:
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {2**30}\r\n\r\n"
        assert (await _closed_after(port, head.encode())).startswith(b"HTTP/1.1 413 ")


async def test_a_connection_serves_several_requests_and_an_open_one_is_kept(
    door: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(door) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        assert [(await http.get("/v1/roles")).status_code for _ in range(5)] == [401] * 5


async def test_over_tls_it_answers(door: FrontDoor, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    async with serving(door, certificate=certificate, key=key) as port:
        trust = ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(verify=trust) as http:
            answer = await http.get(f"https://127.0.0.1:{port}/v1/roles")
        assert answer.status_code == 401


def test_older_than_tls_1_2_is_not_spoken(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = web.WebServer(_nothing, ConsoleSettings(certificate=certificate, key=key))
    assert server.config.ssl is not None
    assert server.config.ssl.minimum_version == ssl.TLSVersion.TLSv1_2


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing is asked")


def test_a_certificate_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nothing")
    settings = ConsoleSettings(certificate=tmp_path / "c.pem", key=tmp_path / "c.pem")
    with pytest.raises(ConfigError, match=r"console\.certificate"):
        web.WebServer(_nothing, settings)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "palang test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret
