"""Steps of NOC rules in the ledger: what each leaves, what roll back returns, and that no order is ever touched."""

from datetime import timedelta
from pathlib import Path

import pytest

from sync.ledger import ChangedMeanwhileError, LedgerError, RuleView
from tests.sync.house import NOON, World, advisory, order

WIDE = ("+77* has 2 digits; up to 3 a rule is wide (width.digits)",)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite")


def now(world: World, rule: str = "r1") -> tuple[object, ...]:
    found = world.ledger.rule(rule)
    return (found.mode, found.expires_at, found.version)


def enforce(world: World, rule: str = "r1", *, alone: bool = False, by: str = "sri", **more: object) -> RuleView:
    return world.ledger.enforce_rule(
        rule, by, "wave", world.now, alone_minutes=60 if alone else None, **more  # type: ignore[arg-type]
    ).record  # fmt: skip


# --- four steps and back


def test_a_proposal_does_nothing_and_counts_its_version(world: World) -> None:
    rule = world.rule("+77", mode="disabled", trunks=("b", "a"), kinds="call")
    assert (rule.mode, rule.version, rule.trunks, rule.since) == ("disabled", 1, ("a", "b"), None)
    assert rule.expires_at == NOON + WEEK and world.lines() == [] and world.ledger.head().n == 0
    (record,) = world.ledger.journal()
    assert record.kind == "rule.propose" and record.body["subject"] == "+77*"
    (step,) = world.ledger.transitions("r1")
    assert (step.from_mode, step.to_mode, step.cause, step.actor) == (None, "disabled", "propose", "budi")


def test_each_step_gives_the_end_that_was_asked_for_or_the_default(world: World) -> None:
    world.rule("+77", mode="disabled")
    world.pass_time(hours=1)
    assert world.ledger.shadow_rule("r1", "sri", "look", world.now).expires_at == world.now + WEEK
    assert enforce(world, expires_s=3 * 86_400).expires_at == world.now + 3 * DAY
    world.pass_time(hours=1)
    assert enforce(world, expires_s=30 * 86_400).expires_at == world.now + 30 * DAY  # renewed
    assert world.ledger.disable_rule("r1", "sri", "off", world.now).expires_at == world.now + 30 * DAY
    assert world.ledger.shadow_rule("r1", "sri", "look", world.now, expires_s=3_600).expires_at == world.now + HOUR
    assert world.ledger.renew_rule("r1", "sri", "longer", world.now).expires_at == world.now + WEEK
    assert world.ledger.rule("r1").version == 7 == len(world.ledger.transitions("r1"))
    world.check()


def test_the_end_of_a_renewed_rule_reaches_the_list(world: World) -> None:
    world.rule("+77", expires=HOUR)
    world.pass_time(minutes=30)
    enforce(world, expires_s=7_200)
    until = int((world.now + 2 * HOUR).timestamp())
    assert world.lines() == [f"+77*\tnoc reject enforce both until={until}"]
    assert world.ledger.rule("r1").since == "1.1"  # carried in this mode since then
    world.check()


def test_an_advised_rule_has_no_end_until_it_is_taken_up_and_rolls_back_to_none(world: World) -> None:
    world.one(advisory(1, "+77"))
    assert now(world) == ("disabled", None, 1)
    assert enforce(world).expires_at == NOON + WEEK
    world.ledger.roll_back_rule("r1", "sri", "no", world.now)
    assert now(world) == ("disabled", None, 3) and world.lines() == []


@pytest.mark.parametrize("expires_s", [0, -5, 30 * 86_400 + 1])
def test_an_end_that_is_past_or_too_far_is_refused(world: World, expires_s: int) -> None:
    world.rule("+77", mode="disabled")
    with pytest.raises(LedgerError, match=r"is past|at most 30 \(ledger.max_rule_days\)"):
        enforce(world, expires_s=expires_s)
    assert now(world) == ("disabled", NOON + WEEK, 1)


# --- roll back


