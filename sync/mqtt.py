"""The link to the MQTT 5 broker: made again for ever, and nothing on it is acknowledged by itself.

`Link.run` keeps one connection at a time with the session kept (clean start off, session expiry on).
`Link.receive` gives messages that are acknowledged only by `Message.ack`, after the caller's durable write.
`Link.publish` returns when the broker's PUBACK says success, and raises when it does not.
All that is private to aiomqtt and paho is used here and nowhere else; tests/sync/test_feed.py holds it
against a real broker. Who reads next: sync/feed.py and sync/outbox.py.
"""

import asyncio
import contextlib
import hashlib
import secrets
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sync.settings_mqtt import MqttSettings

__all__ = [
    "Backoff",
    "Link",
    "LinkError",
    "LinkLostError",
    "LinkState",
    "Message",
    "MqttSettings",
    "PublishRefusedError",
]

NO_MATCHING_SUBSCRIBERS = 0x10  # MQTT 5 §3.4.2.1: accepted by the broker, but nobody's session will get it
_STEADY_S = 5.0  # a connection that ends sooner does not reset the backoff: two clients of one id would storm

_random = secrets.SystemRandom()
_log = structlog.get_logger("palang.mqtt")


class LinkError(Exception):
    """Something on the link went wrong; its text says what."""


class LinkLostError(LinkError):
    """The connection ended or is not there: what was sent may or may not have arrived. Send again."""


class PublishRefusedError(LinkError):
    """The broker's PUBACK carries a failure: the message was not accepted (135 is an ACL's no)."""

    def __init__(self, topic: str, reason: ReasonCode) -> None:
        super().__init__(f"the broker refused a message to {topic}: {reason.value} {reason!s}")
        self.reason = int(reason.value)


@dataclass(frozen=True)
class LinkState:
    """What a status page shows of the link. Times are aware UTC."""

    connected_since: datetime | None = None
    session_present: bool | None = None  # what the last CONNACK said; None before the first
    connections: int = 0
    last_message_at: datetime | None = None
    last_error: str = ""
    away_since: datetime | None = field(default_factory=lambda: datetime.now(UTC))  # None while it is connected
    discarded: int = 0  # messages that did not fit into the queue; they are redelivered


@dataclass(frozen=True)
class Message:
    """One message, not yet acknowledged. An oversized one has no payload, only size and digest."""

    topic: str
    payload: bytes
    size: int
    sha256: str
    limit: int  # mqtt.max_message_bytes
    _mid: int = field(repr=False)
    _qos: int = field(repr=False)
    _connection: "_Connection" = field(repr=False)

    @property
    def oversized(self) -> bool:
        """Whether it was too long to be kept."""
        return self.size > self.limit

    @property
    def alive(self) -> bool:
        """Whether it can still be acknowledged; if not, the broker delivers it again."""
        return self._connection.alive

    def ack(self) -> None:
        """Acknowledge it on the connection it came by: ids are only good there. Raises LinkLostError."""
        self._connection.ack(self._mid, self._qos)


class Backoff:
    """Waits that double up to a cap, each between half of itself and itself so that clients don't march in step."""

    def __init__(self, first: float, cap: float, jitter: Callable[[], float] = _random.random) -> None:
        self._first, self._cap, self._jitter = first, cap, jitter
        self._tries = 0

    def next(self) -> float:
        wait = min(self._cap, self._first * 2.0 ** min(self._tries, 40))
        self._tries += 1
        return wait * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        self._tries = 0


