"""Alarms: what a person has to know now, each kind a row of one table with its runbook.

`raise_` never waits and never fails, from whichever thread: the log line, the counter and the wall have the alarm at
once; `run` puts it into the journal, again and again while the ledger can't be written. The same kind about the same
thing is quiet for a while after it was raised, so that a condition that lasts is not a flood.
"""

import asyncio
import contextlib
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import structlog

from agent.ledger_thread import LedgerThread
from agent.views import mask_digits
from sip_filter.tasks import heed_cancel
from sync.ledger import AlarmRecord, Ledger, LedgerUnavailable

_log = structlog.get_logger("palang.alarms")

RAISED: Final = "alarm."
"""Before the kind, in the journal."""
ACKNOWLEDGED: Final = "alarm_acknowledged"
KEPT: Final = 500
"""Alarms that stay in memory; the journal has them all."""
OPEN_HOURS: Final = 24
"""An alarm that nobody acknowledged stays on the wall so long."""

_LETTERS = "bcdfghjkmnpqrstvwxz"  # no digits: an id must never look like a number
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class AlarmKind:
    """One row: `page` wakes a person, `warn` can wait for the morning; `quiet_s` is in seconds."""

    name: str
    severity: Literal["page", "warn"]
    sentence: str
    quiet_s: int

    @property
    def runbook(self) -> str:
        """The page that says what to do, by its path in the repository."""
        return f"docs/runbooks/{self.name.replace('_', '-')}.md"


_HOUR: Final = 3600

KINDS: Final[dict[str, AlarmKind]] = {
    kind.name: kind
    for kind in (
        AlarmKind("brake", "page", "A rule stopped far more than its preview promised and was put into shadow.", 0),
        AlarmKind("rule_expires", "warn", "An enforced rule is near its end.", 0),
        AlarmKind("rule_lapsed", "page", "A wide rule was not countersigned in time and fell back to shadow.", 0),
        AlarmKind("reveal_unusual", "page", "Numbers were revealed in a way that this person does not usually.", 900),
        AlarmKind("reveal_honey", "page", "A number was revealed that exists only to be found by a thief.", 0),
        AlarmKind("look_up_bulk", "page", "One person looked up more numbers than a person has reason to.", 900),
        AlarmKind("sign_in_attacks", "page", "Sign-ins fail as they do when somebody guesses.", 900),
        AlarmKind("clearance_overdue", "page", "A number that may be blocked wrongly waits past its deadline.", _HOUR),
        AlarmKind("order_overdue", "page", "An order is past its deadline and is not in force.", _HOUR),
        AlarmKind("list_differs", "page", "A node enforces another list than the ledger's.", 900),
        AlarmKind(
            "checkpoint_not_sent", "warn", "The journal's checkpoint did not reach a place off this machine.", _HOUR
        ),
        AlarmKind("traffic_lost", "warn", "Counts of calls were lost: previews and the brake see less.", 900),
    )
}
"""Every kind of alarm. The API, the metrics, the runbooks and the tests read this table."""


@dataclass(frozen=True)
class Alarm:
    """One alarm. `about` is what it is about (r17, an order's id, a person's name); `at` is aware UTC."""

    id: str
    kind: str
    text: str
    about: str | None
    at: datetime
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None

    def open(self, now: datetime) -> bool:
        """Whether it still asks for somebody."""
        return self.acknowledged_by is None and now - self.at < timedelta(hours=OPEN_HOURS)

    def record(self, now: datetime) -> dict[str, Any]:
        """As the API shows it."""
        kind = KINDS[self.kind]
        times = {name: _text(value) for name, value in asdict(self).items() if isinstance(value, datetime)}
        more = {"severity": kind.severity, "sentence": kind.sentence, "runbook": kind.runbook}
        return {**asdict(self), **times, **more, "open": self.open(now)}


