"""Second persons: nobody decides on what they asked for, what is approved is done at once, nothing waits for ever."""

from datetime import timedelta
from pathlib import Path

import pytest

from sync.contract import Order
from sync.gate import Gate
from sync.ledger import LedgerError, NotFoundError, RequestView
from sync.ledger.requests import one_person
from sync.settings import GateSettings
from tests.sync.house import NOON, World, blocked, order


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite", gate=GateSettings(protected=("+622150000000",)))


def held(world: World, *subjects: str, serial: int = 1) -> Order:
    wide = order(serial, *(subjects or ("+77*",)))
    world.one(wide)
    assert world.state(wide) == "held"
    return wide


def asked(world: World, of: Order, by: str = "sri") -> RequestView:
    done = world.ledger.approve(of.id, by, "asked the office", world.now)
    assert done.waits is not None and done.record.state == "held"
    return done.waits


def kinds(world: World, of: Order) -> list[str]:
    return [record.kind for record in world.ledger.order(of.id).journal]


def test_what_would_hurt_most_waits_for_a_second_person(world: World) -> None:
    wide = held(world)
    request = asked(world, wide)
    assert (request.id, request.act, request.about, request.state) == ("a1", "order.approve", wide.id, "open")
    assert request.why.startswith("prefix_too_wide (1 of its subjects; gate.second_person): prefix +77* is 2 digits")
    assert (request.author, request.asked_at, request.until) == ("sri", NOON, NOON + timedelta(hours=24))
    assert world.lines() == []
    decided = world.ledger.approve_request("a1", "budi", "read the letter", world.now)
    assert (decided.state, decided.decided_by, decided.decision_reason) == ("approved", "budi", "read the letter")
    assert blocked(world.lines()) == {"+77*"} and world.state(wide) == "applying"
    assert [kind for kind in kinds(world, wide) if "appro" in kind] == [
        "approval.ask", "approval.approved", "order.approve",
    ]  # fmt: skip
    assert world.ledger.requests("open") == [] and world.ledger.requests() == [decided]
    world.check()


def test_each_finding_of_the_setting_needs_two_and_others_one(world: World) -> None:
    assert asked(world, held(world, "+622150000000")).why.startswith("protected_number")
    impossible = held(world, "+99912345678", serial=2)
    assert world.ledger.approve(impossible.id, "sri", "they insist", world.now).waits is None
    assert world.state(impossible) == "applying"


def test_with_the_setting_empty_one_person_is_enough(tmp_path: Path) -> None:
    world = World(tmp_path / "ledger.sqlite", gate=GateSettings(second_person=()))
    wide = held(world)
    assert world.ledger.approve(wide.id, "sri", "alone", world.now).waits is None
    assert blocked(world.lines()) == {"+77*"}


@pytest.mark.parametrize(
    ("author", "other"), [("sri", "sri"), ("sri", "Sri"), ("local:sri", "local:budi"), ("local:a", "local:a")]
)
def test_the_author_never_decides(world: World, author: str, other: str) -> None:
    wide = held(world)
    request = asked(world, wide, author)
    for decide in (world.ledger.approve_request, world.ledger.refuse_request):
        with pytest.raises(LedgerError, match=r"a1 can't be decided on by its author"):
            decide(request.id, other, "it is fine", world.now)
    assert world.ledger.request("a1").state == "open" and world.state(wide) == "held"


def test_who_is_one_person() -> None:
    assert not one_person("sri", "budi") and not one_person("local:sri", "sri") and not one_person("locals", "local:x")


def test_what_is_refused_is_not_done_and_can_be_asked_for_again(world: World) -> None:
    wide = held(world)
    asked(world, wide)
    with pytest.raises(LedgerError, match="a1 asks for this already, by sri"):
        world.ledger.approve(wide.id, "budi", "me too", world.now)
    assert world.ledger.refuse_request("a1", "budi", "Kazakhstan too", world.now).state == "refused"
    assert world.state(wide) == "held" and world.lines() == []
    with pytest.raises(LedgerError, match="a1 is refused already, by budi"):
        world.ledger.approve_request("a1", "dewi", "but yes", world.now)
    assert asked(world, wide).id == "a2"
    assert [request.id for request in world.ledger.requests()] == ["a2", "a1"]
    assert [request.id for request in world.ledger.requests(after=2)] == ["a1"]
    assert [request.id for request in world.ledger.requests("open", about=wide.id)] == ["a2"]
    assert world.ledger.requests(about="r1") == []


def test_only_the_author_withdraws(world: World) -> None:
    wide = held(world)
    asked(world, wide)
    with pytest.raises(LedgerError, match="a1 can be withdrawn by its author only, sri"):
        world.ledger.withdraw_request("a1", "budi", "no", world.now)
    assert world.ledger.withdraw_request("a1", "sri", "a mistake", world.now).state == "withdrawn"
    assert world.state(wide) == "held"


def test_a_request_lapses_at_its_time(world: World) -> None:
    wide = held(world)
    request = asked(world, wide)
    assert world.ledger.next_expiry() == request.until
    world.pass_time(hours=24)
    with pytest.raises(LedgerError, match="a1 lapsed at 2026-11-23T12:00:00"):
        world.ledger.approve_request("a1", "budi", "late", world.now)
    world.ledger.expire(world.now)
    found = world.ledger.request("a1")
    assert (found.state, found.decided_by) == ("lapsed", "palang") and world.state(wide) == "held"
    assert world.ledger.next_expiry() is None and kinds(world, wide)[-1] == "approval.lapsed"


def test_a_refused_order_takes_its_request_with_it(world: World) -> None:
    wide = held(world)
    asked(world, wide)
    world.ledger.refuse(wide.id, "budi", "would hit Russia", world.now)
    assert world.ledger.request("a1").state == "withdrawn"


def test_what_can_not_be_done_any_more_stays_undone_and_undecided(world: World) -> None:
    wide = order(1, "+77*", until=NOON + timedelta(hours=1))
    world.one(wide)
    asked(world, wide)
    world.pass_time(hours=2)
    world.ledger.expire(world.now)
    with pytest.raises(LedgerError, match="is expired; nothing of it is held"):
        world.ledger.approve_request("a1", "budi", "fine", world.now)
    assert world.ledger.request("a1").state == "open"
    world.check()


@pytest.mark.parametrize("request_id", ["a9", "9x", "", "a", "a" + "9" * 30, "r1"])
def test_no_such_request(world: World, request_id: str) -> None:
    with pytest.raises(NotFoundError, match="no approval has the id"):
        world.ledger.request(request_id)


def test_a_reason_and_a_name_are_needed(world: World) -> None:
    wide = held(world)
    for actor, reason in (("", "why"), ("sri", " ")):
        with pytest.raises(LedgerError, match="a named person and a reason"):
            world.ledger.approve(wide.id, actor, reason, world.now)
    asked(world, wide)
    with pytest.raises(LedgerError, match="a named person and a reason"):
        world.ledger.approve_request("a1", "budi", "", world.now)


def test_the_setting_names_codes_of_the_gate() -> None:
    assert Gate(GateSettings.model_validate({"second_person": ["burst"]})).settings.second_person == ("burst",)
    with pytest.raises(ValueError, match="second_person"):
        GateSettings.model_validate({"second_person": ["whatever"]})
