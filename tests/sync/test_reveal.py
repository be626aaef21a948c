"""Reveals: the judge's quotas and what it finds unusual; the ledger's record first, one at a time, one session."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.ledger import Asked, LedgerError, LedgerUnavailable, NotFoundError, RevealView
from sync.reveal import Earlier, Unusual, judge
from sync.settings_reveal import RevealSettings
from tests.sync.house import NOON, World, order

SETTINGS = RevealSettings(honey=("+6281299990000",))
MORNING = NOON - timedelta(hours=7)  # noon in Jakarta
NUMBER = "6281234567890"
FAR = [f"62812{n * 7919:08d}" for n in range(200)]


def kinds(earlier: list[Earlier], digits: str = NUMBER, now: datetime = MORNING) -> set[str]:
    return {one.kind for one in judge(earlier, digits, now, SETTINGS).unusual}


def ago(*numbers: str, **span: float) -> list[Earlier]:
    return [Earlier(MORNING - timedelta(**span), number) for number in numbers]


def test_an_ordinary_reveal_is_ordinary() -> None:
    assert judge([], NUMBER, MORNING, SETTINGS).unusual == ()
    assert judge(ago(*FAR[:2], hours=2), NUMBER, MORNING, SETTINGS).too_many is None


@pytest.mark.parametrize(
    ("earlier", "says"),
    [
        (ago(*FAR[:19], minutes=59), None),
        (ago(*FAR[:20], minutes=59), "20 reveals within an hour; one person may make 20 alone (reveal.per_hour)"),
        (ago(*FAR[:20], minutes=60), None),
        (ago(*FAR[:100], hours=23), "100 reveals within 24 hours; one person may make 100 alone (reveal.per_day)"),
        (ago(*FAR[:99], hours=23), None),
        (ago(*FAR[:100], hours=24), None),
    ],
)
def test_a_full_quota_is_named_with_its_limit(earlier: list[Earlier], says: str | None) -> None:
    assert judge(earlier, NUMBER, MORNING, SETTINGS).too_many == says


def test_numbers_side_by_side_are_unusual() -> None:
    one, two, twenty_one = (str(int(NUMBER) + step) for step in (1, 2, 21))
    assert kinds(ago(one, two, hours=1)) == {"sequential"}
    assert kinds(ago(one, one, hours=1)) == set(), "the same number twice is no range"
    assert kinds(ago(one, NUMBER, hours=1)) == set()
    assert kinds(ago(one, twenty_one, hours=1)) == set()
    assert kinds(ago(one, two, hours=24)) == set()


@pytest.mark.parametrize(("hour", "night"), [(21, False), (22, True), (0, True), (4, True), (5, False), (12, False)])
def test_the_night_is_the_operators(hour: int, night: bool) -> None:
    assert ("night" in kinds([], now=MORNING + timedelta(hours=hour - 12))) is night


def test_a_day_far_above_the_persons_own_is_unusual() -> None:
    assert kinds(ago(*FAR[:4], hours=1)) == set()
    assert kinds(ago(*FAR[:5], hours=1)) == {"baseline"}
    used_to = [one for day in range(1, 29) for one in ago(*FAR[: 9 + day % 3], hours=24 * day + 1)]
    assert kinds([*used_to, *ago(*FAR[:10], hours=1)]) == set(), "somebody whose work it is"
    assert kinds([*used_to, *ago(*FAR[:13], hours=1)]) == {"baseline"}


def test_a_number_that_was_never_assigned_is_unusual() -> None:
    assert kinds([], "6281299990000") == {"honey"}


@given(st.lists(st.tuples(st.integers(0, 40 * 86_400), st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True))))
def test_no_judgement_holds_a_number(past: list[tuple[int, str]]) -> None:
    earlier = [Earlier(MORNING - timedelta(seconds=s), digits) for s, digits in past]
    judged = judge(earlier, NUMBER, MORNING, SETTINGS)
    text = " ".join([judged.too_many or "", *(one.text for one in judged.unusual)])
    assert not any(digits in text for digits in (NUMBER, *(one.digits for one in earlier)))


# --- the ledger


def asked(about: str, position: int = 0, **fields: str) -> Asked:
    given = {"code": "complaint", "reason": "the caller asks which", "ticket": "T-1", **fields}
    return Asked(about, position, given["code"], given["reason"], given["ticket"])


def made(world: World, asked: Asked, person: str, session: str) -> tuple[RevealView, tuple[Unusual, ...]]:
    done = world.ledger.reveal(asked, person, session, SETTINGS, world.now)
    assert done.reveal is not None and done.waits is None
    return done.reveal, done.unusual


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("reveal") / "ledger.sqlite")
    world.pass_time(hours=-7)
    return world


def test_a_reveal_is_in_the_journal_without_its_number(world: World) -> None:
    block = order(1, f"+{NUMBER}", "+6281234567000")
    world.take(block)
    view, unusual = made(world, asked(block.id, 1), "budi", "s1")
    record = world.ledger.journal(world.ledger.status(world.now).journal - 1)[0]
    assert (record.kind, record.actor) == ("number.reveal", "budi")
    assert record.body["reveal"] == view.id and record.body["reason"] == "the caller asks which"
    assert "6281234567000" not in str(record.body)
    assert unusual == () and view.unusual == ()
    shown = world.ledger.revealed(view.id, "budi", "s1", world.now)
    assert shown is not None and shown.text == "+6281234567000"
    world.check()


def test_only_the_session_that_asked_reads_it_and_only_for_its_time(world: World) -> None:
    block = order(1, f"+{NUMBER}")
    world.take(block)
    view, _ = made(world, asked(block.id), "budi", "s1")
    for person, session in (("budi", "s2"), ("sri", "s1"), ("sri", "s2")):
        with pytest.raises(NotFoundError):
            world.ledger.revealed(view.id, person, session, world.now)
    with pytest.raises(NotFoundError):
        world.ledger.revealed(view.id + 1, "budi", "s1", world.now)
    world.pass_time(seconds=59.9)
    assert world.ledger.revealed(view.id, "budi", "s1", world.now) is not None
    world.pass_time(seconds=0.1)
    assert world.ledger.revealed(view.id, "budi", "s1", world.now) is None


def test_one_at_a_time(world: World) -> None:
    block = order(1, f"+{NUMBER}", "+6281234567000")
    world.take(block)
    first, _ = made(world, asked(block.id, 0), "budi", "s1")
    other, _ = made(world, asked(block.id, 0), "sri", "s2")
    second, _ = made(world, asked(block.id, 1), "budi", "s1")
    assert world.ledger.revealed(first.id, "budi", "s1", world.now) is None
    assert world.ledger.revealed(second.id, "budi", "s1", world.now) is not None
    assert world.ledger.revealed(other.id, "sri", "s2", world.now) is not None


def test_what_can_not_be_revealed(world: World) -> None:
    rule = world.rule("+77*", "reject", "shadow", reason="one ring", actor="sri")
    allow = world.rule(f"+{NUMBER}", "allow", "shadow", reason="known", actor="sri")
    for about, position, kind in (
        (rule.id, 0, LedgerError),
        ("nothing", 0, NotFoundError),
        (allow.id, 1, NotFoundError),
    ):
        with pytest.raises(kind):
            world.ledger.reveal(asked(about, position), "budi", "s1", SETTINGS, world.now)
    with pytest.raises(LedgerError, match=r"reveal\.codes"):
        world.ledger.reveal(asked(allow.id, code="curious"), "budi", "s1", SETTINGS, world.now)
    view, _ = made(world, asked(allow.id), "budi", "s1")
    shown = world.ledger.revealed(view.id, "budi", "s1", world.now)
    assert shown is not None and shown.text == f"+{NUMBER}"


def test_the_quota_counts_a_person_whatever_the_session(world: World) -> None:
    block = order(1, *(f"+{digits}" for digits in FAR[:21]))
    world.take(block)
    for place in range(20):
        world.ledger.reveal(asked(block.id, place), "budi", f"s{place}", SETTINGS, world.now)
        world.pass_time(seconds=1)
    assert world.ledger.reveal(asked(block.id, 20), "budi", "fresh", SETTINGS, world.now).waits is not None
    world.ledger.reveal(asked(block.id, 20), "sri", "s1", SETTINGS, world.now)
    assert "baseline" in world.ledger.reveals("budi", 1)[0].unusual
    assert [view.person for view in world.ledger.reveals(None, 2)] == ["sri", "budi"]
    assert len(world.ledger.reveals("budi")) == 20 and not world.ledger.reveals("eve")


def test_without_a_durable_record_nothing_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    block = order(1, f"+{NUMBER}")
    world.take(block)

    def full(name: str) -> None:
        if name == "ledger.before_commit":
            raise LedgerUnavailable("disk full")

    monkeypatch.setattr("sync.ledger.store.reach", full)
    with pytest.raises(LedgerUnavailable):
        world.ledger.reveal(asked(block.id), "budi", "s1", SETTINGS, world.now)
    monkeypatch.undo()
    assert world.ledger.reveals() == []
    with pytest.raises(NotFoundError):
        world.ledger.revealed(1, "budi", "s1", world.now)


def test_above_the_quota_a_second_person_agrees_to_one_number_once(world: World) -> None:
    block = order(1, *(f"+{digits}" for digits in FAR[:30]))
    world.take(block)
    for place in range(20):
        world.ledger.reveal(asked(block.id, place), "budi", "s1", SETTINGS, world.now)
    waits = world.ledger.reveal(asked(block.id, 20), "budi", "s1", SETTINGS, world.now).waits
    assert waits is not None and "reveal.per_hour" in waits.why and waits.body["position"] == 20
    with pytest.raises(LedgerError, match="asks for this already"):
        world.ledger.reveal(asked(block.id, 20), "budi", "s1", SETTINGS, world.now)
    with pytest.raises(LedgerError, match="by its author"):
        world.ledger.approve_request(waits.id, "budi", "fine by me", world.now)
    world.ledger.approve_request(waits.id, "adi", "a long list of complaints", world.now)
    with pytest.raises(NotFoundError):
        world.ledger.revealed(21, "budi", "s1", world.now)
    other = world.ledger.reveal(asked(block.id, 21), "budi", "s1", SETTINGS, world.now)
    assert other.reveal is None, "another number than the one agreed to"
    sri = world.ledger.reveal(asked(block.id, 20), "sri", "s2", SETTINGS, world.now)
    assert sri.reveal is not None, "somebody else's quota and agreement are their own"
    view, _ = made(world, asked(block.id, 20), "budi", "s1")
    shown = world.ledger.revealed(view.id, "budi", "s1", world.now)
    assert shown is not None and shown.text == f"+{FAR[20]}"
    with pytest.raises(LedgerError):  # the other number's request is still open, and this one was used up
        world.ledger.reveal(asked(block.id, 20), "budi", "s1", SETTINGS, world.now)
    world.check()


def test_an_agreement_has_its_time(world: World) -> None:
    block = order(1, *(f"+{digits}" for digits in FAR[:101]))
    world.take(block)
    for place in range(100):
        if place % 20 == 0:
            world.pass_time(hours=1)
        world.ledger.reveal(asked(block.id, place), "budi", "s1", SETTINGS, world.now)
    world.pass_time(hours=1)
    waits = world.ledger.reveal(asked(block.id, 100), "budi", "s1", SETTINGS, world.now).waits
    assert waits is not None and "reveal.per_day" in waits.why
    world.ledger.approve_request(waits.id, "adi", "a long list of complaints", world.now)
    world.pass_time(seconds=SETTINGS.approved_s)
    assert world.ledger.reveal(asked(block.id, 100), "budi", "s1", SETTINGS, world.now).waits is not None
