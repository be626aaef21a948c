"""Rules: those of the NOC, made and changed by named people, and those that an order or advisory stands behind.

A rule has a short id that can be typed (r17). It is never deleted: when it ends it keeps the revisions between which it
was carried, so that a hit told late is still counted where it belongs. NOC rules always have an end.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa

from sip_filter.number import parse_subject
from sync import schema
from sync.codes import Code
from sync.contract import now_text
from sync.gate import Finding
from sync.ledger.revisions import clause, publish
from sync.ledger.store import LedgerError, NotFoundError
from sync.ledger.transaction import Transaction, chunks, from_ms, maybe_ms, maybe_time, to_ms
from sync.ledger.views import Action, Kinds, Mode, RuleView
from sync.order_life import State

_rules, _spans, _hits = schema.rules, schema.rule_spans, schema.rule_hits
_DAY_MS = 86_400_000
_ACTIONS = ("reject", "allow", "label")
_MODES = ("enforce", "shadow", "disabled")
_KINDS = ("call", "message", "both")


class RuleRefusedError(LedgerError):
    """The gate refuses this subject for any rule; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


def add(
    tx: Transaction,
    subject: str,
    action: Action,
    mode: Mode,
    kinds: Kinds,
    trunks: Sequence[str],
    expires_at: datetime | None,
    reason: str,
    actor: str,
) -> RuleView:
    """A new NOC rule, published at once. Raises LedgerError."""
    _one_of("action", action, _ACTIONS)
    _one_of("mode", mode, _MODES)
    _one_of("kinds", kinds, _KINDS)
    _accountable(actor, reason)
    text = _subject(tx, subject)
    scope = ",".join(sorted(set(trunks)))
    expiry = _expiry(tx, expires_at)
    try:
        clause("noc", action, "enforce", kinds, scope, expiry)  # what the filter would not take is refused here
    except ValueError as error:
        raise LedgerError(str(error)) from None
    _not_twice(tx, text, action, kinds, scope)
    number = new_ids(tx, 1)[0]
    row = {
        "id": number,
        "subject": text,
        "authority": "noc",
        "action": action,
        "mode": mode,
        "kinds": kinds,
        "trunks": scope,
        "expires_at": expiry,
        "origin": "noc",
        "reason": reason,
        "actor": actor,
        "created_at": tx.now_ms,
    }
    tx.run(sa.insert(_rules).values(row))
    kept = ("subject", "action", "mode", "kinds", "trunks", "expires_at", "reason")
    tx.journal("rule.add", actor, f"r{number}", {key: row[key] for key in kept})
    publish(tx, [text])
    return get(tx.connection, f"r{number}")


def propose(tx: Transaction, subject: str, reason: str, office: str) -> RuleView:
    """The rule that an advisory proposes: disabled until somebody at the NOC enables it."""
    number = new_ids(tx, 1)[0]
    tx.run(
        sa.insert(_rules).values(
            id=number,
            subject=subject,
            authority="noc",
            action="reject",
            mode="disabled",
            kinds="both",
            trunks="",
            origin="advisory",
            reason=reason,
            actor=office,
            created_at=tx.now_ms,
        )
    )
    return get(tx.connection, f"r{number}")


def change(tx: Transaction, rule_id: str, mode: Mode, actor: str, reason: str) -> RuleView:
    """Enforce, shadow or disable a NOC rule. A proposed rule gets its end when first enabled. Raises LedgerError."""
    _one_of("mode", mode, _MODES)
    _accountable(actor, reason)
    rule = _changeable(tx, rule_id)
    if rule.mode == mode:
        return rule
    number = _number(rule_id)
    values: dict[str, Any] = {"mode": mode, "since_epoch": None, "since_n": None}
    if rule.expires_at is None and mode != "disabled":
        values["expires_at"] = _expiry(tx, None)
    if rule.since is not None:
        from_epoch, from_n = map(int, rule.since.split("."))
        tx.run(sa.insert(_spans).values(rule=number, mode=rule.mode, from_epoch=from_epoch, from_n=from_n))
    tx.run(sa.update(_rules).where(_rules.c.id == number).values(values))
    tx.journal("rule.mode", actor, rule_id, {"from": rule.mode, "to": mode, "reason": reason})
    epoch, n = publish(tx, [rule.subject])
    tx.run(sa.update(_spans).where(_spans.c.rule == number, _spans.c.to_n.is_(None)).values(to_epoch=epoch, to_n=n))
    return get(tx.connection, rule_id)


