"""Rules: those of the NOC, and those that an order or advisory stands behind; found, read, ended.

A rule has a short id that can be typed (r17). It is never deleted: when it ends it keeps the revisions between which it
was carried, so that a hit told late is still counted where it belongs. What people do to NOC rules: rule_steps.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from sip_filter.number import parse_subject
from sync import schema
from sync.codes import Code
from sync.contract import now_text
from sync.gate import Finding
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, chunks, from_ms, maybe_time
from sync.ledger.views import RuleView
from sync.order_life import State

DAY_MS: Final = 86_400_000

_rules, _hits = schema.rules, schema.rule_hits


class RuleRefusedError(LedgerError):
    """The gate refuses this subject for any rule; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


def next_end(connection: sa.Connection) -> int | None:
    """When the next rule, or the next order that waits without one, ends (milliseconds)."""
    c, o = _rules.c, schema.orders.c
    found = (
        connection.execute(sa.select(sa.func.min(c.expires_at)).where(c.ended_at.is_(None))).scalar(),
        connection.execute(sa.select(sa.func.min(o.until)).where(o.state == State.HELD)).scalar(),
    )
    return min((time for time in found if time is not None), default=None)


def end(tx: Transaction, numbers: Iterable[int], why: str) -> None:
    """End rules by number; publishing is the caller's."""
    for some in chunks(numbers):
        tx.rules_ended = True
        tx.run(
            sa.update(_rules)
            .where(_rules.c.id.in_(some), _rules.c.ended_at.is_(None))
            .values(ended_at=tx.now_ms, end_reason=why)
        )


def new_ids(tx: Transaction, count: int) -> range:
    """The next `count` rule numbers."""
    first = tx.head.last_rule + 1
    tx.head.last_rule += count
    return range(first, first + count)


def changeable(tx: Transaction, rule_id: str) -> RuleView:
    """A live rule of the NOC. Raises LedgerError for one that has ended, and for an order's."""
    rule = get(tx.connection, rule_id)
    if rule.ended_at is not None:
        raise LedgerError(f"rule {rule_id} ended at {now_text(rule.ended_at)}: {rule.end_reason}")
    if rule.authority == "order":
        raise LedgerError(f"rule {rule_id} is the regulator's order {rule.order}; only an unblock order ends it")
    return rule


def read_subject(tx: Transaction, subject: str) -> str:
    """A subject as a person wrote it, in canonical text. Raises RuleRefusedError.

    They may leave the + away; that is read as it is shown back, never guessed from a national form.
    """
    finding = tx.house.gate.refuse_subject(subject)
    if finding is not None and finding.code is Code.NOT_INTERNATIONAL:
        finding = tx.house.gate.refuse_subject(f"+{subject}")
    if finding is not None:
        raise RuleRefusedError(finding)
    return str(parse_subject(subject))


def not_twice(tx: Transaction, subject: str, action: str, kinds: str, trunks: str) -> None:
    """Raise LedgerError when a live NOC rule says the same already."""
    c = _rules.c
    same = (c.subject == subject, c.action == action, c.kinds == kinds, c.trunks == trunks)
    found = tx.run(sa.select(c.id).where(c.ended_at.is_(None), c.authority == "noc", *same)).scalar()
    if found is not None:
        raise LedgerError(f"rule r{found} says this already: {subject} {action} {kinds}; change its mode instead")


def get(connection: sa.Connection, rule_id: str) -> RuleView:
    """One rule with its hits. Raises LedgerError when there is none of that id."""
    found = _views(connection, _rules.c.id == _number(rule_id), 1)
    if not found:
        raise NotFoundError(f"no rule has the id {rule_id}")
    return found[0]


@dataclass(frozen=True)
class Filter:
    """Which rules a list shows; None leaves a word open.

    `digits` finds prefix rules that cover these leading digits or lie inside them, and rules on single numbers inside
    them when there are at most four: with more, a list would answer whose number is in it.
    """

    mode: str | None = None
    action: str | None = None
    origin: str | None = None
    digits: str | None = None
    ended: bool = False
    orders: bool = False


MOST_DIGITS_FOR_NUMBERS: Final = 4
_SELECTIVE_DIGITS = 6


