"""Every state × event: the cell of the table, or a typed error. And what the table as a whole promises."""

import pytest

from sync.contract import Confirmation
from sync.contract_docs import DOCS
from sync.life import IllegalEventError
from sync.order_life import AWAITING_PROOF, OPEN, TABLE, Effect, Event, State, render, step

# Written out a second time on purpose: a change of the table has to be meant.
LEGAL = {
    "new": {"apply": "applying", "hold": "held", "refuse": "refused", "supersede": "refused"},
    "held": {
        "apply": "applying", "refuse": "refused", "receipt": "held", "earlier_receipt": "held",
        "supersede": "refused", "end": "expired",
    },
    "applying": {
        "apply": "applying", "refuse_rest": "applying", "proved": "in_force", "proved_partly": "in_force_partial",
        "passes": "lifted", "caught": "still_blocked_by", "earlier_receipt": "applying", "supersede": "refused",
        "end": "expired", "clear": "cleared",
    },
    "in_force": {
        "receipt": "closed", "earlier_receipt": "in_force", "supersede": "in_force", "end": "expired",
        "clear": "cleared",
    },
    "in_force_partial": {
        "apply": "applying", "refuse_rest": "in_force_partial", "proved": "in_force",
        "proved_partly": "in_force_partial", "receipt": "in_force_partial", "earlier_receipt": "in_force_partial",
        "supersede": "refused", "end": "expired", "clear": "cleared",
    },
    "lifted": {"receipt": "closed", "earlier_receipt": "lifted", "supersede": "lifted"},
    "still_blocked_by": {
        "passes": "lifted", "caught": "still_blocked_by", "receipt": "still_blocked_by",
        "earlier_receipt": "still_blocked_by", "supersede": "refused",
    },
    "refused": {"receipt": "refused", "earlier_receipt": "refused", "supersede": "refused"},
    "closed": {"earlier_receipt": "closed", "supersede": "closed", "end": "expired", "clear": "cleared"},
    "expired": {"receipt": "expired", "earlier_receipt": "expired", "supersede": "expired"},
    "cleared": {"receipt": "cleared", "earlier_receipt": "cleared"},
}  # fmt: skip


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_cell(state: State, event: Event) -> None:
    expected = LEGAL[state].get(event)
    if expected is None:
        with pytest.raises(IllegalEventError, match=f"{state} can't take the event {event}") as caught:
            step(state, event)
        assert (caught.value.state, caught.value.event) == (state, event)
        return
    after, effects = step(state, event)
    assert after == expected
    assert (Effect.RECORD in effects) == (event in (Event.RECEIPT, Event.EARLIER_RECEIPT))
    if Effect.CONFIRM in effects:
        assert after is not state
        assert after in Confirmation.model_fields["status"].annotation.__args__  # type: ignore[union-attr]


def test_only_a_receipt_closes() -> None:
    closing = {(state, event) for state, row in TABLE.items() for event, (after, _) in row.items() if after == "closed"}
    entering = {(state, event) for state, event in closing if state != "closed"}
    assert entering == {(State.IN_FORCE, Event.RECEIPT), (State.LIFTED, Event.RECEIPT)}


def test_only_proof_confirms_what_is_in_force() -> None:
    for state, row in TABLE.items():
        for event, (after, _) in row.items():
            if after is not state and after in (State.IN_FORCE, State.IN_FORCE_PARTIAL, State.LIFTED):
                assert event in (Event.PROVED, Event.PROVED_PARTLY, Event.PASSES)


def test_every_open_state_can_end_and_final_ones_stay() -> None:
    reached = {state: {after for after, _ in row.values()} - {state} for state, row in TABLE.items()}
    for state in State:
        assert bool(reached[state]) == (state not in (State.REFUSED, State.EXPIRED, State.CLEARED)), state
    assert OPEN | {State.NEW, State.REFUSED, State.CLOSED, State.EXPIRED, State.CLEARED} == set(State)
    assert AWAITING_PROOF < OPEN


def test_every_change_that_the_regulator_must_know_is_confirmed() -> None:
    for state, row in TABLE.items():
        for after, effects in row.values():
            # The clearance that clears an order has a confirmation of its own (test_clearance_life.py).
            if after is not state and after not in (State.APPLYING, State.CLOSED, State.CLEARED):
                assert Effect.CONFIRM in effects, (state, after)


def test_the_page_is_current_and_whole() -> None:
    page = render()
    assert (DOCS / "order-life.md").read_text(encoding="utf-8") == page
    assert sum(line.startswith("| ") for line in page.splitlines()) == sum(map(len, TABLE.values())) + len(Event) + 2