def test_roll_back_returns_mode_and_end_and_is_undone_by_itself(world: World) -> None:
    world.rule("+77", mode="shadow", expires=2 * DAY)
    enforce(world, expires_s=5 * 86_400)
    done = world.ledger.roll_back_rule("r1", "wati", "too many", world.now)
    assert (done.done.from_mode, done.done.to_mode, done.done.cause) == ("enforce", "shadow", "roll_back")
    assert (done.done.from_expires_at, done.done.to_expires_at) == (NOON + 5 * DAY, NOON + 2 * DAY)
    assert (done.undone, now(world)) == (3, ("shadow", NOON + 2 * DAY, 4))
    assert "noc reject shadow" in world.lines()[0]
    again = world.ledger.roll_back_rule("r1", "wati", "it was fine", world.now)
    assert again.undone == done.done.id and now(world) == ("enforce", NOON + 5 * DAY, 5)
    world.ledger.roll_back_rule("r1", "wati", "no", world.now)
    assert now(world)[:2] == ("shadow", NOON + 2 * DAY)
    assert [record.kind for record in world.ledger.journal()][-3:] == ["rule.roll_back"] * 3
    world.check()


def test_a_rule_that_was_only_proposed_has_nothing_to_return_to(world: World) -> None:
    world.rule("+77", mode="disabled")
    with pytest.raises(LedgerError, match="r1 is disabled; there is nothing before its last step, propose"):
        world.ledger.roll_back_rule("r1", "sri", "why", world.now)


def test_a_removed_rule_can_not_be_rolled_back(world: World) -> None:
    world.rule("+77")
    world.ledger.remove_rule("r1", "sri", "over", world.now)
    with pytest.raises(LedgerError, match=r"r1 has ended \(removed by sri: over\) and can't be rolled back: propose"):
        world.ledger.roll_back_rule("r1", "sri", "why", world.now)
    assert world.lines() == []


def test_an_enforcement_that_ended_by_itself_is_not_brought_back(world: World) -> None:
    world.rule("+77", expires=HOUR)
    world.pass_time(hours=1)
    world.ledger.expire(world.now)
    with pytest.raises(LedgerError, match="r1 is shadow; there is nothing before its last step, expiry"):
        world.ledger.roll_back_rule("r1", "sri", "why", world.now)


def test_a_renewal_rolled_back_after_its_former_end_leaves_shadow(world: World) -> None:
    world.rule("+77", expires=HOUR)
    enforce(world, expires_s=86_400)
    world.pass_time(hours=2)
    world.ledger.roll_back_rule("r1", "sri", "why", world.now)
    assert now(world)[:2] == ("shadow", world.now + WEEK)


def test_roll_back_takes_a_brake_back_and_never_an_order(world: World) -> None:
    world.take(order(1, "+6281234567890"))
    world.rule("+77")
    before = world.lines()
    world.ledger.brake("r2", "it stops 40 calls an hour; its preview promised 3", world.now)
    assert now(world, "r2")[0] == "shadow"
    world.ledger.roll_back_rule("r2", "sri", "a real wave", world.now)
    assert world.lines() == before
    for act in (world.ledger.roll_back_rule, world.ledger.remove_rule, world.ledger.shadow_rule):
        with pytest.raises(LedgerError, match="only an unblock order ends it"):
            act("r1", "sri", "please", world.now)
    with pytest.raises(LedgerError, match="only an unblock order ends it"):
        world.ledger.brake("r1", "too much", world.now)
    assert world.ledger.rule("r1").version == 1 and world.lines() == before


def test_only_what_is_enforced_is_braked(world: World) -> None:
    world.rule("+77", mode="shadow")
    with pytest.raises(LedgerError, match="it is not enforced"):
        world.ledger.brake("r1", "too much", world.now)
    enforce(world, expected=12)
    assert world.ledger.rule("r1").expected == 12
    braked = world.ledger.brake("r1", "it stops too much", world.now)
    assert (braked.mode, braked.expires_at) == ("shadow", world.now + WEEK)
    step = world.ledger.transitions("r1", limit=1)[0]
    assert (step.cause, step.actor, step.reason) == ("brake", "palang", "it stops too much")


