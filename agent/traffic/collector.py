"""The collector: asks every node of the roster what it counted, and tells it what to count by itself.

A node that is away, slow, restarted or wrong costs the others nothing. Each keeps an hour and a half of minutes: what
it could not tell now it tells later; what it lost it says, and that is told on.
"""

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from agent.ledger_thread import LedgerThread
from agent.settings import RosterNode, Settings
from agent.traffic.counts import MINUTE_MS, Told, read_told
from agent.traffic.scope import Allowed, Scope
from agent.traffic.store import HOUR, TrafficStore
from agent.traffic.thread import TrafficThread, TrafficUnavailable
from sip_filter.control import AskError, ask
from sync.ledger import Ledger, LedgerUnavailable, RuleView

CLOCK_MS: Final = 60_000
"""A node whose clock differs by more would put its counts beside those of the others."""
HOURS_BACK: Final = 2
"""Hours behind the running one of which a node keeps sketches."""

_TOGETHER_S: Final = 0.1
_READ_SHARE: Final = 10
"""The rules are read for a tenth of the time at most, however often the ledger changes."""
_MOST_ANSWERS: Final = 200
"""Answers to one question that was cut, so that a node that never ends is left after a while."""
_log = structlog.get_logger("palang.traffic")


@dataclass
class NodeState:
    """How it stands with one node's figures."""

    name: str
    newest_ms: int | None = None
    """When its newest figures were counted, by its clock."""
    error: str | None = "not asked yet"
    run: str | None = None
    lost: int = 0
    hour: int | None = None
    """The newest closed hour whose sketches are kept."""
    sketched_at: float = field(default=0.0)


