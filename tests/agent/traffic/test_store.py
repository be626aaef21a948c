"""The store: nothing counts twice, roll-ups lose nothing, what is old goes, and a damaged file is no end."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.traffic.counts import ALL, Counts, Row, Told, read_told
from agent.traffic.scope import Keys
from agent.traffic.sketch import bounds, union
from agent.traffic.store import Broken, Place, TrafficStore
from tests.agent.hyperloglog import Sketch

NOON = 29_600_040  # minutes since 1970, and a whole hour


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrafficStore]:
    opened = TrafficStore(tmp_path / "traffic.sqlite", Sketch)
    yield opened
    opened.close()


def told(
    *rows: Row, node: str = "gw1", run: str = "a", last: int = NOON, first: int | None = None, **watching: int
) -> Told:
    """An answer of closed minutes up to `last`; watches count since a moment within the minute given."""
    start = first if first is not None else min([row.minute for row in rows], default=last)
    since = {key: minute * 60_000 + 1 for key, minute in watching.items()}
    return Told(node, run, (last + 1) * 60_000 + 5_000, start, last, rows, since)


def row(minute: int, key: str, calls: int, trunk: str = "intl-a") -> Row:
    return Row(minute, trunk, key, Counts(calls=calls, rang=calls // 2))


def calls(store: TrafficStore, keys: Keys, since: int = NOON - 20_000, *trunks: str) -> int:
    return sum(point.counts.calls for point in store.points(keys, since, trunks))


def test_the_nodes_are_summed_and_a_repeated_answer_changes_nothing(store: TrafficStore) -> None:
    for _ in range(2):
        store.take(told(row(NOON, "7701", 3), row(NOON, "7702", 4), row(NOON, "", 1)))
        store.take(told(row(NOON, "7701", 10), node="gw2"))
    assert calls(store, Keys((("77", "77:"),))) == 17
    assert calls(store, Keys((("77", "77:"),), (("7702", "7702:"),))) == 13
    assert calls(store, Keys.one(ALL)) == 18
    assert calls(store, Keys.one("")) == 1


def test_the_running_minute_is_replaced_as_it_grows(store: TrafficStore) -> None:
    for count in (1, 5, 9):
        store.take(told(row(NOON + 1, "7701", count), first=NOON, last=NOON))
    assert calls(store, Keys.one("7701")) == 9
    assert store.after("gw1") == NOON


def test_a_node_that_started_anew_in_a_minute_has_both_its_parts(store: TrafficStore) -> None:
    store.take(told(row(NOON, "7701", 3), run="a"))
    store.take(told(row(NOON, "7701", 2), run="b"))
    assert calls(store, Keys.one("7701")) == 5


def test_a_watch_is_no_part_of_everything(store: TrafficStore) -> None:
    store.take(told(row(NOON, "7701", 3), row(NOON, "wabc", 2)))
    assert calls(store, Keys.one(ALL)) == 3
    assert calls(store, Keys.one("wabc")) == 2


def test_trunks_are_apart(store: TrafficStore) -> None:
    store.take(told(row(NOON, "7701", 3), row(NOON, "7701", 4, "intl-b")))
    assert calls(store, Keys.one("7701"), NOON, "intl-b") == 4
    assert [(p.trunk, p.counts.calls) for p in store.points(Keys.one("7701"), NOON)] == [("intl-a", 3), ("intl-b", 4)]


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(NOON - 300, NOON),
            st.sampled_from(["7701", "7702", "w1"]),
            st.sampled_from("ab"),
            st.integers(0, 9),
        ),
        max_size=40,
    ),
    rolls=st.lists(st.integers(NOON - 300, NOON + 60), max_size=4),
)
def test_rolling_up_changes_no_sum(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str, int]], rolls: list[int]
) -> None:
    store = TrafficStore(tmp_path_factory.mktemp("store") / "traffic.sqlite", Sketch)
    told_rows = {(minute, trunk, key): Row(minute, trunk, key, Counts(n)) for minute, key, trunk, n in rows}
    answer = told(*told_rows.values(), first=NOON - 300)
    store.take(answer)
    for roll in rolls:
        store.roll_up(roll)
        store.take(answer)  # a late or repeated answer must not count again what is in its hour already
    for key, trunk in itertools.product(("7701", "7702", "w1"), "ab"):
        expected = sum(r.counts.calls for r in told_rows.values() if (r.key, r.trunk) == (key, trunk))
        assert calls(store, Keys.one(key), 0, trunk) == expected
    spans = {point.span for point in store.points(Keys.one(ALL), 0)}
    assert spans <= {1, 60}
    store.close()


def test_minutes_become_hours_and_go_when_they_are_old(store: TrafficStore) -> None:
    store.take(told(*(row(NOON + offset, "7701", 1) for offset in range(180)), last=NOON + 179))
    store.unite(NOON // 60, "s", [("intl-a", "7701", *_pair("x"))])
    store.roll_up(NOON + 125)
    points = store.points(Keys.one("7701"), NOON)
    assert [(p.minute, p.span, p.counts.calls) for p in points[:3]] == [
        (NOON, 60, 60),
        (NOON + 60, 60, 60),
        (NOON + 120, 1, 1),
    ]
    store.expire(NOON + 60)
    assert calls(store, Keys.one("7701")) == 120
    assert store.sketches(Keys.one("7701"), 0) == {}
    store.expire(NOON + 1_000)
    assert calls(store, Keys.one("7701")) == 0
    assert store.spans(ALL, ["gw1"], 0) == []


def test_what_was_counted_when_is_known_with_its_gaps(store: TrafficStore) -> None:
    store.take(told(last=NOON))
    store.take(told(first=NOON + 1, last=NOON + 3))
    store.take(told(first=NOON + 10, last=NOON + 12, run="b"))
    assert store.spans(ALL, ["gw1"], 0) == [(NOON, NOON + 3), (NOON + 10, NOON + 12)]
    assert store.spans(ALL, ["gw2"], 0) == []


def test_a_watch_counts_whole_minutes_and_anew_where_the_node_began_anew(store: TrafficStore) -> None:
    store.take(told(last=NOON))
    store.take(told(first=NOON + 1, last=NOON + 1, w1=NOON + 1))
    assert store.spans("w1", ["gw1"], 0) == []
    store.take(told(first=NOON + 2, last=NOON + 4, w1=NOON + 1))
    assert store.spans("w1", ["gw1"], 0) == [(NOON + 2, NOON + 4)]
    store.take(told(first=NOON + 5, last=NOON + 12, run="b", w1=NOON + 9))
    assert store.spans("w1", ["gw1"], 0) == [(NOON + 2, NOON + 4), (NOON + 10, NOON + 12)]


def _pair(*items: object) -> tuple[bytes, bytes]:
    return Sketch.over(*items).to_bytes(), Sketch.over(*items, "one more").to_bytes()


def test_sketches_unite_over_nodes_hours_and_keys_and_coming_twice_changes_nothing(store: TrafficStore) -> None:
    hour = NOON // 60
    for _ in range(2):
        store.unite(hour, "s", [("a", "7701", *_pair(1, 2, 3)), ("b", "7701", *_pair(3))])
        store.unite(hour, "s", [("a", "7701", *_pair(3, 4))])
        store.unite(hour + 1, "s", [("a", "7702", *_pair(4, 5))])
    found = store.sketches(Keys((("77", "77:"),)), hour)
    sizes = {place: round(pair.callers.estimate()) for place, pair in found.items()}
    assert sizes == {(hour, "a", "s"): 4, (hour, "b", "s"): 1, (hour + 1, "a", "s"): 2}
    assert round(found[Place(hour, "a", "s")].callees.estimate()) == 5
    assert round(union([pair.callers for pair in found.values()], Sketch).estimate()) == 5
    assert set(store.sketches(Keys((("77", "77:"),)), hour, ["b"])) == {(hour, "b", "s")}
    assert set(store.sketches(Keys.one("7702"), hour + 2)) == set()


def test_bytes_that_are_no_sketch_are_refused_whole(store: TrafficStore) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        store.unite(NOON // 60, "s", [("a", "7701", *_pair(1)), ("a", "7702", b"abcd", b"abcd")])
    assert store.sketches(Keys((("77", "77:"),)), 0) == {}


@pytest.mark.parametrize("spoil", ["no database", "a page", "a later version"])
def test_a_damaged_file_is_moved_aside_and_told(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "traffic.sqlite"
    store = TrafficStore(path, Sketch)
    store.take(told(*(row(NOON, f"{key}", 1) for key in range(1000, 9999))))
    store.close()
    _SPOIL[spoil](path)
    lost: list[str] = []
    store = TrafficStore(path, Sketch, lost.append)
    assert len(lost) == 1 and "begin anew" in lost[0]
    assert path.with_name("traffic.sqlite.broken").exists()
    assert calls(store, Keys.one(ALL)) == 0
    store.take(told(row(NOON, "7701", 1)))
    assert calls(store, Keys.one(ALL)) == 1
    store.close()


def test_a_file_that_is_damaged_while_it_is_used_is_left_too(tmp_path: Path) -> None:
    path = tmp_path / "traffic.sqlite"
    lost: list[str] = []
    store = TrafficStore(path, Sketch, lost.append)
    store.take(told(*(row(NOON, f"{key}", 1) for key in range(1000, 9999))))
    store.close()
    store = TrafficStore(path, Sketch, lost.append)
    assert not lost
    _overwrite(path)
    store._connection.execute("PRAGMA shrink_memory")  # what was read already is not read again
    with pytest.raises(Broken):
        store.points(Keys((("1", "9:"),)), 0)
    assert len(lost) == 1
    assert store.points(Keys((("1", "9:"),)), 0) == []
    store.close()


def test_a_disk_that_refuses_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "traffic.sqlite"
    store = TrafficStore(path, Sketch)
    store.take(told(row(NOON, "7701", 1)))
    other = sqlite3.connect(path)
    store._connection.execute("PRAGMA busy_timeout = 1")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        store.take(told(row(NOON + 1, "7701", 1)))
    other.close()
    assert (calls(store, Keys.one("7701")), store.after("gw1")) == (1, NOON)
    store.close()


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        for page in range(2, size // 4096, 2):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)


def _later(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


_SPOIL: dict[str, Callable[[Path], Any]] = {
    "no database": lambda path: path.write_bytes(b"no database at all" * 1000),
    "a page": _overwrite,
    "a later version": _later,
}

_ANSWER = {
    "node": "gw1",
    "run": "a",
    "now_ms": (NOON + 1) * 60_000 + 7,
    "began_ms": (NOON - 100) * 60_000,
    "kept_from": NOON - 5,
    "closed_to": NOON,
    "watching": {"w1": 5},
    "lost": {"records": 1, "rows": 2},
    "columns": ["minute", "trunk", "key", *Counts._fields],
    "rows": [[NOON, "intl-a", "7701", 1, 2, 3, 4, 5, 6, 7]],
    "open": [[NOON + 1, "intl-a", "7701", 1, 0, 0, 0, 0, 0, 0]],
    "next": None,
}


def test_an_answer_is_read_by_its_columns() -> None:
    read = read_told(_ANSWER, NOON - 100)
    assert (read.first, read.last, read.minute) == (NOON - 5, NOON, NOON + 1)
    assert read.rows[0] == Row(NOON, "intl-a", "7701", Counts(1, 2, 3, 4, 5, 6, 7))
    assert (len(read.rows), read.watching, read.lost) == (2, {"w1": 5}, 3)
    turned = {**_ANSWER, "columns": _ANSWER["columns"][::-1], "rows": [_ANSWER["rows"][0][::-1]], "open": []}  # type: ignore[index]
    assert read_told(turned, NOON - 100).rows == read.rows[:1]


def test_a_cut_answer_ends_where_it_was_cut() -> None:
    read = read_told({**_ANSWER, "next": NOON, "open": []}, NOON - 1)
    assert (read.first, read.last, len(read.rows), read.cut) == (NOON, NOON, 1, True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"columns": ["minute"]}, "columns minute are not"),
        ({"rows": [[NOON, "intl-a", "7701", -1, 2, 3, 4, 5, 6, 7]]}, "below 0"),
        ({"rows": [[NOON + 5, "intl-a", "7701", 1, 2, 3, 4, 5, 6, 7]]}, "up to now"),
        ({"rows": [[NOON - 1_000, "intl-a", "7701", 1, 2, 3, 4, 5, 6, 7]]}, "is not after"),
        ({"rows": [[NOON, "intl-a", "7701"]]}, "shorter"),
    ],
)
def test_an_answer_that_can_not_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_told({**_ANSWER, **change}, NOON - 100)


def test_a_minute_within_which_the_counters_began_is_not_whole() -> None:
    read = read_told({**_ANSWER, "began_ms": (NOON - 3) * 60_000 + 1, "kept_from": NOON - 3}, NOON - 100)
    assert read.first == NOON - 2


def test_sketches_of_different_secrets_stay_apart(store: TrafficStore) -> None:
    hour = NOON // 60
    store.unite(hour, "old", [("a", "7701", *_pair(1, 2, 3))])
    store.unite(hour, "new", [("a", "7701", *_pair(3, 4))])
    found = store.sketches(Keys.one("7701"), hour)
    assert {place.secret: round(pair.callers.estimate()) for place, pair in found.items()} == {"old": 3, "new": 2}
    both = bounds([p.callers for p in found.values()], [p.callers for p in found.values()], 100)
    assert both["low"] <= 3 and both["high"] >= 5, "each may have seen what the other saw, or not"