def test_a_change_of_another_version_is_refused(world: World) -> None:
    world.rule("+77")
    for act in (
        world.ledger.shadow_rule, world.ledger.enforce_rule, world.ledger.disable_rule, world.ledger.roll_back_rule,
        world.ledger.remove_rule,
    ):  # fmt: skip
        with pytest.raises(ChangedMeanwhileError, match="rule r1 is at version 2, not 1"):
            act("r1", "sri", "late", world.now, version=1)  # type: ignore[operator]
    assert world.ledger.disable_rule("r1", "sri", "off", world.now, version=2).version == 3


# --- wide rules


def asked(world: World, *, alone: bool = False, expires_s: int | None = None) -> str:
    done = world.ledger.enforce_rule(
        "r1", "sri", "wave", world.now, wide=WIDE, alone_minutes=60 if alone else None, expires_s=expires_s, expected=9
    )
    assert done.waits is not None
    return done.waits.id


def test_a_wide_rule_waits_for_a_second_person(world: World) -> None:
    world.rule("+77", mode="shadow")
    request = world.ledger.request(asked(world, expires_s=86_400))
    assert (request.act, request.about, request.why) == ("rule.enforce", "r1", WIDE[0])
    assert now(world)[0] == "shadow"
    with pytest.raises(LedgerError, match="by its author"):
        world.ledger.approve_request("a1", "sri", "me", world.now)
    world.pass_time(hours=2)
    world.ledger.approve_request("a1", "wati", "looks right", world.now)
    assert now(world) == ("enforce", world.now + DAY, 3) and world.ledger.rule("r1").expected == 9
    step = world.ledger.transitions("r1", limit=1)[0]
    assert (step.cause, step.actor, step.from_mode) == ("countersign", "wati", "shadow")
    world.ledger.roll_back_rule("r1", "sri", "no", world.now)
    assert now(world)[0] == "shadow"
    world.check()


@pytest.mark.parametrize("action", ["allow", "label"])
def test_only_a_reject_is_wide(world: World, action: str) -> None:
    world.rule("+77", action=action, mode="disabled")  # type: ignore[arg-type]
    assert world.ledger.enforce_rule("r1", "sri", "wave", world.now, wide=WIDE).waits is None
    assert now(world)[0] == "enforce"


def test_another_step_withdraws_what_waits(world: World) -> None:
    world.rule("+77", mode="shadow")
    asked(world)
    with pytest.raises(LedgerError, match="a1 asks for this already"):
        asked(world)
    world.ledger.disable_rule("r1", "budi", "off", world.now)
    assert world.ledger.request("a1").state == "withdrawn"
    with pytest.raises(LedgerError, match="a1 is withdrawn already"):
        world.ledger.approve_request("a1", "wati", "late", world.now)


def test_alone_it_is_enforced_for_an_hour_and_lapses_to_shadow(world: World) -> None:
    world.rule("+77", mode="shadow")
    request = world.ledger.request(asked(world, alone=True))
    assert now(world) == ("enforce", NOON + HOUR, 3) and request.until == NOON + HOUR
    assert world.ledger.next_expiry() == NOON + HOUR
    world.pass_time(hours=1)
    world.ledger.expire(world.now)
    assert now(world) == ("shadow", world.now + WEEK, 4) and world.ledger.request("a1").state == "lapsed"
    assert world.ledger.transitions("r1", limit=1)[0].cause == "lapse"
    with pytest.raises(LedgerError, match=r"r1 was enforced alone at 2026-11-22T12:00:00Z and not countersigned"):
        asked(world, alone=True)
    assert asked(world) == "a2"  # with a second person at any time
    world.check()


def test_countersigned_it_has_the_end_that_was_wished_from_its_start(world: World) -> None:
    world.rule("+77", mode="shadow")
    asked(world, alone=True, expires_s=2 * 86_400)
    world.pass_time(minutes=40)
    world.ledger.approve_request("a1", "wati", "looks right", world.now)
    assert now(world) == ("enforce", NOON + 2 * DAY, 4)
    world.pass_time(hours=1)
    assert world.ledger.expire(world.now) == 0 and now(world)[0] == "enforce"


