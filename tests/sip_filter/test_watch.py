"""Files of certificates and keys that are replaced while a node runs: taken over, or refused loudly."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from sip_filter import Writer, list_digest, settings
from sip_filter import node as node_module
from sip_filter.control import ask
from sip_filter.node import Node
from sip_filter.watch import Watch
from tests.book import eventually
from tests.sip_filter.peers import KEY, Message
from tests.sip_filter.test_node import Place
from tests.sip_filter.test_streams import Authority


def replace(path: Path, text: str | bytes) -> None:
    """As tools that renew certificates do it: a new file in its place."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.replace(fresh, path)


def test_a_change_is_told_once_and_when_it_has_rested(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    watch = Watch([one, two])
    assert not watch.changed()
    replace(one, "b")
    assert not watch.changed(), "the other of the pair may follow"
    two.write_text("c")
    assert [watch.changed() for _ in range(3)] == [False, True, False]
    os.utime(one, ns=(1, 1))
    assert [watch.changed() for _ in range(3)] == [False, True, False]
    one.unlink()
    one.mkdir()
    assert [watch.changed() for _ in range(3)] == [False, True, False]
    one.rmdir()
    one.write_text("b")
    assert [watch.changed() for _ in range(3)] == [False, True, False]


@asynccontextmanager
async def running(place: Place, folder: Path) -> AsyncIterator[tuple[Node, Authority]]:
    """A node with a TLS listener and no Redis, which does without."""
    authority = Authority(folder, "authority")
    certificate, key = authority.issue("gateway")
    place.gateway = place.gateway.model_copy(
        update={
            "listen": ("udp:127.0.0.1:0", "tls:127.0.0.1:0"),
            "tls": settings.Tls(certificate=certificate, key=key),
        }
    )
    node = Node(place.node, settings.Redis(url=f"unix://{folder}/nobody.sock"), place.gateway)
    task = asyncio.create_task(node.run())
    await node.ready.wait()
    place.aim(node.addresses[0])
    try:
        yield node, authority
    finally:
        node.stop()
        await asyncio.wait_for(task, 10)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(node_module, "WATCH_SECONDS", 0.05)
    place = Place(tmp_path)
    yield place
    place.close()


async def state(place: Place) -> dict[str, Any]:
    return await ask(place.node.control, {"ask": "state"})


async def shown(node: Node) -> bytes:
    """The certificate that a peer gets to see."""

    def look() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = int(node.addresses[1].rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.2", 0)) as plain,
            context.wrap_socket(plain) as line,
        ):
            return line.getpeercert(binary_form=True) or b""

    return await asyncio.to_thread(look)


async def test_a_renewed_certificate_is_shown_without_a_signal(place: Place, tmp_path: Path) -> None:
    async with running(place, tmp_path) as (node, authority):
        first = await shown(node)
        authority.issue("gateway")

        async def renewed() -> bool:
            return await shown(node) != first

        await eventually(renewed, "the new certificate")
        assert (await state(place))["not_taken"] == []
        assert (await state(place))["counters"]["reloads"] >= 1


@pytest.mark.parametrize("broken", ["certificate", "key", "gateway key"])
async def test_what_is_broken_changes_nothing_and_is_told(
    place: Place, tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(place, tmp_path) as (node, _):
        tls = place.gateway.tls
        assert tls.certificate and tls.key
        path = {"certificate": tls.certificate, "key": tls.key, "gateway key": place.gateway.key_file}[broken]
        first, good = await shown(node), path.read_bytes()
        replace(path, good[: len(good) // 2])

        async def told() -> bool:
            return bool((await state(place))["not_taken"])

        await eventually(told, "refused")
        (line,) = (await state(place))["not_taken"]
        assert line.startswith("files: ") and path.name in line and KEY[:32] not in line
        assert (await state(place))["counters"]["reloads_refused"] >= 1
        assert await shown(node) == first and await asyncio.to_thread(place.call, "+6289999999999") == "passed"
        replace(path, good)

        async def mended() -> bool:
            return (await state(place))["not_taken"] == []

        await eventually(mended, "taken over")
    assert "node.reload_refused" in capsys.readouterr().out


async def test_a_card_that_can_not_be_signed_is_not_pointed_to(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "CARD_SECONDS", 0)
    monkeypatch.setattr(node_module, "CARD_GOOD_SECONDS", 2)
    folder = tmp_path / "card"
    folder.mkdir()
    (tmp_path / "card.key").write_text(json.dumps(ECKey.generate_key("P-256").as_dict(private=True)))
    redress = settings.Redress(
        name="Operator",
        url="https://redress.example",
        card_url="https://redress.example/card.jws",
        card_x5u="https://redress.example/cert.pem",
        card_file=folder / "card.jws",
        card_key=tmp_path / "card.key",
    )
    trunk = place.gateway.trunks[0].model_copy(update={"response": "608"})
    place.gateway = place.gateway.model_copy(update={"redress": redress, "trunks": (trunk,)})
    writer, lines = Writer(place.node.live, place.node.state), ["+77*\torder reject enforce both"]
    writer.load(1, 1, lines, list_digest(lines), 0)
    writer.close()

    def answer() -> bytes:
        """What a caller gets that can show a 608."""
        call = Message(place.trunk)
        call.headers = ["Feature-Caps: *;+sip.608"]
        place.trunk.send(call.bytes())
        return place.trunk.receive().split()[1]

    async with running(place, tmp_path):
        await eventually(lambda: answer() == b"608", "a card is signed")
        fresh = (folder / "card.jws").read_text()
        await eventually(lambda: (folder / "card.jws").read_text() != fresh, "and signed again")
        folder.rename(tmp_path / "away")
        await eventually(lambda: answer() == b"603", "the last card has become stale")
        found = await state(place)
        assert found["counters"]["cards_stale"] >= 1 and "card.jws" in found["card_error"]
        (tmp_path / "away").rename(folder)
        await eventually(lambda: answer() == b"608", "signed again")
        assert (await state(place))["card_error"] == ""
