"""One node: the gateway at work at once from its files, and everything that keeps its list true and its word known.

The order of the start is the promise: the list from disk, then packets, then Redis, whose client is not even loaded
before the first packet can be answered. Nothing that is away, wrong or slow
among Redis, the agent and the disk stops the gateway's threads; a fault in a task that feeds them is
logged and the task begins again.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import structlog

from sip_filter import _core, settings, traffic
from sip_filter.control import AskError, Control
from sip_filter.keeper import Keeper
from sip_filter.keys import Report
from sip_filter.tasks import cancel, for_ever, heed_cancel
from sip_filter.watch import Watch

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from sip_filter.jcard import Card
    from sip_filter.listener import Listener
    from sip_filter.metrics import Facts
    from sip_filter.reporter import Reporter
    from sip_filter.subscriber import Subscriber

PROOF_NUMBERS = 10_000
"""Numbers in one question for proof."""
CARD_SECONDS = 30
"""Age at which the card of a 608 is signed anew; receivers refuse one of more than a minute (RFC 8688 §3.2.2)."""
CARD_GOOD_SECONDS = 50
"""Age above which no 608 points to it any more: the receiver needs time to fetch it."""
WATCH_SECONDS = 2.0
"""Between two looks at the files of certificates and keys."""

_FLUSH_SECONDS = 1.0
_log = structlog.get_logger("sip_filter.node")


async def run(
    node: settings.Node,
    redis: settings.Redis,
    gateway: settings.Gateway,
    read: Callable[[], settings.Gateway] | None = None,
    reach: Callable[[str], None] = lambda point: None,
) -> None:
    """Run a node until SIGTERM or SIGINT. On SIGHUP take over what `read` returns.

    `reach` is told `node.before_apply` and `node.after_apply`: points at which a test may end the process.

    Raises before anything runs: BlockingIOError when another node has the folders, OSError for files and addresses,
    ValueError for settings.
    """
    running = Node(node, redis, gateway, reach=reach)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.stop)
    if read is not None:
        loop.add_signal_handler(signal.SIGHUP, running.read_again, read)
    await running.run()


class Node:
    """A node's parts, put together. `run` it once."""

    _subscriber: "Subscriber"
    _reporter: "Reporter"

    def __init__(
        self,
        node: settings.Node,
        redis: settings.Redis,
        gateway: settings.Gateway,
        clock: Callable[[], float] = time.time,
        reach: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._node, self._settings, self._clock = node, gateway, clock
        self._stopped, self.ready = asyncio.Event(), asyncio.Event()
        self.addresses: list[str] = []
        self.watchers: Listener | None = None
        self._watch = Watch(gateway.files)  # Before they are read: what changes meanwhile is read again.
        core_settings = gateway.to_core_json(node.name)
        writer = _core.Writer(node.live, node.state)
        self._origin = writer.origin
        self._keeper = Keeper(writer, clock, reach)
        self._gateway = _core.Gateway(str(node.live), core_settings)
        self._card, self._card_at, self._card_error = _card(gateway), 0.0, ""
        self._unhealthy: set[str] = set()
        self._not_taken: dict[str, str] = {}
        self._reloads = {"reloads": 0, "reloads_refused": 0}
        self._name_trunks()
        self._redis, self._clients = redis, list["Redis"]()
        handlers = {
            "proof": self._prove,
            "state": self._tell_state,
            "touching": self._tell_touching,
            "drain": self._take_drain,
            "undrain": self._take_drain,
            **traffic.handlers(self._gateway, node.name, clock, lambda: self._settings.count_traffic),
        }
        self._control = Control(node.control, handlers)

    async def run(self) -> None:
        """Start, serve until `stop`, end cleanly."""
        try:
            self.addresses = self._gateway.start()
            self._meet_redis()
            self._node.control.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            await self._control.start()
            self._say_ready()
            async with asyncio.TaskGroup() as group:
                work = (
                    self._subscriber.follow,
                    self._reporter.report,
                    self._reporter.hits,
                    self._tick,
                    self._watch_files,
                    *((self._serve_watchers,) if self._node.metrics else ()),
                )
                tasks = [group.create_task(for_ever(part)) for part in work]
                self.ready.set()
                await self._stopped.wait()
                await cancel(tasks)
        finally:
            await self._end()

    def stop(self) -> None:
        self._stopped.set()

    def reload(self, gateway: settings.Gateway) -> None:
        """Take other gateway settings over. ValueError or OSError leave those in force as they are."""
        watch = Watch(gateway.files)
        card = _card(gateway)
        self._gateway.configure(gateway.to_core_json(self._node.name))
        self._settings, self._watch, self._card, self._card_at = gateway, watch, card, 0.0
        self._name_trunks()
        self._reloads["reloads"] += 1
        _log.info("node.reloaded", trunks=len(gateway.trunks), bypass=gateway.bypass)

    def read_again(self, read: Callable[[], settings.Gateway], what: str = "settings") -> None:
        """Reload from `read`; what was in force stays when that fails, and the state says so until it succeeds."""
        try:
            self.reload(read())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new settings, the old ones work
            self._not_taken[what] = str(error)
            self._reloads["reloads_refused"] += 1
            _log.error("node.reload_refused", what=what, error=str(error), effect="what was in force before stays")
        else:
            self._not_taken.pop("files", None)  # Settings name the files: they are read with them.
            self._not_taken.pop(what, None)

    def report(self) -> Report:
        """What this node says of itself."""
        counters = {**self._gateway.counters(), **self._subscriber.counters, **self._reporter.counters, **self._reloads}
        return Report(
            node=self._node.name,
            epoch=self._keeper.revision.epoch,
            n=self._keeper.revision.n,
            digest=self._keeper.digest,
            at_ms=int(self._clock() * 1000),
            stale=bool(self._subscriber.stale),
            why=self._subscriber.stale,
            trunks=self._settings.modes,
            bypass=self._settings.bypass,
            version=_version(),
            counters=counters,
        )

    # --- the clock's work

    async def _tick(self) -> None:
        """Once a second: a sign of life for the readers, ended clauses, a snapshot or a card when one is due."""
        snapshot_at = time.monotonic() + self._node.checkpoint_minutes * 60
        while True:
            heed_cancel()
            await self._keeper.beat()
            if ended := await self._keeper.expire():
                _log.info("list.expired", clauses=ended)
            due = time.monotonic() >= snapshot_at
            if await self._keeper.checkpoint(0 if due else self._node.checkpoint_mib * 2**20) or due:
                snapshot_at = time.monotonic() + self._node.checkpoint_minutes * 60
            self._watch_hops()
            await self._renew_card()
            await asyncio.sleep(1.0)

    async def _watch_files(self) -> None:
        """Take certificates and keys over that were replaced."""
        while True:
            heed_cancel()
            if await asyncio.to_thread(self._watch.changed):
                _log.info("node.files_changed")
                self.read_again(lambda: self._settings, "files")
            await asyncio.sleep(WATCH_SECONDS)

    async def _serve_watchers(self) -> None:
        """Metrics and health, for whoever asks at `node.metrics`."""
        from sip_filter import metrics
        from sip_filter.exposition import CONTENT_TYPE, expose
        from sip_filter.listener import Answer, Listener

        async def figures() -> Answer:
            return Answer(200, expose(metrics.METRICS, metrics.samples(await self._facts())), CONTENT_TYPE)

        async def live() -> Answer:
            return metrics.live()

        async def ready() -> Answer:
            return metrics.ready(await self._facts())

        async def stale() -> Answer:
            return metrics.stale(await self._facts(), self._node.stale_s)

        routes = {"/metrics": figures, "/health/live": live, "/health/ready": ready, "/health/stale": stale}
        self.watchers = Listener(self._node.metrics, routes)
        await self.watchers.run()

    async def _facts(self) -> "Facts":
        from sip_filter.metrics import Facts

        subscriber = self._subscriber
        return Facts(
            counters=self._gateway.counters(),
            own={**subscriber.counters, **self._reporter.counters, **self._reloads},
            trunks=self._gateway.trunk_counters(),
            modes=self._settings.modes,
            next_hops=self._gateway.next_hops(),
            epoch=self._keeper.revision.epoch,
            n=self._keeper.revision.n,
            sizes=await self._keeper.sizes(),
            stale=subscriber.stale,
            stale_s=max(0.0, self._clock() - subscriber.stale_since) if subscriber.stale else 0.0,
            bypass=self._settings.bypass,
            drained=self._gateway.drained,
            not_taken=len(self._not_taken),
            card_error=self._card_error,
            version=_version(),
        )

    def _watch_hops(self) -> None:
        """Say which next hops fell silent or answer again."""
        down = {hop["name"] for hop in self._gateway.next_hops() if not hop["healthy"]}
        for name in sorted(down - self._unhealthy):
            _log.error("node.next_hop_down", next_hop=name, effect="new calls go to the other next hops")
        for name in sorted(self._unhealthy - down):
            _log.info("node.next_hop_up", next_hop=name)
        self._unhealthy = down

    async def _renew_card(self) -> None:
        """Sign the card anew before a receiver would find it old. A failure is followed by a try each second, and the
        gateway stops pointing to the old one by itself.
        """
        card, now = self._card, self._clock()
        if card is None or abs(now - self._card_at) < CARD_SECONDS:
            return
        try:
            began = time.monotonic()
            await asyncio.to_thread(card.write, now)
            if card is self._card:  # A reload meanwhile asks for another.
                self._gateway.card_signed(max(0.0, CARD_GOOD_SECONDS - (time.monotonic() - began)))
                self._card_at, self._card_error = now, ""
        except Exception as error:  # noqa: BLE001 - whatever the reason, a node without a card answers 603
            if not self._card_error:
                effect = f"a card older than {CARD_GOOD_SECONDS} s is not pointed to: 603 instead of 608"
                _log.error("node.card_not_written", error=str(error), effect=effect)
            self._card_error = str(error)

    # --- the control socket

    async def _prove(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What calls from these numbers get, on every trunk that enforces, by the list as it stands."""
        numbers = [*_texts(request, "numbers"), *_texts(request, "passes")]
        if len(numbers) > PROOF_NUMBERS:
            raise AskError("oversized", f"{len(numbers)} numbers; the most in one question are {PROOF_NUMBERS}")
        modes = self._settings.modes

        def synthesize() -> list[dict[str, str | int]]:
            return [
                {"trunk": trunk, "number": number, "status": status}
                for trunk, mode in modes.items()
                if mode == "enforce"
                for number, status in self._gateway.synthetic(trunk, numbers)
            ]

        try:
            revision, digest, answers = await self._keeper.at_rest(synthesize)
        except ValueError:
            raise AskError("malformed", "not every text in numbers and passes is a number such as +62…") from None
        return {
            "node": self._node.name,
            "epoch": revision.epoch,
            "n": revision.n,
            "digest": digest,
            "trunks": modes,
            "answers": answers,
        }

    async def _take_drain(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take the node or a next hop out of service, or back; how they are then."""
        hop = request.get("hop")
        if hop is not None and not isinstance(hop, str):
            raise AskError("malformed", "hop must be the name of a next hop, or be left out for the node")
        act = self._gateway.drain if request["ask"] == "drain" else self._gateway.undrain
        try:
            act(hop)
        except ValueError as error:
            raise AskError("refused", str(error)) from None
        _log.warning(f"node.{request['ask']}ed", next_hop=hop, by=str(request.get("by", ""))[:64])
        return {"node": self._node.name, "drained": self._gateway.drained, "next_hops": self._gateway.next_hops()}

    async def _tell_state(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            **self.report().fields(),
            "stale_since_ms": int(self._subscriber.stale_since * 1000),
            "origin": self._origin,
            "listen": self.addresses,
            "not_taken": [f"{what}: {why}" for what, why in self._not_taken.items()],
            "card_error": self._card_error,
            "drained": self._gateway.drained,
            "next_hops": self._gateway.next_hops(),
            "trunk_counters": self._gateway.trunk_counters(),
            "sizes": await self._keeper.sizes(),
        }

    async def _tell_touching(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        number = request.get("number")
        if not isinstance(number, str):
            raise AskError("malformed", "touching needs a number such as +62…")
        try:
            return {"lines": await self._keeper.touching(number)}
        except ValueError as error:
            raise AskError("malformed", str(error)) from None

    # --- start and end

    def _meet_redis(self) -> None:
        """Make what talks to Redis. Loading its client takes longer than all that came before."""
        from sip_filter.reporter import Reporter
        from sip_filter.store import connect
        from sip_filter.subscriber import BLOCK_SECONDS, Subscriber

        url, name, timeout = self._redis.url, self._redis.name, self._redis.timeout_ms / 1000
        redis, tail = self._clients = [connect(url, timeout), connect(url, BLOCK_SECONDS + timeout)]
        self._subscriber = Subscriber(redis, tail, self._keeper, name, clock=self._clock)
        self._reporter = Reporter(
            redis,
            self._keeper,
            name,
            self._node.name,
            self.report,
            lambda: self._trunks,
            hits_kept=self._node.hits_kept,
        )

    def _name_trunks(self) -> None:
        self._trunks = {_core.trunk_key(trunk.name): trunk.name for trunk in self._settings.trunks}

    def _say_ready(self) -> None:
        empty = self._keeper.revision == (1, 0)
        say = _log.critical if empty else _log.info
        say(
            "node.ready",
            node=self._node.name,
            listen=self.addresses,
            revision=str(self._keeper.revision),
            list="none: every call is forwarded until Redis has one" if empty else self._origin,
        )
        if not self._settings.trunks:
            _log.warning("node.no_trunks", effect="packets of all peers are dropped")
        if self._settings.bypass:
            _log.critical("node.bypass", effect="every call is forwarded, none is judged")

    async def _end(self) -> None:
        await self._control.close()
        try:
            await asyncio.to_thread(self._gateway.stop)
        except RuntimeError as error:
            _log.error("node.threads_left", error=str(error))
        if self._clients:
            await self._reporter.flush(_FLUSH_SECONDS)
        await self._keeper.close()
        for client in self._clients:
            await client.aclose()
        _log.info("node.ended", node=self._node.name, revision=str(self._keeper.revision))


def _card(gateway: settings.Gateway) -> "Card | None":
    """The card of a 608; None where none is configured. Raises ValueError, OSError."""
    if not gateway.redress.card_url:
        return None
    from sip_filter.jcard import Card  # It signs, and what signs takes long to load.

    return Card(gateway.redress)


def _texts(request: Mapping[str, Any], name: str) -> Sequence[str]:
    found = request.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise AskError("malformed", f"{name} must be a list of texts")
    return found


def _version() -> str:
    try:
        return metadata.version("palang")
    except metadata.PackageNotFoundError:
        return "unknown"
