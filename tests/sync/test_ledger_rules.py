"""The NOC's rules: made, changed, ended by named people, never without an end; and the hits that they get."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sip_filter.rule import Stack
from sync.codes import Code
from sync.ledger import LedgerError, LedgerHit, NotFoundError, RuleRefusedError, RuleView
from tests.sync.house import NOON, World, advisory, order

WEEK = int(NOON.timestamp()) + 7 * 86400


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite")


def add(world: World, subject: str, **changes: Any) -> RuleView:
    return world.rule(subject, **changes)


def test_a_rule_is_published_at_once_with_its_end(world: World) -> None:
    rule = add(world, "+77", trunks=("intl-b", "intl-a"), kinds="call")
    assert (rule.id, rule.subject, rule.since, rule.trunks) == ("r1", "+77*", "1.1", ("intl-a", "intl-b"))
    assert rule.expires_at == NOON + timedelta(days=7) and rule.live
    assert world.lines() == [f"+77*\tnoc reject enforce call @intl-a,intl-b until={WEEK}"]


def test_stacks_are_written_as_the_filter_reads_them(world: World) -> None:
    world.take(order(1, "+77012345678", until=NOON + timedelta(days=2, milliseconds=1)))
    add(world, "+77012345678", action="allow", trunks=("b", "a"))
    add(world, "+77012345678", action="label", mode="shadow", kinds="message")
    for line in world.lines():
        stack = line.split("\t")[1]
        assert str(Stack.parse(stack)) == stack
        assert len(list(Stack.parse(stack))) == 3
    world.check()


def test_modes_change_and_each_is_a_revision(world: World) -> None:
    add(world, "+77", mode="shadow")
    rule = world.ledger.enforce_rule("r1", "sri", "looks right", world.now).record
    assert (rule.mode, rule.since, rule.version) == ("enforce", "1.2", 3)
    rule = world.ledger.disable_rule("r1", "sri", "too wide", world.now)
    assert (rule.mode, rule.since, world.lines(), rule.version) == ("disabled", None, [], 4)
    with pytest.raises(LedgerError, match="rule r1: it is disabled already"):
        world.ledger.disable_rule("r1", "sri", "again", world.now)
    assert world.ledger.head().n == 3
    assert world.ledger.remove_rule("r1", "sri", "done", world.now).ended_at == NOON
    assert world.ledger.rules() == [] and len(world.ledger.rules(ended=True)) == 1
    assert world.ledger.head().n == 3
    kinds = [record.kind for record in world.ledger.journal()]
    assert kinds == ["rule.propose", "rule.shadow", "rule.enforce", "rule.disable", "rule.remove"]
    world.check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": "block"}, "action 'block' is not one of reject, allow, label"),
        ({"kinds": "sms"}, "kinds 'sms' is not one of"),
        ({"actor": ""}, "a named person and a reason"),
        ({"reason": "  "}, "a named person and a reason"),
        ({"expires": timedelta()}, "an end in 0 seconds is past"),
        ({"expires": timedelta(days=31)}, r"31\.0 days is too long; a NOC rule lasts at most 30"),
    ],
)
def test_what_is_no_rule_is_refused(world: World, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        add(world, "+77", **changes)
    assert world.ledger.head().n == 0 and world.ledger.journal() == []


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("112", Code.EMERGENCY_NUMBER),
        ("+62110", Code.EMERGENCY_NUMBER),
        ("7", Code.PREFIX_TOO_SHORT),
        ("+6281234567890123", Code.IMPOSSIBLE_NUMBER),
        ("081234567890", Code.IMPOSSIBLE_NUMBER),
        ("", Code.PREFIX_TOO_SHORT),
        ("abc", Code.IMPOSSIBLE_NUMBER),
    ],
)
def test_the_gate_stands_before_the_noc_too(world: World, subject: str, code: Code) -> None:
    with pytest.raises(RuleRefusedError) as caught:
        add(world, subject)
    assert caught.value.finding.code is code
    assert world.lines() == []


def test_a_rule_is_not_made_twice(world: World) -> None:
    add(world, "+77")
    with pytest.raises(LedgerError, match="rule r1 says this already"):
        add(world, "77*", mode="shadow")
    add(world, "+77", trunks=("intl-a",))
    add(world, "+77", action="label")


def test_an_orders_rule_is_not_the_nocs_to_change(world: World) -> None:
    world.take(order(1, "+6281234567890"))
    with pytest.raises(LedgerError, match="only an unblock order ends it"):
        world.ledger.remove_rule("r1", "budi", "please", world.now)
    with pytest.raises(LedgerError, match="only an unblock order ends it"):
        world.ledger.roll_back_rule("r1", "budi", "please", world.now)
    assert world.ledger.rules() == [] and world.ledger.rules(orders=True)[0].ticket == "T-1"


@pytest.mark.parametrize("rule_id", ["r9", "9x", "", "r", "rr1", "r" + "9" * 30, "r１"])
def test_no_such_rule(world: World, rule_id: str) -> None:
    with pytest.raises(NotFoundError, match="no rule has the id"):
        world.ledger.rule(rule_id)


def test_rules_touching_a_number_longest_first(world: World) -> None:
    world.take(order(1, "+77012345678"), advisory(2, "+77"))
    add(world, "+7701")
    add(world, "+7702")
    found = world.ledger.rules_touching("77012345678")
    assert [rule.subject for rule in found] == ["+77012345678", "+7701*", "+77*"]
    assert [rule.origin for rule in found] == ["order", "noc", "advisory"]
    lines = world.ledger.entries_touching("+77012345678")  # what is published: the proposal is not
    assert [line.split("\t")[0] for line in lines] == ["+77012345678", "+7701*"]
    assert [rule.subject for rule in world.ledger.rules_touching("+7701*")] == ["+7701*", "+77*"]
    with pytest.raises(ValueError, match="the fewest allowed"):
        world.ledger.rules_touching("1")


def test_what_is_enforced_goes_to_shadow_at_its_time_and_then_ends(world: World) -> None:
    add(world, "+77", expires=timedelta(hours=1))
    add(world, "+242", expires=timedelta(hours=2))
    assert world.ledger.next_expiry() == NOON + timedelta(hours=1)
    assert world.ledger.expire(NOON + timedelta(minutes=59)) == 0
    at = NOON + timedelta(hours=1)
    assert world.ledger.expire(at) == 1
    rule = world.ledger.rule("r1")
    assert (rule.mode, rule.expires_at, rule.live) == ("shadow", at + timedelta(days=7), True)
    assert [line.split("\t")[1][:18] for line in world.lines()] == ["noc reject enforce", "noc reject shadow "]
    assert world.ledger.expire(at + timedelta(days=7)) == 2  # the other one goes to shadow then
    rule = world.ledger.rule("r1")
    assert (rule.end_reason, rule.live, rule.until) == ("expired", False, "1.4")
    world.ledger.expire(NOON + timedelta(days=30))
    assert world.ledger.next_expiry() is None and world.lines() == []
    with pytest.raises(LedgerError, match=r"rule r1 ended at 2026-11-29T13:00:00Z: expired"):
        world.ledger.enforce_rule("r1", "budi", "more", world.now)
    causes = [(step.cause, step.to_mode, step.actor) for step in world.ledger.transitions("r1")]
    assert causes == [
        ("expiry", None, "palang"), ("expiry", "shadow", "palang"), ("person", "enforce", "budi"),
        ("propose", "disabled", "budi"),
    ]  # fmt: skip
    world.check()


def hit(world: World, call: str, n: int, effect: Any = "reject", **changes: Any) -> LedgerHit:
    fields: dict[str, Any] = {
        "subject": "+77*",
        "authority": "noc",
        "action": "reject",
        "epoch": 1,
        "at_ms": 1_000,
        **changes,
    }
    return LedgerHit(effect=effect, call=call, n=n, **fields)


def test_hits_are_counted_once_on_the_rule_of_their_revision(world: World) -> None:
    add(world, "+77", mode="shadow")  # 1.1
    world.ledger.enforce_rule("r1", "sri", "ok", world.now)  # 1.2
    world.ledger.remove_rule("r1", "sri", "over", world.now)  # 1.3
    add(world, "+77")  # 1.4
    hits = [
        hit(world, "a", 1, "shadow"),
        hit(world, "b", 2),
        hit(world, "b", 2),
        hit(world, "c", 2),
        hit(world, "d", 3),  # nobody was carried there
        hit(world, "e", 4),
        hit(world, "f", 4, authority="order"),
        hit(world, "g", 4, subject="+78*"),
    ]
    assert world.ledger.count_hits(hits, world.now, "17-0") == 4
    assert world.ledger.count_hits(hits, world.now, "17-1") == 0
    assert world.ledger.rule("r1").hits == {"shadow": 1, "reject": 2}
    assert world.ledger.rule("r2").hits == {"reject": 1}
    assert world.ledger.hits_cursor() == "17-1"
    world.reopen()
    assert world.ledger.count_hits([hit(world, "b", 2), hit(world, "h", 9)], world.now) == 1
    assert world.ledger.rule("r2").hits == {"reject": 2} and world.ledger.hits_cursor() == "17-1"


def test_a_hit_of_two_rules_on_one_subject_goes_to_the_one_in_its_mode(world: World) -> None:
    add(world, "+77", mode="shadow", trunks=("a",))
    add(world, "+77", mode="enforce", trunks=("b",))
    world.ledger.count_hits([hit(world, "x", 2), hit(world, "y", 2, "shadow")], world.now)
    assert (world.ledger.rule("r1").hits, world.ledger.rule("r2").hits) == ({"shadow": 1}, {"reject": 1})


def test_counted_calls_are_forgotten_after_a_day(world: World) -> None:
    add(world, "+77")
    world.ledger.count_hits([hit(world, "x", 1)], world.now)
    world.pass_time(days=2)
    world.ledger.count_hits([], world.now)
    assert world.ledger.count_hits([hit(world, "x", 1)], world.now) == 1


def test_rules_are_filtered_and_found_by_leading_digits(world: World) -> None:
    world.take(order(1, "+77011111111"), advisory(2, "+77"))
    add(world, "+7701", mode="shadow")  # r3
    add(world, "+77017654321", action="allow")  # r4
    add(world, "+242", action="label")  # r5
    world.ledger.remove_rule("r5", "budi", "over", world.now)

    def ids(**wanted: Any) -> list[str]:
        return [rule.id for rule in world.ledger.rules(**wanted)]

    assert ids() == ["r4", "r3", "r2"] and ids(ended=True) == ["r5", "r4", "r3", "r2"]
    assert ids(mode="shadow") == ["r3"] and ids(action="allow") == ["r4"] and ids(origin="advisory") == ["r2"]
    assert ids(mode="shadow", action="allow") == []
    assert ids(digits="7") == ids(digits="7701") == ["r4", "r3", "r2"]
    assert ids(digits="77") == ["r4", "r3", "r2"] and ids(digits="78") == [] and ids(digits="242", ended=True) == ["r5"]
    assert ids(digits="77012") == ["r3", "r2"]
    # five digits and more find no single number, whoever asks: a list would tell whose number is in it
    assert ids(digits="77017") == ids(digits="77017654321") == ["r3", "r2"]
    assert ids(digits="7701", after=4) == ["r3", "r2"] and ids(digits="7701", limit=1) == ["r4"]
    assert ids(digits="7701", orders=True) == ["r4", "r3", "r2", "r1"]
