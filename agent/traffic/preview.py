"""The preview: what a rule would have matched in the last hour, day and week, as exactly as it is known and no more.

Pure: points, sketches and stretches of counting in, the API's record out. A cell of which nothing is known is None,
never 0. Where the rule itself was not counted for as long as the nodes counted at all, `at_most` gives the figures of
the four digits that cover it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Literal

from agent.traffic.counts import MINUTE_MS, Counts
from agent.traffic.scope import Kinds, Scope
from agent.traffic.sketch import MakeSketch, bounds, union
from agent.traffic.store import HOUR, Pair, Place, Point

Window = Literal["hour", "day", "week"]

WINDOWS: Final[dict[Window, int]] = {"hour": HOUR, "day": 24 * HOUR, "week": 7 * 24 * HOUR}
"""Minutes of each window."""
STEPS: Final[dict[Window, int]] = {"hour": 1, "day": 10, "week": HOUR}
"""Minutes of one point of a chart."""
_LEAST_MINUTES: Final = 5
_AS_LONG: Final = 0.99
"""Share of the nodes' own time of counting that counts as all of it."""


@dataclass(frozen=True)
class Known:
    """What the store has of one choice of keys since a week before `now` (minute), told by `nodes` nodes."""

    points: Sequence[Point]
    sketches: Mapping[Place, Pair]
    spans: Sequence[tuple[int, int]]
    nodes: int

    def covered(self, first: int, now: int) -> float:
        """The share of the closed minutes from `first` to before `now` that was counted, over all nodes."""
        counted = sum(max(0, min(last, now - 1) - max(start, first) + 1) for start, last in self.spans)
        return min(1.0, counted / (self.nodes * max(1, now - first))) if self.nodes else 0.0

    @cached_property
    def since(self) -> int | None:
        """The first minute that was counted."""
        return min((first for first, _ in self.spans), default=None)


def first_minute(window: Window, now: int) -> int:
    """Where a window begins; a week on the hour, since older minutes are rolled up to hours."""
    first = now - WINDOWS[window]
    return first // HOUR * HOUR if window == "week" else first