@dataclass(frozen=True)
class Watched:
    """What the nodes are told to count: each rule that is watched, with its scope."""

    rules: Mapping[str, tuple[RuleView, Scope]]
    allowed: Allowed

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The watches, each scope once."""
        return [scope.question() for scope in {scope.watch: scope for _, scope in self.rules.values()}.values()]


class Collector:
    """Collects. `run` is a task for as long as the agent lives."""

    def __init__(
        self,
        ledger: LedgerThread,
        store: TrafficThread,
        settings: Settings,
        lost: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`lost` is told when counts were lost."""
        self._ledger, self._store, self._lost, self._clock = ledger, store, lost, clock
        self._settings = settings.traffic
        self._roster: Sequence[RosterNode] = settings.proof.roster
        self._changed = asyncio.Event()
        self._changed.set()
        self._read_s = 0.0
        self._running = False
        self._told: frozenset[str] = frozenset()
        self._tended: int | None = None
        self.watched = Watched({}, Allowed(()))
        self.nodes = {node.name: NodeState(node.name) for node in self._roster}
        self.awake = asyncio.Event()
        """Set after each round; who waits for news clears it."""

    def wake(self) -> None:
        """The ledger changed: watches may be others. Nodes are told of those within a moment, not at the next round."""
        self._changed.set()

    def fresh_s(self) -> float | None:
        """The age of the oldest of the nodes' newest figures, None while one has told nothing."""
        newest = [state.newest_ms for state in self.nodes.values()]
        if not newest or None in newest:
            return None
        return max(0.0, self._clock() - min(ms for ms in newest if ms is not None) / 1000)

    async def run(self) -> None:
        """Collect for ever. Returns only when cancelled."""
        self._running = True
        while True:
            await self.round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_s):
                    await self._other_watches()

    async def _other_watches(self) -> None:
        """Return when other watches are wanted. Many changes of the ledger are looked at together."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(max(_TOGETHER_S, _READ_SHARE * self._read_s))
            before = self.watched.questions
            try:
                await self._read_rules()
            except LedgerUnavailable as error:
                _log.error("ledger.unavailable", error=str(error))
            if self.watched.questions != before:
                return

    async def round(self) -> None:
        """Ask each node once and keep what it tells; tend the store once a minute."""
        try:
            if self._changed.is_set():
                await self._read_rules()
            questions = self.watched.questions
            await asyncio.gather(*(self._visit(node, questions) for node in self._roster))
            self._told = frozenset(question["id"] for question in questions)
            await self._tend()
        except LedgerUnavailable as error:
            _log.error("ledger.unavailable", error=str(error))
        except TrafficUnavailable as error:
            _log.error("traffic.not_kept", error=str(error))
        self.awake.set()

    async def _read_rules(self) -> None:
        self._changed.clear()
        began = time.monotonic()
        try:
            rules = await self._ledger.read(Ledger.watchable, self._settings.watches)
            allowed = Allowed(await self._ledger.read(Ledger.allowing))
        except LedgerUnavailable:
            self._changed.set()
            raise
        self._read_s = time.monotonic() - began
        self.watched = Watched(
            {rule.id: (rule, allowed.scope(rule.subject, rule.trunks, rule.kinds)) for rule in rules}, allowed
        )

    async def _visit(self, node: RosterNode, questions: Sequence[Mapping[str, Any]]) -> None:
        state = self.nodes[node.name]
        try:
            await self._take_counts(node, state, questions)
            if self._clock() - state.sketched_at >= self._settings.sketch_s:
                await self._take_sketches(node, state)
                state.sketched_at = self._clock()
        except (AskError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self._fails(state, str(error) or type(error).__name__)
        except TrafficUnavailable as error:
            self._fails(state, str(error))
        else:
            if state.error is not None:
                _log.info("traffic.node_tells", node=node.name)
            state.error = None

    def _fails(self, state: NodeState, error: str) -> None:
        if state.error != error:
            _log.warning("traffic.node_silent", node=state.name, error=error)
        state.error = error

    async def _take_counts(self, node: RosterNode, state: NodeState, questions: Sequence[Mapping[str, Any]]) -> None:
        after = await self._store.ask(TrafficStore.after, node.name)
        for _ in range(_MOST_ANSWERS):
            question = {"ask": "traffic", "after": after, "watches": questions}
            told = read_told(await ask(node.control, question, self._settings.timeout_s), after)
            self._must_be(node, told)
            await self._store.ask(TrafficStore.take, told)
            self._note(state, told)
            if not told.cut:
                return
            if told.last <= after:
                raise ValueError(f"its answer after minute {after} was cut at minute {told.last}")
            after = told.last
        raise ValueError(f"{_MOST_ANSWERS} answers did not end")

    def _must_be(self, node: RosterNode, told: Told) -> None:
        if told.node != node.name:
            raise ValueError(f"its control socket is that of node {told.node[:64]}")
        if abs(away := told.now_ms - self._clock() * 1000) > CLOCK_MS:
            raise ValueError(
                f"its clock differs by {away / 1000:+.0f} s from ours; the limit is {CLOCK_MS / 1000:.0f} s"
            )

    def _note(self, state: NodeState, told: Told) -> None:
        if told.lost > (state.lost if state.run == told.run else 0):
            self._lost(f"node {state.name} had no room for {told.lost} counts of calls since it began")
        if told.missed:
            self._lost(f"{told.missed} minutes of what node {state.name} counted were asked for too late")
        state.newest_ms, state.run, state.lost = told.now_ms, told.run, told.lost

    async def _take_sketches(self, node: RosterNode, state: NodeState) -> None:
        """The running hour's, and those of the closed hours that are not kept whole yet."""
        running = int(self._clock() * 1000) // MINUTE_MS // HOUR
        first = running - HOURS_BACK if state.hour is None else max(running - HOURS_BACK, state.hour + 1)
        for hour in range(first, running + 1):
            closed = await self._take_hour(node, hour)
            if closed and hour < running:
                state.hour = hour

    async def _take_hour(self, node: RosterNode, hour: int) -> bool:
        cursor: Any = None
        for _ in range(_MOST_ANSWERS):
            question = {"ask": "sketches", "hour": hour, "after": cursor}
            answer = await ask(node.control, question, self._settings.timeout_s)
            rows = [
                (str(trunk), str(key), _bytes(callers), _bytes(callees))
                for trunk, key, callers, callees in answer["sketches"]
            ]
            await self._store.ask(TrafficStore.unite, hour, str(answer["key"]), rows)
            cursor = answer["next"]
            if cursor is None:
                return not answer["open"]
        raise ValueError(f"{_MOST_ANSWERS} answers about one hour did not end")

    async def _tend(self) -> None:
        """Once a minute: roll up what is a day old, remove what is too old."""
        now = int(self._clock() * 1000) // MINUTE_MS
        if now == self._tended:
            return
        await self._store.ask(TrafficStore.roll_up, now - self._settings.minutes_h * HOUR)
        await self._store.ask(TrafficStore.expire, now - self._settings.keep_days * 24 * HOUR)
        self._tended = now

    async def watches(self, rule: str, seconds: float = 1.0) -> bool:
        """Whether the nodes were told to count this rule, waiting so long at most: what a rule stops before that is no
        evidence for the brake.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running and not self._is_told(rule):
                    self.awake.clear()
                    await self.awake.wait()
        return self._is_told(rule)

    def _is_told(self, rule: str) -> bool:
        watched = self.watched.rules.get(rule)
        return watched is not None and watched[1].watch in self._told

    async def news(self, seconds: float) -> None:
        """Wait for the next round, so long at most."""
        self.awake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.awake.wait()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a sketch is not in base64: {error}") from None
