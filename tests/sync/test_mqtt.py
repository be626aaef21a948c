"""The link against a real Mosquitto: what aiomqtt and paho do with sessions, acknowledgements and refusals."""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sync.mqtt import Backoff, Link, LinkLostError, Message, MqttSettings, PublishRefusedError
from tests.mosquitto_server import Mosquitto
from tests.waiting import until

Connect = Callable[..., AbstractAsyncContextManager[Link]]

DOWN = "palang/v1/op/down"


async def received(link: Link, count: int, *, ack: bool = True) -> list[Message]:
    """The next `count` messages."""
    found: list[Message] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            batch = await link.receive(count - len(found))
            found += batch
            for message in batch:
                if ack:
                    message.ack()
    return found


async def reconnected(link: Link, before: int) -> None:
    await until(lambda: link.state.connections > before and link.state.connected_since is not None)


async def test_publish_returns_after_a_good_puback(connect: Connect) -> None:
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer:
        assert await writer.publish(DOWN, b"one") is True
        (message,) = await received(reader, 1)
        assert message.payload == b"one"
        assert message.topic == DOWN


async def test_publish_tells_when_no_session_will_get_it(connect: Connect) -> None:
    async with connect("writer") as writer:
        assert await writer.publish(DOWN, b"one") is False


async def test_a_puback_with_a_failure_is_no_success(tmp_path: Path) -> None:
    denying = Mosquitto(tmp_path / "denying", acl="topic read #\n").start()
    link = Link(MqttSettings(port=denying.port, client_id="writer"))
    task = asyncio.create_task(link.run())
    try:
        await asyncio.wait_for(link.connected(), 10)
        with pytest.raises(PublishRefusedError, match="135") as refused:
            await link.publish(DOWN, b"one")
        assert refused.value.reason == 135
        assert "135" in link.state.last_error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        denying.kill()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


async def test_over_tls_the_broker_has_to_prove_who_it_is(tmp_path: Path) -> None:
    shown, key = certificate(tmp_path, "broker")
    other, _ = certificate(tmp_path, "other")
    broker = Mosquitto(tmp_path / "tls", more=(f"certfile {shown}", f"keyfile {key}")).start()
    rows = {"port": broker.port, "tls": True, "backoff_cap_s": 0.2, "timeout_s": 3}
    good = Link(MqttSettings.model_validate({**rows, "client_id": "good", "ca_file": str(shown)}), [DOWN])
    bad = Link(MqttSettings.model_validate({**rows, "client_id": "bad", "ca_file": str(other)}))
    tasks = [asyncio.create_task(link.run()) for link in (good, bad)]
    try:
        await asyncio.wait_for(good.connected(), 10)
        for n in range(20):
            assert await good.publish(DOWN, str(n).encode() + bytes(40_000)) is True
        assert len(await received(good, 20)) == 20
        await until(lambda: "CERTIFICATE_VERIFY_FAILED" in bad.state.last_error)
        assert bad.state.connections == 0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        broker.kill()