def windows(
    scope: Scope, digits: Known, watched: Known, everything: Known, now_ms: int, make: MakeSketch
) -> dict[str, Any]:
    """The windows of a preview: of `digits` where these say it exactly, of the scope's own watch otherwise."""
    return {
        window: _window(scope, digits, watched, everything, first_minute(window, now_ms // MINUTE_MS), now_ms, make)
        for window in WINDOWS
    }


def exactness(scope: Scope, digits: Known, watched: Known) -> str:
    """How much is known, in a word or two."""
    if not digits.spans and not watched.spans:
        return "none yet"
    return "exact" if scope.by_digits or watched.spans else "prefix of 4 digits"


def chart(known: Known, window: Window, now_ms: int) -> dict[str, Any]:
    """The window's points for a line: None in place of each count while nothing was counted."""
    now = now_ms // MINUTE_MS
    step = STEPS[window]
    first = first_minute(window, now) // step * step
    sums: dict[int, Counts] = {}
    for point in known.points:
        if point.minute >= first:
            at = point.minute // step * step
            sums[at] = sums.get(at, Counts()).plus(point.counts)
    columns: dict[str, list[int | None]] = {name: [] for name in Counts._fields}
    times = range(first, now + 1, step)
    for at in times:
        seen = known.covered(at, min(at + step, now + 1)) > 0 or at in sums
        counts = sums.get(at, Counts()) if seen else None
        for name in Counts._fields:
            columns[name].append(getattr(counts, name) if counts else None)
    return {"window": window, "step_s": step * 60, "at": [minute * 60 for minute in times], **columns}


def promised(scope: Scope, digits: Known, watched: Known, now: int) -> int | None:
    """Calls and messages an hour that the rule stops by its preview: the busiest hour of the last day.

    By what was counted of it where that is less than an hour; None where it is less than `_LEAST_MINUTES`.
    """
    first = first_minute("day", now)
    told = better(scope, digits, watched, first, now)
    minutes = told.covered(first, now) * (now - first)
    if minutes < _LEAST_MINUTES:
        return None
    by_minute = [0] * (now - first + 1)
    for point in told.points:
        if point.minute >= first:
            counts = _sum(scope.kinds, [point])
            by_minute[point.minute - first] += counts.calls + counts.messages
    busiest = running = sum(by_minute[:HOUR])
    for leaves, comes in zip(by_minute, by_minute[HOUR:], strict=False):
        running += comes - leaves
        busiest = max(busiest, running)
    return math.ceil(busiest * max(1.0, HOUR / minutes))


def better(scope: Scope, digits: Known, watched: Known, first: int, now: int) -> Known:
    """Which of the two tells the scope's own traffic since `first`: the watch where it has been there long enough."""
    if not scope.by_digits or _as_long(watched, digits, first, now):
        return watched
    return digits


def _window(
    scope: Scope, digits: Known, watched: Known, everything: Known, first: int, now_ms: int, make: MakeSketch
) -> dict[str, Any]:
    now = now_ms // MINUTE_MS
    told = better(scope, digits, watched, first, now)
    record = _figures(told, everything, scope.kinds, first, now_ms, make)
    if told is digits or _as_long(watched, digits, first, now):
        return {**record, "at_most": None}
    most = _figures(digits, everything, scope.kinds, first, now_ms, make)
    return {**record, "at_most": {"of": scope.bound, **most}}


def _as_long(watched: Known, digits: Known, first: int, now: int) -> bool:
    seen = watched.covered(first, now)
    return seen > 0 and seen >= _AS_LONG * digits.covered(first, now)


def _figures(
    known: Known, everything: Known, kinds: Kinds, first: int, now_ms: int, make: MakeSketch
) -> dict[str, Any]:
    """The figures of a window that begins at the minute `first`."""
    now = now_ms // MINUTE_MS
    covered = known.covered(first, now)
    points = [point for point in known.points if point.minute >= first]
    record: dict[str, Any] = {"from": _time(first * MINUTE_MS), "to": _time(now_ms), "covered": round(covered, 4)}
    if not covered and not points:
        return {**record, **dict.fromkeys(_CELLS), "by_trunk": []}
    counted_from = max(first, known.since or first)
    total = _sum(kinds, (point for point in everything.points if point.minute >= counted_from))
    mine = _cells(known, points, kinds, first, None, make)
    trunks = sorted({point.trunk for point in points})
    by_trunk = [{"trunk": trunk, **_cells(known, points, kinds, first, trunk, make)} for trunk in trunks]
    return {
        **record,
        **mine,
        "answered_share": _share(mine["answered"], max(mine["answered"], mine["calls"] - mine["rejected"])),
        "brief_share": _share(mine["brief"], mine["rang"]),
        "traffic_share": max(
            (
                share
                for share in (_share(mine["calls"], total.calls), _share(mine["messages"], total.messages))
                if share is not None
            ),
            default=None,
        ),
        "by_trunk": sorted(by_trunk, key=lambda trunk: -trunk["calls"] - trunk["messages"]),
    }


_CELLS: Final = (
    *("calls", "messages", "callers", "subscribers", "rejected", "shadowed", "rang", "answered", "brief"),
    *("answered_share", "brief_share", "traffic_share"),
)


def _cells(
    known: Known, points: Sequence[Point], kinds: Kinds, first: int, trunk: str | None, make: MakeSketch
) -> dict[str, Any]:
    on = [point for point in points if trunk in (None, point.trunk)]
    counts = _sum(kinds, on)
    return {**counts._asdict(), **_distinct(known, on, first, trunk, make)}


def _distinct(
    known: Known, points: Sequence[Point], first: int, trunk: str | None, make: MakeSketch
) -> dict[str, dict[str, int] | None]:
    """Distinct callers and subscribers reached.

    Sketches are by the hour: the hour in which the window begins is in the upper bound, and in the lower one only where
    nothing came in its part before the window.
    """
    begun = first // HOUR
    whole = begun if first % HOUR == 0 or _silent(known, begun * HOUR, first, trunk) else begun + 1
    on = {place: pair for place, pair in known.sketches.items() if trunk in (None, place.trunk)}
    outer = _by_secret({place: pair for place, pair in on.items() if place.hour >= begun})
    inner = _by_secret({place: pair for place, pair in on.items() if place.hour >= whole})
    most = sum(point.counts.calls + point.counts.messages for point in points)
    if not outer and most:
        return {"callers": None, "subscribers": None}

    def unions(groups: Iterable[Sequence[Pair]], side: str) -> list[Any]:
        return [union((getattr(pair, side) for pair in group), make) for group in groups]

    return {
        name: bounds(unions(inner, side), unions(outer, side), most)
        for name, side in (("callers", "callers"), ("subscribers", "callees"))
    }


def _by_secret(pairs: Mapping[Place, Pair]) -> list[list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for place, pair in pairs.items():
        groups.setdefault(place.secret, []).append(pair)
    return list(groups.values())


def _silent(known: Known, first: int, before: int, trunk: str | None) -> bool:
    """Whether nothing came from `first` to before `before`."""
    return not any(
        first <= point.minute < before
        and trunk in (None, point.trunk)
        and (point.counts.calls or point.counts.messages)
        for point in known.points
    )


def _sum(kinds: Kinds, points: Iterable[Point]) -> Counts:
    whole = Counts(*map(sum, zip(*(point.counts for point in points), strict=True)))
    if kinds == "both":
        return whole
    return whole._replace(messages=0) if kinds == "call" else whole._replace(calls=0)


def _share(part: int, whole: int) -> float | None:
    return round(min(1.0, part / whole), 6) if whole else None


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
