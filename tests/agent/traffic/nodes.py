"""A node that is no gateway: it answers `traffic` and `sketches` by the seam, from calls that a test gives it."""

import base64
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.traffic.counts import Counts
from agent.traffic.scope import Scope
from sip_filter.control import AskError, Control
from tests.agent.hyperloglog import Sketch
from tests.agent.traffic.days import Call, matches


class FakeNode:
    """Serves a control socket. The test appends to `calls` and moves `now_ms`."""

    def __init__(self, path: Path, name: str, now_ms: int) -> None:
        self.name, self.path, self.now_ms = name, path, now_ms
        self.calls: list[Call] = []
        self.asked: list[Mapping[str, Any]] = []
        self.watching: dict[str, tuple[Scope, int]] = {}
        self.run, self.began_ms, self.kept_minutes, self.lost = "first", now_ms, 95, 0
        self.most_minutes = 1_000
        self.error: str | None = None
        self.changes: dict[str, Any] = {}
        self._control = Control(path, {"traffic": self._traffic, "sketches": self._sketches})

    async def start(self) -> None:
        await self._control.start()

    async def close(self) -> None:
        await self._control.close()

    def restart(self) -> None:
        """All counts are gone."""
        self.calls, self.watching, self.run, self.began_ms = [], {}, f"{self.run}+", self.now_ms

    async def _traffic(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(request)
        if self.error:
            raise AskError("failed", self.error)
        for watch in request["watches"]:
            scope = Scope.of(watch["subject"], watch["except"], watch["trunks"], watch["kinds"])
            self.watching.setdefault(watch["id"], (scope, self.now_ms))
        wanted = {watch["id"] for watch in request["watches"]}
        self.watching = {key: kept for key, kept in self.watching.items() if key in wanted}
        minute = self.now_ms // 60_000
        kept_from = max(self.began_ms // 60_000, minute - self.kept_minutes)
        first = max(request["after"] + 1, kept_from)
        closed = minute - 1
        cut = first + self.most_minutes - 1 < closed
        last = first + self.most_minutes - 1 if cut else closed
        rows: dict[tuple[int, str, str], Counts] = defaultdict(Counts)
        for call in self.calls:
            for key in self._keys(call):
                rows[call.minute, call.trunk, key] = rows[call.minute, call.trunk, key].plus(call.counts)
        told = [[*place, *counts] for place, counts in rows.items()]
        return {
            "node": self.name,
            "now_ms": self.now_ms,
            "run": self.run,
            "began_ms": self.began_ms,
            "kept_from": kept_from,
            "closed_to": closed,
            "columns": ["minute", "trunk", "key", *Counts._fields],
            "rows": [row for row in told if first <= row[0] <= last],
            "open": [] if cut else [row for row in told if row[0] > closed],
            "next": last if cut else None,
            "watching": {key: since for key, (_, since) in self.watching.items()},
            "lost": {"records": self.lost},
            **self.changes,
        }

    async def _sketches(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        pairs: dict[tuple[str, str], tuple[Sketch, Sketch]] = {}
        for call in self.calls:
            if call.minute // 60 == request["hour"]:
                for key in self._keys(call):
                    pair = pairs.setdefault((call.trunk, key), (Sketch(), Sketch()))
                    pair[0].add(call.caller)
                    pair[1].add(call.callee)
        rows = [[*place, *(base64.b64encode(s.to_bytes()).decode() for s in pair)] for place, pair in pairs.items()]
        after = request["after"] or 0
        is_open = request["hour"] == self.now_ms // 3_600_000
        following = after + 2 if after + 2 < len(rows) else None
        told = {"node": self.name, "hour": request["hour"], "open": is_open, "key": "k"}
        return {**told, "sketches": rows[after : after + 2], "next": following}

    def _keys(self, call: Call) -> list[str]:
        watched = [
            key
            for key, (scope, since) in self.watching.items()
            if matches(scope, call) and call.minute * 60_000 + 59_999 >= since
        ]
        return [call.caller[:4], *watched]
