"""The life of an order as a table: state × event -> next state and effects.

The ledger, the tests, the console and docs/order-life.md read this one table. An event that is not in a state's row
is illegal there and raises. Effects are done by the ledger in the transaction that stores the state.
"""

from enum import StrEnum
from typing import Final

from sync.life import Life


class State(StrEnum):
    """Where an order stands. NEW is the moment before its first commit; it is never stored."""

    NEW = "new"
    HELD = "held"
    APPLYING = "applying"
    IN_FORCE = "in_force"
    IN_FORCE_PARTIAL = "in_force_partial"
    LIFTED = "lifted"
    STILL_BLOCKED_BY = "still_blocked_by"
    REFUSED = "refused"
    CLOSED = "closed"
    EXPIRED = "expired"
    CLEARED = "cleared"


class Event(StrEnum):
    """What happens to an order; `render` says what each one is."""

    APPLY = "apply"
    HOLD = "hold"
    REFUSE = "refuse"
    REFUSE_REST = "refuse_rest"
    PROVED = "proved"
    PROVED_PARTLY = "proved_partly"
    PASSES = "passes"
    CAUGHT = "caught"
    RECEIPT = "receipt"
    EARLIER_RECEIPT = "earlier_receipt"
    SUPERSEDE = "supersede"
    END = "end"
    CLEAR = "clear"


class Effect(StrEnum):
    """What the ledger does with the change of state, in the same transaction."""

    PUBLISH = "publish"
    """Change the rules and publish a new revision."""
    CONFIRM = "confirm"
    """Queue a confirmation with the new state as its status."""
    RECORD = "record"
    """Keep the receipt: the confirmation is not sent again."""


OPEN: Final = frozenset(
    {State.HELD, State.APPLYING, State.IN_FORCE, State.IN_FORCE_PARTIAL, State.LIFTED, State.STILL_BLOCKED_BY}
)
"""The regulator still waits for something."""

AWAITING_PROOF: Final = frozenset({State.APPLYING, State.IN_FORCE_PARTIAL, State.STILL_BLOCKED_BY})
"""Synthetic requests are still put to the nodes."""

_S, _E, _F = State, Event, Effect
_KEPT = frozenset({_F.RECORD})
_TOLD = frozenset({_F.CONFIRM})
_DONE = frozenset({_F.PUBLISH})
_DONE_TOLD = frozenset({_F.PUBLISH, _F.CONFIRM})
_NOTHING: frozenset[Effect] = frozenset()

