"""The preview against naive counting of the same calls, and what it must not say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.traffic.preview import WINDOWS, Known, chart, exactness, first_minute
from agent.traffic.reading import read
from agent.traffic.scope import Scope
from agent.traffic.store import TrafficStore
from tests.agent.hyperloglog import Sketch
from tests.agent.traffic.days import NOON, Call, matches, previewed, some_calls, tell

NOW = NOON + 17
WEEK = 7 * 24 * 60
CALLS = some_calls(1, 6_000, NOW - WEEK - 60, NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrafficStore]:
    opened = TrafficStore(tmp_path / "traffic.sqlite", Sketch)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrafficStore]:
    """A week and an hour of calls; the older days are hours already."""
    opened = TrafficStore(tmp_path_factory.mktemp("full") / "traffic.sqlite", Sketch)
    tell(opened, CALLS, [], NOW - WEEK - 60, NOW - 1)
    opened.roll_up(NOW - 24 * 60)
    yield opened
    opened.close()


SCOPES = [
    Scope.of("+77*"),
    Scope.of("+77*", ["+7702*"]),
    Scope.of("+78*", trunks=["intl-b"]),
    Scope.of("+62*"),
]


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: f"{scope.subject}-{'-'.join(scope.trunks)}")
@pytest.mark.parametrize("window", WINDOWS)
def test_counts_are_exact_and_distinct_ones_lie_within_their_bounds(
    full: TrafficStore, scope: Scope, window: Any
) -> None:
    figures = previewed(full, scope, NOW)[window]
    first = first_minute(window, NOW)
    mine = [call for call in CALLS if call.minute >= first and matches(scope, call)]
    everything = [call for call in CALLS if call.minute >= first]
    assert mine
    assert figures["calls"] == sum(not call.message for call in mine)
    assert figures["messages"] == sum(call.message for call in mine)
    for name in ("rejected", "rang", "answered", "brief"):
        assert figures[name] == sum(getattr(call, name) for call in mine)
    for name, side in (("callers", "caller"), ("subscribers", "callee")):
        truth = len({getattr(call, side) for call in mine})
        assert figures[name]["low"] <= truth <= figures[name]["high"]
        begun = first // 60 * 60
        outer = len({getattr(call, side) for call in CALLS if call.minute >= begun and matches(scope, call)})
        assert figures[name]["estimate"] == pytest.approx(min(outer, len(mine)), rel=0.05, abs=1)
    calls, messages = (sum(call.message is kind for call in everything) for kind in (False, True))
    share = max(figures["calls"] / calls, figures["messages"] / messages)
    assert figures["traffic_share"] == pytest.approx(share, abs=1e-6)
    assert figures["brief_share"] == pytest.approx(figures["brief"] / figures["rang"], abs=1e-6)
    assert figures["covered"] == 1.0 and figures["at_most"] is None
    assert sum(trunk["calls"] for trunk in figures["by_trunk"]) == figures["calls"]
    for trunk in figures["by_trunk"]:
        on = [call for call in mine if call.trunk == trunk["trunk"]]
        assert trunk["calls"] == sum(not call.message for call in on)
        assert trunk["callers"]["low"] <= len({call.caller for call in on}) <= trunk["callers"]["high"]


def test_a_longer_prefix_is_exact_from_the_moment_that_it_is_watched(store: TrafficStore) -> None:
    scope = Scope.of("+77010*", ["+7701000*"])
    half = NOW - 12 * 60
    tell(store, CALLS, [], NOW - WEEK - 60, half - 1)
    tell(store, CALLS, [scope], half, NOW - 1, watches_since=half * 60_000 + 1)
    found = previewed(store, scope, NOW)
    since = half + 1
    hour, day, week = (found[window] for window in WINDOWS)
    of_hour = [c for c in CALLS if c.minute >= first_minute("hour", NOW) and matches(scope, c)]
    assert hour["calls"] + hour["messages"] == len(of_hour)
    assert (hour["covered"], hour["at_most"]) == (1.0, None)
    assert day["covered"] == pytest.approx((NOW - since) / (24 * 60), abs=1e-3)
    seen = [c for c in CALLS if c.minute >= half and matches(scope, c)]
    assert day["calls"] + day["messages"] == len(seen)
    for window, figures in (("day", day), ("week", week)):
        bound = figures["at_most"]
        over = [c for c in CALLS if c.minute >= first_minute(window, NOW) and c.caller.startswith("7701")]
        assert bound["of"] == "+7701*" and bound["covered"] == 1.0
        assert bound["calls"] + bound["messages"] == len(over) >= len(seen)
    assert exactness(scope, *_known(store, scope)) == "exact"
    total = [c for c in CALLS if c.minute >= since and not c.message]
    assert day["traffic_share"] >= round(sum(not c.message for c in seen if c.minute >= since) / len(total), 6)


def test_before_it_is_watched_only_what_covers_it_is_known(full: TrafficStore) -> None:
    scope = Scope.of("+77010*")
    day = previewed(full, scope, NOW)["day"]
    assert day["calls"] is None and day["callers"] is None and day["covered"] == 0
    assert day["at_most"]["of"] == "+7701*" and day["at_most"]["calls"] > 0
    assert exactness(scope, *_known(full, scope)) == "prefix of 4 digits"


def test_nothing_known_is_no_zero(store: TrafficStore) -> None:
    scope = Scope.of("+77*")
    for figures in previewed(store, scope, NOW).values():
        assert figures["covered"] == 0 and figures["by_trunk"] == []
        assert {figures[name] for name in ("calls", "callers", "traffic_share", "rejected", "brief_share")} == {None}
    assert exactness(scope, *_known(store, scope)) == "none yet"


def test_counted_and_silent_is_a_zero(store: TrafficStore) -> None:
    tell(store, [Call(NOW - 5, "intl-a", "6281" + "0" * 7, "1")], [], NOW - 30, NOW - 1)
    hour = previewed(store, Scope.of("+77*"), NOW)["hour"]
    assert (hour["calls"], hour["covered"], hour["traffic_share"]) == (0, 0.5, 0.0)
    assert hour["callers"] == {"estimate": 0, "low": 0, "high": 0}
    assert hour["answered_share"] is None and hour["brief_share"] is None


def test_a_node_that_told_nothing_is_a_part_that_is_not_covered(store: TrafficStore) -> None:
    tell(store, CALLS, [], NOW - WEEK, NOW - 1)
    assert previewed(store, Scope.of("+77*"), NOW, ["gw1", "gw2"])["day"]["covered"] == 0.5
    tell(store, CALLS, [], NOW - 60, NOW - 1, node="gw2")
    figures = previewed(store, Scope.of("+77*"), NOW, ["gw1", "gw2"])
    assert figures["hour"]["covered"] == 1.0 and figures["day"]["covered"] == pytest.approx(25 / 48, abs=1e-3)


def test_two_nodes_add_up_and_share_their_callers(store: TrafficStore) -> None:
    calls = [Call(NOW - 5, "intl-a", f"7701{i:07}", "1") for i in range(50)]
    tell(store, calls, [], NOW - 60, NOW - 1)
    tell(store, calls, [], NOW - 60, NOW - 1, node="gw2")
    hour = previewed(store, Scope.of("+77*"), NOW, ["gw1", "gw2"])["hour"]
    assert hour["calls"] == 100 and hour["callers"]["low"] <= 50 <= hour["callers"]["high"] < 60


def test_more_callers_than_calls_are_never_told(store: TrafficStore) -> None:
    tell(store, [Call(NOW - 70, "intl-a", f"7701{i:07}", "1") for i in range(500)], [], NOW - 100, NOW - 61)
    tell(store, [Call(NOW - 1, "intl-a", "77010000001", "1")], [], NOW - 60, NOW - 1)
    hour = previewed(store, Scope.of("+77*"), NOW)["hour"]
    assert hour["calls"] == 1 and hour["callers"] == {"estimate": 1, "low": 1, "high": 1}


def test_a_chart_has_gaps_where_nothing_was_counted(store: TrafficStore) -> None:
    tell(store, [Call(NOW - 5, "intl-a", "77010000001", "1")], [], NOW - 10, NOW - 1)
    drawn = chart(read(store, Scope.of("+77*"), NOW, ["gw1"]).digits, "hour", NOW * 60_000)
    assert drawn["at"][0] == (NOW - 60) * 60 and len(drawn["at"]) == len(drawn["calls"]) == 61
    assert drawn["calls"][:50] == [None] * 50
    assert drawn["calls"][50:60] == [0] * 5 + [1] + [0] * 4
    for window in ("day", "week"):
        drawn = chart(read(store, Scope.of("+77*"), NOW, ["gw1"]).digits, window, NOW * 60_000)
        assert sum(count or 0 for count in drawn["calls"]) == 1 and None in drawn["calls"]


def test_one_scope_has_one_watch_and_another_scope_another() -> None:
    one = Scope.of("+77*", ["+7702*", "+7701*", "+78*"], ["b", "a"])
    assert one == Scope.of("+77", ["+7701*", "+7702*"], ["a", "b", "a"])
    assert one.watch == Scope.of("+77*", ["+7701*", "+7702*"], ["a", "b"]).watch
    assert len({one.watch, Scope.of("+77*").watch, Scope.of("+77*", trunks=["a"]).watch}) == 3
    assert one.question()["except"] == ["+7701*", "+7702*"] and len(one.watch) <= 32


def _known(store: TrafficStore, scope: Scope) -> tuple[Known, Known]:
    found = read(store, scope, NOW, ["gw1"])
    return found.digits, found.watched
