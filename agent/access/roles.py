"""Roles as data: one table says who may do what. The guard, the console's page and the tests read it.

Nobody both decides who may come in and acts on numbers: an admin can't reveal or enforce, an operator adds no people.
"""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a person is at the operator."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    ADMIN = "admin"
    LIAISON = "regulator-liaison"


class Permission(StrEnum):
    """One thing that a person may be allowed to do; the value is also a token's scope."""

    SEE = "see"
    PROPOSE = "rules.propose"
    SHADOW = "rules.shadow"
    ENFORCE = "rules.enforce"
    ROLL_BACK = "rules.roll_back"
    REMOVE = "rules.remove"
    COUNTERSIGN_RULES = "rules.countersign"
    DECIDE_ORDERS = "orders.decide"
    LOOK_UP = "numbers.look_up"
    REVEAL = "numbers.reveal"
    COUNTERSIGN_REVEALS = "numbers.countersign"
    CLEAR = "clearances.open"
    COUNTERSIGN_CLEARANCES = "clearances.countersign"
    READ_JOURNAL = "journal.read"
    EXPORT = "journal.export"
    READ_SETTINGS = "settings.read"
    MANAGE_PEOPLE = "people.manage"
    DRAIN = "nodes.drain"
    REBUILD = "store.rebuild"


_P = Permission
_OPERATOR: Final = frozenset(
    {
        *(_P.SEE, _P.PROPOSE, _P.SHADOW, _P.ENFORCE, _P.ROLL_BACK, _P.REMOVE, _P.COUNTERSIGN_RULES),
        *(_P.LOOK_UP, _P.REVEAL, _P.CLEAR, _P.DRAIN),
    }
)

TABLE: Final[dict[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({_P.SEE}),
    Role.OPERATOR: _OPERATOR,
    Role.SUPERVISOR: _OPERATOR
    | {_P.DECIDE_ORDERS, _P.COUNTERSIGN_REVEALS, _P.COUNTERSIGN_CLEARANCES, _P.READ_JOURNAL, _P.READ_SETTINGS},
    Role.AUDITOR: frozenset({_P.SEE, _P.READ_JOURNAL, _P.EXPORT, _P.READ_SETTINGS}),
    Role.ADMIN: frozenset({_P.SEE, _P.READ_JOURNAL, _P.READ_SETTINGS, _P.MANAGE_PEOPLE, _P.DRAIN, _P.REBUILD}),
    Role.LIAISON: frozenset({_P.SEE, _P.LOOK_UP, _P.REVEAL, _P.DECIDE_ORDERS, _P.CLEAR}),
}

EVERYTHING: Final = frozenset(Permission)

_BESIDE_ADMIN: Final = frozenset({Role.ADMIN, Role.VIEWER, Role.AUDITOR})


def check_together(roles: frozenset[Role]) -> None:
    """Raises ValueError for roles that one person may not have at once, or none at all."""
    if not roles:
        raise ValueError("a person has at least one role")
    if Role.ADMIN in roles and not roles <= _BESIDE_ADMIN:
        acting = ", ".join(sorted(roles - _BESIDE_ADMIN))
        raise ValueError(f"an admin can't be {acting} as well: who lets people in does not act on numbers")