class Alarms:
    """The alarms of one agent. `run` is a task for as long as the agent lives."""

    def __init__(self, ledger: LedgerThread, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._ledger, self._clock = ledger, clock
        self._lock = threading.Lock()
        self._known: dict[str, Alarm] = {}
        self._unwritten: deque[Alarm] = deque()
        self._raised: Counter[str] = Counter()
        self._watchers: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awake = asyncio.Event()
        self._written = asyncio.Event()

    @property
    def raised(self) -> dict[str, int]:
        """How many of each kind since the agent's start, kinds without any among them."""
        with self._lock:
            return {name: self._raised[name] for name in KINDS}

    def watch(self, wake: Callable[[], None]) -> None:
        """Have `wake` called on the loop after an alarm was raised or acknowledged."""
        self._watchers.append(wake)

    def raise_(self, kind: str, text: str, about: str | None = None) -> Alarm:
        """Raise an alarm; the answer is the earlier one while that kind about that thing is quiet.

        `text` is one line for people, and numbers in it are masked; `about` is the thing's id, never a number. Raises
        KeyError for a kind that has no row.
        """
        row, now = KINDS[kind], self._clock()
        with self._lock:
            if earlier := self._quiet(row, about, now):
                return earlier
            alarm = Alarm(_new_id(), kind, " ".join(mask_digits(text).split()), about, now)
            self._keep(alarm)
            self._raised[kind] += 1
            self._unwritten.append(alarm)
        say = _log.error if row.severity == "page" else _log.warning
        say("alarm", kind=kind, severity=row.severity, text=alarm.text, about=about, id=alarm.id, runbook=row.runbook)
        self._tell()
        return alarm

    def lately(self, now: datetime, limit: int = 100) -> list[Alarm]:
        """The newest alarms, those that are open before those that are not."""
        with self._lock:
            newest = sorted(self._known.values(), key=lambda alarm: alarm.at, reverse=True)
        return sorted(newest, key=lambda alarm: not alarm.open(now))[:limit]

    async def acknowledge(self, alarm_id: str, actor: str, reason: str) -> Alarm:
        """Note who looks after it: the journal first. Raises KeyError for an id that is not known, LedgerUnavailable.

        A second time changes nothing.
        """
        with self._lock:
            alarm = self._known[alarm_id]
        if alarm.acknowledged_by is not None:
            return alarm
        now = self._clock()
        body = {"alarm": alarm_id, "kind": alarm.kind, "reason": mask_digits(reason)}
        await self._ledger.change(Ledger.record, ACKNOWLEDGED, actor, alarm.about, body, now)
        alarm = replace(alarm, acknowledged_by=actor, acknowledged_at=now)
        with self._lock:
            self._known[alarm_id] = alarm
        self._tell()
        return alarm

    async def run(self) -> None:
        """Remember what the journal has, then put what is raised into it. Returns only when cancelled."""
        self._loop = asyncio.get_running_loop()
        remembered = False
        while True:
            heed_cancel()
            try:
                if not remembered:
                    since = self._clock() - timedelta(hours=OPEN_HOURS)
                    self._remember(await self._ledger.read(Ledger.alarms_since, since))
                    remembered = True
                await self._write()
            except LedgerUnavailable as error:
                _log.error("alarms.not_written", error=str(error), waiting=len(self._unwritten))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._awake.clear()
            if not self._unwritten:
                self._written.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_SECONDS):
                        await self._awake.wait()

    async def written(self) -> None:
        """Wait until the journal has everything that was raised before."""
        self._written.clear()
        self._awake.set()
        await self._written.wait()

    async def _write(self) -> None:
        while self._unwritten:
            alarm = self._unwritten[0]
            body = {"alarm": alarm.id, "severity": KINDS[alarm.kind].severity, "text": alarm.text}
            await self._ledger.change(Ledger.record, RAISED + alarm.kind, "palang", alarm.about, body, alarm.at)
            self._unwritten.popleft()

    def _remember(self, records: Iterable[AlarmRecord]) -> None:
        """Take over what an earlier run of the agent raised; each acknowledgement stands behind its alarm."""
        with self._lock:
            for record in records:
                named = str(record.body.get("alarm"))
                if record.kind == ACKNOWLEDGED and named in self._known:
                    self._known[named] = replace(
                        self._known[named], acknowledged_by=record.actor, acknowledged_at=record.at
                    )
                elif (kind := record.kind.removeprefix(RAISED)) in KINDS and named not in self._known:
                    self._keep(Alarm(named, kind, str(record.body.get("text")), record.about, record.at))
        self._tell()

    def _quiet(self, row: AlarmKind, about: str | None, now: datetime) -> Alarm | None:
        since = now - timedelta(seconds=row.quiet_s)
        known = reversed(self._known.values())
        return next((a for a in known if a.kind == row.name and a.about == about and a.at > since), None)

    def _keep(self, alarm: Alarm) -> None:
        self._known[alarm.id] = alarm
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]

    def _tell(self) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._awake.set)
        for wake in self._watchers:
            self._loop.call_soon_threadsafe(wake)


def _new_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