async def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "passwords"
    broker = Mosquitto(folder, more=("allow_anonymous false", f"password_file {folder}/passwords"))
    command = ["mosquitto_passwd", "-b", "-c", f"{folder}/passwords", "agent", "right"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    broker.start()
    rows = {"port": broker.port, "username": "agent", "backoff_cap_s": 0.2}
    good = Link(MqttSettings.model_validate({**rows, "client_id": "good", "password": "right"}))
    bad = Link(MqttSettings.model_validate({**rows, "client_id": "bad", "password": "wrong"}))
    tasks = [asyncio.create_task(link.run()) for link in (good, bad)]
    try:
        await asyncio.wait_for(good.connected(), 10)
        await until(lambda: "Not authorized" in bad.state.last_error)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        broker.kill()


async def test_publications_under_way_together_arrive_in_order(connect: Connect) -> None:
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer:
        await asyncio.gather(*(writer.publish(DOWN, str(n).encode()) for n in range(50)))
        assert [int(message.payload) for message in await received(reader, 50)] == list(range(50))


async def test_what_was_not_acknowledged_comes_again_after_a_reset(connect: Connect) -> None:
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer:
        for text in (b"one", b"two"):
            await writer.publish(DOWN, text)
        one, two = await received(reader, 2, ack=False)
        one.ack()
        reader.reset("the test asks for it")
        await reconnected(reader, 1)
        assert reader.state.session_present is True
        (again,) = await received(reader, 1)
        assert again.payload == b"two"
        assert not two.alive
        with pytest.raises(LinkLostError):  # its id may be another message's on the new connection
            two.ack()


async def test_the_session_collects_while_we_are_offline(connect: Connect) -> None:
    async with connect("reader", [DOWN]) as reader:
        assert reader.state.session_present is False
    async with connect("writer") as writer:
        for n in range(100):
            assert await writer.publish(DOWN, str(n).encode()) is True
    async with connect("reader", [DOWN]) as reader:
        assert reader.state.session_present is True
        assert [int(message.payload) for message in await received(reader, 100)] == list(range(100))


async def test_a_killed_broker_comes_back_with_session_and_messages(connect: Connect, broker: Mosquitto) -> None:
    async with connect("reader", [DOWN]):
        pass
    async with connect("writer") as writer:
        await writer.publish(DOWN, b"kept across the crash")
        broker.saved(b"kept across the crash")  # Mosquitto 2.0 saves what it queues, not what is under way already
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer:
        await received(reader, 1, ack=False)
        broker.kill()
        await until(lambda: reader.state.connected_since is None and writer.state.connected_since is None)
        with pytest.raises(LinkLostError):
            await writer.publish(DOWN, b"nobody there")
        broker.start()
        await reconnected(reader, 1)
        await reconnected(writer, 1)
        assert reader.state.session_present is True
        (again,) = await received(reader, 1)
        assert again.payload == b"kept across the crash"


async def test_a_hung_broker_is_noticed_by_the_missing_puback(connect: Connect, broker: Mosquitto) -> None:
    async with connect("writer", timeout_s=0.5) as writer:
        broker.signal(signal.SIGSTOP)
        try:
            with pytest.raises(LinkLostError, match=r"no PUBACK within 0\.5 s"):
                await writer.publish(DOWN, b"one")
        finally:
            broker.signal(signal.SIGCONT)
        async with asyncio.timeout(15):
            while True:  # it may hang on over what has piled up
                await reconnected(writer, 1)
                with suppress(LinkLostError):
                    await writer.publish(DOWN, b"two")
                    return


async def test_cancelling_while_the_broker_hangs_leaves_no_ghost(connect: Connect, broker: Mosquitto) -> None:
    broker.signal(signal.SIGSTOP)
    link = Link(MqttSettings(port=broker.port, client_id="reader", timeout_s=5))
    task = asyncio.create_task(link.run())
    await asyncio.sleep(0.1)  # it is connecting; nothing tells from outside how far
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    broker.signal(signal.SIGCONT)
    async with connect("reader", [DOWN]) as reader, connect("writer") as writer:
        await writer.publish(DOWN, b"one")
        await received(reader, 1)
        assert reader.state.connections == 1


async def test_a_full_queue_loses_nothing(connect: Connect) -> None:
    async with connect("writer") as writer:
        async with connect("reader", [DOWN]):
            pass
        blob = bytes(300_000)
        for n in range(20):
            await writer.publish(DOWN, str(n).encode() + b":" + blob)
    async with connect("reader", [DOWN], queue_bytes=1_048_576) as reader:
        seen: set[int] = set()
        while len(seen) < 20:
            for message in await received(reader, 1):
                seen.add(int(message.payload.partition(b":")[0]))
        assert reader.state.discarded > 0
        await reconnected(reader, 1)


async def test_an_oversized_message_keeps_only_size_and_digest(connect: Connect) -> None:
    async with connect("reader", [DOWN], max_message_bytes=5000) as reader, connect("writer") as writer:
        await writer.publish(DOWN, bytes(5001))
        (message,) = await received(reader, 1)
        assert message.oversized
        assert (message.size, message.payload) == (5001, b"")
        assert len(message.sha256) == 64


async def test_one_client_id_twice_does_not_storm(connect: Connect) -> None:
    async with connect("same", backoff_first_s=0.05) as first, connect("same", backoff_first_s=0.05) as second:
        await asyncio.sleep(1.5)  # the length of the observation, not a wait for something
        assert first.state.connections + second.state.connections < 40
        assert "142" in first.state.last_error + second.state.last_error or first.state.connections > 1


def test_backoff_doubles_to_its_cap_with_jitter() -> None:
    backoff = Backoff(1, 10, jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next() == 1
    assert Backoff(1, 10, jitter=lambda: 0.0).next() == 0.5
    waits = [Backoff(1, 10).next() for _ in range(100)]
    assert all(0.5 <= wait <= 1 for wait in waits)
    assert any(a != b for a, b in pairwise(waits))
