"""Checkpoints leave the machine: whoever cuts the journal's tail here can't take back what was told elsewhere.

The chain's end is signed every so many records (ledger.checkpoint_records) and every so many seconds when anything was
added. The newest checkpoint goes to a retained topic of the broker, to a syslog server, or both; `palang audit verify
--checkpoints FILE` holds a journal against what they kept. What was added since the last one that left is not covered.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from agent.alarms import Alarms
from agent.ledger_thread import LedgerThread
from agent.settings_checkpoints import CheckpointSettings
from sip_filter.tasks import heed_cancel
from sync.contract import now_text
from sync.ledger import Ledger, LedgerUnavailable
from sync.mqtt import Link, LinkError

_log = structlog.get_logger("palang.checkpoints")

_TICK_SECONDS: Final = 1.0
_PRIORITY: Final = 13 * 8 + 5
"""Facility log audit, severity notice (RFC 5424 §6.2.1)."""


class Place(Protocol):
    """Somewhere off this machine."""

    name: str

    async def send(self, jws: str, now: datetime) -> None:
        """Have one checkpoint there. Raises OSError, LinkError."""
        ...


class Broker:
    """A retained topic of the MQTT broker."""

    name = "the broker"

    def __init__(self, link: Link, operator: str) -> None:
        self._link, self._topic = link, topic_of(operator)

    async def send(self, jws: str, now: datetime) -> None:
        """Publish it; returns when the broker has it."""
        await self._link.publish(self._topic, jws.encode(), retain=True)


class Syslog:
    """A syslog server, over UDP or a unix socket. UDP does not tell whether anybody listened."""

    name = "syslog"

    def __init__(self, address: str) -> None:
        self._kind, _, self._where = address.partition(":")

    async def send(self, jws: str, now: datetime) -> None:
        """Send it as one datagram."""
        line = f"<{_PRIORITY}>1 {now_text(now)} {socket.gethostname() or '-'} palang - checkpoint - {jws}".encode()
        await asyncio.to_thread(self._send, line)

    def _send(self, line: bytes) -> None:
        if self._kind == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(line, self._where)
            return
        host, _, port = self._where.rpartition(":")
        family, kind, proto, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as sender:
            sender.sendto(line, address)


class Checkpoints:
    """The task that signs and sends. Returns only when cancelled."""

    def __init__(
        self,
        ledger: LedgerThread,
        places: Sequence[Place],
        settings: CheckpointSettings,
        alarms: Alarms,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger, self._places, self._settings = ledger, places, settings
        self._alarms, self._clock = alarms, clock
        self._signed_at = self._clock()
        self._sent: dict[str, int] = {}
        self._failing: dict[str, datetime] = {}

    async def run(self) -> None:
        """Look each second."""
        while self._places:
            heed_cancel()
            try:
                await self.turn()
            except LedgerUnavailable as error:
                _log.error("checkpoints.not_read", error=str(error))
            await asyncio.sleep(_TICK_SECONDS)

    async def turn(self) -> None:
        """Sign what is due, and send the newest to every place that does not have it. Raises LedgerUnavailable."""
        now = self._clock()
        last, newest = await self._ledger.read(Ledger.newest_checkpoint)
        if last > (newest[0] if newest else 0) and now - self._signed_at >= timedelta(seconds=self._settings.seconds):
            await self._ledger.read(Ledger.checkpoint, now)
            self._signed_at = now
            last, newest = await self._ledger.read(Ledger.newest_checkpoint)
        if newest is None:
            return
        seq, jws = newest
        for place in self._places:
            if self._sent.get(place.name, 0) < seq:
                await self._send(place, seq, jws, now)

    async def _send(self, place: Place, seq: int, jws: str, now: datetime) -> None:
        try:
            await place.send(jws, now)
        except (OSError, LinkError) as error:
            since = self._failing.setdefault(place.name, now)
            if now == since:
                _log.warning("checkpoints.not_sent", place=place.name, error=str(error))
            if now - since >= timedelta(seconds=self._settings.alarm_after_s):
                text = f"{place.name} has no checkpoint of the journal since {since:%Y-%m-%d %H:%M}Z: {error}"
                self._alarms.raise_("checkpoint_not_sent", text, place.name)
            return
        self._failing.pop(place.name, None)
        self._sent[place.name] = seq
        _log.info("checkpoints.sent", place=place.name, record=seq)


def places(settings: CheckpointSettings, link: Link, operator: str) -> list[Place]:
    """The places that the settings name."""
    found: list[Place] = [Broker(link, operator)] if settings.mqtt else []
    if settings.syslog:
        found.append(Syslog(settings.syslog))
    return found


def topic_of(operator: str) -> str:
    """The topic of our own on which checkpoints are kept."""
    return f"palang/v1/{operator}/checkpoints"
