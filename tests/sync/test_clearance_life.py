"""A clearance's every state × event: the cell of the table, or a typed error. And what the whole table promises."""

import pytest

from sync.clearance_life import (
    AWAITING_PROOF,
    MEANING,
    OPEN,
    TABLE,
    UNSETTLED,
    Effect,
    Event,
    State,
    render,
    step,
)
from sync.contract import Confirmation
from sync.contract_docs import DOCS
from sync.life import IllegalEventError

# Written out a second time on purpose: a change of the table has to be meant.
LEGAL = {
    "new": {"review": "review", "ask": "asked"},
    "review": {"ask": "asked", "keep": "kept"},
    "asked": {"approve": "applying", "refuse": "refused", "lapse": "review"},
    "applying": {
        "passes": "lifted", "passes_ours": "closed", "caught": "still_blocked_by", "overtake": "overtaken",
    },
    "still_blocked_by": {
        "passes": "lifted", "passes_ours": "closed", "caught": "still_blocked_by",
        "earlier_receipt": "still_blocked_by", "overtake": "overtaken",
    },
    "lifted": {"receipt": "closed", "earlier_receipt": "lifted", "overtake": "lifted"},
    "closed": {"earlier_receipt": "closed", "overtake": "closed"},
    "kept": {},
    "refused": {},
    "overtaken": {"earlier_receipt": "overtaken"},
}  # fmt: skip


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_cell(state: State, event: Event) -> None:
    expected = LEGAL[state].get(event)
    if expected is None:
        with pytest.raises(IllegalEventError, match=f"that is {state} can't take the event {event}"):
            step(state, event)
    else:
        assert step(state, event)[0] == expected


def test_nothing_is_lifted_without_a_second_person() -> None:
    for state, row in TABLE.items():
        for event, (_, done) in row.items():
            assert (Effect.LIFT in done) == ((state, event) == (State.ASKED, Event.APPROVE))
    # Without an approval no way leads to a state in which the number may pass.
    reached, before = {State.NEW}, set[State]()
    while reached != before:
        before = set(reached)
        reached |= {
            after for state in before for event, (after, _) in TABLE[state].items() if event is not Event.APPROVE
        }
    assert reached == {State.NEW, State.REVIEW, State.ASKED, State.KEPT, State.REFUSED}


def test_what_is_confirmed_has_a_status_of_the_contract() -> None:
    told = {after for row in TABLE.values() for after, done in row.values() if Effect.CONFIRM in done}
    statuses = set(Confirmation.model_fields["status"].annotation.__args__)  # type: ignore[union-attr]
    assert told == {State.LIFTED, State.STILL_BLOCKED_BY} and told <= statuses


def test_the_groups_of_states() -> None:
    assert {state for state, row in TABLE.items() if Event.PASSES in row} == AWAITING_PROOF
    assert AWAITING_PROOF < UNSETTLED < OPEN
    assert not OPEN & {State.CLOSED, State.KEPT, State.REFUSED, State.OVERTAKEN}
    assert set(TABLE) == set(State) == set(MEANING)


def test_the_page_is_the_table() -> None:
    assert (DOCS / "clearance-life.md").read_text(encoding="utf-8") == render()
