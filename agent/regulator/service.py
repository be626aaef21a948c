"""Running the stand-in: the link, the loop that publishes, the loop that receives, the API on its socket.

Publishing is window by window and in the order of the serials. Everything that is due stays in the books until the
broker's PUBACK says success, so that it is published after a restart too.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from agent.local_http import LocalServer, listen
from agent.regulator import api
from agent.regulator.office import Office
from agent.regulator.settings import RegulatorSettings
from agent.regulator.state import Due, State
from sync.codes import Code
from sync.contract import down_topic, up_topic
from sync.jws import load_keyring, load_signer
from sync.mqtt import Backoff, Link, LinkError, LinkLostError

_WINDOW = 16  # publications under way at once; below paho's own limit of 20
_BATCH = 64
_NO_SESSION_S = 1.0  # the operator has never connected: wait so long before offering the message again
_NAP_S = 30.0

_log = structlog.get_logger("palang.regulator")


async def serve(settings: RegulatorSettings, stop: asyncio.Event) -> None:
    """Run the stand-in until `stop` is set. Raises KeyFileError, StateError, AddressInUse when it can't start."""
    signer, operator_keys = load_signer(settings.signing_key), load_keyring(settings.operator_keys)
    state = State(settings.state, settings.reference)
    try:
        listener = listen(settings.socket)
        office = Office(settings, state, signer, operator_keys)
        link = Link(settings.mqtt, [up_topic(settings.operator)])
        publisher = Publisher(settings, office, link)
        office.attach(publisher.wake, lambda: _status(link))
        server = LocalServer(api.make(office))
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(link.run()),
                tasks.create_task(publisher.run()),
                tasks.create_task(_receive(office, link)),
            ]
            served = tasks.create_task(server.serve(sockets=[listener]))
            await stop.wait()
            server.should_exit = True
            await served
            for task in running:
                task.cancel()
        settings.socket.unlink(missing_ok=True)
    finally:
        state.close()


class Publisher:
    """Publishes what the books have due; sleeps until the next is due or `wake`."""

    def __init__(self, settings: RegulatorSettings, office: Office, link: Link) -> None:
        self._settings = settings
        self._state = office.state
        self._link = link
        self._topic = down_topic(settings.operator)
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Look at once."""
        self._awake.set()

    async def run(self) -> None:
        """Publish for ever. Returns only when cancelled."""
        backoff = Backoff(0.1, 10.0)
        while True:
            await self._link.connected()
            self._awake.clear()
            due = self._state.due(datetime.now(UTC), _WINDOW)
            if not due:
                await self._sleep()
            elif await self._publish(due):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next())

    async def _publish(self, due: Sequence[Due]) -> bool:
        """Publish one window and write down what came of it; False when the broker did not take all of it."""
        answers = await asyncio.gather(
            *(self._link.publish(self._topic, item.body) for item in due), return_exceptions=True
        )
        now = datetime.now(UTC)
        taken = [item for item, answer in zip(due, answers, strict=True) if answer is True]
        unheard = [item for item, answer in zip(due, answers, strict=True) if answer is False]
        self._state.published(taken, now, self._again)
        # Nobody has a session: an order waits for the operator's first connection. A receipt or raw bytes waiting for
        # someone who is not there would be kept for ever, so these are done with: a receipt is asked for again.
        self._state.published([item for item in unheard if item.table != "messages"], now, self._again)
        self._state.postponed(unheard, now + timedelta(seconds=_NO_SESSION_S))
        for answer in answers:
            if isinstance(answer, BaseException):
                if not isinstance(answer, LinkError):
                    raise answer
                _log.warning("not published; it stays due", error=str(answer))
                return False
        return True

    def _again(self, times: int) -> float:
        return float(min(self._settings.republish_cap_s, self._settings.republish_first_s * 2.0 ** min(times, 20)))

    async def _sleep(self) -> None:
        due = self._state.next_due()
        wait = _NAP_S if due is None else min(_NAP_S, max(0.0, (due - datetime.now(UTC)).total_seconds()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait + 0.001):
                await self._awake.wait()


async def _receive(office: Office, link: Link) -> None:
    """Write down what comes up, then acknowledge it."""
    while True:
        batch = await link.receive(_BATCH)
        office.receive(message.payload for message in batch if not message.oversized)
        for message in batch:
            if message.oversized:
                office.reject(message.sha256, Code.OVERSIZED)
        with contextlib.suppress(LinkLostError):  # then it comes again, and is known by its id
            for message in batch:
                message.ack()


def _status(link: Link) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(link.state).items()
    }