def remove(tx: Transaction, rule_id: str, actor: str, reason: str) -> RuleView:
    """End a NOC rule. Raises LedgerError."""
    _accountable(actor, reason)
    rule = _changeable(tx, rule_id)
    end(tx, [_number(rule_id)], f"removed by {actor}: {reason}")
    tx.journal("rule.remove", actor, rule_id, {"subject": rule.subject, "reason": reason})
    publish(tx, [rule.subject])
    return get(tx.connection, rule_id)


def end_due(tx: Transaction) -> list[str]:
    """End the NOC rules whose time has come; the answer is their subjects, not yet published."""
    c = _rules.c
    rows = tx.run(
        sa.select(c.id, c.subject).where(c.ended_at.is_(None), c.order_id.is_(None), c.expires_at <= tx.now_ms)
    ).all()
    for number, subject in rows:
        tx.journal("rule.expired", "palang", f"r{number}", {"subject": subject})
    end(tx, [number for number, _ in rows], "expired")
    return [subject for _, subject in rows]


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


def get(connection: sa.Connection, rule_id: str) -> RuleView:
    """One rule with its hits. Raises LedgerError when there is none of that id."""
    found = _views(connection, _rules.c.id == _number(rule_id), 1)
    if not found:
        raise NotFoundError(f"no rule has the id {rule_id}")
    return found[0]


def listed(connection: sa.Connection, *, ended: bool, orders: bool, limit: int, after: int | None) -> list[RuleView]:
    """The NOC's rules and proposals (with `orders` also those of orders), live ones or all, newest first."""
    wanted: sa.ColumnElement[bool] = sa.true() if ended else _rules.c.ended_at.is_(None)
    if not orders:
        wanted = sa.and_(wanted, _rules.c.order_id.is_(None))
    if after is not None:
        wanted = sa.and_(wanted, _rules.c.id < after)
    return _views(connection, wanted, limit)


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
    )


def _revision(epoch: int | None, n: int | None) -> str | None:
    return None if n is None else f"{epoch}.{n}"


def _number(rule_id: str) -> int:
    digits = rule_id.removeprefix("r")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"no rule has the id {rule_id[:32]!r}; an id looks like r17")
    return int(digits)


def _changeable(tx: Transaction, rule_id: str) -> RuleView:
    rule = get(tx.connection, rule_id)
    if rule.ended_at is not None:
        raise LedgerError(f"rule {rule_id} ended at {now_text(rule.ended_at)}: {rule.end_reason}")
    if rule.authority == "order":
        raise LedgerError(f"rule {rule_id} is the regulator's order {rule.order}; only an unblock order ends it")
    return rule


def _subject(tx: Transaction, subject: str) -> str:
    """A person may leave the + away; that is read as it is shown back, never guessed from a national form."""
    finding = tx.house.gate.refuse_subject(subject)
    if finding is not None and finding.code is Code.NOT_INTERNATIONAL:
        finding = tx.house.gate.refuse_subject(f"+{subject}")
    if finding is not None:
        raise RuleRefusedError(finding)
    return str(parse_subject(subject))


def _not_twice(tx: Transaction, subject: str, action: str, kinds: str, trunks: str) -> None:
    c = _rules.c
    same = (c.subject == subject, c.action == action, c.kinds == kinds, c.trunks == trunks)
    found = tx.run(sa.select(c.id).where(c.ended_at.is_(None), c.authority == "noc", *same)).scalar()
    if found is not None:
        raise LedgerError(f"rule r{found} says this already: {subject} {action} {kinds}; change its mode instead")


def _expiry(tx: Transaction, expires_at: datetime | None) -> int:
    settings = tx.house.settings
    latest = tx.now_ms + settings.max_rule_days * _DAY_MS
    if expires_at is None:
        return tx.now_ms + min(settings.rule_days, settings.max_rule_days) * _DAY_MS
    ms = to_ms(expires_at)
    if ms <= tx.now_ms:
        raise LedgerError(f"the rule would end at {now_text(expires_at)}, which is past")
    if ms > latest:
        days = (expires_at - tx.now) / timedelta(days=1)
        raise LedgerError(
            f"{days:.1f} days is too long; a NOC rule lasts at most {settings.max_rule_days} (ledger.max_rule_days)"
        )
    return cast(int, maybe_ms(expires_at))


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise LedgerError(f"{name} {value!r} is not one of {', '.join(known)}")


def _accountable(actor: str, reason: str) -> None:
    if not actor.strip() or not reason.strip():
        raise LedgerError("a named person and a reason are needed")
