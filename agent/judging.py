"""Judging a rule before it is enforced: why it is wide, and how many calls an hour its preview promises."""

from dataclasses import dataclass

from agent.traffic.thread import TrafficUnavailable
from agent.traffic.width import why_wide
from agent.wiring import Parts
from sync.ledger import RuleView


@dataclass(frozen=True)
class Judged:
    """`wide`: why a second person is needed, naming value and limit. `expected`: calls an hour, None when unknown."""

    wide: tuple[str, ...]
    expected: int | None


async def judge(parts: Parts, rule: RuleView) -> Judged:
    """What is known of a rule's reach at this moment; without the counts of calls, its digits alone."""
    await parts.collector.watches(rule.id)
    try:
        preview = await parts.previews.of_rule(rule)
    except TrafficUnavailable:
        return Judged(why_wide(rule.subject, rule.action, rule.trunks, None, parts.settings), None)
    return Judged(tuple(preview["wide"]), preview["expected"])