@pytest.mark.parametrize("word", ["refuse_request", "withdraw_request"])
def test_refused_or_withdrawn_it_falls_back_at_once(world: World, word: str) -> None:
    world.rule("+77", mode="shadow")
    asked(world, alone=True)
    by = "wati" if word == "refuse_request" else "sri"
    getattr(world.ledger, word)("a1", by, "half of Kazakhstan", world.now)
    assert now(world)[0] == "shadow" and "noc reject shadow" in world.lines()[0]


def test_alone_again_under_another_id_is_the_same_rule(world: World) -> None:
    world.rule("+77", mode="shadow")
    asked(world, alone=True)
    world.ledger.remove_rule("r1", "sri", "over", world.now)
    world.rule("+77", mode="disabled")
    with pytest.raises(LedgerError, match="r1 was enforced alone"):
        world.ledger.enforce_rule("r2", "sri", "wave", world.now, wide=WIDE, alone_minutes=60)
    world.pass_time(hours=12, seconds=1)
    assert world.ledger.enforce_rule("r2", "sri", "wave", world.now, wide=WIDE, alone_minutes=60).waits


def test_renewing_a_wide_rule_needs_two_again_and_never_goes_alone(world: World) -> None:
    world.rule("+77", expires=DAY)
    assert asked(world, alone=True, expires_s=30 * 86_400) == "a1"
    assert now(world)[:2] == ("enforce", NOON + DAY)  # as before: nobody has countersigned
    world.ledger.approve_request("a1", "wati", "still coming", world.now)
    assert now(world)[:2] == ("enforce", NOON + 30 * DAY)
    with pytest.raises(LedgerError, match="its width has to be judged"):
        world.ledger.renew_rule("r1", "sri", "longer", world.now)


# --- warnings


def test_people_are_warned_a_day_and_an_hour_before_the_end_of_an_enforcement(world: World) -> None:
    world.rule("+77", expires=3 * DAY)
    world.rule("+242", mode="shadow", expires=HOUR)
    world.take(order(1, "+6281234567890", until=NOON + HOUR))
    assert world.ledger.warn(NOON) == [] and world.ledger.next_warning() == NOON + 2 * DAY
    assert world.ledger.warn(NOON + 2 * DAY - timedelta(seconds=1)) == []
    (first,) = world.ledger.warn(NOON + 2 * DAY)
    assert (first.rule.id, first.hours) == ("r1", 24) and world.ledger.warn(NOON + 2 * DAY) == []
    assert world.ledger.next_warning() == NOON + 3 * DAY - HOUR
    (second,) = world.ledger.warn(NOON + 3 * DAY - HOUR)
    assert second.hours == 1 and world.ledger.next_warning() is None
    assert [r.body["hours"] for r in world.ledger.journal() if r.kind == "rule.warned"] == [24, 1]
    assert world.ledger.rule("r1").version == 2  # a warning changes nothing


def test_who_missed_the_first_warning_gets_the_second_one_only(world: World) -> None:
    world.rule("+77", expires=3 * DAY)
    (told,) = world.ledger.warn(NOON + 3 * DAY - timedelta(minutes=20))
    assert told.hours == 1 and world.ledger.next_warning() is None


@pytest.mark.parametrize(("expires", "first"), [(2 * HOUR, HOUR), (HOUR, None), (timedelta(minutes=5), None)])
def test_who_gives_a_rule_little_time_is_not_warned_of_it(
    world: World, expires: timedelta, first: timedelta | None
) -> None:
    world.rule("+77", expires=expires)
    assert world.ledger.next_warning() == (None if first is None else NOON + first)


def test_a_renewed_rule_is_warned_of_anew(world: World) -> None:
    world.rule("+77", expires=2 * DAY)
    assert world.ledger.warn(NOON + DAY)
    world.pass_time(hours=25)
    enforce(world)
    assert world.ledger.next_warning() == world.now + 6 * DAY
