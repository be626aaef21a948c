"""The outbox: confirmations to the regulator, again and again until the ledger has the receipt.

The ledger says what is due and remembers everything; this edge only sends it. `sent` means that the broker's PUBACK
said success, not that the regulator has it: only a receipt does (MQTT's QoS is hop by hop). Sending twice is
harmless, since each confirmation has an id.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from sync.ledger import LedgerUnavailable, Outgoing
from sync.mqtt import Backoff, Link, LinkError
from sync.points import reach
from sync.settings_mqtt import OutboxSettings

_log = structlog.get_logger("palang.outbox")


class Pending(Protocol):
    """The ledger's side of the outbox. Both may raise LedgerUnavailable."""

    async def due(self, limit: int) -> Sequence[Outgoing]:
        """What is to be sent now, the oldest first."""

    async def sent(self, ids: Sequence[str]) -> None:
        """The broker has accepted these."""


@dataclass(frozen=True)
class OutboxState:
    """What a status page shows of the outbox. Times are aware UTC."""

    sent: int = 0
    last_sent_at: datetime | None = None
    last_error: str = ""


class Outbox:
    """Sends what is due to one topic. `run` is a task for as long as the agent lives."""

    def __init__(self, link: Link, topic: str, settings: OutboxSettings, pending: Pending) -> None:
        self._link = link
        self._topic = topic
        self._settings = settings
        self._pending = pending
        self._awake = asyncio.Event()
        self.state = OutboxState()

    def wake(self) -> None:
        """Look at once: something has become due."""
        self._awake.set()

    async def run(self) -> None:
        """Send for ever. Returns only when cancelled."""
        backoff = Backoff(self._settings.poll_s / 10, self._settings.retry_cap_s)
        while True:
            await self._link.connected()
            self._awake.clear()
            try:
                more = await self._send_due()
            except (LinkError, LedgerUnavailable) as error:
                self._note(str(error))
                await asyncio.sleep(backoff.next())  # `wake` does not cut this short: the refusal would come again
                continue
            backoff.reset()
            if not more:
                await self._sleep()

    async def _send_due(self) -> bool:
        """Send one window; whether there may be more. What was accepted is marked even if another was not."""
        outgoing = await self._pending.due(self._settings.window)
        # The tasks start in this order and paho writes at once, so the confirmations leave in this order.
        answers = await asyncio.gather(*(self._send(item) for item in outgoing), return_exceptions=True)
        accepted = [item.id for item, answer in zip(outgoing, answers, strict=True) if answer is None]
        if accepted:
            await self._pending.sent(accepted)
            reach("outbox.after_record")
            self.state = replace(
                self.state, sent=self.state.sent + len(accepted), last_sent_at=datetime.now(UTC), last_error=""
            )
        for answer in answers:
            if answer is not None:
                raise answer
        return len(outgoing) == self._settings.window

    async def _send(self, item: Outgoing) -> None:
        reach("outbox.before_send")
        # A broker without a session for the regulator is not waited for: the ledger sends again until the receipt.
        await self._link.publish(self._topic, item.body)
        reach("outbox.after_send")

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_s):
                await self._awake.wait()

    def _note(self, text: str) -> None:
        if text != self.state.last_error:
            _log.warning("confirmations wait", error=text)
        self.state = replace(self.state, last_error=text)
