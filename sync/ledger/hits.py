"""Hits: how often each rule stopped a call, counted once for each call however often it is told.

A hit names subject and revision, not a rule: it belongs to the rule that was carried there at that revision, also when
that rule is long gone. The cursor of the stream that hits come from is kept in the same transaction as their count.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sync import schema
from sync.ledger.transaction import Transaction, chunks
from sync.ledger.views import LedgerHit

_rules, _spans, _counted, _calls = schema.rules, schema.rule_spans, schema.rule_hits, schema.hit_calls
_REMEMBERED_MS = 86_400_000
_NEVER = (1 << 62, 1 << 62)


@dataclass(frozen=True)
class _Interval:
    """A rule while it was carried in one mode."""

    rule: int
    authority: str
    action: str
    mode: str
    since: tuple[int, int]
    until: tuple[int, int]


def count(tx: Transaction, hits: Sequence[LedgerHit], cursor: str | None) -> int:
    """Count the new ones among `hits`; the answer is how many found their rule."""
    fresh = _fresh(tx, hits)
    carried = _intervals(tx, {hit.subject for hit in fresh})
    totals: Counter[tuple[int, str]] = Counter()
    times: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for hit in fresh:
        if (rule := _rule_of(hit, carried[hit.subject])) is not None:
            totals[rule, hit.effect] += 1
            times[rule, hit.effect].append(hit.at_ms)
    for (rule, effect), number in totals.items():
        _add(tx, rule, effect, number, times[rule, effect])
    tx.run(sa.delete(_calls).where(_calls.c.at < tx.now_ms - _REMEMBERED_MS))
    if cursor is not None:
        tx.head.hits_cursor = cursor
    return sum(totals.values())


def _fresh(tx: Transaction, hits: Sequence[LedgerHit]) -> list[LedgerHit]:
    known: set[tuple[str, str]] = set()
    for some in chunks({hit.call for hit in hits}):
        rows = tx.run(sa.select(_calls.c.call, _calls.c.effect).where(_calls.c.call.in_(some)))
        known.update((call, effect) for call, effect in rows)
    fresh = list({(hit.call, hit.effect): hit for hit in hits if (hit.call, hit.effect) not in known}.values())
    if fresh:
        tx.run(sa.insert(_calls), [{"call": hit.call, "effect": hit.effect, "at": tx.now_ms} for hit in fresh])
    return fresh


def _intervals(tx: Transaction, subjects: set[str]) -> defaultdict[str, list[_Interval]]:
    found: defaultdict[str, list[_Interval]] = defaultdict(list)
    c, s = _rules.c, _spans.c
    for some in chunks(subjects):
        now = sa.select(
            c.subject, c.id, c.authority, c.action, c.mode, c.since_epoch, c.since_n, c.until_epoch, c.until_n
        ).where(c.subject.in_(some), c.since_n.is_not(None))
        before = (
            sa.select(c.subject, c.id, c.authority, c.action, s.mode, s.from_epoch, s.from_n, s.to_epoch, s.to_n)
            .select_from(_spans.join(_rules, c.id == s.rule))
            .where(c.subject.in_(some))
        )
        for subject, rule, authority, action, mode, epoch, n, end_epoch, end_n in tx.run(now.union_all(before)):
            until = _NEVER if end_n is None else (end_epoch, end_n)
            found[subject].append(_Interval(rule, authority, action, mode, (epoch, n), until))
    return found


def _rule_of(hit: LedgerHit, carried: list[_Interval]) -> int | None:
    fitting = [
        one
        for one in carried
        if (one.authority, one.action) == (hit.authority, hit.action) and one.since <= (hit.epoch, hit.n) < one.until
    ]
    # An enforced rule has shadow hits too, on a trunk that is in shadow; so the mode only breaks a tie.
    wanted = "shadow" if hit.effect == "shadow" else "enforce"
    return min(fitting, key=lambda one: (one.mode != wanted, one.rule)).rule if fitting else None


def _add(tx: Transaction, rule: int, effect: str, number: int, times: list[int]) -> None:
    c = _counted.c
    where = sa.and_(c.rule == rule, c.effect == effect)
    last = sa.case((c.last_at < max(times), max(times)), else_=c.last_at)
    if tx.run(sa.update(_counted).where(where).values(hits=c.hits + number, last_at=last)).rowcount == 0:
        row = {"rule": rule, "effect": effect, "hits": number, "first_at": min(times), "last_at": max(times)}
        tx.run(sa.insert(_counted).values(row))
