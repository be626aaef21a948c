"""Previews: the record of what a rule or an idea would match, from the store, the ledger and the collector."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from agent.settings import Settings
from agent.traffic.collector import Collector
from agent.traffic.countries import also_covers
from agent.traffic.counts import MINUTE_MS
from agent.traffic.preview import Window, better, chart, exactness, first_minute, promised, windows
from agent.traffic.reading import Reading, read
from agent.traffic.scope import Kinds
from agent.traffic.sketch import MakeSketch
from agent.traffic.store import TrafficStore
from agent.traffic.thread import TrafficThread
from agent.traffic.width import why_wide
from agent.views import mask, rule_record
from sip_filter.number import Number, parse_subject
from sync.ledger import RuleView


class Previews:
    """Makes previews; see agent/traffic/preview.py for what they say."""

    def __init__(
        self,
        store: TrafficThread,
        collector: Collector,
        settings: Settings,
        make: MakeSketch,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._collector, self._settings = store, collector, settings
        self._make, self._clock = make, clock

    async def of_rule(self, rule: RuleView) -> dict[str, Any]:
        """The preview of a rule as it stands."""
        return await self._record(rule.subject, rule.action, rule.trunks, rule.kinds, ())

    async def of_idea(
        self, subject: str, action: str, trunks: Sequence[str], kinds: Kinds, exceptions: Sequence[str]
    ) -> dict[str, Any]:
        """The preview of a rule that nobody has proposed. Raises ValueError for what is no subject.

        Watches are not looked at where a number is named: nobody is to learn that way which numbers rules are about.
        """
        named = [parse_subject(text) for text in (subject, *exceptions)]
        numbers = any(isinstance(one, Number) for one in named)
        return await self._record(str(named[0]), action, trunks, kinds, exceptions, by_watch=not numbers)

    async def chart(self, rule: RuleView, window: Window) -> dict[str, Any]:
        """The course of a rule's traffic over a window."""
        scope = self._collector.watched.allowed.scope(rule.subject, rule.trunks, rule.kinds)
        now_ms = int(self._clock() * 1000)
        now, nodes = now_ms // MINUTE_MS, list(self._collector.nodes)
        found = await self._store.ask(read, scope, now, nodes, sketches=False)
        told = better(scope, found.digits, found.watched, first_minute(window, now), now)
        return {"rule": rule.id, "data": exactness(scope, found.digits, found.watched), **chart(told, window, now_ms)}

    async def _record(
        self,
        subject: str,
        action: str,
        trunks: Sequence[str],
        kinds: Kinds,
        exceptions: Sequence[str],
        *,
        by_watch: bool = True,
    ) -> dict[str, Any]:
        allowed = self._collector.watched.allowed
        scope = allowed.scope(subject, trunks, kinds, exceptions)
        now_ms = int(self._clock() * 1000)
        now, nodes = now_ms // MINUTE_MS, list(self._collector.nodes)

        def work(store: TrafficStore) -> tuple[Reading, dict[str, Any]]:
            found = read(store, scope, now, nodes, by_watch=by_watch)
            return found, windows(scope, found.digits, found.watched, found.everything, now_ms, self._make)

        found, figures = await self._store.ask(work)  # uniting sketches takes too long for the loop
        told = better(scope, found.digits, found.watched, first_minute("day", now), now)
        record: dict[str, Any] = {
            "subject": mask(scope.subject),
            "action": action,
            "trunks": list(scope.trunks),
            "kinds": scope.kinds,
            "data": exactness(scope, found.digits, found.watched),
            "watched_since": None if told.since is None else _time(told.since * MINUTE_MS),
            "fresh_s": _rounded(self._collector.fresh_s()),
            "nodes": self._nodes(),
            "windows": figures,
            "expected": promised(scope, found.digits, found.watched, now),
            "also_covers": [asdict(covered) for covered in also_covers(scope.subject)],
            "exceptions": [rule_record(rule) for rule in allowed.inside(scope.subject, scope.trunks, scope.kinds)],
        }
        return {**record, "wide": list(why_wide(scope.subject, action, scope.trunks, record, self._settings))}

    def _nodes(self) -> list[dict[str, Any]]:
        now_ms = self._clock() * 1000
        return [
            {
                "node": state.name,
                "fresh_s": None if state.newest_ms is None else _rounded(max(0.0, (now_ms - state.newest_ms) / 1000)),
                "error": state.error,
            }
            for state in self._collector.nodes.values()
        ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
