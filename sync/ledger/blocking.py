"""What stops a number's calls, and what would lift it: a lift, an exception, or only the regulator."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from sync import schema
from sync.ledger import rules
from sync.ledger.store import LedgerError
from sync.ledger.transaction import Transaction, chunks
from sync.ledger.views import Blocking, Remedy, RuleView

_rules = schema.rules


def of(touching: Iterable[RuleView]) -> tuple[Blocking, ...]:
    """Which of the rules that touch a number stop its calls, and what would lift each, the longest subject first."""
    found = [rule for rule in touching if rule.mode == "enforce"]
    allowed = [rule for rule in found if rule.action == "allow" and rule.kinds == "both" and not rule.trunks]
    return tuple(
        Blocking(rule, _remedy(rule))
        for rule in found
        if rule.action == "reject"
        and (rule.authority == "order" or not any(_wins(exception, rule) for exception in allowed))
    )


def blocked(tx: Transaction, numbers: Sequence[str]) -> list[str]:
    """Those of the numbers that an enforced rule refuses, in few questions to the ledger."""
    families = {number: [number, *(f"{number[:width]}*" for width in range(3, len(number)))] for number in numbers}
    c = _rules.c
    live = (c.ended_at.is_(None), c.mode == "enforce")
    named = {
        subject
        for some in chunks(dict.fromkeys(subject for family in families.values() for subject in family))
        for (subject,) in tx.run(sa.select(c.subject).where(c.subject.in_(some), *live, c.action == "reject"))
    }
    return [
        number
        for number, family in families.items()
        if not named.isdisjoint(family) and of(rules.touching(tx.connection, number))
    ]


def check_liftable(tx: Transaction, subject: str) -> None:
    """Raises LedgerError when there is nothing on a number that a lift could end."""
    found = of(rules.touching(tx.connection, subject))
    if not found:
        raise LedgerError("nothing blocks this number; explain tells how it is read and what touches it")
    if all(each.remedy == "regulator" for each in found):
        orders = ", ".join(f"{each.rule.order} on {each.rule.subject}" for each in found)
        raise LedgerError(f"only the regulator can lift what catches this number: the prefix of order {orders}")


def _wins(allow: RuleView, reject: RuleView) -> bool:
    """An allow rule of the NOC is an exception from its rules on shorter subjects."""
    return len(allow.subject.strip("+*")) > len(reject.subject.strip("+*"))


def _remedy(rule: RuleView) -> Remedy:
    if not rule.subject.endswith("*"):
        return "lift"
    return "regulator" if rule.authority == "order" else "exception"
