"""Steps of NOC rules: proposed, shadowed, enforced, renewed, rolled back, braked and ended, by the table of rule_life.

Only a `reject` that is enforced can be wide; whether it is, the caller judges (agent/traffic/width.py) and hands over
the reasons. A wide one needs a second person; alone it may be enforced for a short time, once a night.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from sync import schema
from sync.contract import now_text
from sync.ledger import requests, rules, transitions
from sync.ledger.revisions import clause
from sync.ledger.rules import DAY_MS
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction, from_ms, maybe_time
from sync.ledger.transitions import ENFORCE, WARNED_HOURS, move, state
from sync.ledger.versions import check
from sync.ledger.views import Action, Ending, Kinds, RequestView, RolledBack, RuleView
from sync.rule_life import ENDS, End, IllegalStepError, Standing, State, Step, before, step

_rules, _requests = schema.rules, schema.requests
_HOUR_MS = 3_600_000
_ALONE_AGAIN_MS = 12 * _HOUR_MS
_ACTIONS = ("reject", "allow", "label")
_KINDS = ("call", "message", "both")
_WARNED = (0, *WARNED_HOURS[:-1])
"""Hours of which rules were warned that have a warning to come."""
# Its conditions are those of the index rules_to_warn_of: asked every second, it must not walk through the rules.
_FIRST_END = sa.select(sa.func.min(_rules.c.expires_at)).where(
    _rules.c.warned == sa.bindparam("warned"),
    _rules.c.order_id.is_(None),
    _rules.c.ended_at.is_(None),
    sa.text("mode = 'enforce'"),
)
_UNMADE = State(Standing.NEW, None)


def propose(
    tx: Transaction,
    subject: str,
    action: Action,
    kinds: Kinds,
    trunks: Sequence[str],
    expires_s: int | None,
    reason: str,
    actor: str,
) -> RuleView:
    """A NOC rule that does nothing yet. Raises LedgerError, RuleRefusedError."""
    _one_of("action", action, _ACTIONS)
    _one_of("kinds", kinds, _KINDS)
    requests.accountable(actor, reason)
    text = rules.read_subject(tx, subject)
    scope = ",".join(sorted(set(trunks)))
    ends = _ends(tx, Standing.DISABLED, expires_s)
    try:
        clause("noc", action, "enforce", kinds, scope, ends)  # what the filter would not take is refused here
    except ValueError as error:
        raise LedgerError(str(error)) from None
    rules.not_twice(tx, text, action, kinds, scope)
    row = {"subject": text, "action": action, "kinds": kinds, "trunks": scope, "expires_at": ends}
    return _make(tx, {**row, "origin": "noc"}, actor, reason)


def advise(tx: Transaction, subject: str, reason: str, office: str) -> RuleView:
    """The rule that an advisory proposes; it has no end until somebody at the NOC takes it up."""
    row = {"subject": subject, "action": "reject", "kinds": "both", "trunks": "", "expires_at": None}
    return _make(tx, {**row, "origin": "advisory"}, office, reason)


def take(
    tx: Transaction,
    rule_id: str,
    taken: Step,
    actor: str,
    reason: str,
    *,
    expires_s: int | None = None,
    version: int | None = None,
) -> RuleView:
    """Shadow, disable, remove or brake a rule, or renew one that is not enforced. Raises LedgerError."""
    rule = _changeable(tx, rule_id, actor, reason, version)
    _move(tx, rule, taken, actor, reason, expires_s)
    return rules.get(tx.connection, rule_id)


def enforce(
    tx: Transaction,
    rule_id: str,
    actor: str,
    reason: str,
    *,
    expires_s: int | None = None,
    wide: Sequence[str] = (),
    alone_minutes: int | None = None,
    expected: int | None = None,
    version: int | None = None,
) -> RequestView | None:
    """Enforce a rule, or give one that is enforced a new end; the answer is what waits for a second person.

    `wide` are the reasons why it needs one. With `alone_minutes` it is enforced for so long at once, and longer when
    somebody countersigns. Raises LedgerError.
    """
    rule = _changeable(tx, rule_id, actor, reason, version)
    taken = Step.RENEW if rule.mode == "enforce" else Step.ENFORCE
    wished_ms = _ends(tx, Standing.ENFORCE, expires_s)
    if not wide or rule.action != "reject":
        _move(tx, rule, taken, actor, reason, expires_s, expected)
        return None
    alone = alone_minutes is not None and taken is Step.ENFORCE
    body = {"expires_s": (wished_ms - tx.now_ms) // 1000, "expected": expected, "alone": alone}
    until = tx.now + timedelta(hours=tx.house.settings.second_person_hours)
    if alone:
        assert alone_minutes is not None
        _once_a_night(tx, rule)
        ends = min(wished_ms, tx.now_ms + alone_minutes * 60_000)
        move(tx, rule, taken, State(Standing.ENFORCE, ends), actor, reason, expected)
        until = from_ms(ends)
    return requests.ask(tx, ENFORCE, rule_id, body, "; ".join(wide), actor, reason, until)


def countersigned(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """Enforce what two persons have approved, for the time that the first one wished."""
    rule = rules.changeable(tx, request.about)
    began = request.asked_at if request.body["alone"] else tx.now
    ends = began + timedelta(seconds=request.body["expires_s"])
    if ends <= tx.now:
        raise LedgerError(f"{request.about} would end at {now_text(ends)}, which is past")
    to = State(_after(rule, Step.COUNTERSIGN), round(ends.timestamp() * 1000))
    move(tx, rule, Step.COUNTERSIGN, to, actor, reason, request.body["expected"])


def dropped(tx: Transaction, request: RequestView, actor: str, reason: str) -> None:
    """What one person enforced alone and nobody countersigned falls back to shadow."""
    rule = rules.get(tx.connection, request.about)
    if request.body["alone"] and rule.live and rule.mode == "enforce":
        _move(tx, rule, Step.LAPSE, actor, reason)


def roll_back(tx: Transaction, rule_id: str, actor: str, reason: str, version: int | None = None) -> RolledBack:
    """Return a rule to how it stood before its last step. Itself a step: a second one undoes the first.

    Raises LedgerError for a rule that has ended, and where there is nothing to return to.
    """
    rule = rules.get(tx.connection, rule_id)
    if rule.authority == "noc" and not rule.live:
        raise LedgerError(f"rule {rule_id} has ended ({rule.end_reason}) and can't be rolled back: propose it anew")
    rule = _changeable(tx, rule_id, actor, reason, version)
    last = transitions.last(tx.connection, rule_id)
    now = state(rule)
    shadow_ms = tx.house.settings.shadow_days * DAY_MS
    target = before(_from(last), now, tx.now_ms, shadow_ms)
    if target is None:
        what = f"its last step, {last.cause}," if last else "its making"
        raise LedgerError(f"rule {rule_id} is {rule.mode}; there is nothing before {what} that it can return to")
    done = move(tx, rule, Step.ROLL_BACK, target, actor, reason)
    return RolledBack(rules.get(tx.connection, rule_id), done, None if last is None else last.id)


def end_due(tx: Transaction) -> int:
    """Let NOC rules whose time has come go to shadow, or end; the answer is how many there were."""
    c = _rules.c
    due = tx.run(
        sa.select(c.id).where(c.ended_at.is_(None), c.order_id.is_(None), c.expires_at <= tx.now_ms).order_by(c.id)
    ).scalars()
    count = 0
    for number in due.all():
        _move(tx, rules.get(tx.connection, f"r{number}"), Step.EXPIRE, "palang", "its time has come")
        count += 1
    return count


def next_warning(connection: sa.Connection) -> int | None:
    """When somebody has to be warned next that an enforcement ends (milliseconds)."""
    times = (_next_warning(connection.execute(_FIRST_END, {"warned": warned}).scalar(), warned) for warned in _WARNED)
    return min((time for time in times if time is not None), default=None)


def warn_due(tx: Transaction) -> list[Ending]:
    """The enforcements of whose end somebody has to be warned now; each is noted and told once for each hour."""
    c = _rules.c
    rows = tx.run(
        sa.select(c.id, c.expires_at, c.warned).where(
            c.ended_at.is_(None),
            c.order_id.is_(None),
            c.mode == "enforce",
            c.expires_at > tx.now_ms,
            c.expires_at <= tx.now_ms + max(WARNED_HOURS) * _HOUR_MS,
        )
    ).all()
    found = []
    for number, expires_at, warned in rows:
        at = _next_warning(expires_at, warned)
        if at is None or at > tx.now_ms:
            continue
        hours = min(hours for hours in WARNED_HOURS if expires_at - tx.now_ms <= hours * _HOUR_MS)
        tx.run(sa.update(_rules).where(c.id == number).values(warned=hours))
        tx.journal("rule.warned", "palang", f"r{number}", {"hours": hours, "expires_at": expires_at})
        found.append(Ending(rules.get(tx.connection, f"r{number}"), hours))
    return found


def _next_warning(expires_at: int | None, warned: int) -> int | None:
    """When a rule is warned of next that ends then and was warned of so many hours before."""
    if expires_at is None:
        return None
    left = [hours for hours in WARNED_HOURS if warned == 0 or hours < warned]
    return expires_at - max(left) * _HOUR_MS if left else None


def _make(tx: Transaction, row: dict[str, Any], actor: str, reason: str) -> RuleView:
    number = rules.new_ids(tx, 1)[0]
    made = {"id": number, "authority": "noc", "mode": "disabled", "reason": reason, "actor": actor}
    tx.run(sa.insert(_rules).values({**row, **made, "created_at": tx.now_ms}))
    to = State(step(Standing.NEW, Step.PROPOSE), row["expires_at"])
    transitions.record(tx, f"r{number}", Step.PROPOSE, _UNMADE, to, actor, reason, row)
    return rules.get(tx.connection, f"r{number}")


def _move(
    tx: Transaction,
    rule: RuleView,
    taken: Step,
    actor: str,
    reason: str,
    expires_s: int | None = None,
    expected: int | None = None,
) -> None:
    standing = _after(rule, taken)
    ends = state(rule).ends_ms
    if ENDS[taken] is End.AFTER_SHADOW:
        ends = tx.now_ms + tx.house.settings.shadow_days * DAY_MS
    elif ENDS[taken] is End.WISHED:
        ends = _ends(tx, standing, expires_s)
    move(tx, rule, taken, State(standing, ends), actor, reason, expected)


def _after(rule: RuleView, taken: Step) -> Standing:
    try:
        return step(Standing(rule.mode), taken)
    except IllegalStepError as error:
        raise LedgerError(f"rule {rule.id}: {error}") from None


def _ends(tx: Transaction, standing: Standing, expires_s: int | None) -> int:
    """When a rule ends that is given a new end now (milliseconds)."""
    settings = tx.house.settings
    if expires_s is None:
        days = settings.shadow_days if standing is Standing.SHADOW else settings.rule_days
        return tx.now_ms + min(days, settings.max_rule_days) * DAY_MS
    if expires_s <= 0:
        raise LedgerError(f"an end in {expires_s} seconds is past")
    if expires_s * 1000 > settings.max_rule_days * DAY_MS:
        raise LedgerError(
            f"{expires_s / 86_400:.1f} days is too long; a NOC rule lasts at most {settings.max_rule_days} "
            "(ledger.max_rule_days)"
        )
    return tx.now_ms + expires_s * 1000


def _changeable(tx: Transaction, rule_id: str, actor: str, reason: str, version: int | None) -> RuleView:
    requests.accountable(actor, reason)
    rule = rules.changeable(tx, rule_id)
    check(f"rule {rule_id}", rule.version, version)
    return rule


def _from(last: Any) -> State:
    if last is None or last.from_mode is None:
        return _UNMADE
    return State(Standing(last.from_mode), None if last.from_expires_at is None else _ms(last.from_expires_at))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _once_a_night(tx: Transaction, rule: RuleView) -> None:
    """One person enforces the same wide rule alone once a night: again and again would be for ever."""
    c = _requests.c
    same = sa.select(sa.literal("r").concat(_rules.c.id)).where(_rules.c.subject == rule.subject)
    rows = tx.run(
        sa.select(c.body, c.asked_at, c.about).where(
            c.act == ENFORCE, c.about.in_(same), c.asked_at > tx.now_ms - _ALONE_AGAIN_MS, c.state != "approved"
        )
    )
    for body, asked_at, about in rows:
        if '"alone":true' in body:
            at = maybe_time(asked_at)
            assert at is not None
            raise LedgerError(
                f"{about} was enforced alone at {now_text(at)} and not countersigned; one person may do that once in "
                f"{_ALONE_AGAIN_MS // _HOUR_MS} hours: a second person is needed"
            )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise LedgerError(f"{name} {value!r} is not one of {', '.join(known)}")
