"""The brake: what it must stop, what it must leave alone, and that no order is ever its business."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.traffic.brake import counted_from, may_brake, why_brake
from agent.traffic.counts import Counts
from agent.traffic.settings import BrakeSettings
from agent.traffic.store import Point
from sync.ledger import RuleView, TransitionView

NOW = 29_600_040
SETTINGS = BrakeSettings()
MADE = datetime.fromtimestamp(NOW * 60 - 86_400, UTC)
RULE = RuleView(
    id="r1",
    subject="+77*",
    authority="noc",
    action="reject",
    mode="enforce",
    kinds="both",
    trunks=(),
    expires_at=None,
    origin="noc",
    order=None,
    ticket=None,
    reason="wangiri",
    actor="rina",
    created_at=MADE,
    since="1.1",
    ended_at=None,
    end_reason=None,
    until=None,
)


def stopped(*by_minute: tuple[int, int], trunk: str = "intl-a") -> list[Point]:
    """Stopped calls by how many minutes ago."""
    return [Point(NOW - ago, 1, trunk, Counts(calls=count, rejected=count)) for ago, count in by_minute]


def everything(calls: int = 1_000_000, trunk: str = "intl-a") -> list[Point]:
    return [Point(NOW, 1, trunk, Counts(calls=calls))]


def why(expected: int | None, points: list[Point], every: list[Point] | None = None, since: int = 0) -> str | None:
    return why_brake(expected, points, everything() if every is None else every, since, NOW, SETTINGS)


def test_three_times_its_preview_is_the_limit_in_five_minutes_and_in_an_hour() -> None:
    assert why(120, stopped((0, 30))) is None
    assert why(120, stopped((0, 31))) == (
        "it stopped 31 calls in 5 minutes; 3 times its preview (120 an hour) is 30 (brake.factor)"
    )
    slowly = [(0, 0), *((ago, 6) for ago in range(5, 60)), (59, 30)]
    assert why(120, stopped(*slowly)) is None
    reason = why(119, stopped(*slowly))
    assert reason is not None and reason.startswith("it stopped 360 calls in 60 minutes; 3 times its preview (119")


def test_one_percent_of_a_trunk_is_the_limit_too() -> None:
    assert why(None, stopped((0, 30)), everything(3_000)) is None
    assert why(10_000, stopped((0, 31)), everything(3_000)) == (
        "it stopped 31 of 3,000 calls on intl-a in 5 minutes; the limit is 1.00% (brake.trunk_share)"
    )
    two = stopped((0, 15)) + stopped((0, 15), trunk="intl-b")
    assert why(None, two, everything(100) + everything(100, "intl-b")) is None, "on neither trunk above the floor"


def test_a_handful_of_calls_is_no_evidence() -> None:
    assert why(0, stopped((0, SETTINGS.floor)), everything(SETTINGS.floor)) is None
    assert why(0, stopped((0, SETTINGS.floor + 1)), everything(10**6)) is not None


def test_what_was_stopped_before_the_enforcement_is_not_counted() -> None:
    assert why(0, stopped((3, 500)), since=NOW - 2) is None
    assert why(0, stopped((3, 500)), since=NOW - 3) is not None


@given(
    counts=st.lists(st.integers(0, 60), min_size=61, max_size=61),
    expected=st.integers(0, 400) | st.none(),
    total=st.integers(1, 10**6),
    since=st.integers(0, 70),
)
def test_it_brakes_exactly_where_a_limit_is_passed(
    counts: list[int], expected: int | None, total: int, since: int
) -> None:
    points = stopped(*enumerate(counts))
    reason = why(expected, points, everything(total), NOW - since)
    over = []
    for window in SETTINGS.windows_min:
        seen = sum(counts[: min(window, since + 1)])
        over.append(seen > 20 and ((expected is not None and seen > 3 * expected * window / 60) or seen > total * 0.01))
    assert (reason is not None) == any(over)


@given(counts=st.lists(st.integers(0, 100), min_size=60, max_size=60), more=st.integers(0, 59), by=st.integers(1, 50))
def test_more_stopped_calls_never_release_the_brake(counts: list[int], more: int, by: int) -> None:
    before = why(100, stopped(*enumerate(counts)))
    counts[more] += by
    assert before is None or why(100, stopped(*enumerate(counts))) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"authority": "order", "order": "o1"},
        {"order": "o1"},
        {"mode": "shadow"},
        {"mode": "disabled"},
        {"action": "allow"},
        {"action": "label"},
        {"ended_at": MADE},
    ],
)
def test_it_is_only_for_enforced_reject_rules_of_the_noc(change: dict[str, Any]) -> None:
    assert may_brake(RULE)
    assert may_brake(replace(RULE, origin="advisory"))
    assert not may_brake(replace(RULE, **change))


def _step(number: int, minute: int, before: str | None, after: str | None) -> TransitionView:
    at = datetime.fromtimestamp(minute * 60, UTC) + timedelta(seconds=5)
    fields = {"id": number, "rule": "r1", "at": at, "actor": "rina", "cause": "enforce", "reason": "because"}
    return TransitionView(**fields, from_mode=before, from_expires_at=None, to_mode=after, to_expires_at=None)  # type: ignore[arg-type]


def test_an_enforcement_counts_from_its_minute_and_a_renewal_begins_nothing() -> None:
    steps = [
        _step(3, NOW, "enforce", "enforce"),
        _step(2, NOW - 9, "shadow", "enforce"),
        _step(1, NOW - 9, None, "shadow"),
    ]
    assert counted_from(steps, 7) == NOW - 9
    assert counted_from([], 7) == 7


def test_what_is_enforced_again_in_the_minute_it_was_braked_in_counts_from_the_next() -> None:
    steps = [
        _step(3, NOW, "shadow", "enforce"),
        _step(2, NOW, "enforce", "shadow"),
        _step(1, NOW - 9, "shadow", "enforce"),
    ]
    assert counted_from(steps, 7) == NOW + 1
