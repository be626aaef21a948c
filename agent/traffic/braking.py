"""Braking: after each round of the collector every enforced rule is judged, and one that stops too much is put into
shadow, in the ledger, with an alarm that wakes somebody. Orders are never touched.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from agent.ledger_thread import LedgerThread
from agent.settings import Settings
from agent.traffic.brake import counted_from, may_brake, why_brake
from agent.traffic.collector import Collector
from agent.traffic.counts import ALL, MINUTE_MS
from agent.traffic.scope import Keys, Scope
from agent.traffic.store import HOUR, Point, TrafficStore
from agent.traffic.thread import TrafficThread, TrafficUnavailable
from sync.ledger import Ledger, LedgerError, LedgerUnavailable, RuleView

_LONGEST_WAIT = 5.0
_MOST_STEPS = 50
_log = structlog.get_logger("palang.brake")


class Brake:
    """Brakes rules. `run` is a task for as long as the agent lives."""

    def __init__(
        self,
        ledger: LedgerThread,
        store: TrafficThread,
        collector: Collector,
        settings: Settings,
        alarm: Callable[[str, str], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`alarm` is told what and about which rule."""
        self._ledger, self._store, self._collector = ledger, store, collector
        self._settings, self._alarm, self._clock = settings.brake, alarm, clock
        self._since: dict[str, tuple[int, int]] = {}

    async def run(self) -> None:
        """Judge for ever. Returns only when cancelled."""
        while True:
            await self._collector.news(_LONGEST_WAIT)
            try:
                await self.round()
            except LedgerUnavailable as error:
                _log.error("ledger.unavailable", error=str(error))
            except TrafficUnavailable as error:
                _log.error("brake.blind", error=str(error))

    async def round(self) -> None:
        """Judge each enforced rule once."""
        enforced = {name: watched for name, watched in self._collector.watched.rules.items() if may_brake(watched[0])}
        self._since = {name: since for name, since in self._since.items() if name in enforced}
        if not enforced:
            return
        now = int(self._clock() * 1000) // MINUTE_MS
        everything = await self._points(Keys.one(ALL), now)
        for rule, scope in enforced.values():
            await self._judge(rule, scope, everything, now)

    async def _judge(self, rule: RuleView, scope: Scope, everything: list[Point], now: int) -> None:
        stopped = await self._points(scope.watched, now)
        if sum(point.counts.rejected for point in stopped) <= self._settings.floor:
            return
        since = await self._counted_from(rule)
        why = why_brake(rule.expected, stopped, everything, since, now, self._settings)
        if why is None:
            return
        try:
            await self._ledger.change(Ledger.brake, rule.id, why, datetime.fromtimestamp(self._clock(), UTC))
        except LedgerError as error:
            _log.info("brake.too_late", rule=rule.id, error=str(error))  # a person was quicker
        else:
            self._alarm(f"rule {rule.id} is in shadow: {why}", rule.id)

    async def _counted_from(self, rule: RuleView) -> int:
        known = self._since.get(rule.id)
        if known is None or known[0] != rule.version:
            steps = await self._ledger.read(Ledger.transitions, rule.id, limit=_MOST_STEPS)
            made = int(rule.created_at.timestamp()) // 60
            known = self._since[rule.id] = (rule.version, counted_from(steps, made))
        return known[1]

    async def _points(self, keys: Keys, now: int) -> list[Point]:
        return await self._store.ask(TrafficStore.points, keys, now - HOUR)
