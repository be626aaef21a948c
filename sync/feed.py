"""The feed: orders from the broker into the ledger, each acknowledged only after its commit.

A batch is handed to the intake, which returns when the ledger has committed it, and only then are its messages
acknowledged (docs/decisions/0006). What was not acknowledged the broker delivers again, and the ledger knows it
by its id. One message that can't be taken never stops the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from sync.codes import Code
from sync.intake import Refusal
from sync.ledger import LedgerUnavailable
from sync.mqtt import Backoff, Link, LinkLostError, Message
from sync.points import reach
from sync.settings_mqtt import FeedSettings

_log = structlog.get_logger("palang.feed")


class Intake(Protocol):
    """The way into the ledger. Both return after the commit, or raise; LedgerUnavailable means: try again later."""

    async def take(self, batch: Sequence[bytes]) -> None:
        """Read and record raw messages in one transaction."""

    async def refuse(self, refusal: Refusal) -> None:
        """Record a message that was never parsed, and have the regulator told its code."""


@dataclass(frozen=True)
class FeedState:
    """What a status page shows of the feed. Times are aware UTC."""

    taken: int = 0
    refused: int = 0  # oversized or poison; what the intake refuses is counted in the ledger
    last_taken_at: datetime | None = None
    waiting_since: datetime | None = None  # the ledger can't be written since then
    last_error: str = ""


class Feed:
    """Takes what the link receives. `run` is a task for as long as the agent lives."""

    def __init__(self, link: Link, settings: FeedSettings, intake: Intake) -> None:
        self._link = link
        self._settings = settings
        self._intake = intake
        self.state = FeedState()

    async def run(self) -> None:
        """Take batches for ever. Returns only when cancelled."""
        while True:
            batch = await self._link.receive(self._settings.batch)
            try:
                await self._settle(batch)
            except LinkLostError as error:
                # Not acknowledged, so redelivered; the part that was committed comes again as a duplicate.
                _log.info("a batch was left to redelivery", messages=len(batch), reason=str(error))

    async def _settle(self, batch: list[Message]) -> None:
        for message in batch:
            if message.oversized:
                detail = f"the message has {message.size} bytes; the limit is {message.limit} (mqtt.max_message_bytes)"
                await self._refuse(message, Code.OVERSIZED, detail)
        if readable := [message for message in batch if not message.oversized]:
            await self._take(readable)
        reach("feed.before_ack")
        for message in batch:
            message.ack()
        self._link.flush()
        reach("feed.after_ack")

    async def _take(self, messages: list[Message]) -> None:
        raws = [message.payload for message in messages]
        tries = self._settings.tries if len(messages) == 1 else 1
        backoff = self._backoff()
        error: Exception | None = None
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(backoff.next())
            try:
                await self._until_written(messages, lambda: self._intake.take(raws))
            except LinkLostError:
                raise
            except Exception as failure:  # noqa: BLE001  # one message must not stop the feed, whatever it does to us
                error = failure
                self._note(f"{type(failure).__name__}: {failure}")
                continue
            self.state = replace(
                self.state, taken=self.state.taken + len(messages), last_taken_at=datetime.now(UTC), last_error=""
            )
            return
        if len(messages) > 1:
            for message in messages:
                await self._take([message])
            return
        _log.error("a message could not be taken and is refused", sha256=messages[0].sha256, tries=tries)
        await self._refuse(messages[0], Code.MALFORMED, f"{type(error).__name__} at each of {tries} tries")

    async def _refuse(self, message: Message, code: Code, detail: str) -> None:
        refusal = Refusal(code=code, detail=detail, message_sha256=message.sha256)
        await self._until_written([message], lambda: self._intake.refuse(refusal))
        self.state = replace(self.state, refused=self.state.refused + 1)

    async def _until_written(self, messages: list[Message], write: Callable[[], Awaitable[None]]) -> None:
        """Write; while the ledger can't be written hold the messages, unacknowledged, and try again.

        Holding them asks nothing of the broker, while connecting again would bring the same ones at every try.
        Raises LinkLostError once they can't be acknowledged any more.
        """
        backoff = self._backoff()
        while True:
            try:
                await write()
            except LedgerUnavailable as error:
                self._note(str(error))
                self.state = replace(self.state, waiting_since=self.state.waiting_since or datetime.now(UTC))
            else:
                self.state = replace(self.state, waiting_since=None)
                return
            await asyncio.sleep(backoff.next())
            if not all(message.alive for message in messages):
                raise LinkLostError("the connection ended while the ledger could not be written")

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.retry_first_s, self._settings.retry_cap_s)

    def _note(self, text: str) -> None:
        if text != self.state.last_error:
            _log.error("a batch could not be taken; it is not acknowledged", error=text)
        self.state = replace(self.state, last_error=text)
