"""The brake's judgement: whether an enforced rule of the NOC stops far more than its preview promised. Pure.

It compares in sliding windows: a short one, so that a mistake is undone in minutes, and an hour, so that a slow one is
too. Up to `brake.floor` stopped calls no rule is braked, so that two calls in a quiet night are no evidence.
"""

from collections.abc import Iterable, Sequence

from agent.traffic.settings import BrakeSettings
from agent.traffic.store import HOUR, Point
from sync.ledger import RuleView, TransitionView


def may_brake(rule: RuleView) -> bool:
    """Whether the brake is for this rule at all: enforced, refusing, and nobody's order."""
    enforced = rule.live and rule.mode == "enforce" and rule.action == "reject"
    return enforced and rule.authority == "noc" and rule.order is None


def counted_from(steps: Sequence[TransitionView], otherwise: int) -> int:
    """The minute from which a rule's enforcement counts; `steps` are its steps, the newest first.

    What it stopped before it was braked and enforced anew is no evidence against it.
    """
    began = next((step for step in steps if step.to_mode == "enforce" and step.from_mode != "enforce"), None)
    if began is None:
        return otherwise
    minute = _minute(began)
    before = [
        step for step in steps if step.id < began.id and step.from_mode == "enforce" and step.to_mode != "enforce"
    ]
    return minute + 1 if any(_minute(step) == minute for step in before) else minute


def why_brake(
    expected: int | None,
    stopped: Sequence[Point],
    everything: Sequence[Point],
    since: int,
    now: int,
    settings: BrakeSettings,
) -> str | None:
    """Why the rule is to be braked, naming value and limit; None when it is not.

    `stopped` are the points of its scope, `everything` those of all traffic; `since` is the minute from which its
    enforcement counts, `now` the running one; `expected` calls an hour, None when its preview knew none.
    """
    for window in sorted(settings.windows_min):
        first = max(since, now - min(window, HOUR) + 1)
        count = _rejected(point for point in stopped if point.minute >= first)
        if count <= settings.floor:
            continue
        if expected is not None and count > (limit := settings.factor * expected * window / HOUR):
            return (
                f"it stopped {count:,} calls in {window} minutes; {settings.factor:g} times its preview"
                f" ({expected:,} an hour) is {limit:,.0f} (brake.factor)"
            )
        for trunk in sorted({point.trunk for point in stopped}):
            mine = _rejected(point for point in stopped if point.minute >= first and point.trunk == trunk)
            every = sum(
                point.counts.calls + point.counts.messages
                for point in everything
                if point.minute >= first and point.trunk == trunk
            )
            if mine > settings.floor and mine > settings.trunk_share * every:
                return (
                    f"it stopped {mine:,} of {every:,} calls on {trunk} in {window} minutes;"
                    f" the limit is {settings.trunk_share:.2%} (brake.trunk_share)"
                )
    return None


def _rejected(points: Iterable[Point]) -> int:
    return sum(point.counts.rejected for point in points)


def _minute(step: TransitionView) -> int:
    return int(step.at.timestamp()) // 60
