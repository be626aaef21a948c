"""The store of traffic: an SQLite file of figures, derived from what the nodes told and not the truth of anything.

Minutes by node, rolled up to hours, removed after some days; sketches by hour. An answer that comes twice changes
nothing: its rows replace themselves, sketches unite. The file is derived: it may lose its last second when the machine
goes down (`synchronous=NORMAL`), and one that is broken is moved aside and begun anew. Used by one thread.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent.traffic.counts import ALL, Counts, Told, whole_minute, with_totals
from agent.traffic.scope import Keys
from agent.traffic.sketch import MakeSketch, union

HOUR: Final = 60
"""Minutes."""
_VERSION: Final = 1
_NAMES: Final = ", ".join(Counts._fields)
_SUMS: Final = ", ".join(f"sum({name})" for name in Counts._fields)
_CELLS: Final = ", ".join(f"{name} INTEGER NOT NULL" for name in Counts._fields)

_SCHEMA: Final = f"""
CREATE TABLE minutes (key TEXT, minute INTEGER, trunk TEXT, node TEXT, run TEXT, {_CELLS},
    PRIMARY KEY (key, minute, trunk, node, run)) WITHOUT ROWID;
CREATE INDEX minutes_by_minute ON minutes (minute);
CREATE TABLE hours (key TEXT, hour INTEGER, trunk TEXT, {_CELLS}, PRIMARY KEY (key, hour, trunk)) WITHOUT ROWID;
CREATE INDEX hours_by_hour ON hours (hour);
CREATE TABLE sketches (key TEXT, hour INTEGER, trunk TEXT, secret TEXT, callers BLOB, callees BLOB,
    PRIMARY KEY (key, hour, trunk, secret)) WITHOUT ROWID;
