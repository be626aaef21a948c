"""Counts: what a node counted of one key in one minute on one trunk, and how its answer is read.

A key is the first four digits of the caller, `""` where no number could be read, or the id of a watch. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

ALL: Final = "*"
"""The key of everything: the sum over all keys that are no watch."""
MINUTE_MS: Final = 60_000


class Counts(NamedTuple):
    """Judged calls and messages, what was decided, and what became of the forwarded ones."""

    calls: int = 0
    messages: int = 0
    rejected: int = 0
    shadowed: int = 0
    rang: int = 0
    answered: int = 0
    brief: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(*(one + another for one, another in zip(self, other, strict=True)))


class Row(NamedTuple):
    """The counts of one minute (since 1970), trunk and key."""

    minute: int
    trunk: str
    key: str
    counts: Counts


@dataclass(frozen=True)
class Told:
    """What a node told: rows of the closed minutes `first` to `last` (both whole), and of those that are open.

    `run` names the node's counters: another one counts from zero. `watching` says since when each watch counts (Unix
    milliseconds), `lost` how much had no room since the run began, `missed` how many minutes it kept no longer.
    """

    node: str
    run: str
    now_ms: int
    first: int
    last: int
    rows: tuple[Row, ...]
    watching: Mapping[str, int]
    lost: int = 0
    missed: int = 0
    cut: bool = False

    @property
    def minute(self) -> int:
        """The node's running minute."""
        return self.now_ms // MINUTE_MS


def read_told(answer: Mapping[str, Any], after: int) -> Told:
    """A node's answer to `{"ask": "traffic", "after": after}`. Raises ValueError, KeyError, TypeError."""
    columns = tuple(answer["columns"])
    if set(columns) != _COLUMNS:
        raise ValueError(f"columns {', '.join(map(str, columns))[:200]} are not {', '.join(sorted(_COLUMNS))}")
    now_ms, cut = int(answer["now_ms"]), answer["next"] is not None
    last = int(answer["next"] if cut else answer["closed_to"])
    rows = [_row(columns, cells) for cells in (*answer["rows"], *answer["open"])]
    if strange := [row.minute for row in rows if not after < row.minute <= now_ms // MINUTE_MS]:
        raise ValueError(f"minute {strange[0]} is not after {after} and up to now")
    began, kept_from = whole_minute(int(answer["began_ms"])), int(answer["kept_from"])
    return Told(
        node=str(answer["node"]),
        run=str(answer["run"]),
        now_ms=now_ms,
        first=max(after + 1, kept_from, began),
        last=last,
        rows=tuple(rows),
        watching={str(key): int(since) for key, since in answer["watching"].items()},
        lost=sum(map(int, answer["lost"].values())),
        missed=max(0, kept_from - after - 1) if began <= after else 0,
        cut=cut,
    )


def whole_minute(ms: int) -> int:
    """The first minute that begins at or after this moment."""
    return -(-ms // MINUTE_MS)


def with_totals(rows: Iterable[Row]) -> list[Row]:
    """The rows, and for each minute and trunk one of everything."""
    totals: dict[tuple[int, str], Counts] = {}
    kept = list(rows)
    for row in kept:
        if not row.key or row.key.isdigit():
            place = (row.minute, row.trunk)
            totals[place] = totals.get(place, Counts()).plus(row.counts)
    return [*kept, *(Row(minute, trunk, ALL, counts) for (minute, trunk), counts in totals.items())]


_PLACE = ("minute", "trunk", "key")
_COLUMNS = frozenset((*_PLACE, *Counts._fields))


def _row(columns: Sequence[str], cells: Sequence[Any]) -> Row:
    named = dict(zip(columns, cells, strict=True))
    counts = Counts(**{name: int(named[name]) for name in Counts._fields})
    if min(counts) < 0:
        raise ValueError("a count is below 0")
    return Row(int(named["minute"]), str(named["trunk"]), str(named["key"]), counts)
