"""The agent's parts, put together but not yet running: what the daemon supervises and the API asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from agent.access.entrance import Entrance
from agent.alarms import Alarms
from agent.figures import Figures
from agent.ledger_thread import LedgerThread
from agent.look_ups import Pace
from agent.prover import Prover
from agent.settings import Settings
from agent.traffic.braking import Brake
from agent.traffic.collector import Collector
from agent.traffic.previews import Previews
from agent.traffic.store import TrafficStore
from agent.traffic.thread import TrafficThread
from agent.verifying import Verifier
from agent.wall import Wall
from config import ConfigError
from sip_filter import _core
from sip_filter.store import connect
from sync.contract import down_topic, up_topic
from sync.feed import Feed
from sync.gate import Gate
from sync.intake import Limits, Refusal, read
from sync.jws import KeyFileError, Keyring, load_keyring, load_signer
from sync.ledger import Head, Ledger, Outgoing, RevisionRow
from sync.mqtt import Link
from sync.outbox import Outbox
from sync.publisher import Publisher

_PUBLISH_SECONDS = 2.0
"""A chunk of a thousand entries takes Redis some 20 ms, on a busy machine ten times that."""


@dataclass(frozen=True)
class Parts:
    """Everything that runs in the agent."""

    settings: Settings
    ledger: LedgerThread
    redis: Redis
    link: Link
    feed: Feed
    outbox: Outbox
    publisher: Publisher
    prover: Prover
    alarms: Alarms
    verifier: Verifier
    pace: Pace
    entrance: Entrance
    wall: Wall
    figures: Figures
    traffic: TrafficThread
    collector: Collector
    previews: Previews
    brake: Brake

    async def rebuild(self, actor: str, *, new_epoch: bool) -> dict[str, Any]:
        """Have Redis made anew from the ledger at the publisher's next turn.

        With `new_epoch` every node takes the ledger's list whole, also one that is behind what it holds: a person's act
        after a restore, since it may lift blocks that the ledger has lost.
        """
        if new_epoch:
            await self.ledger.change(Ledger.begin_epoch, actor, datetime.now(UTC))
        head = await self.ledger.read(Ledger.head)
        self.publisher.rebuild("asked for by a person")
        return {"revision": str(head), "entries": head.entries, "digest": head.digest}


def assemble(settings: Settings) -> Parts:
    """The parts of one agent. Raises ConfigError, LedgerError, OSError when one of them can't be made."""
    try:
        signer = load_signer(settings.contract.signing_key)
        keyring = load_keyring(settings.contract.regulator_keys, settings.contract.revoked_keys)
    except KeyFileError as error:
        raise ConfigError(str(error)) from None
    contract = settings.contract
    ledger = LedgerThread(
        lambda: Ledger.open(
            settings.ledger.path,
            gate=Gate(settings.gate),
            operator=contract.operator,
            signer=signer,
            settings=settings.ledger,
        )
    )
    redis = connect(settings.redis.url, _PUBLISH_SECONDS)
    link = Link(settings.mqtt, [down_topic(contract.operator)])
    intake = LedgerIntake(ledger, keyring, contract.operator, Limits(contract.max_message_bytes, contract.max_depth))
    alarms = Alarms(ledger)
    lost = partial(alarms.raise_, "traffic_lost")
    traffic = TrafficThread(lambda: TrafficStore(traffic_path(settings), _core.Sketch, lost))
    collector = Collector(ledger, traffic, settings, lost)
    parts = Parts(
        settings=settings,
        ledger=ledger,
        redis=redis,
        link=link,
        feed=Feed(link, settings.feed, intake),
        outbox=Outbox(link, up_topic(contract.operator), settings.outbox, LedgerOutbox(ledger)),
        publisher=Publisher(
            redis,
            LedgerSource(ledger),
            settings.redis.name,
            verify_seconds=settings.redis.verify_seconds,
            stream_length=settings.redis.stream_length,
        ),
        prover=Prover(ledger, settings.proof),
        verifier=Verifier(ledger, settings.ledger.path, signer.keyring),
        pace=Pace(settings.look_ups),
        alarms=alarms,
        entrance=Entrance(ledger, settings.access, alarm=partial(alarms.raise_, "sign_in_attacks")),
        wall=Wall(),
        figures=Figures(),
        traffic=traffic,
        collector=collector,
        previews=Previews(traffic, collector, settings, _core.Sketch),
        brake=Brake(ledger, traffic, collector, settings, partial(alarms.raise_, "brake")),
    )
    for wake in (parts.publisher.wake, parts.prover.wake, parts.outbox.wake, parts.wall.touch, collector.wake):
        ledger.watch(wake)
    return parts


class LedgerIntake:
    """The feed's way into the ledger."""

    def __init__(self, ledger: LedgerThread, keyring: Keyring, operator: str, limits: Limits) -> None:
        self._ledger = ledger
        self._keyring = keyring
        self._operator = operator
        self._limits = limits

    async def take(self, batch: Sequence[bytes]) -> None:
        """Read and record raw messages in one transaction."""
        await self._ledger.change(self._take, batch)

    async def refuse(self, refusal: Refusal) -> None:
        """Record a message that was never parsed."""
        await self._ledger.change(Ledger.take, [refusal], datetime.now(UTC))

    def _take(self, ledger: Ledger, batch: Sequence[bytes]) -> None:
        # Signatures are verified here, in the ledger's thread: 0.2 ms each would stall the loop in a burst.
        readings = [read(raw, self._keyring, self._operator, self._limits) for raw in batch]
        ledger.take(readings, datetime.now(UTC))


class LedgerOutbox:
    """The outbox's view of the ledger."""

    def __init__(self, ledger: LedgerThread) -> None:
        self._ledger = ledger

    async def due(self, limit: int) -> Sequence[Outgoing]:
        """What is to be sent now."""
        return await self._ledger.read(Ledger.due, datetime.now(UTC), limit)

    async def sent(self, ids: Sequence[str]) -> None:
        """The broker has accepted these."""
        await self._ledger.read(Ledger.sent, ids, datetime.now(UTC))


class LedgerSource:
    """The publisher's view of the ledger."""

    def __init__(self, ledger: LedgerThread) -> None:
        self._ledger = ledger

    async def head(self) -> Head:
        """The newest revision."""
        return await self._ledger.read(Ledger.head)

    async def revisions(self, after_n: int, limit: int) -> Sequence[RevisionRow]:
        """Revisions after `after_n`."""
        return await self._ledger.read(Ledger.revisions, after_n, limit)

    async def entries(self, after: str, limit: int) -> Sequence[str]:
        """Entry lines after `after`."""
        return await self._ledger.read(Ledger.entries, after, limit)

    async def take_fence(self) -> int:
        """The next fencing token."""
        return await self._ledger.read(Ledger.take_fence)


def traffic_path(settings: Settings) -> Path:
    """The file of what nodes counted, beside the ledger."""
    return settings.ledger.path.with_name("traffic.sqlite")


def lock_path(settings: Settings) -> Path:
    """The file whose lock says that one agent has this ledger."""
    return settings.ledger.path.with_suffix(".lock")