TABLE: Final[dict[State, dict[Event, tuple[State, frozenset[Effect]]]]] = {
    _S.NEW: {
        _E.APPLY: (_S.APPLYING, _DONE),
        _E.HOLD: (_S.HELD, _TOLD),
        _E.REFUSE: (_S.REFUSED, _TOLD),
        _E.SUPERSEDE: (_S.REFUSED, _TOLD),
    },
    _S.HELD: {
        _E.APPLY: (_S.APPLYING, _DONE),
        _E.REFUSE: (_S.REFUSED, _TOLD),
        _E.RECEIPT: (_S.HELD, _KEPT),
        _E.EARLIER_RECEIPT: (_S.HELD, _KEPT),
        _E.SUPERSEDE: (_S.REFUSED, _TOLD),
        _E.END: (_S.EXPIRED, _TOLD),
    },
    _S.APPLYING: {
        _E.APPLY: (_S.APPLYING, _DONE),
        _E.REFUSE_REST: (_S.APPLYING, _NOTHING),
        _E.PROVED: (_S.IN_FORCE, _TOLD),
        _E.PROVED_PARTLY: (_S.IN_FORCE_PARTIAL, _TOLD),
        _E.PASSES: (_S.LIFTED, _TOLD),
        _E.CAUGHT: (_S.STILL_BLOCKED_BY, _TOLD),
        _E.EARLIER_RECEIPT: (_S.APPLYING, _KEPT),
        _E.SUPERSEDE: (_S.REFUSED, _TOLD),
        _E.END: (_S.EXPIRED, _DONE_TOLD),
        _E.CLEAR: (_S.CLEARED, _DONE),
    },
    _S.IN_FORCE: {
        _E.RECEIPT: (_S.CLOSED, _KEPT),
        _E.EARLIER_RECEIPT: (_S.IN_FORCE, _KEPT),
        _E.SUPERSEDE: (_S.IN_FORCE, _NOTHING),
        _E.END: (_S.EXPIRED, _DONE_TOLD),
        _E.CLEAR: (_S.CLEARED, _DONE),
    },
    _S.IN_FORCE_PARTIAL: {
        _E.APPLY: (_S.APPLYING, _DONE),
        _E.REFUSE_REST: (_S.IN_FORCE_PARTIAL, _NOTHING),
        _E.PROVED: (_S.IN_FORCE, _TOLD),
        _E.PROVED_PARTLY: (_S.IN_FORCE_PARTIAL, _NOTHING),
        _E.RECEIPT: (_S.IN_FORCE_PARTIAL, _KEPT),
        _E.EARLIER_RECEIPT: (_S.IN_FORCE_PARTIAL, _KEPT),
        _E.SUPERSEDE: (_S.REFUSED, _TOLD),
        _E.END: (_S.EXPIRED, _DONE_TOLD),
        _E.CLEAR: (_S.CLEARED, _DONE),
    },
    _S.LIFTED: {
        _E.RECEIPT: (_S.CLOSED, _KEPT),
        _E.EARLIER_RECEIPT: (_S.LIFTED, _KEPT),
        _E.SUPERSEDE: (_S.LIFTED, _NOTHING),
    },
    _S.STILL_BLOCKED_BY: {
        _E.PASSES: (_S.LIFTED, _TOLD),
        _E.CAUGHT: (_S.STILL_BLOCKED_BY, _NOTHING),
        _E.RECEIPT: (_S.STILL_BLOCKED_BY, _KEPT),
        _E.EARLIER_RECEIPT: (_S.STILL_BLOCKED_BY, _KEPT),
        _E.SUPERSEDE: (_S.REFUSED, _TOLD),
    },
    _S.REFUSED: {
        _E.RECEIPT: (_S.REFUSED, _KEPT),
        _E.EARLIER_RECEIPT: (_S.REFUSED, _KEPT),
        _E.SUPERSEDE: (_S.REFUSED, _NOTHING),
    },
    _S.CLOSED: {
        _E.EARLIER_RECEIPT: (_S.CLOSED, _KEPT),
        _E.SUPERSEDE: (_S.CLOSED, _NOTHING),
        _E.END: (_S.EXPIRED, _DONE_TOLD),
        _E.CLEAR: (_S.CLEARED, _DONE),
    },
    _S.EXPIRED: {
        _E.RECEIPT: (_S.EXPIRED, _KEPT),
        _E.EARLIER_RECEIPT: (_S.EXPIRED, _KEPT),
        _E.SUPERSEDE: (_S.EXPIRED, _NOTHING),
    },
    _S.CLEARED: {
        _E.RECEIPT: (_S.CLEARED, _KEPT),
        _E.EARLIER_RECEIPT: (_S.CLEARED, _KEPT),
    },
}

_LIFE: Final = Life("an order", Event, TABLE)
step: Final = _LIFE.step


def render() -> str:
    """The table as a Markdown page: one row for each legal cell, and what each event means."""
    lines = [
        "# The life of an order",
        "",
        "Written from `sync/order_life.py`. What is not in the table can't happen. `new` is the moment before the",
        "first commit; `refused`, `expired` and `cleared` are final, `closed` unless the order itself has an end or a",
        "clearance (clearance-life.md) lifts what it blocks; the clearance has confirmations of its own.",
        "",
        *_LIFE.render(_MEANING),
    ]
    return "\n".join(lines) + "\n"


_MEANING: Final = {
    Event.APPLY: "the gate lets at least one subject through, or a person approved what was held",
    Event.HOLD: "the gate holds all that it does not refuse",
    Event.REFUSE: "the gate refuses every subject, or a person refuses the held order",
    Event.REFUSE_REST: "a person refuses the held subjects of an order whose others were applied",
    Event.PROVED: "each expected node proved each subject of a block",
    Event.PROVED_PARTLY: "a node or a held subject is missing, and a quarter of the deadline is left",
    Event.PASSES: "each expected node proved that the subjects of an unblock pass",
    Event.CAUGHT: "another rule still catches a subject of an unblock",
    Event.RECEIPT: "the receipt for the confirmation of the state that the order is in",
    Event.EARLIER_RECEIPT: "the receipt for a confirmation that a later one has replaced",
    Event.SUPERSEDE: "an opposite order with a higher serial rules every subject",
    Event.END: "the time that the order itself set has come",
    Event.CLEAR: "a clearance lifted the last of its blocks: two people at the operator, after a clarification",
}
