"""The life of a NOC rule as a table: where it stands × step -> where it stands then, and which end it gets.

The ledger, the tests and docs/rule-life.md read this one table. A step that is not in a row is refused there, with a
line that says why. Roll back is no row: it returns a rule to where it stood before its last step (`before`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Standing(StrEnum):
    """Where a rule stands. NEW is the moment before it is made; what has ended stays so."""

    NEW = "new"
    DISABLED = "disabled"
    SHADOW = "shadow"
    ENFORCE = "enforce"
    ENDED = "ended"


class Step(StrEnum):
    """What happens to a rule; `render` says what each one is."""

    PROPOSE = "propose"
    SHADOW = "shadow"
    ENFORCE = "enforce"
    COUNTERSIGN = "countersign"
    DISABLE = "disable"
    RENEW = "renew"
    EXPIRE = "expire"
    LAPSE = "lapse"
    BRAKE = "brake"
    REMOVE = "remove"
    ROLL_BACK = "roll_back"


class End(StrEnum):
    """Which end a rule has after a step."""

    WISHED = "wished"
    """The one that was asked for, else the default of the settings."""
    KEPT = "kept"
    """The one that it had."""
    AFTER_SHADOW = "after_shadow"
    """The default time in shadow from now on (ledger.shadow_days)."""


class IllegalStepError(Exception):
    """The step can't happen to a rule that stands so. Its text says why, and what can be done instead."""

    def __init__(self, standing: Standing, step: Step) -> None:
        super().__init__(_INSTEAD.get((standing, step), f"a rule that is {standing} can't take the step {step}"))
        self.standing = standing
        self.step = step


_S, _P = Standing, Step
_FROM_ANY: Final = {_P.REMOVE: _S.ENDED}

TABLE: Final[dict[Standing, dict[Step, Standing]]] = {
    _S.NEW: {_P.PROPOSE: _S.DISABLED},
    _S.DISABLED: {
        _P.SHADOW: _S.SHADOW,
        _P.ENFORCE: _S.ENFORCE,
        _P.COUNTERSIGN: _S.ENFORCE,
        _P.EXPIRE: _S.ENDED,
        **_FROM_ANY,
    },
    _S.SHADOW: {
        _P.ENFORCE: _S.ENFORCE,
        _P.COUNTERSIGN: _S.ENFORCE,
        _P.DISABLE: _S.DISABLED,
        _P.RENEW: _S.SHADOW,
        _P.EXPIRE: _S.ENDED,
        **_FROM_ANY,
    },
    _S.ENFORCE: {
        _P.SHADOW: _S.SHADOW,
        _P.COUNTERSIGN: _S.ENFORCE,
        _P.DISABLE: _S.DISABLED,
        _P.RENEW: _S.ENFORCE,
        _P.EXPIRE: _S.SHADOW,
        _P.LAPSE: _S.SHADOW,
        _P.BRAKE: _S.SHADOW,
        **_FROM_ANY,
    },
    _S.ENDED: {},
}

ENDS: Final[dict[Step, End]] = {
    _P.PROPOSE: End.WISHED,
    _P.SHADOW: End.WISHED,
    _P.ENFORCE: End.WISHED,
    _P.COUNTERSIGN: End.WISHED,
    _P.DISABLE: End.KEPT,
    _P.RENEW: End.WISHED,
    _P.EXPIRE: End.AFTER_SHADOW,
    _P.LAPSE: End.AFTER_SHADOW,
    _P.BRAKE: End.AFTER_SHADOW,
    _P.REMOVE: End.KEPT,
}

CAUSES: Final[dict[Step, str]] = {
    _P.PROPOSE: "propose",
    _P.SHADOW: "person",
    _P.ENFORCE: "person",
    _P.COUNTERSIGN: "countersign",
    _P.DISABLE: "person",
    _P.RENEW: "person",
    _P.EXPIRE: "expiry",
    _P.LAPSE: "lapse",
    _P.BRAKE: "brake",
    _P.REMOVE: "remove",
    _P.ROLL_BACK: "roll_back",
}
"""What a transition's record names as its cause."""