def listed(connection: sa.Connection, wanted: Filter, limit: int, after: int | None) -> list[RuleView]:
    """The NOC's rules and proposals (also those of orders where asked for), live ones or all, newest first."""
    c = _rules.c
    conditions: list[sa.ColumnElement[bool]] = []
    if not wanted.orders:
        conditions.append(c.order_id.is_(None))
    if not wanted.ended:
        conditions.append(c.ended_at.is_(None))
    for column, word in ((c.mode, wanted.mode), (c.action, wanted.action), (c.origin, wanted.origin)):
        if word is not None:
            conditions.append(column == word)
    if wanted.digits is not None:
        conditions.append(_around(wanted.digits))
    if after is not None:
        conditions.append(c.id < after)
    return _views(connection, sa.and_(sa.true(), *conditions), limit)


def _around(digits: str) -> sa.ColumnElement[bool]:
    # Few digits may be begun by all rules: the plus keeps SQLite from gathering and sorting these by their subjects, so
    # that it goes down the rules, newest first.
    many = len(digits) < _SELECTIVE_DIGITS
    subject = sa.literal_column("+rules.subject", sa.Text()) if many else _rules.c.subject
    covering = [f"+{digits[:width]}*" for width in range(1, len(digits) + 1)]
    inside = sa.and_(subject >= f"+{digits}", subject < f"+{digits}:")  # the colon follows the nine
    if len(digits) > MOST_DIGITS_FOR_NUMBERS:
        inside = sa.and_(inside, subject.endswith("*", autoescape=True))
    return sa.or_(subject.in_(covering), inside)


def watchable(connection: sa.Connection, limit: int) -> list[RuleView]:
    """The NOC's live rules and proposals, those that are enforced first, then those in shadow, the newest first."""
    found: list[RuleView] = []
    for mode in ("enforce", "shadow", "disabled"):
        if len(found) < limit:
            found += _views(connection, sa.and_(_live_noc(), _rules.c.mode == mode), limit - len(found))
    return found


def allowing(connection: sa.Connection, limit: int) -> list[RuleView]:
    """The NOC's enforced `allow` rules, the newest first."""
    return _views(connection, sa.and_(_live_noc(), _rules.c.mode == "enforce", _rules.c.action == "allow"), limit)


def _live_noc() -> sa.ColumnElement[bool]:
    return sa.and_(_rules.c.ended_at.is_(None), _rules.c.order_id.is_(None))


def touching(connection: sa.Connection, number: str) -> list[RuleView]:
    """The live rules on a number (or prefix) and on every prefix of it, longest subject first."""
    subject = str(parse_subject(number))
    digits = subject.strip("+*")
    subjects = [subject, *(f"+{digits[:width]}*" for width in range(1, len(digits) + 1))]
    found = _views(connection, sa.and_(_rules.c.ended_at.is_(None), _rules.c.subject.in_(subjects)), 1_000)
    return sorted(found, key=lambda rule: (-len(rule.subject.strip("+*")), rule.subject.endswith("*"), rule.id))


def _views(connection: sa.Connection, wanted: sa.ColumnElement[bool], limit: int) -> list[RuleView]:
    rows = (
        connection.execute(sa.select(_rules).where(wanted).order_by(_rules.c.id.desc()).limit(limit)).mappings().all()
    )
    hits: dict[int, dict[str, int]] = {}
    for some in chunks(row["id"] for row in rows):
        for rule, effect, count in connection.execute(
            sa.select(_hits.c.rule, _hits.c.effect, _hits.c.hits).where(_hits.c.rule.in_(some))
        ):
            hits.setdefault(rule, {})[effect] = count
    return [_view(row, hits.get(row["id"], {})) for row in rows]


def _view(row: sa.RowMapping, hits: dict[str, int]) -> RuleView:
    return RuleView(
        id=f"r{row['id']}",
        subject=row["subject"],
        authority=row["authority"],
        action=row["action"],
        mode=row["mode"],
        kinds=row["kinds"],
        trunks=tuple(row["trunks"].split(",")) if row["trunks"] else (),
        expires_at=maybe_time(row["expires_at"]),
        origin=row["origin"],
        order=row["order_id"],
        ticket=row["ticket"],
        reason=row["reason"],
        actor=row["actor"],
        created_at=from_ms(row["created_at"]),
        since=_revision(row["since_epoch"], row["since_n"]),
        ended_at=maybe_time(row["ended_at"]),
        end_reason=row["end_reason"],
        until=_revision(row["until_epoch"], row["until_n"]),
        hits=hits,
        version=row["version"],
        expected=row["expected"],
    )


def _revision(epoch: int | None, n: int | None) -> str | None:
    return None if n is None else f"{epoch}.{n}"


def _number(rule_id: str) -> int:
    digits = rule_id.removeprefix("r")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"no rule has the id {rule_id[:32]!r}; an id looks like r17")
    return int(digits)