CREATE INDEX sketches_by_hour ON sketches (hour);
CREATE TABLE spans (node TEXT, key TEXT, first INTEGER, last INTEGER, PRIMARY KEY (node, key, first)) WITHOUT ROWID;
CREATE TABLE rolled (minute INTEGER NOT NULL);
INSERT INTO rolled VALUES (0);
PRAGMA user_version = {_VERSION};
"""


class Point(NamedTuple):
    """The counts of `span` minutes from `minute` on, on one trunk."""

    minute: int
    span: int
    trunk: str
    counts: Counts


class Place(NamedTuple):
    """What a pair of sketches is of."""

    hour: int
    trunk: str
    secret: str


@dataclass(frozen=True)
class Pair:
    """The distinct callers and callees of some hours."""

    callers: Any
    callees: Any


class Broken(Exception):
    """The file is no store of traffic, or damaged."""


class TrafficStore:
    """The figures. Raises sqlite3.OperationalError when the disk refuses, and Broken once where the file was damaged:
    nothing of that call is then kept.
    """

    def __init__(self, path: Path, sketch: MakeSketch, lost: Callable[[str], object] = lambda why: None) -> None:
        """`lost` is told why a file was given up."""
        self._path, self._sketch, self._lost = path, sketch, lost
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError:
            raise
        except (Broken, sqlite3.DatabaseError) as error:
            self._begin_anew(str(error))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- what the nodes tell

    def take(self, told: Told) -> None:
        """Keep an answer."""
        with self._change() as connection:
            (rolled,) = connection.execute("SELECT minute FROM rolled").fetchone()
            connection.executemany(
                f"INSERT OR REPLACE INTO minutes VALUES ({'?, ' * 5}{_marks(len(Counts._fields))})",
                (
                    (row.key, row.minute, row.trunk, told.node, told.run, *row.counts)
                    for row in with_totals(told.rows)
                    if row.minute >= rolled  # what is older is in its hour already
                ),
            )
            _extend(connection, told.node, ALL, told.first, told.last)
            for key, since in told.watching.items():
                _extend(connection, told.node, key, max(told.first, whole_minute(since)), told.last)

    def unite(self, hour: int, secret: str, sketches: Iterable[tuple[str, str, bytes, bytes]]) -> None:
        """Keep (trunk, key, callers, callees) of an hour (since 1970), united with what is there.

        `secret` names the key that numbers were hashed by: sketches of different ones stay apart. Raises ValueError for
        bytes that are no sketch.
        """
        with self._change() as connection:
            for trunk, key, *new in sketches:
                place = (key, hour, trunk, secret)
                found = connection.execute(
                    "SELECT callers, callees FROM sketches WHERE key = ? AND hour = ? AND trunk = ? AND secret = ?",
                    place,
                ).fetchone()
                kept = [self._together(*pair) for pair in zip(found or (None, None), new, strict=True)]
                connection.execute("INSERT OR REPLACE INTO sketches VALUES (?, ?, ?, ?, ?, ?)", (*place, *kept))

    def after(self, node: str) -> int:
        """The minute up to which a node's answers are kept."""
        return int(self._one("SELECT coalesce(max(last), 0) FROM spans WHERE node = ? AND key = ?", node, ALL))

    # --- what becomes of it

    def roll_up(self, before: int) -> None:
        """Make hours of the whole hours' minutes before this minute."""
        limit = before // HOUR * HOUR
        with self._change() as connection:
            connection.execute(
                f"INSERT INTO hours SELECT key, minute / {HOUR}, trunk, {_SUMS} FROM minutes WHERE minute < ? "
                f"GROUP BY key, minute / {HOUR}, trunk ON CONFLICT DO UPDATE SET "
                + ", ".join(f"{name} = {name} + excluded.{name}" for name in Counts._fields),
                (limit,),
            )
            connection.execute("DELETE FROM minutes WHERE minute < ?", (limit,))
            connection.execute("UPDATE rolled SET minute = max(minute, ?)", (limit,))

    def expire(self, before: int) -> None:
        """Remove what lies wholly before this minute."""
        hour = before // HOUR
        with self._change() as connection:
            connection.execute("DELETE FROM minutes WHERE minute < ?", (before,))
            connection.execute("DELETE FROM hours WHERE hour < ?", (hour,))
            connection.execute("DELETE FROM sketches WHERE hour < ?", (hour,))
            connection.execute("DELETE FROM spans WHERE last < ?", (before,))

    # --- what is asked

    def points(self, keys: Keys, since: int, trunks: Sequence[str] = ()) -> list[Point]:
        """The counts from the minute `since` on, in order: by minute, and by hour where they are rolled up."""
        chosen, values = _where(keys, trunks)
        found: list[Point] = []
        for table, column, span in (("hours", "hour", HOUR), ("minutes", "minute", 1)):
            rows = self._all(
                f"SELECT {column}, trunk, {_SUMS} FROM {table} WHERE {chosen} AND {column} >= ?"
                " GROUP BY 1, 2 ORDER BY 1",
                *values,
                since // span,
            )
            found += [Point(at * span, span, trunk, Counts(*counts)) for at, trunk, *counts in rows]
        return found

    def sketches(self, keys: Keys, since: int, trunks: Sequence[str] = ()) -> dict[Place, Pair]:
        """The distinct ones from the hour `since` on, by hour, trunk and secret."""
        chosen, values = _where(keys, trunks)
        found: dict[Place, tuple[list[Any], list[Any]]] = {}
        for hour, trunk, secret, callers, callees in self._all(
            f"SELECT hour, trunk, secret, callers, callees FROM sketches WHERE {chosen} AND hour >= ?", *values, since
        ):
            several = found.setdefault(Place(hour, trunk, secret), ([], []))
            several[0].append(self._sketch(callers))
            several[1].append(self._sketch(callees))
        return {
            place: Pair(union(callers, self._sketch), union(callees, self._sketch))
            for place, (callers, callees) in found.items()
        }

    def spans(self, key: str, nodes: Sequence[str], since: int) -> list[tuple[int, int]]:
        """The minutes, first and last, in which each of these nodes counted a key, from `since` on; one for each node
        and stretch.
        """
        rows = self._all(
            f"SELECT first, last FROM spans WHERE key = ? AND last >= ? AND node IN ({_marks(len(nodes))}) ORDER BY 1",
            *(key, since, *nodes),
        )
        return [(first, last) for first, last in rows]

    def _together(self, kept: bytes | None, new: bytes) -> bytes:
        if kept is None or kept == new:
            return bytes(self._sketch(new).to_bytes())
        return bytes(union((self._sketch(kept), self._sketch(new)), self._sketch).to_bytes())

    def _one(self, query: str, *values: Any) -> Any:
        return self._all(query, *values)[0][0]

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._unbroken():
            return self._connection.execute(query, values).fetchall()
        return []

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._unbroken():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _unbroken(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError:
            raise  # a full disk, a lock: the file is whole, and the next question may succeed
        except sqlite3.DatabaseError as error:
            self._connection.close()
            self._begin_anew(str(error))
            raise Broken(f"{self._path} was damaged and is begun anew") from error

    def _begin_anew(self, why: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.broken")
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(aside)
        for end in ("-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{end}").unlink(missing_ok=True)
        self._connection = _open(self._path)
        self._lost(f"the counts of calls in {self._path.name} were damaged ({why}); they begin anew")


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != _VERSION:
            raise Broken(f"its version is {version}, ours is {_VERSION}")
        elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise Broken(found)
    except BaseException:
        connection.close()
        raise
    return connection


def _extend(connection: sqlite3.Connection, node: str, key: str, first: int, last: int) -> None:
    """Note that a node counted a key from `first` to `last`: a longer stretch, or a new one after a gap."""
    if last < first:
        return
    done = connection.execute(
        "UPDATE spans SET last = max(last, ?) WHERE node = ? AND key = ? AND first <= ? AND last >= ?",
        (last, node, key, first, first - 1),
    )
    if not done.rowcount:
        connection.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?)", (node, key, first, last))


def _where(keys: Keys, trunks: Sequence[str]) -> tuple[str, list[Any]]:
    """Which rows: the ranges less the others, on these trunks."""
    one = "(key >= ? AND key < ?)"
    chosen = f"({' OR '.join([one] * len(keys.ranges))})"
    if keys.without:
        chosen += f" AND NOT ({' OR '.join([one] * len(keys.without))})"
    if trunks:
        chosen += f" AND trunk IN ({_marks(len(trunks))})"
    return chosen, [*(end for ends in (*keys.ranges, *keys.without) for end in ends), *trunks]


def _marks(count: int) -> str:
    return ", ".join("?" * count)