def step(standing: Standing, taken: Step) -> Standing:
    """Where the rule stands then. Raises IllegalStepError where the table has no such cell."""
    try:
        return TABLE[standing][taken]
    except KeyError:
        raise IllegalStepError(standing, taken) from None


@dataclass(frozen=True)
class State:
    """What roll back returns to: where a rule stood and when that was to end (milliseconds)."""

    standing: Standing
    ends_ms: int | None


def before(last_from: State, now: State, now_ms: int, shadow_ms: int) -> State | None:
    """The state that a roll back returns a rule to; `last_from` is what it was before its last step.

    A rule that was made by its last step goes back to disabled. Of an enforcement whose own time is past, what came
    after it is left: shadow. None: that is how the rule stands already.
    """
    standing, ends = last_from.standing, last_from.ends_ms
    if standing is Standing.NEW:
        standing, ends = Standing.DISABLED, now.ends_ms
    if ends is not None and ends <= now_ms:
        standing = Standing.SHADOW if standing is Standing.ENFORCE else standing
        if standing is now.standing:
            return None
        ends = now_ms + shadow_ms
    found = State(standing, ends)
    return None if found == now else found


def render() -> str:
    """The table as a Markdown page: one row for each legal cell, and what each step means."""
    lines = [
        "# The life of a NOC rule",
        "",
        "Written from `sync/rule_life.py`. What is not in the table is refused. `roll_back` returns a rule that has",
        "not ended to where it stood before its last step, with the end that it had; it is a step itself, so a second",
        "one undoes the first.",
        "",
        "| the rule is | step | then it is | its end |",
        "|---|---|---|---|",
    ]
    for standing, row in TABLE.items():
        for taken, after in row.items():
            end = "" if after is Standing.ENDED else _END_TEXT[ENDS[taken]]
            lines.append(f"| {standing} | {taken} | {after} | {end} |")
    lines += ["", "| step | what it is |", "|---|---|"]
    lines += [f"| {taken} | {_MEANING[taken]} |" for taken in Step]
    return "\n".join(lines) + "\n"


_END_TEXT: Final = {
    End.WISHED: "as asked for, else the default",
    End.KEPT: "as before",
    End.AFTER_SHADOW: "`ledger.shadow_days` from then on",
}

_MEANING: Final = {
    Step.PROPOSE: "somebody at the NOC, or the regulator's advice, proposes the rule",
    Step.SHADOW: "a person has it counted and nothing else",
    Step.ENFORCE: "a person enforces it; one that is wide needs a second person, or at night is for an hour",
    Step.COUNTERSIGN: "a second person approves what the first asked for",
    Step.DISABLE: "a person switches it off and keeps it",
    Step.RENEW: "a person gives it a new end; a wide rule that is enforced needs a second person for that too",
    Step.EXPIRE: "its time has come",
    Step.LAPSE: "one person enforced a wide rule alone, and nobody countersigned it in time",
    Step.BRAKE: "it stopped far more than its preview promised",
    Step.REMOVE: "a person ends it for good",
    Step.ROLL_BACK: "a person takes its last step back",
}

_INSTEAD: Final = {
    (Standing.SHADOW, Step.SHADOW): "it is in shadow already; renew gives it a new end",
    (Standing.ENFORCE, Step.ENFORCE): "it is enforced already; renew gives it a new end",
    (Standing.DISABLED, Step.DISABLE): "it is disabled already",
    (Standing.DISABLED, Step.RENEW): "it is disabled; shadow or enforce it, which gives it a new end",
    (Standing.DISABLED, Step.BRAKE): "it is not enforced",
    (Standing.SHADOW, Step.BRAKE): "it is not enforced",
}
