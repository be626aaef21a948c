"""The life of a clearance as a table: state × event -> next state and effects.

A clearance is a number that may be blocked wrongly, from the question to the proof that it passes. The ledger, the
tests, the console and docs/clearance-life.md read this one table; an event that is not in a state's row raises.
"""

from enum import StrEnum
from typing import Final

from sync.life import Life


class State(StrEnum):
    """Where a clearance stands. NEW is the moment before its first commit; it is never stored."""

    NEW = "new"
    REVIEW = "review"
    ASKED = "asked"
    APPLYING = "applying"
    STILL_BLOCKED_BY = "still_blocked_by"
    LIFTED = "lifted"
    CLOSED = "closed"
    KEPT = "kept"
    REFUSED = "refused"
    OVERTAKEN = "overtaken"


class Event(StrEnum):
    """What happens to a clearance; `render` says what each one is."""

    REVIEW = "review"
    ASK = "ask"
    APPROVE = "approve"
    REFUSE = "refuse"
    LAPSE = "lapse"
    KEEP = "keep"
    PASSES = "passes"
    PASSES_OURS = "passes_ours"
    CAUGHT = "caught"
    RECEIPT = "receipt"
    EARLIER_RECEIPT = "earlier_receipt"
    OVERTAKE = "overtake"


class Effect(StrEnum):
    """What the ledger does with the change of state, in the same transaction."""

    REQUEST = "request"
    """Ask a second person."""
    LIFT = "lift"
    """End the rules on exactly this number, make the exception, publish."""
    CONFIRM = "confirm"
    """Queue a confirmation with the new state as its status, for each order whose block was lifted."""


_S, _E, _F = State, Event, Effect
_NOTHING: frozenset[Effect] = frozenset()
_ASKED = frozenset({_F.REQUEST})
_DONE = frozenset({_F.LIFT})
_TOLD = frozenset({_F.CONFIRM})

OPEN: Final = frozenset({_S.REVIEW, _S.ASKED, _S.APPLYING, _S.STILL_BLOCKED_BY, _S.LIFTED})
"""Somebody still waits for something."""

UNSETTLED: Final = frozenset({_S.REVIEW, _S.ASKED, _S.APPLYING, _S.STILL_BLOCKED_BY})
"""The number does not pass yet, and it is not decided that it shall not: the deadline runs."""

AWAITING_PROOF: Final = frozenset({_S.APPLYING, _S.STILL_BLOCKED_BY})
"""Synthetic requests are still put to the nodes."""

TABLE: Final[dict[State, dict[Event, tuple[State, frozenset[Effect]]]]] = {
    _S.NEW: {
        _E.REVIEW: (_S.REVIEW, _NOTHING),
        _E.ASK: (_S.ASKED, _ASKED),
    },
    _S.REVIEW: {
        _E.ASK: (_S.ASKED, _ASKED),
        _E.KEEP: (_S.KEPT, _NOTHING),
    },
    _S.ASKED: {
        _E.APPROVE: (_S.APPLYING, _DONE),
        _E.REFUSE: (_S.REFUSED, _NOTHING),
        _E.LAPSE: (_S.REVIEW, _NOTHING),
    },
    _S.APPLYING: {
        _E.PASSES: (_S.LIFTED, _TOLD),
        _E.PASSES_OURS: (_S.CLOSED, _NOTHING),
        _E.CAUGHT: (_S.STILL_BLOCKED_BY, _TOLD),
        _E.OVERTAKE: (_S.OVERTAKEN, _NOTHING),
    },
    _S.STILL_BLOCKED_BY: {
        _E.PASSES: (_S.LIFTED, _TOLD),
        _E.PASSES_OURS: (_S.CLOSED, _NOTHING),
        _E.CAUGHT: (_S.STILL_BLOCKED_BY, _NOTHING),
        _E.EARLIER_RECEIPT: (_S.STILL_BLOCKED_BY, _NOTHING),
        _E.OVERTAKE: (_S.OVERTAKEN, _NOTHING),
    },
    _S.LIFTED: {
        _E.RECEIPT: (_S.CLOSED, _NOTHING),
        _E.EARLIER_RECEIPT: (_S.LIFTED, _NOTHING),
        _E.OVERTAKE: (_S.LIFTED, _NOTHING),
    },
    _S.CLOSED: {
        _E.EARLIER_RECEIPT: (_S.CLOSED, _NOTHING),
        _E.OVERTAKE: (_S.CLOSED, _NOTHING),
    },
    _S.KEPT: {},
    _S.REFUSED: {},
    _S.OVERTAKEN: {
        _E.EARLIER_RECEIPT: (_S.OVERTAKEN, _NOTHING),
    },
}

_LIFE: Final = Life("a clearance", Event, TABLE)
step: Final = _LIFE.step


def render() -> str:
    """The table as a Markdown page: what each state is, one row for each legal cell, and what each event means."""
    lines = [
        "# The life of a clearance",
        "",
        "Written from `sync/clearance_life.py`. What is not in the table can't happen. `new` is the moment before the",
        "first commit. The deadline runs while a clearance is in " + _listed(UNSETTLED) + ".",
        "",
        "| state | what it is |",
        "|---|---|",
    ]
    lines += [f"| {state} | {MEANING[state]} |" for state in State if state is not State.NEW]
    lines += ["", *_LIFE.render(_HAPPENS)]
    return "\n".join(lines) + "\n"


def _listed(states: frozenset[State]) -> str:
    return ", ".join(f"`{state}`" for state in State if state in states)


MEANING: Final = {
    State.NEW: "not yet in the ledger",
    State.REVIEW: "somebody has to decide: ask for the lift, with reference and document, or keep the block",
    State.ASKED: "the lift waits for a second person",
    State.APPLYING: "approved and published; the nodes have not proved yet that the number passes",
    State.STILL_BLOCKED_BY: "approved, but another rule still catches the number",
    State.LIFTED: "proved; the confirmation waits for the regulator's receipt",
    State.CLOSED: "the number passes and whoever had to be told has acknowledged it",
    State.KEPT: "reviewed; the block stays, for a reason that is on record",
    State.REFUSED: "the second person refused the lift; the block stays",
    State.OVERTAKEN: "a later order of the regulator blocked the number again before it was proved to pass",
}

_HAPPENS: Final = {
    Event.REVIEW: "the number was given to a new subscriber while it is blocked",
    Event.ASK: "a person asks for the lift, with clarification reference and the document's hash",
    Event.APPROVE: "a second person approves",
    Event.REFUSE: "a second person refuses",
    Event.LAPSE: "no second person came in time, or who asked took it back",
    Event.KEEP: "a person decides that the block stays",
    Event.PASSES: "each expected node proved that the number passes, and an order's block was lifted",
    Event.PASSES_OURS: "likewise, but only rules of the NOC were lifted: the regulator has nothing to be told",
    Event.CAUGHT: "another rule still catches the number",
    Event.RECEIPT: "the last receipt for the confirmations of the state that the clearance is in",
    Event.EARLIER_RECEIPT: "any other receipt for a confirmation of this clearance",
    Event.OVERTAKE: "an order with a higher serial blocks the number again",
}
