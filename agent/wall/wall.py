"""The sampler: one task looks at everything, each second while somebody watches, and all who watch get the same record.

What looking costs does not depend on how many look. The ledger is asked only after it has changed, and then at most
every two seconds: counting a million orders each second for a screen would hold up the orders.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.wall import board
from agent.wall.board import Record
from agent.wall.rates import Course
from sync.ledger import Ledger, LedgerStatus, LedgerUnavailable

if TYPE_CHECKING:
    from agent.wiring import Parts

WATCHED_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 5.0
_LEDGER_SECONDS: Final = 2.0
_LEDGER_LONGEST: Final = 15.0
"""Deadlines pass by themselves: an unchanged ledger is asked again after so long."""

Report = Callable[["Parts", datetime, LedgerStatus | None], Awaitable[Record]]
"""How the status record is made."""

_log = structlog.get_logger("palang.wall")


@dataclass(frozen=True)
class Look:
    """One sample: its number, the record, and the course of calls up to it."""

    n: int
    record: Record
    point: Record
    course: Course = field(repr=False)

    @cached_property
    def json(self) -> bytes:
        """The record, written once for all who follow."""
        return json.dumps({**self.record, "point": self.point}, separators=(",", ":")).encode()

    def whole(self) -> Record:
        """The record with the whole course of calls."""
        return {**self.record, "course": self.course.points()}


class Wall:
    """What everyone sees. `run` is a task for as long as the agent lives."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._next = asyncio.Event()
        self._hurry = asyncio.Event()
        self._watching = 0
        self._closed = False
        self._course = Course()
        self._acts: deque[Record] = deque(maxlen=board.LATEST)
        self._acts_to = 0
        self._ledger: LedgerStatus | None = None
        self._ledger_at = 0.0
        self._changed = True
        self._requests: list[Any] = []
        self._clearances: list[Any] = []
        self._parts: dict[str, Record] = {}
        self._nodes: dict[str, Record] = {}

    @property
    def watching(self) -> int:
        """How many follow now."""
        return self._watching

    def touch(self) -> None:
        """The ledger may have changed."""
        self._changed = True

    def close(self) -> None:
        """End every following, so that the agent can stop."""
        self._closed = True
        self._next.set()

    async def run(self, parts: "Parts", report: Report) -> None:
        """Look, again and again. Returns only when cancelled or closed."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            began = loop.time()
            try:
                await self._sample(parts, report, datetime.now(UTC))
            except Exception as error:  # noqa: BLE001  a screen must never end the agent; the wall's age shows it
                _log.error("wall.failed", error=type(error).__name__)
            rest = (WATCHED_SECONDS if self._watching else IDLE_SECONDS) - (loop.time() - began)
            self._hurry.clear()
            try:
                await asyncio.wait_for(self._hurry.wait(), max(0.05, rest))
            except TimeoutError:
                continue

    async def newest(self) -> Look:
        """The last look, or the first one when there was none yet."""
        while self._look is None:
            await self._next.wait()
        return self._look

    async def follow(self) -> AsyncIterator[Look]:
        """Each look from now on, the newest at once. One who is slow misses some, and never holds up others."""
        self._watching += 1
        self._hurry.set()
        try:
            look = await self.newest()
            while not self._closed:
                yield look
                while self._look is look and not self._closed:
                    await self._next.wait()
                look = await self.newest()
        finally:
            self._watching -= 1

    async def _sample(self, parts: "Parts", report: Report, now: datetime) -> None:
        at = board.text(now)
        await self._ask_ledger(parts, now)
        status = await report(parts, now, self._ledger)
        said = {node["node"]: node for node in status["nodes"]}
        head, digest = status["ledger"]["revision"], status["ledger"]["digest"]
        self._nodes = {n: board.node(node, head, digest, at, self._nodes.get(n)) for n, node in said.items()}
        self._course.look(now.timestamp(), {n: node["trunk_counters"] for n, node in said.items() if node["answers"]})
        status["nodes"] = list(self._nodes.values())
        self._parts |= board.from_status(status, at)
        modes = {trunk: mode for node in self._nodes.values() for trunk, mode in node["trunks"].items()}
        due = self._parts.get("orders", {}).get("deadlines") or []
        alarms = parts.alarms.lately(now, board.LATEST)
        record: Record = {
            "at": at,
            "health": status["health"],
            "because": status["because"],
            "ledger_error": status["ledger"]["error"],
            "calls": board.calls(self._course, status["nodes"], modes, at),
            **self._parts,
            "deadlines": {"at": at, "items": board.deadlines(due, self._requests, self._clearances)},
            "changes": {"at": at, "items": list(self._acts)},
            "alarms": {"at": at, "items": [alarm.record(now) for alarm in alarms if alarm.open(now)]},
        }
        point = {"at": round(now.timestamp(), 1), **(record["calls"]["total"] or {})}
        self._look = Look(self._look.n + 1 if self._look else 1, record, point, self._course)
        self._next.set()
        self._next = asyncio.Event()

    async def _ask_ledger(self, parts: "Parts", now: datetime) -> None:
        passed = now.timestamp() - self._ledger_at
        if not (self._changed and passed >= _LEDGER_SECONDS) and passed < _LEDGER_LONGEST and self._ledger:
            return
        self._changed = False
        try:
            self._ledger = await parts.ledger.read(Ledger.status, now)
            acts, self._acts_to = await parts.ledger.read(Ledger.lately, self._acts_to, board.LATEST)
            self._acts.extendleft(board.act(act) for act in reversed(acts))
            self._requests = await parts.ledger.read(Ledger.requests, "open", None, None, board.LATEST)
            self._clearances = await parts.ledger.read(Ledger.clearances, waiting=True, limit=board.LATEST)
            self._ledger_at = now.timestamp()
        except LedgerUnavailable as error:
            self._ledger, self._changed = None, True
            _log.error("wall.ledger", error=str(error))