class Link:
    """One client's link to the broker, with the topics it reads."""

    def __init__(self, settings: MqttSettings, topics: Sequence[str] = ()) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._connection: _Connection | None = None
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._overflowed = False
        self._filled = asyncio.Event()
        self._up = asyncio.Event()
        self.state = LinkState()

    async def run(self) -> None:
        """Connect, subscribe, stay; after a loss wait and do it again. Returns only when cancelled."""
        backoff = Backoff(self._settings.backoff_first_s, self._settings.backoff_cap_s)
        while True:
            began = time.monotonic()
            try:
                async with self._connect() as connection:
                    await connection.ended()
            except (LinkError, aiomqtt.MqttError, OSError, ValueError) as error:
                self._note_error(str(error) or type(error).__name__)
            _stop_if_cancelled()
            if time.monotonic() - began >= _STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def connected(self) -> None:
        """Wait until the link is up."""
        await self._up.wait()

    async def receive(self, limit: int) -> list[Message]:
        """Wait for messages; up to `limit` of what is queued, in the order of their arrival."""
        while not self._queue:
            if self._overflowed:
                # What did not fit stays unacknowledged, and MQTT 5 §4.4 redelivers on a new connection only.
                self.reset("the incoming queue was full: connecting again for what was left out")
            self._filled.clear()
            await self._filled.wait()
        seen = 0
        while seen < len(self._queue) < limit:  # paho reads one packet a turn: let it read what has arrived already
            seen = len(self._queue)
            await asyncio.sleep(0)
        batch = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        self._queued_bytes -= sum(len(message.payload) for message in batch)
        return batch

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1 and wait for the PUBACK; False when the broker knows no session that will get it.

        With `retain` the broker keeps it for whoever comes later.

        Raises PublishRefusedError when the PUBACK is a failure, LinkLostError when there is no answer.
        """
        connection = self._connection
        if connection is None:
            raise LinkLostError("not connected to the broker")
        try:
            reason = await connection.send(topic, payload, retain=retain)
        except TimeoutError:
            # The peer may be silently gone. The packet may still arrive: receivers know each message by its id.
            why = f"no PUBACK within {self._settings.timeout_s:g} s"
            connection.end(why)
            raise LinkLostError(why) from None
        if reason.is_failure:
            error = PublishRefusedError(topic, reason)
            self._note_error(str(error))
            raise error
        return int(reason.value) != NO_MATCHING_SUBSCRIBERS

    def flush(self) -> None:
        """Hand what was acknowledged to the socket now; without it that happens at the loop's next turn."""
        if self._connection is not None:
            self._connection.flush()

    def reset(self, why: str) -> None:
        """End the connection; `run` makes a new one, on which the broker redelivers what was not acknowledged."""
        if self._connection is not None:
            self._connection.end(why)

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator["_Connection"]:
        self._overflowed = False
        connection = _Connection(self._settings, self._arrived)
        try:
            await connection.open()
            self._connection = connection  # a kept session delivers from now on
            for topic in self._topics:  # always: the broker may have lost the session
                await connection.subscribe_to(topic)
            _stop_if_cancelled()
            self._note_connected(connection)
            yield connection
        finally:
            self._up.clear()
            self._connection = None
            away_since = self.state.away_since or datetime.now(UTC)
            self.state = replace(self.state, connected_since=None, away_since=away_since)
            self._queue.clear()  # unacknowledged, so redelivered
            self._queued_bytes = 0
            await connection.close()

    def _note_connected(self, connection: "_Connection") -> None:
        present = connection.session_present
        if self.state.session_present is not None and not present:
            _log.error("the broker has lost our session: messages may be missing until a serial gap shows them")
        self.state = replace(
            self.state,
            last_error="",
            connected_since=datetime.now(UTC),
            away_since=None,
            session_present=present,
            connections=self.state.connections + 1,
        )
        self._up.set()
        _log.info("connected to the broker", host=self._settings.host, session_present=present)

    def _note_error(self, text: str) -> None:
        if text != self.state.last_error:  # a broker that is away for a day is one line, not thousands
            _log.warning("trouble with the broker", error=text)
        self.state = replace(self.state, last_error=text)

    def _arrived(self, connection: "_Connection", message: paho.MQTTMessage) -> None:
        self.state = replace(self.state, last_message_at=datetime.now(UTC))
        size = len(message.payload)
        oversized = size > self._settings.max_message_bytes
        kept = 0 if oversized else size
        # Mosquitto 2.0 does not keep Receive Maximum strictly, so the queue has bounds of its own.
        full = len(self._queue) >= 2 * self._settings.receive_maximum
        if self._queue and (full or self._queued_bytes + kept > self._settings.queue_bytes):
            self._overflowed = True
            self.state = replace(self.state, discarded=self.state.discarded + 1)
            return
        self._queue.append(
            Message(
                topic=message.topic,
                payload=b"" if oversized else bytes(message.payload),
                size=size,
                sha256=hashlib.sha256(message.payload).hexdigest(),
                limit=self._settings.max_message_bytes,
                _mid=message.mid,
                _qos=message.qos,
                _connection=connection,
            )
        )
        self._queued_bytes += kept
        self._filled.set()


