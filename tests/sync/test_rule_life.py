"""Every standing × step: the cell of the table, or a refusal that says why. And where a roll back leads."""

import pytest

from agent.reference import ROOT
from sync.rule_life import CAUSES, ENDS, TABLE, IllegalStepError, Standing, State, Step, before, render, step

# Written out a second time on purpose: a change of the table has to be meant.
LEGAL = {
    "new": {"propose": "disabled"},
    "disabled": {
        "shadow": "shadow", "enforce": "enforce", "countersign": "enforce", "expire": "ended", "remove": "ended",
    },
    "shadow": {
        "enforce": "enforce", "countersign": "enforce", "disable": "disabled", "renew": "shadow", "expire": "ended",
        "remove": "ended",
    },
    "enforce": {
        "shadow": "shadow", "countersign": "enforce", "disable": "disabled", "renew": "enforce", "expire": "shadow",
        "lapse": "shadow", "brake": "shadow", "remove": "ended",
    },
    "ended": {},
}  # fmt: skip
HOUR, WEEK, NOW = 3_600_000, 7 * 86_400_000, 1_000_000_000_000


@pytest.mark.parametrize("taken", Step)
@pytest.mark.parametrize("standing", Standing)
def test_every_cell(standing: Standing, taken: Step) -> None:
    expected = LEGAL[standing].get(taken)
    if expected is None:
        with pytest.raises(IllegalStepError) as caught:
            step(standing, taken)
        assert (caught.value.standing, caught.value.step) == (standing, taken)
        assert str(caught.value)
    else:
        assert step(standing, taken) == expected


def test_nothing_but_a_person_brings_a_rule_into_force() -> None:
    by_itself = {Step.EXPIRE, Step.LAPSE, Step.BRAKE}
    into = {taken for row in TABLE.values() for taken, after in row.items() if after is Standing.ENFORCE}
    assert into == {Step.ENFORCE, Step.COUNTERSIGN, Step.RENEW} and not into & by_itself
    for taken in by_itself:
        assert TABLE[Standing.ENFORCE][taken] is Standing.SHADOW


def test_each_step_has_a_cause_and_an_end() -> None:
    assert set(CAUSES) == set(Step) and set(ENDS) == set(Step) - {Step.ROLL_BACK}
    words = {"propose", "person", "countersign", "expiry", "brake", "lapse", "roll_back", "remove"}
    assert set(CAUSES.values()) == words


@pytest.mark.parametrize(
    ("was", "now", "then"),
    [
        (("disabled", None), ("enforce", NOW + WEEK), ("disabled", None)),
        (("shadow", NOW + HOUR), ("enforce", NOW + WEEK), ("shadow", NOW + HOUR)),
        (("enforce", NOW + HOUR), ("enforce", NOW + WEEK), ("enforce", NOW + HOUR)),
        (("enforce", NOW + HOUR), ("disabled", NOW + HOUR), ("enforce", NOW + HOUR)),
        # just made: disabled, whatever it became by that step
        (("new", None), ("enforce", NOW + HOUR), ("disabled", NOW + HOUR)),
        (("new", None), ("disabled", NOW + HOUR), None),
        # past: an enforcement is what comes after one, anything else gets a new week
        (("enforce", NOW), ("enforce", NOW + WEEK), ("shadow", NOW + WEEK)),
        (("enforce", NOW - 1), ("shadow", NOW + WEEK), None),
        (("enforce", NOW), ("disabled", NOW + 1), ("shadow", NOW + WEEK)),
        (("shadow", NOW - HOUR), ("enforce", NOW + HOUR), ("shadow", NOW + WEEK)),
        (("disabled", NOW - HOUR), ("enforce", NOW + HOUR), ("disabled", NOW + WEEK)),
    ],
)
def test_where_a_roll_back_leads(
    was: tuple[str, int | None], now: tuple[str, int | None], then: tuple[str, int | None] | None
) -> None:
    found = before(State(Standing(was[0]), was[1]), State(Standing(now[0]), now[1]), NOW, WEEK)
    assert found == (None if then is None else State(Standing(then[0]), then[1]))


def test_the_page_is_current_and_whole() -> None:
    page = render()
    assert (ROOT / "docs" / "rule-life.md").read_text(encoding="utf-8") == page
    assert sum(line.startswith("| ") for line in page.splitlines()) == sum(map(len, TABLE.values())) + len(Step) + 2