class _Connection(aiomqtt.Client):
    """One connection, used once. A new one starts with nothing in paho's own queues, so nothing stale is sent."""

    def __init__(self, settings: MqttSettings, arrived: Callable[["_Connection", paho.MQTTMessage], None]) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum
        # No Maximum Packet Size: the broker would drop a larger message without a word (MQTT 5 §3.1.2.11.4),
        # and an oversized order has to be refused on record.
        super().__init__(
            settings.host,
            settings.port,
            identifier=settings.client_id,
            username=settings.username or None,
            password=settings.password.get_secret_value() or None,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            keepalive=settings.keepalive_s,
            timeout=settings.timeout_s,
            tls_context=_tls(settings),
            # Small packets that answer small packets: Nagle's wait would cost 40 ms each.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._client.manual_ack_set(True)  # before connecting: a kept session delivers at once
        self._client.connect_timeout = settings.timeout_s
        self._arrived = arrived
        self._answers: dict[int, asyncio.Future[ReasonCode]] = {}
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._opened = False
        self._closed = False
        self.session_present = False

    @property
    def alive(self) -> bool:
        return self._opened and not (self._closed or self._over.done() or self._disconnected.done())

    async def open(self) -> None:
        await self.__aenter__()
        self._opened = True

    async def subscribe_to(self, topic: str) -> None:
        for reason in await self.subscribe(topic, qos=1):
            if isinstance(reason, ReasonCode) and reason.is_failure:
                raise LinkError(f"the broker refused the subscription to {topic}: {reason.value} {reason!s}")

    async def send(self, topic: str, payload: bytes, *, retain: bool = False) -> ReasonCode:
        """Publish at QoS 1; the PUBACK's reason. Unlike aiomqtt's `publish` it does not take 135 for success."""
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        if sent.rc != paho.MQTT_ERR_SUCCESS:
            raise LinkLostError(f"could not send: {paho.error_string(sent.rc)}")
        answer: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._answers[sent.mid] = answer
        self.flush()
        try:
            async with asyncio.timeout(self.timeout):
                return await answer
        finally:
            self._answers.pop(sent.mid, None)

    def ack(self, mid: int, qos: int) -> None:
        if not self.alive:
            raise LinkLostError("the connection that brought the message has ended")
        if self._client.ack(mid, qos) != paho.MQTT_ERR_SUCCESS:
            raise LinkLostError("the acknowledgement could not be sent")

    def flush(self) -> None:
        if self.alive:
            self._step(self._client.loop_write, self._client.socket())

    def end(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    async def ended(self) -> None:
        """Wait for the end of the connection. Raises LinkLostError, which says why."""
        await asyncio.wait((self._disconnected, self._over), return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            raise LinkLostError(self._over.result())
        raise LinkLostError(f"the connection ended: {self._disconnected.exception() or 'by the broker'}")

    async def close(self) -> None:
        """End it in order if it stands (acknowledgements go out first), else leave no socket behind."""
        was_open, self._closed = self._opened and not self._disconnected.done(), True
        if was_open:
            with contextlib.suppress(aiomqtt.MqttError):
                await self.__aexit__(None, None, None)
        elif not self._opened:
            # A CONNACK that comes too late would make a ghost that takes our session over.
            with contextlib.suppress(OSError, ValueError):
                self._client._sock_close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(LinkLostError("the connection ended before the PUBACK"))

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        self.session_present = bool(flags.session_present)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        self._arrived(self, message)

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason_code)

    # paho calls the next two from the connecting thread as well as from the loop. aiomqtt defers what they ask for
    # without looking again, and by then the socket may be closed or its number another socket's.

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch, client, sock)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch_writable, client, sock)

    def _watch(self, client: paho.Client, sock: Any) -> None:
        if self._closed:  # we were cancelled while the connecting thread was still at it
            client._sock_close()
        elif sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._step, client.loop_read, sock)
            self._misc_task = self._loop.create_task(self._misc_loop())

    def _watch_writable(self, client: paho.Client, sock: Any) -> None:
        if sock.fileno() >= 0 and client.want_write():
            self._loop.add_writer(sock.fileno(), self._step, client.loop_write, sock)

    def _step(self, step: Callable[[], object], sock: Any) -> None:
        try:
            step()
            while step == self._client.loop_read and sock.fileno() >= 0 and getattr(sock, "pending", int)() > 0:
                step()  # TLS has bytes decoded already, which no reader event will tell of
        except Exception as error:  # noqa: BLE001  # whatever paho raises here, the connection is over
            self.end(f"{type(error).__name__}: {error}")


def _stop_if_cancelled() -> None:
    """Raise the cancellation that `asyncio.wait_for`, which aiomqtt uses, swallows when its answer comes with it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _tls(settings: MqttSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    return context
